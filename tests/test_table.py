"""Tables: what is read, and what every unclean input is told."""

from __future__ import annotations

import contextlib
import gzip
import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.table import JOINT, Table, closest, read_table, shown

GOOD = "id,income,home,default\n007,10,1,0\n008,,2,1\n009,1.5,,0\n"


def write(folder: Path, text: str | bytes, name: str = "bank.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path, *words: str, remedy: str, **arguments: object) -> UsageError:
    arguments = {"id": "id", "label": "default", **arguments}
    with pytest.raises(UsageError) as caught:
        read_table(path, **arguments)  # type: ignore[arg-type]
    for word in (path.name, *words):
        assert word in str(caught.value), str(caught.value)
    assert remedy in caught.value.remedy, caught.value.remedy
    assert str(path.parent) not in caught.value.diagnostics()
    return caught.value


def same(one: Table, other: Table) -> None:
    assert one.ids == other.ids
    assert list(one.columns) == list(other.columns)
    for name in one.columns:
        np.testing.assert_array_equal(one.columns[name], other.columns[name])
    np.testing.assert_array_equal(one.label, other.label)


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_a_csv_becomes_text_ids_float_columns_and_a_label(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, GOOD), "id", "default")
    assert table.ids == ("007", "008", "009")
    assert list(table.columns) == ["income", "home"]
    np.testing.assert_array_equal(table.columns["income"], [10, math.nan, 1.5])
    assert table.columns["home"].dtype == np.float64
    assert table.label is not None
    assert table.label.dtype == np.int8
    assert table.label.tolist() == [0, 1, 0]
    assert table.rows == 3
    assert table.extra == {}
    with pytest.raises(ValueError, match="read-only"):
        table.columns["income"][0] = 1


def test_gzip_byte_order_mark_and_windows_line_ends_make_no_difference(tmp_path: Path) -> None:
    plain = read_table(write(tmp_path, GOOD), "id", "default")
    packed = gzip.compress(("\ufeff" + GOOD.replace("\n", "\r\n")).encode())
    same(plain, read_table(write(tmp_path, packed, "bank.csv.gz"), "id", "default"))


def test_features_are_chosen_in_the_order_asked_for_and_extra_columns_stay_apart(tmp_path: Path) -> None:
    path = write(tmp_path, "id,a,b,test,y\n1,1,2,0,0\n2,3,4,1,1\n")
    table = read_table(path, "id", "y", features=["b", "a"], extra=["test"])
    assert list(table.columns) == ["b", "a"]
    assert table.extra["test"].tolist() == [0, 1]
    assert list(read_table(path, "id", "y", extra=["test"]).columns) == ["a", "b"]
    assert read_table(path, "id").label is None


def test_ids_are_text_as_it_stands(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'id,a\n007,1\n" x ",2\n,3\nNA,4\n1e5,5\n"a,b",6\n'), "id")
    assert table.ids == ("007", " x ", "", "NA", "1e5", "a,b")


def test_several_id_columns_are_combined_unambiguously(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "branch,account,a\n1,23,1\n12,3,2\n"), ["branch", "account"])
    assert table.ids == (f"1{JOINT}23", f"12{JOINT}3")
    assert list(table.columns) == ["a"]


def test_booleans_whole_numbers_and_every_word_for_missing(tmp_path: Path) -> None:
    cells = ["True", "false", "TRUE", "3", " 4 ", "-0.5e1", "", "NA", "n/a", "NaN", "null", "None", "<NA>", "#N/A"]
    table = read_table(write(tmp_path, "id,a\n" + "".join(f"{at},{cell}\n" for at, cell in enumerate(cells))), "id")
    np.testing.assert_array_equal(table.columns["a"], [1, 0, 1, 3, 4, -5] + [math.nan] * 8)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_survive_exactly(tmp_path: Path, values: list[float]) -> None:
    text = "id,a\n" + "".join(f"{at},{value!r}\n" for at, value in enumerate(values))
    assert read_table(write(tmp_path, text), "id").columns["a"].tolist() == values


def test_rows_beyond_one_chunk_stay_in_order(tmp_path: Path) -> None:
    count = 45_001
    path = write(tmp_path, "id,a\n" + "".join(f"c{row},{row}\n" for row in range(count)))
    table = read_table(path, "id")
    assert table.ids[-1] == f"c{count - 1}"
    np.testing.assert_array_equal(table.columns["a"], np.arange(count))
    write(tmp_path, path.read_text() + "last,text\n")
    refused(path, "'a'", "'text'", f"data row {count + 1}", f"1 of {count + 1}", remedy="features", label=None)


