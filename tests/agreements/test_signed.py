"""Signed agreements: all sign the same bytes, and whatever else they say names the clause or the party."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import party_kit
import pytest

from ledger.keys import Identity
from vfl.agreement import Agreement
from vfl.agreements.downgrades import downgrades
from vfl.agreements.leakage import LEAKS, leaks_of
from vfl.agreements.signed import SignedAgreement
from vfl.agreements.telling import summary
from vfl.clauses import Contract
from vfl.errors import AgreementError, UsageError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = party_kit.identities()
DRAFT = party_kit.drafted()
SIGNED = DRAFT.sign(KEYS["bank"].identity).sign(KEYS["telecom"].identity)


def changed(signed: SignedAgreement, *changes: tuple[str, Any]) -> bytes:
    """The file with clauses changed, in its one form."""
    body = json.loads(signed.encode())
    for place, value in changes:
        *path, last = place.split(".")
        target = body["agreement"]
        for step in path:
            target = target[int(step)] if isinstance(target, list) else target[step]
        target[last] = value
    return (json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "joint.agreement"
    SIGNED.write(path)
    found = SignedAgreement.read(path)
    assert found == SIGNED
    assert found.agreement.digest == DRAFT.agreement.digest, "signatures are beside the bytes, not in them"
    assert dict(found.parties) == {name: keys.public for name, keys in KEYS.items()}
    found.verify(NOW)


def test_an_agreement_without_contract_keeps_its_bytes() -> None:
    bare = replace(DRAFT.agreement, contract=None)
    assert b"contract" not in bare.encode()
    assert Agreement.decode(bare.encode()) == bare
    assert json.loads(bare.encode()).items() <= json.loads(DRAFT.agreement.encode()).items()
    with pytest.raises(AgreementError, match="has no contract"):
        SignedAgreement.decode(SignedAgreement(bare).encode())


def test_the_order_of_signing_does_not_show() -> None:
    assert DRAFT.sign(KEYS["telecom"].identity).sign(KEYS["bank"].identity).encode() == SIGNED.encode()
    assert SIGNED.sign(KEYS["bank"].identity) == SIGNED


def test_copies_in_either_order_make_the_same_bytes() -> None:
    copies = [DRAFT, *(DRAFT.sign(keys.identity) for keys in KEYS.values()), SIGNED]
    for one in copies:
        assert one.merged(one, "copy") == one
        for other in copies:
            both = one.merged(other, "copy")
            assert both.encode() == other.merged(one, "copy").encode()
            assert set(both.signed_by()) == {*one.signed_by(), *other.signed_by()}


def test_copies_that_do_not_fit_are_not_put_together() -> None:
    bank, telecom = (DRAFT.sign(keys.identity) for keys in KEYS.values())
    wide = SignedAgreement.decode(changed(telecom, ("model.num_iterations", 300)))
    with pytest.raises(AgreementError, match=r"copy differs from ours in model.num_iterations: ours 3, theirs 300"):
        bank.merged(wide, "copy")
    line = telecom.signatures[0]
    wrong = replace(telecom, signatures=(replace(line, blob=bytes(64)),))
    stranger = replace(telecom, signatures=(replace(line, name="bureau"),))
    for one, other in ((bank, wrong), (wrong, bank), (SIGNED, wrong), (bank, stranger), (stranger, bank)):
        with pytest.raises(
            AgreementError, match=r"signature of telecom is not for these|signature by bureau is by a key"
        ):
            one.merged(other, "copy")


def test_a_partly_signed_agreement_names_who_is_missing() -> None:
    with pytest.raises(AgreementError, match=r"^telecom has not signed"):
        DRAFT.sign(KEYS["bank"].identity).verify(NOW)
    with pytest.raises(AgreementError, match=r"^bank, telecom have not signed"):
        DRAFT.verify(NOW)


def test_an_agreement_ends_with_its_last_day() -> None:
    signed = party_kit.drafted(expires="2026-06-01")
    for keys in KEYS.values():
        signed = signed.sign(keys.identity)
    signed.verify(datetime(2026, 6, 1, 23, 59, tzinfo=UTC))
    with pytest.raises(AgreementError, match=r"contract.expires is 2026-06-01, and today is 2026-06-02"):
        signed.verify(datetime(2026, 6, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("purpose", "marketing"),
        ("contract.expires", "2098-12-31"),
        ("contract.legal_basis", "consent"),
        ("contract.budgets", {"runs": 3}),
        ("contract.revenue", {"rule": "none"}),
        ("privacy.min_bin_population", 5),
        ("model.num_iterations", 300),
        ("members.1.features", ["calls", "tenure"]),
        ("contract.leakage", [*leaks_of(DRAFT.agreement), "node-members"]),
    ],
)
def test_an_altered_clause_fits_no_signature(place: str, value: object) -> None:
    data = changed(SIGNED, (place, sorted(value) if place.endswith("leakage") else value))  # type: ignore[call-overload]
    with pytest.raises(AgreementError, match="signature of bank is not for these clauses"):
        SignedAgreement.decode(data).verify(NOW)


def test_a_signature_by_a_key_that_is_not_named() -> None:
    impostor = Identity("telecom", bytes(32))
    with pytest.raises(AgreementError, match="another key for telecom"):
        DRAFT.sign(impostor.identity)
    with pytest.raises(AgreementError, match="bureau is not a party"):
        DRAFT.sign(Identity("bureau", bytes(32)).identity)
    forged = party_kit.drafted({"bank": KEYS["bank"], "telecom": impostor}).sign(impostor.identity)
    both = replace(SIGNED, signatures=(SIGNED.signatures[0], forged.signatures[0]))
    with pytest.raises(AgreementError, match="signature by telecom is by a key that the agreement does not name"):
        both.verify(NOW)


def test_a_witness_key_signs_nothing_here() -> None:
    line = SIGNED.signatures[0]
    for wrong in (replace(line, name="bank/witness"), replace(line, blob=bytes(64))):
        with pytest.raises(AgreementError, match="bank"):
            replace(SIGNED, signatures=(wrong, SIGNED.signatures[1])).verify(NOW)
    with pytest.raises(AgreementError, match="signed twice"):
        replace(SIGNED, signatures=(line, line, SIGNED.signatures[1])).signed_by()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("contract.expires", "31.12.2027", "contract.expires is '31.12.2027'"),
        ("contract.expires", 2027, "contract.expires is 2027"),
        ("contract.legal_basis", " ", "contract.legal_basis is blank"),
        ("contract.leakage", ["split-answers", "bin-sums"], "contract.leakage is not a sorted list"),
        ("contract.budgets", {"runs": 0}, "contract.budgets.runs is 0"),
        ("contract.budgets", {"walks": 1}, "contract.budgets.walks"),
        ("contract.budgets", {"scores_per_day": 0}, "contract.budgets.scores_per_day is 0"),
        ("contract.budgets", {"scores_per_day": True}, "contract.budgets.scores_per_day is True"),
        ("contract.budgets", {"scores": 1.5}, "contract.budgets.scores is 1.5"),
        ("contract.revenue", {"rule": "luck"}, "contract.revenue.rule is 'luck'"),
        ("contract.revenue", {"rule": "shares", "bank": 9999, "telecom": 2}, "10000 in all"),
        ("contract.revenue", {"rule": "shares", "bank": 10000}, "contract.revenue shares out to bank 10000"),
        ("contract.revenue", {"rule": "equal", "bank": 1}, "has shares beside"),
        ("contract.revenue", {}, "contract.revenue.rule is None"),
        ("contract.parties", {}, "no keys of all members"),
        ("contract.parties.telecom", ["x", "y"], "contract.parties"),
        ("contract.more", 1, "contract lacks or should not have: more"),
        ("contract", {}, "contract lacks .*: budgets, expires"),
        ("contract", None, "contract lacks"),
        ("members", [], "no active party"),
    ],
)
def test_a_clause_that_cannot_be_is_named(place: str, value: object, words: str) -> None:
    with pytest.raises(AgreementError) as caught:
        SignedAgreement.decode(changed(DRAFT, (place, value)))
    assert re.search(words, caught.value.diagnostics()), caught.value.diagnostics()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("privacy.min_bin_population", 0, r"agreement: \[privacy\] min_bin_population is '0'"),
        ("privacy.levels", "hidden", "unknown key 'levels'"),
        ("privacy.scheme", "rot13", "scheme is 'rot13'"),
        ("psi.protocol", "trust", "protocol is 'trust'"),
        ("holdout.fraction", 2.0, "fraction is '2.0'"),
        ("model.num_leaves", -1, "num_leaves"),
        ("model.num_leafs", 3, "num_leafs"),
        ("members.0.role", "passive", "no active party"),
        ("members.1.role", "boss", "role is 'boss'"),
        ("members.1.features", ["calls", "calls"], "features is"),
    ],
)
def test_clauses_that_no_run_can_follow_are_refused(place: str, value: object, words: str) -> None:
    with pytest.raises(AgreementError, match=words):
        SignedAgreement.decode(changed(DRAFT, (place, value)))


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: data.replace(b"\n  ", b"\n   ", 1),
        lambda data: data + b"\n",
        lambda data: data.replace(b'"purpose": ', b'"purpose": "marketing",\n    "purpose": '),
        lambda data: data.replace(b"tallystick-agreement-v1", b"tallystick-agreement-v2"),
        lambda data: data[:-40],
        lambda data: b"",
        lambda data: b"[" * 100_000,
        lambda data: b'{"agreement": {}, "signatures": 3}',
        lambda data: b"\xff" + data,
        lambda data: data.replace(b"AgreementX", b"") + b" " * 3_000_000,
    ],
)
def test_what_the_program_would_not_have_written_is_refused(alter: Any, tmp_path: Path) -> None:
    path = tmp_path / "altered.agreement"
    path.write_bytes(alter(SIGNED.encode()))
    with pytest.raises(AgreementError, match=r"altered.agreement"):
        SignedAgreement.read(path)


def test_every_flipped_bit_is_noticed() -> None:
    data = SIGNED.encode()
    for place in range(0, len(data), 37):
        other = bytearray(data)
        other[place] ^= 1 << place % 7
        with pytest.raises((AgreementError, UsageError)):
            SignedAgreement.decode(bytes(other)).verify(NOW)


# ---- leakage ---------------------------------------------------------------------------------------------------------


def test_what_a_run_shows_must_be_allowed() -> None:
    open_ = party_kit.drafted(privacy='scheme = "paillier"\n')
    assert open_.contract.leakage == ("bin-sums", "common-customers", "node-members", "split-answers")
    contract = replace(open_.contract, leakage=leaks_of(DRAFT.agreement))
    signed = SignedAgreement(replace(open_.agreement, contract=contract))
    for keys in KEYS.values():
        signed = signed.sign(keys.identity)
    with pytest.raises(AgreementError, match=r"contract.leakage does not allow node-members"):
        signed.verify(NOW)


def test_every_code_is_of_some_agreement_and_explained() -> None:
    seen = {
        *leaks_of(DRAFT.agreement),
        *leaks_of(party_kit.drafted(privacy='scheme = "paillier"\nmerge_models = true\n').agreement),
        *leaks_of(party_kit.drafted(psi="decoys = 0.5\n").agreement),
        *leaks_of(party_kit.drafted(model='kind = "scorecard"\n').agreement),
    }
    assert seen == LEAKS.keys()


def test_a_budget_ends() -> None:
    DRAFT.require_budget(1)
    with pytest.raises(AgreementError, match=r"contract.budgets.runs is 2, and 2 runs have begun"):
        DRAFT.require_budget(2)


# ---- less privacy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"privacy": 'scheme = "paillier"\n'}, "privacy.level is disclosed, and was hidden"),
        ({"privacy": "min_bin_population = 19\n"}, "privacy.min_bin_population is 19, and was 20"),
        ({"privacy": "min_intersection = 100\n"}, "privacy.min_intersection is 100"),
        ({"privacy": "merge_models = true\n"}, "privacy.merge_models is True"),
        ({"psi": "max_set_size = 20000000\n"}, "psi.max_set_size"),
    ],
)
def test_less_than_the_defaults_is_a_downgrade(tables: dict[str, str], words: str) -> None:
    assert any(words in each for each in downgrades(party_kit.drafted(**tables).agreement, None))


def test_more_than_before_is_none() -> None:
    assert downgrades(DRAFT.agreement, None) == []
    strict = party_kit.drafted(
        privacy='cell_noise = 0.5\nmin_bin_population = 50\nreceipts = "message"\n', psi="decoys = 0.5\n"
    )
    assert downgrades(strict.agreement, DRAFT.agreement) == ["contract.leakage allows common-customers-among-decoys"]
    back = downgrades(DRAFT.agreement, strict.agreement)
    for clause in ("cell_noise", "min_bin_population", "receipts", "decoys", "leakage"):
        assert any(clause in each for each in back), clause


def test_parts_told_again_are_a_downgrade() -> None:
    masked = replace(DRAFT.agreement, privacy=DRAFT.agreement.privacy | {"masked_scores": True})
    assert not any("masked_scores" in each for each in downgrades(masked, DRAFT.agreement))
    assert any("masked_scores is False, and was True" in each for each in downgrades(DRAFT.agreement, masked))


def test_more_columns_parties_or_runs_are_downgrades() -> None:
    bank, telecom = DRAFT.agreement.members
    wider = replace(DRAFT.agreement, members=(bank, replace(telecom, features=("calls", "tenure"))))
    assert downgrades(wider, DRAFT.agreement) == ["members[telecom].features has tenure besides"]
    assert downgrades(DRAFT.agreement, wider) == []
    third = replace(DRAFT.agreement, members=(bank, telecom, replace(telecom, name="shop")))
    assert downgrades(third, DRAFT.agreement) == ["members[shop] is new"]
    for budgets in ({"runs": 3}, {}):
        contract = replace(DRAFT.contract, budgets=budgets)
        assert "contract.budgets.runs" in downgrades(replace(DRAFT.agreement, contract=contract), DRAFT.agreement)[0]


@pytest.mark.parametrize("more", [{"scores_per_day": 1001}, {}])
def test_more_scores_a_day_are_a_downgrade(more: dict[str, int]) -> None:
    def bounded(budgets: dict[str, int]) -> Agreement:
        return replace(DRAFT.agreement, contract=replace(DRAFT.contract, budgets={"runs": 2, **budgets}))

    before = bounded({"scores_per_day": 1000})
    (told,) = downgrades(bounded(more), before)
    assert told.startswith(
        f"contract.budgets.scores_per_day is {more.get('scores_per_day', 'without bound')}, and was 1000"
    )
    assert downgrades(before, bounded(more)) == []


def test_words_of_others_do_not_reach_the_terminal() -> None:
    hostile = replace(DRAFT.agreement, purpose="joint\x1b[2J\u202emodel\nparty       bank (active): signed")
    lines = summary(SignedAgreement(hostile))
    assert all(line.isprintable() for line in lines)
    assert len(lines) == len(summary(DRAFT))


def test_a_contract_says_what_it_can_count() -> None:
    with pytest.raises(AgreementError, match=r"contract.budgets.walks is 1"):
        Contract({}, "x", "2027-01-01", (), {"walks": 1}, {"rule": "none"}).check()
