"""Handshake: both hold the same agreement for the same run, or nothing happens and the difference is named."""

from __future__ import annotations

import dataclasses
import json

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from vfl.agreement import Agreement, Member
from vfl.errors import AgreementError, BrokenPromise, VflError
from vfl.protocols import handshake
from vfl.protocols.handshake import WIRE_VERSION, Hello
from vfl.wire import pack

from .hostile import Role, Tape, assert_harmless, damage, play, record

AGREED = Agreement(
    "pos-loan",
    "joint credit default model",
    (Member("bank", "active", ("income",)), Member("telecom", "passive", ("calls", "age"))),
    {"kind": "gbdt", "num_leaves": 4},
    {"scheme": "paillier", "min_intersection": 10},
    {"id_rule": "text@1"},
    {"fraction": 0.3, "seed": 5},
)
TEXT = AGREED.encode()


def bank(run: str = "run-1", text: bytes = TEXT) -> Role:
    return lambda peers: handshake.active(peers["telecom"], run, text, "1.0")


def telecom(run: str = "run-1", text: bytes = TEXT) -> Role:
    return lambda peers: handshake.passive(peers["bank"], run, text, "1.1")


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return record({"bank": bank(), "telecom": telecom()}, [("bank", "telecom")])


def test_parties_with_the_same_agreement_go_on(tapes: dict[str, Tape]) -> None:
    assert [len(tape.messages()) for tape in tapes.values()] == [1, 1]


OTHERS = {
    "model.num_leaves: ours 4, theirs 5": {"model": {"kind": "gbdt", "num_leaves": 5}},
    "psi.id_rule: ours": {"psi": {"id_rule": "text@2"}},
    r"members\[telecom\].features": {"members": (AGREED.members[0], Member("telecom", "passive", ("calls",)))},
    "purpose: ours": {"purpose": "marketing"},
}


@pytest.mark.parametrize("sentence", OTHERS)
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_another_agreement_is_refused_by_either_side_naming_the_clause(
    tapes: dict[str, Tape], victim: str, sentence: str
) -> None:
    other = dataclasses.replace(AGREED, **OTHERS[sentence]).encode()
    tape, role = tapes[victim], bank() if victim == "bank" else telecom()
    fate = play(tape.replace(tape.place("Hello"), pack(Hello("run-1", other, WIRE_VERSION, "1.0"))), role)
    with pytest.raises(AgreementError, match=sentence):
        raise fate
    assert ("telecom" if victim == "bank" else "bank") in str(fate)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        (Hello("run-2", TEXT, WIRE_VERSION, "1.0"), "the peer is here for the same run"),
        (Hello("run-1", TEXT, WIRE_VERSION + 1, "1.0"), f"the peer speaks wire version {WIRE_VERSION}"),
    ],
)
def test_another_run_or_wire_version_is_refused(
    tapes: dict[str, Tape], victim: str, hello: Hello, sentence: str
) -> None:
    tape, role = tapes[victim], bank() if victim == "bank" else telecom()
    fate = play(tape.replace(tape.place("Hello"), pack(hello)), role)
    assert isinstance(fate, BrokenPromise)
    assert sentence in str(fate)


def test_the_passive_party_answers_before_it_refuses() -> None:
    """So that both ends learn in which clause they differ."""
    other = dataclasses.replace(AGREED, scenario="other").encode()
    with pytest.raises(AgreementError, match="scenario"):
        record({"bank": bank(text=other), "telecom": telecom()}, [("bank", "telecom")])


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_silence_disorder_and_typed_lies_end_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    assert_harmless(tapes[victim], bank() if victim == "bank" else telecom())


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_damaged_frames_end_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    @examples(100, thorough=300)
    @given(damage(tapes[victim]))
    def attack(damaged: Tape) -> None:
        play(damaged, bank() if victim == "bank" else telecom())

    attack()


@examples(100, thorough=300)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        ).map(lambda value: json.dumps({"model": value, "members": value}).encode()),
    )
)
def test_any_other_text_is_another_agreement(tapes: dict[str, Tape], text: bytes) -> None:
    tape = tapes["bank"]
    fate = play(tape.replace(tape.place("Hello"), pack(Hello("run-1", text, WIRE_VERSION, "1.0"))), bank())
    assert isinstance(fate, VflError)
