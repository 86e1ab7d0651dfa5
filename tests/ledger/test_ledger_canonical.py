import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import MAX_BYTES, MAX_INT, decode, encode
from ledger.errors import NotCanonical

keys = st.text(st.characters(max_codepoint=127), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


def depth(value):
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth, parts), default=0)


@given(values)
def test_agrees_with_rfc8785(value):
    if depth(value) > 8:
        with pytest.raises(NotCanonical, match="deeper"):
            encode(value)
    else:
        assert encode(value) == rfc8785.dumps(value)
        assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), MAX_INT + 1, -MAX_INT - 1, {"é": 1}, {1: 2}, "\ud800", b"x", (1,), {"a": {1, 2}}],
)
def test_refuses_values(value):
    with pytest.raises(NotCanonical):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b"[1]\n",
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b'"\\u0041"',
        b'"\\/"',
        b"\xff",
        b"\xef\xbb\xbf1",
        b"[" * 60_000,
        b"9007199254740992",
        b"1" * 5000,
    ],
)
def test_refuses_bytes(data):
    with pytest.raises(NotCanonical):
        decode(data)


def test_limits():
    assert len(encode("x" * (MAX_BYTES - 2))) == MAX_BYTES
    with pytest.raises(NotCanonical, match="65537"):
        encode("x" * (MAX_BYTES - 1))
    with pytest.raises(NotCanonical, match="limit"):
        decode(b'"' + b"x" * MAX_BYTES + b'"')
    deep = json.loads("[" * 8 + "]" * 8)
    assert decode(encode(deep)) == deep
    with pytest.raises(NotCanonical, match="deeper"):
        encode([deep])
