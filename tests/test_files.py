"""Files of a run: what is missing or damaged is named, and every CSV is written alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.files import NO_RUN, csv_bytes, read_array, read_result


def test_a_result_that_is_missing_is_named_with_its_folder(tmp_path: Path) -> None:
    for read in (read_result, read_array):
        with pytest.raises(UsageError, match=f"there is no rows.npy in {tmp_path}") as refused:
            read(tmp_path / "rows.npy")  # type: ignore[operator]
        assert refused.value.remedy == NO_RUN


@pytest.mark.parametrize("data", [b"", b"text", b"\x93NUMPY\x01\x00", b"\x80\x04."])
def test_an_array_that_is_damaged_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.npy"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"rows\.npy is damaged"):
        read_array(path)


def test_objects_in_an_array_are_not_unpacked(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([Path()], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"rows\.npy is damaged"):
        read_array(tmp_path / "rows.npy")


def test_an_array_comes_back(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(6).reshape(2, 3))
    assert (read_array(tmp_path / "rows.npy") == np.arange(6).reshape(2, 3)).all()


def test_csv_is_utf_8_with_line_feeds_and_quotes_where_needed() -> None:
    assert csv_bytes(["id", "größe"], [["a,b", 1], ('"', None)]) == 'id,größe\n"a,b",1\n"""",\n'.encode()
    assert csv_bytes(["id"], []) == b"id\n"