def test_blank_lines_shift_nothing(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "id,a\n\n7,70\n   \n,0\n2,20\n\n3,30\n\n\n"), "id")
    assert dict(zip(table.ids, table.columns["a"].tolist(), strict=True)) == {"7": 70, "": 0, "2": 20, "3": 30}


# ---- parquet ---------------------------------------------------------------------------------------------------------


def parquet_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": pd.Series(["007", "", None, "ñ "], dtype=object),
            "number": np.array([1, 2, 3, 2**60], dtype=np.int64),
            "f": [0.1, math.nan, -2.5, 1e300],
            "b": [True, False, True, True],
            "text": pd.Series(["1", "2.5", None, "4"], dtype=object),
            "default": np.array([0, 1, 0, 1], dtype=np.int8),
        }
    )


def check_parquet(path: Path) -> None:
    table = read_table(path, "id", "default", extra=["b"])
    assert table.ids == ("007", "", "", "ñ ")
    assert list(table.columns) == ["number", "f", "text"]
    np.testing.assert_array_equal(table.columns["f"], [0.1, math.nan, -2.5, 1e300])
    np.testing.assert_array_equal(table.columns["text"], [1, 2.5, math.nan, 4])
    assert table.extra["b"].tolist() == [1, 0, 1, 1]
    assert table.label is not None
    assert table.label.tolist() == [0, 1, 0, 1]
    assert read_table(path, "number", "default", features=["f"]).ids == ("1", "2", "3", str(2**60))


