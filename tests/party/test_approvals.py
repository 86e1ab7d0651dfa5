"""The rule of two: one person, one person twice, an old word and a used word are all refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import party_kit
import pytest

from ledger.keys import Identity, KeyType, Signer, SigningKey
from vfl.errors import UsageError
from vfl.party import approvers
from vfl.party.approvals import Deed, approve, approved
from vfl.party.keystore import unlock
from vfl.party.state import own_card

NOW = party_kit.NOW
DEED = Deed("pins", "ab" * 32)


def person(name: str, number: int = 1) -> Signer:
    return Signer(name, KeyType.NOTE, SigningKey(bytes([number]) * 32))


RISK, SECURITY, LEGAL = (person(name, number) for number, name in enumerate(("risk", "security", "legal"), 1))


@pytest.fixture
def state(parties: Path) -> Path:
    """The bank's, with two approvers."""
    found = parties / "bank/state"
    identity = unlock(found, party_kit.PASSPHRASE).identity.identity
    approvers.keep(found, identity, {one.name: one.verifying for one in (RISK, SECURITY)})
    return found


def do(state: Path, deed: Deed = DEED, after: timedelta = timedelta(0)) -> tuple[str, ...]:
    with approved(state, deed, NOW + after) as by:
        return by


def test_two_persons_can(state: Path) -> None:
    approve(state, DEED, RISK, NOW)
    approve(state, DEED, SECURITY, NOW)
    assert sorted(do(state)) == ["risk", "security"]


def test_one_cannot_nor_can_one_twice(state: Path) -> None:
    with pytest.raises(UsageError, match="2 of risk, security, and nobody did"):
        do(state)
    approve(state, DEED, RISK, NOW)
    approve(state, DEED, RISK, NOW + timedelta(seconds=1))
    with pytest.raises(UsageError, match="risk alone did"):
        do(state)


def test_an_approval_holds_for_a_week(state: Path) -> None:
    for one in (RISK, SECURITY):
        approve(state, DEED, one, NOW)
    with pytest.raises(UsageError, match="nobody did"):
        do(state, after=timedelta(days=7, seconds=1))
    with pytest.raises(UsageError, match="nobody did"):
        do(state, after=-timedelta(hours=1))
    assert do(state, after=timedelta(days=7))


def test_an_approval_is_for_one_thing_once(state: Path) -> None:
    kept = {path: path.read_bytes() for path in (approve(state, DEED, one, NOW) for one in (RISK, SECURITY))}
    with pytest.raises(UsageError, match="nobody did"):
        do(state, Deed("pins", "cd" * 32))
    with pytest.raises(UsageError, match="nobody did"):
        do(state, Deed("purge", DEED.subject))
    assert do(state)
    for path, data in kept.items():
        path.with_name("pins-again.txt").write_bytes(data)
        path.write_bytes(data)
    with pytest.raises(UsageError, match="nobody did"):
        do(state)


def test_a_used_approval_with_one_more_signature_is_not_new(state: Path) -> None:
    from ledger.note import Note, sign_note

    kept = [approve(state, DEED, one, NOW).read_bytes() for one in (RISK, SECURITY)]
    assert do(state)
    for number, data in enumerate(kept):
        note = Note.parse(data)
        more = note.with_lines(sign_note(note.text, [LEGAL]).signatures)
        (state / "approvals" / f"pins-{number}.txt").write_text(str(more))
    with pytest.raises(UsageError, match="nobody did"):
        do(state)


def test_a_deed_that_fails_leaves_its_approvals(state: Path) -> None:
    for one in (RISK, SECURITY):
        approve(state, DEED, one, NOW)
    with pytest.raises(RuntimeError, match="disk"), approved(state, DEED, NOW):
        raise RuntimeError("disk")
    assert do(state)


def test_only_approvers_approve(state: Path) -> None:
    for nobody in (LEGAL, person("risk", 9)):
        with pytest.raises(UsageError, match="no approver of bank"):
            approve(state, DEED, nobody, NOW)


def test_an_altered_approval_or_list_is_noticed(state: Path) -> None:
    path = approve(state, DEED, RISK, NOW)
    path.write_text(path.read_text().replace("party bank", "party tank"))
    with pytest.raises(UsageError, match="was altered"):
        do(state)
    listed = state / approvers.FILE
    listed.write_text(listed.read_text().replace("approver security", "approver nobody"))
    with pytest.raises(UsageError, match=r"approvers.txt was altered"):
        do(state)


def test_a_list_of_another_party_is_none(state: Path) -> None:
    approvers.keep(state, Identity("telecom", bytes(32)).identity, {})
    with pytest.raises(UsageError, match="bank has not signed it"):
        approvers.approvers(state, own_card(state).identity)


def test_a_party_without_two_approvers_is_not_held_up(parties: Path) -> None:
    state = parties / "bank/state"
    assert do(state) == ()
    approvers.keep(state, unlock(state, party_kit.PASSPHRASE).identity.identity, {"risk": RISK.verifying})
    assert do(state) == ()


def test_a_key_of_a_person(tmp_path: Path) -> None:
    path = tmp_path / "risk.key"
    vkey = approvers.make_key(path, "risk", party_kit.PASSPHRASE)
    assert approvers.open_key(path, party_kit.PASSPHRASE).verifying == vkey
    assert approvers.read_public(tmp_path / "risk.key.pub") == vkey
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="passphrase is wrong"):
        approvers.open_key(path, "another one, just as long")
    with pytest.raises(UsageError, match="never overwritten"):
        approvers.make_key(path, "risk", party_kit.PASSPHRASE)
    path.write_text(path.read_text()[:40])
    with pytest.raises(UsageError, match="no key file of a person"):
        approvers.open_key(path, party_kit.PASSPHRASE)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others may read it"):
        approvers.open_key(path, party_kit.PASSPHRASE)
