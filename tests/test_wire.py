"""Messages and bits on the wire: one byte string for each, and a refusal for everything else."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl import wire
from vfl.bits import pack_bits, unpack_bits
from vfl.errors import BrokenPromise, Malformed
from vfl.wire import BLIND_BYTES, MAX_MESSAGE, Bytes32, Message, blinds, pack, require, unpack


class Sample(Message, frozen=True):
    count: int
    name: str
    flags: list[bool]
    blob: bytes
    digest: Annotated[bytes, Bytes32]


class Other(Message, frozen=True):
    count: int
    name: str
    flags: list[bool]
    blob: bytes


SAMPLES = st.builds(
    Sample,
    st.integers(-(2**63), 2**64 - 1),
    st.text(),
    st.lists(st.booleans()),
    st.binary(),
    st.binary(min_size=32, max_size=32),
)


@settings(max_examples=200)
@given(SAMPLES)
def test_every_message_comes_back(message: Sample) -> None:
    assert unpack(Sample, pack(message)) == message


def test_a_blind_changes_the_bytes_and_nothing_else() -> None:
    message = Sample(1, "", [], b"", bytes(32))
    told = unpack(Sample, pack(message, b"b" * 16))
    assert (told.blind, msgspec.structs.replace(told, blind=b"")) == (b"b" * 16, message)
    assert pack(told) == pack(message, b"b" * 16) != pack(message)
    assert pack(told, b"c" * 16) == pack(message, b"c" * 16), "whoever passes a message on blinds it anew"


def test_blinds_are_those_of_key_and_slot() -> None:
    own, other = blinds(bytes(32)), blinds(b"k" * 32)
    assert own("a") == blinds(bytes(32))("a")
    assert len({own("a"), own("b"), other("a")}) == 3
    assert len(own("a")) == BLIND_BYTES


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Sample(1, "", [], b"", bytes(32)).count = 2  # type: ignore[misc]


FIELDS: dict[str, Any] = {"type": "Sample", "count": 1, "name": "x", "flags": [True], "blob": b"y", "digest": bytes(32)}


def encoded(**changes: Any) -> bytes:
    return msgspec.msgpack.encode({key: value for key, value in (FIELDS | changes).items() if value is not ...})


def test_the_plain_map_is_the_one_encoding() -> None:
    assert encoded() == pack(unpack(Sample, encoded()))


REFUSED: dict[str, bytes] = {
    "an unknown field": encoded(extra=1),
    "a field missing": encoded(blob=...),
    "a default spelled out": encoded(blind=b""),
    "a blind too long": encoded(blind=bytes(17)),
    "no tag": encoded(type=...),
    "another tag": encoded(type="Other"),
    "an unknown tag": encoded(type="Nothing"),
    "a tag that is no text": encoded(type=1),
    "text for a number": encoded(count="1"),
    "a real for a number": encoded(count=1.0),
    "a truth for a number": encoded(count=True),
    "a number for a truth": encoded(flags=[1]),
    "text for bytes": encoded(blob="y"),
    "bytes for text": encoded(name=b"x"),
    "nothing for text": encoded(name=None),
    "a digest too short": encoded(digest=bytes(31)),
    "a digest too long": encoded(digest=bytes(33)),
    "another order": msgspec.msgpack.encode(dict(reversed(FIELDS.items()))),
    "a field twice": b"\x87" + encoded()[1:] + b"\xa5count\x01",
    "a wide number": encoded().replace(b"\xa5count\x01", b"\xa5count\xd1\x00\x01"),
    "a wide text": encoded().replace(b"\xa4name\xa1x", b"\xa4name\xd9\x01x"),
    "a wide list": encoded().replace(b"\x91\xc3", b"\xdc\x00\x01\xc3"),
    "bytes after it": encoded() + b"\x00",
    "bytes missing": encoded()[:-1],
    "nothing": b"",
    "no text in text": encoded().replace(b"\xa1x", b"\xa1\xff"),
    "a list of fields": msgspec.msgpack.encode(list(FIELDS.values())),
    "a number": b"\x01",
    "an extension": b"\xc7\x01\x05x",
    "a time": msgspec.msgpack.encode(msgspec.msgpack.Ext(-1, bytes(4))),
    "a deep list": b"\x91" * 10_000,
    "a deep list in a field": encoded().replace(b"\x91\xc3", b"\x91" * 100_000 + b"\xc3"),
    "a list longer than the bytes": encoded().replace(b"\x91\xc3", b"\xdd\xff\xff\xff\xff\xc3"),
    "bytes longer than the bytes": encoded().replace(b"\xc4\x01y", b"\xc6\xff\xff\xff\xffy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_one_encoding_of_the_kind_is_malformed(name: str) -> None:
    assert REFUSED[name] != encoded()
    with pytest.raises(Malformed, match="Sample"):
        unpack(Sample, REFUSED[name])


def test_another_kind_is_malformed() -> None:
    with pytest.raises(Malformed, match="no well-formed Other"):
        unpack(Other, pack(Sample(1, "", [], b"", bytes(32))))


@settings(max_examples=500)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=60).map(lambda tail: encoded()[:30] + tail)))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message = unpack(Sample, data)
    except Malformed:
        return
    assert pack(message) == data


@settings(max_examples=400)
@given(SAMPLES, st.data())
def test_one_changed_byte_gives_another_message_or_none(message: Sample, data: st.DataObject) -> None:
    body = bytearray(pack(message))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert unpack(Sample, bytes(body)) != message
    except Malformed:
        return


def test_size_is_bounded_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_MESSAGE == 64 * 2**20
    monkeypatch.setattr(wire, "MAX_MESSAGE", 100)
    assert unpack(Sample, pack(Sample(1, "", [], bytes(10), bytes(32)))).count == 1
    monkeypatch.setattr(wire.msgspec.msgpack, "decode", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(Malformed, match="a message of 101 bytes is larger than the limit of 100"):
        unpack(Sample, bytes(101))


def test_require_says_what_should_have_been_true() -> None:
    require(1 < 2, "one is less than two")
    with pytest.raises(BrokenPromise, match=r"^not so: two is less than one$"):
        require(2 < 1, "two is less than one")


# Bits


@settings(max_examples=100)
@given(st.lists(st.booleans(), max_size=70))
def test_bits_come_back(flags: list[bool]) -> None:
    mask = np.array(flags, np.bool_)
    assert len(pack_bits(mask)) == (len(flags) + 7) // 8
    assert unpack_bits(pack_bits(mask), len(flags)).tolist() == flags


def test_bits_have_shape_and_order() -> None:
    mask = np.array([[True, False, False], [False, True, True]])
    assert pack_bits(mask) == bytes([0b10001100])
    assert unpack_bits(bytes([0b10001100]), 2, 3).tolist() == mask.tolist()
    assert pack_bits(mask.T) == bytes([0b10010100])
    assert unpack_bits(b"", 0, 5).shape == (0, 5)


@pytest.mark.parametrize(
    ("data", "shape", "sentence"),
    [
        (b"", (1,), "1 bits take 1 bytes"),
        (b"\x80\x00", (8,), "8 bits take 1 bytes"),
        (b"\x80", (9,), "9 bits take 2 bytes"),
        (b"\x00", (0, 8), "0 bits take 0 bytes"),
        (b"\x81", (7,), "padding bits are zero"),
        (b"\xff", (2, 3), "padding bits are zero"),
    ],
)
def test_bits_of_another_length_or_with_padding_are_refused(data: bytes, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(BrokenPromise, match=sentence):
        unpack_bits(data, *shape)