def write_parquet(path: Path, frame: pd.DataFrame, compression: str = "snappy") -> Path:
    """Without pyarrow, which the package does not need."""
    columns = {name: frame[name].to_numpy() for name in frame}
    with duckdb.connect(":memory:") as database:
        database.register("frame", columns)
        target = str(path).replace("'", "''")
        database.execute(f"COPY frame TO '{target}' (FORMAT parquet, COMPRESSION {compression})")
    return path


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "uncompressed"])
@pytest.mark.parametrize("name", ["bank.parquet", "b[an]k'*?.pq", "kind=1/bank.parquet"])
def test_parquet_written_without_pyarrow(tmp_path: Path, compression: str, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    check_parquet(write_parquet(tmp_path / name, parquet_frame(), compression))


def test_a_path_is_not_a_pattern(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_parquet(tmp_path / name, parquet_frame())
    refused(tmp_path / "*.parquet", "no table file", remedy="'b.parquet'")


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.6"])
def test_parquet_written_by_pyarrow(tmp_path: Path, compression: str, version: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "bank.pq"
    table = pyarrow.Table.from_pandas(parquet_frame(), preserve_index=False)
    parquet.write_table(table, path, compression=compression, version=version, row_group_size=3)
    check_parquet(path)
    for name in ("pandas.parquet", "indexed.parquet"):
        frame = parquet_frame() if name.startswith("pandas") else parquet_frame().set_index("id")
        frame.to_parquet(tmp_path / name, engine="pyarrow")
        check_parquet(tmp_path / name)


def test_nullable_pyarrow_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "bank.parquet"
    columns = {
        "id": pyarrow.array([None, 2**60 + 1, 3], pyarrow.int64()),
        "i": pyarrow.array([None, 5, -1], pyarrow.int32()),
        "b": pyarrow.array([True, None, False]),
        "d": pyarrow.array(["1", "2", None]).dictionary_encode(),
        "B": pyarrow.array([0.5, 1.5, None]).cast("float32"),
        "raw": pyarrow.array([b"5", None, b"7"]),
        "nothing": pyarrow.nulls(3),
        "when": pyarrow.array([0, 1, 2], pyarrow.timestamp("us")),
        "list": pyarrow.array([[1], [2, 3], []]),
        "struct": pyarrow.array([{"i": 1, "b": 2}] * 3),
        "last": pyarrow.array([7, 8, 9]),
    }
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path, "id", features=["i", "b", "d", "B", "raw", "nothing", "last"])
    assert table.ids == ("", str(2**60 + 1), "3")
    np.testing.assert_array_equal(table.columns["i"], [math.nan, 5, -1])
    np.testing.assert_array_equal(table.columns["b"], [1, math.nan, 0])
    np.testing.assert_array_equal(table.columns["d"], [1, 2, math.nan])
    np.testing.assert_array_equal(table.columns["B"], [0.5, 1.5, math.nan])
    np.testing.assert_array_equal(table.columns["raw"], [5, math.nan, 7])
    assert np.isnan(table.columns["nothing"]).all()
    assert table.columns["last"].tolist() == [7, 8, 9]
    refused(path, "'list'", "BIGINT[]", remedy="out of features", id="id", label=None, features=["list"])
    refused(path, "'struct'", "STRUCT", remedy="out of features", id="id", label=None, features=["struct"])
    refused(path, "'when'", "TIMESTAMP", remedy="days", id="id", label=None, features=["when"])


def test_parquet_refusals(tmp_path: Path) -> None:
    path = tmp_path / "bank.parquet"
    frame = parquet_frame()
    frame.loc[1, "f"] = math.inf
    write_parquet(path, frame)
    refused(path, "'f'", "inf", "data row 2", remedy="empty")
    refused(path, "'id'", "not numeric", "1 of 4", "'\u00f1 '", "data row 4", remedy="features", id="number")
    refused(path, "'f'", "DOUBLE", remedy="text", id="f", features=["number"])
    refused(path, "'b'", "BOOLEAN", remedy="text", id="b", features=["number"])
    refused(path, "'defualt'", remedy="'default'", label="defualt")
    refused(write(tmp_path, b"PAR1" + bytes(40) + b"PAR1", "torn.parquet"), "Parquet", remedy="CSV")
    refused(write(tmp_path, path.read_bytes()[:300], "short.parquet"), "Parquet", remedy="CSV")
    refused(write(tmp_path, path.read_bytes(), "posing.csv"), "not a CSV", remedy="ending")
    refused(write(tmp_path, GOOD, "posing.parquet"), "not a CSV or Parquet", remedy="ending")


def test_parquet_with_repeated_names_other_encodings_and_no_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "bank.parquet"
    numbers = pyarrow.array([1.0, 2.0])
    texts = pyarrow.array(["a", "b"])
    parquet.write_table(pyarrow.Table.from_arrays([texts, numbers, numbers], ["id", "x", "x"]), path)
    refused(path, "two columns are named 'x' (2 and 3)", remedy="own name", label=None)
    table = pyarrow.table({"id": pyarrow.array(["a", "b"]), "x": numbers})
    parquet.write_table(table, path, use_dictionary=False, data_page_version="2.0",
                        column_encoding={"x": "BYTE_STREAM_SPLIT", "id": "DELTA_BYTE_ARRAY"})  # fmt: skip
    assert read_table(path, "id").ids == ("a", "b")
    parquet.write_table(table.slice(0, 0), path)
    refused(path, "no rows", remedy="data rows", label=None)


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_missing_file_suggests_the_closest_name(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    refused(tmp_path / "bnak.csv", remedy="'bank.csv'")
    refused(tmp_path / "elsewhere" / "bank.csv", remedy="path")
    refused(tmp_path / "zzzzzz", remedy="path")


def test_things_that_are_no_table(tmp_path: Path) -> None:
    folder = tmp_path / "bank.csv"
    folder.mkdir()
    refused(folder, "folder", remedy=".parquet")
    refused(write(tmp_path, GOOD, "bank.xlsx"), "not a CSV or Parquet", remedy=".csv")
    refused(write(tmp_path, GOOD, "plain.csv.gz"), "not a CSV", remedy="ending")
    refused(write(tmp_path, gzip.compress(GOOD.encode()), "packed.csv"), "not a CSV", remedy="ending")
    refused(write(tmp_path, b"id,a\x00b\n", "zero.csv"), "not a CSV", remedy="ending")
    refused(write(tmp_path, gzip.compress(GOOD.encode())[:-9], "torn.csv.gz"), "damaged", remedy="again")
    refused(write(tmp_path, b"id,a\n\xff,1\n", "latin.csv"), "UTF-8", remedy="UTF-8")
    refused(write(tmp_path, 'id,a\n1,"2\n', "quote.csv"), "CSV", remedy="quotation", label=None)


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_empty_files(tmp_path: Path, text: str) -> None:
    refused(write(tmp_path, text), "empty", remedy="header")
    refused(write(tmp_path, gzip.compress(text.encode()), "bank.csv.gz"), "empty", remedy="header")


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    refused(path, "id column 'idd'", remedy="Did you mean 'id'?", id="idd")
    refused(path, "label column 'Defualt'", remedy="'default'", label="Defualt")
    refused(path, "feature column 'incme'", remedy="'income'", features=["incme"])
    refused(path, "extra column 'q'", remedy="Known here: default, home, id, income", extra=["q"])
    refused(path, "no id column", remedy="customer_id", id=[])
    refused(write(tmp_path, GOOD.replace(",", ";")), "'id'", remedy="commas")


def test_columns_with_two_parts_or_two_places(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    refused(path, "'default' is listed as label and as feature", remedy="once", features=["income", "default"])
    refused(path, "'id' is listed as id and as feature", remedy="once", features=["id"])
    refused(path, "'home' is listed twice as feature", remedy="once", features=["home", "home"])
    refused(write(tmp_path, "id,a, a,default\n1,2,3,0\n"), "two columns are named 'a' (2 and 3)", remedy="own name")
    refused(write(tmp_path, ",id,a,default\n0,1,2,0\n"), "column 1 of 4 has no name", remedy="index=False")


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    refused(write(tmp_path, "id,default\n1,0\n2,1\n"), "no feature columns", "'id'", "'default'", remedy="numeric")
    refused(write(tmp_path, GOOD), "no feature columns", remedy="numeric", features=[])
    refused(write(tmp_path, "id,a,default\n"), "no rows", remedy="data rows")


def test_text_in_a_numeric_column(tmp_path: Path) -> None:
    secret = "x" * 100
    path = write(tmp_path, f"id,a,b,default\n1,1,1,0\n2,{secret},1,1\n3,yes,1,1\n")
    error = refused(path, "column 'a'", "not numeric", "2 of 3 values are text", "data row 2", remedy="features")
    assert "x" * 39 in str(error)
    assert "x" * 41 not in str(error)
    assert read_table(path, "id", "default", features=["b"]).rows == 3
    refused(write(tmp_path, "id,a\n1,1_000\n"), "'1_000'", remedy="numbers", label=None)
    refused(write(tmp_path, "id,a\n1,0x10\n"), "'0x10'", remedy="numbers", label=None)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinite_values(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path, f"id,a\n1,1\n2,\n3,{cell}\n")
    refused(path, "'a'", "infinite", repr(cell), "data row 3", remedy="empty", label=None)


def test_labels_that_are_no_labels(tmp_path: Path) -> None:
    text = "id,a,default\n1,1,0\n2,1,{}\n3,1,{}\n"
    refused(write(tmp_path, text.format(2, 1)), "'default'", "not 0/1", "data row 2 holds 2 (1 such", remedy="1 for")
    refused(write(tmp_path, text.format(1, 0.5)), "'default'", "data row 3 holds 0.5", remedy="Write 1")
    refused(write(tmp_path, text.format("bad", 1)), "'default' is not 0/1", "'bad'", "data row 2", remedy="Write 1")
    refused(write(tmp_path, text.format("", 1)), "'default' is missing in 1 of 3", "data row 2", remedy="outcome")
    refused(write(tmp_path, text.format(0, 0)), "'default' has one class", "all 3 rows hold 0", remedy="needs")
    label = read_table(write(tmp_path, text.format("true", "FALSE")), "id", "default").label
    assert label is not None
    assert label.tolist() == [0, 1, 0]


@pytest.mark.parametrize("line", ["2,3", "2,3,1,9", "2"])
def test_a_line_of_another_length_is_refused_not_shifted(tmp_path: Path, line: str) -> None:
    text = f"id,a,default\n1,1,0\n{line}\n3,1,1\n"
    refused(write(tmp_path, text), "data row 2", f"{line.count(',') + 1} fields, the header has 3", remedy="commas")


def test_a_control_character_cannot_forge_a_combined_id(tmp_path: Path) -> None:
    error = refused(write(tmp_path, f"id,a\n1,1\n2{JOINT}3,1\n"), "'id'", "data row 2", remedy="control", label=None)
    assert JOINT not in str(error)


@settings(examples(50, thorough=150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["t.csv", "t.csv.gz", "t.parquet"]), st.booleans())
def test_any_bytes_give_a_table_or_a_usage_error(tmp_path: Path, data: bytes, name: str, packed: bool) -> None:
    data = gzip.compress(data) if packed else data
    data = b"PAR1" + data + b"PAR1" if name.endswith("parquet") else data
    with contextlib.suppress(UsageError):
        assert read_table(write(tmp_path, b"id,a\n" + data if name == "t.csv" else data, name), "id").rows


def test_words_of_messages() -> None:
    assert shown("a\n") == r"'a\n'"
    assert len(shown("y" * 99)) < 50
    assert shown(10**5000) == "'a very long number'"
    assert closest("incom", ["income", "limit"]) == "Did you mean 'income'?"
    assert closest("zz", []) == "Nothing is known here."
    assert closest("zz", [f"c{n}" for n in range(30)]).endswith(", ....")


@settings(examples(20, thorough=60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_parquet_file_gives_a_table_or_a_usage_error(tmp_path: Path, data: st.DataObject) -> None:
    good = bytearray(write_parquet(tmp_path / "good.parquet", parquet_frame()).read_bytes())
    at = data.draw(st.integers(4, len(good) - 5))
    good[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(UsageError):
        assert read_table(write(tmp_path, bytes(good), "bad.parquet"), "id").rows
