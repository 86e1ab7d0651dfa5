"""The agreement: one text for all parties, read back whole, and differences named clause by clause."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.agreement import Agreement, Member, require_same
from vfl.errors import AgreementError

AGREED = Agreement(
    scenario="贷款",
    purpose="joint credit default model",
    members=(
        Member("bank", "active", ("income", "limit")),
        Member("telecom", "passive", ("calls",)),
        Member("payroll", "passive", ("salary", "months")),
    ),
    model={"kind": "gbdt", "num_leaves": 31, "learning_rate": 0.1, "boost_from_average": True},
    privacy={"scheme": "paillier", "key_bits": 2048},
    psi={"id_rule": "phone-cn@1"},
    holdout={"fraction": 0.3, "seed": 5},
)

SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
CLAUSES = st.dictionaries(st.text(max_size=8), SCALARS, max_size=4)
WORDS = st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3)
MEMBERS = st.builds(
    Member, st.text(max_size=8), st.sampled_from(["active", "passive"]), st.tuples(st.text(max_size=5)), WORDS
)
AGREEMENTS = st.builds(
    Agreement, st.text(), st.text(), st.lists(MEMBERS, max_size=4).map(tuple), CLAUSES, CLAUSES, CLAUSES, CLAUSES
)


@settings(max_examples=150)
@given(AGREEMENTS)
def test_every_agreement_comes_back(agreement: Agreement) -> None:
    assert Agreement.decode(agreement.encode()) == agreement
    assert agreement.digest == hashlib.sha256(agreement.encode()).hexdigest()


def test_the_text_is_canonical_json() -> None:
    text = AGREED.encode().decode()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert "贷款" in text
    shuffled = dataclasses.replace(AGREED, model=dict(reversed(AGREED.model.items())))
    assert shuffled.encode() == AGREED.encode()


TEXT = AGREED.encode()
CHANGED = json.loads(TEXT)
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff",
    "a list": b"[]",
    "a number": b"7",
    "nothing agreed": b"{}",
    "spaces": TEXT.replace(b":", b": "),
    "a trailing line": TEXT + b"\n",
    "escapes": json.dumps(CHANGED, sort_keys=True, separators=(",", ":")).encode(),
    "another order": json.dumps(CHANGED, separators=(",", ":"), ensure_ascii=False)[::1]
    .encode()
    .replace(b'"holdout"', b'"zholdout"'),
    "a clause twice": TEXT.replace(b'{"holdout"', b'{"purpose":"x","holdout"'),
    "a clause more": TEXT.replace(b'{"holdout"', b'{"extra":1,"holdout"'),
    "a clause less": TEXT.replace(b'"purpose":"joint credit default model",', b""),
    "another version": TEXT.replace(b'"version":1', b'"version":2'),
    "a member without a role": TEXT.replace(b'"role":"active"', b'"rule":"active"'),
    "reasons that are no table": TEXT.replace(b'["calls"]', b'["calls"],"reasons":"ab"'),
    "reasons that are none": TEXT.replace(b'["calls"]', b'["calls"],"reasons":{}'),
    "features that are no list": TEXT.replace(b'["calls"]', b"3"),
    "deep lists": b"[" * 200_000,
    "half a character": TEXT.replace("贷款".encode(), b"\\ud800"),
    "no number": TEXT.replace(b"0.3", b"NaN"),
    "a number written otherwise": TEXT.replace(b"0.3", b"0.30"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_text_is_refused(name: str) -> None:
    assert REFUSED[name] != TEXT
    with pytest.raises(AgreementError):
        Agreement.decode(REFUSED[name])


def test_values_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(AGREED, model={"learning_rate": float("nan")}).encode()


# Differences

Change = Callable[[dict[str, Any]], object]
DIFFERENCES: dict[str, Change] = {
    'scenario: ours "贷款", theirs "other"': lambda body: body.update(scenario="other"),
    "model.num_leaves: ours 31, theirs 63": lambda body: body["model"].update(num_leaves=63),
    "model.learning_rate: ours 0.1, theirs null": lambda body: body["model"].pop("learning_rate"),
    "model.lambda_l2: ours null, theirs 1.0": lambda body: body["model"].update(lambda_l2=1.0),
    "model.boost_from_average: ours true, theirs false": lambda body: body["model"].update(boost_from_average=False),
    "privacy.key_bits: ours 2048, theirs 3072": lambda body: body["privacy"].update(key_bits=3072),
    'psi.id_rule: ours "phone-cn@1", theirs "phone-cn@2"': lambda body: body["psi"].update(id_rule="phone-cn@2"),
    "holdout.seed: ours 5, theirs 6": lambda body: body["holdout"].update(seed=6),
    'members[telecom].features[0]: ours "calls", theirs "age"': lambda body: body["members"][1].update(
        features=["age"]
    ),
    'members[payroll].features: ours ["salary", "months"], theirs ["salary"]': lambda body: body["members"][2].update(
        features=["salary"]
    ),
    'members[telecom].role: ours "passive", theirs "active"': lambda body: body["members"][1].update(role="active"),
    "members: ours [": lambda body: body["members"].pop(),
    "version: ours 1, theirs 2": lambda body: body.update(version=2),
    'psi: ours {"id_rule": "phone-cn@1"}, theirs []': lambda body: body.update(psi=[]),
}


def test_words_for_customers_are_part_of_what_is_agreed() -> None:
    bank, telecom, payroll = AGREED.members
    spoken = dataclasses.replace(AGREED, members=(bank, dataclasses.replace(telecom, reasons={"calls": "少"}), payroll))
    assert "reasons" not in TEXT.decode(), "agreements without words are what they were"
    assert spoken.digest != AGREED.digest
    with pytest.raises(AgreementError, match=r'members\[telecom\]\.reasons: ours null, theirs \{"calls": "少"\}'):
        require_same(TEXT, spoken.encode(), "telecom")


def changed(change: Change) -> bytes:
    body = json.loads(TEXT)
    change(body)
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("sentence", DIFFERENCES)
def test_the_clause_that_differs_is_named_with_both_values(sentence: str) -> None:
    with pytest.raises(AgreementError) as caught:
        require_same(TEXT, changed(DIFFERENCES[sentence]), "telecom")
    assert f"the agreement of telecom differs from ours in {sentence}" in str(caught.value)
    assert "give it to every party" in caught.value.remedy


def test_several_differences_are_named_up_to_five() -> None:
    def all_of_it(body: dict[str, Any]) -> None:
        for clause in ("model", "privacy", "psi", "holdout"):
            body[clause] = dict.fromkeys(body[clause], 0)

    with pytest.raises(AgreementError) as caught:
        require_same(TEXT, changed(all_of_it), "telecom")
    assert str(caught.value).count("theirs 0") == 5
    assert "holdout.fraction: ours 0.3, theirs 0; holdout.seed: ours 5, theirs 0; model." in str(caught.value)


def test_the_same_clauses_in_other_bytes_are_named_as_such() -> None:
    require_same(TEXT, TEXT, "telecom")
    with pytest.raises(AgreementError, match="differs from ours in its encoding"):
        require_same(TEXT, TEXT + b" ", "telecom")


@pytest.mark.parametrize("theirs", [b"", b"\xff\xfe", b"{", b"1" * 5000, b"[" * 200_000])
def test_what_is_no_json_is_named_as_such(theirs: bytes) -> None:
    with pytest.raises(AgreementError, match="the agreement that telecom sent is no JSON text"):
        require_same(TEXT, theirs, "telecom")


@pytest.mark.parametrize("depth", range(960, 1000))
def test_nesting_as_deep_as_json_reads_is_another_agreement(depth: int) -> None:
    for theirs in (b"[" * depth + b"]" * depth, b'{"psi":' + b"[" * depth + b"]" * depth + b"}"):
        with pytest.raises(AgreementError):
            require_same(TEXT, theirs, "telecom")


def test_names_and_values_of_a_peer_are_fit_to_be_shown() -> None:
    theirs = json.dumps({"psi": {"\x1b[31m" + "k" * 50_000: "\ud800"}}).encode()
    with pytest.raises(AgreementError) as caught:
        require_same(TEXT, theirs, "telecom")
    assert len(str(caught.value)) < 1_000
    assert str(caught.value).isprintable()


def test_long_values_are_cut() -> None:
    with pytest.raises(AgreementError) as caught:
        require_same(TEXT, changed(lambda body: body.update(purpose="x" * 100_000)), "telecom")
    assert len(str(caught.value)) < 300


# Members


def test_members_are_found_by_role_and_name() -> None:
    assert AGREED.active.name == "bank"
    assert [member.name for member in AGREED.passives] == ["telecom", "payroll"]
    assert AGREED.member("payroll").features == ("salary", "months")
    with pytest.raises(AgreementError, match="insurer is not a party of this agreement: bank, telecom, payroll"):
        AGREED.member("insurer")
