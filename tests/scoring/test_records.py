"""Records of decisions are canonical JSON, whatever an applicant is called and whatever the words are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import encode
from vfl.scoring.drafts import _encoded

TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("az_09", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(BODIES)
def test_what_is_written_is_canonical(body: object) -> None:
    assert _encoded(body) == encode(body)
