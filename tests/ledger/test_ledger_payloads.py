"""The reader of messages agrees with the programs that write them, and takes no second form of anything."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadEntry
from ledger.payloads import read_payload

scalars = st.booleans() | st.integers(0, 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=300)
flat = st.lists(scalars, max_size=20) | st.dictionaries(st.text(max_size=5), scalars)
values = scalars | flat | st.lists(flat, max_size=5) | st.dictionaries(st.text(max_size=5), flat, max_size=5)


@given(values)
def test_what_is_written_is_read(value: object) -> None:
    assert read_payload(msgspec.msgpack.encode(value)) == value


@given(st.binary(max_size=60))
def test_what_is_read_has_one_form(data: bytes) -> None:
    try:
        value = read_payload(data)
    except BadEntry:
        return
    assert msgspec.msgpack.encode(value) == data


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_lengths_at_their_limits(size: int) -> None:
    for value in (b"x" * size, "x" * size, [True] * size):
        assert read_payload(msgspec.msgpack.encode(value)) == value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "ends inside"),
        ("c0", "0xc0"),
        ("ff", "0xff"),
        ("cb3ff0000000000000", "0xcb"),
        ("0101", "1 bytes too many"),
        ("cc7f", "shortest"),
        ("cd00ff", "shortest"),
        ("ce0000ffff", "shortest"),
        ("cf00000000ffffffff", "shortest"),
        ("c5000161", "shortest"),
        ("d90161", "shortest"),
        ("dc000101", "shortest"),
        ("de0001a16101", "shortest"),
        ("82a16101a16102", "distinct"),
        ("81010101", "distinct"),
        ("a1ff", "UTF-8"),
        ("91" * 9, "deeply"),
        ("c6ffffffff00", "ends inside"),
    ],
)
def test_everything_else_is_refused(data: str, words: str) -> None:
    with pytest.raises(BadEntry, match=words):
        read_payload(bytes.fromhex(data))
