"""The rule of two over which model decides: two clients, or two approvers of a company, and nobody twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import party_kit
import pytest

from ledger.keys import KeyType, Signer, SigningKey
from vfl.clock import FixedClock
from vfl.errors import AgreementError, UsageError
from vfl.party import approvers
from vfl.party.approvals import Deed, approve
from vfl.party.keystore import unlock
from vfl.releasing import Rule
from vfl.scoring.registry import Described, Registry, What

A, B = "a" * 64, "b" * 64
NOW = party_kit.NOW
RISK, SECURITY = (
    Signer(name, KeyType.NOTE, SigningKey(bytes([n]) * 32)) for n, name in enumerate(("risk", "security"))
)


def ruled(folder: Path, state: Path | None = None, *, keys: bool = False, after: timedelta = timedelta(0)) -> Rule:
    """The rule over a champion A and a challenger B."""
    clock = FixedClock(NOW + after)
    registry = Registry(folder / "scoring", clock)
    if not registry.read().changes:
        for version in (A, B):
            registry.enter(
                "added", version, ("local",), model=Described("loans", "0" * 64, "gbdt", {"bank": ("x",)}, "r")
            )
    if keys:
        (folder / "api-keys.json").touch()
    return Rule(registry, state, folder / "api-keys.json", clock)


def champion(rule: Rule) -> str:
    return rule.registry.read().standings.champion


@pytest.fixture
def state(parties: Path) -> Path:
    """The bank's, with two approvers."""
    found = parties / "bank/state"
    identity = unlock(found, party_kit.PASSPHRASE).identity.identity
    approvers.keep(found, identity, {one.name: one.verifying for one in (RISK, SECURITY)})
    return found


def test_where_nobody_needs_a_key_one_person_is_enough(tmp_path: Path) -> None:
    rule = ruled(tmp_path)
    assert rule.asked_by("local", "promoted", B).state == "done"
    assert rule.at_keyboard("rolled-back", A).by == ("local",)
    assert champion(rule) == A


@pytest.mark.parametrize(("what", "share"), [("promoted", 0.0), ("share", 0.1)])
def test_two_clients_must_ask_and_none_twice(tmp_path: Path, what: What, share: float) -> None:
    rule = ruled(tmp_path, keys=True)
    first = rule.asked_by("alice", what, B, share)
    assert (first.state, first.approved_by, first.needed) == ("awaits approval", ("alice",), 2)
    with pytest.raises(AgreementError, match="alice has asked for it already"):
        rule.asked_by("alice", what, B, share)
    assert champion(rule) == A
    assert not rule.registry.read().standings.models[B].share
    second = rule.asked_by("bob", what, B, share)
    assert (second.state, second.approved_by) == ("done", ("alice", "bob"))
    assert rule.registry.read().changes[-1].by == ("alice", "bob")


def test_wishes_for_different_things_do_not_add_up(tmp_path: Path) -> None:
    rule = ruled(tmp_path, keys=True)
    rule.asked_by("alice", "share", B, 0.1)
    assert rule.asked_by("bob", "share", B, 0.9).state == "awaits approval"
    assert rule.asked_by("bob", "promoted", B).state == "awaits approval"
    assert champion(rule) == A


def test_a_wish_outlives_a_restart_and_holds_for_a_week(tmp_path: Path) -> None:
    ruled(tmp_path, keys=True).asked_by("alice", "promoted", B)
    late = ruled(tmp_path, keys=True, after=timedelta(days=7, seconds=1))
    assert late.asked_by("bob", "promoted", B).state == "awaits approval"
    assert late.asked_by("alice", "promoted", B).state == "done"


def test_a_wish_does_not_outlive_the_champion(tmp_path: Path) -> None:
    rule = ruled(tmp_path, keys=True)
    rule.asked_by("alice", "promoted", B)
    rule.asked_by("bob", "promoted", B)
    rule.asked_by("alice", "rolled-back", A)
    rule.asked_by("bob", "rolled-back", A)
    assert rule.asked_by("bob", "promoted", B).state == "awaits approval"
    assert champion(rule) == A


def test_the_keyboard_does_not_go_round_the_keys(tmp_path: Path) -> None:
    rule = ruled(tmp_path, keys=True)
    with pytest.raises(AgreementError, match="two clients with the scope admin must ask"):
        rule.at_keyboard("promoted", B)
    assert rule.at_keyboard("retired", B).what == "retired"


def test_less_needs_nobodys_word(tmp_path: Path) -> None:
    rule = ruled(tmp_path)
    rule.at_keyboard("share", B, 0.5)
    rule = ruled(tmp_path, keys=True)
    assert rule.asked_by("alice", "share", B, 0.2).state == "done"
    assert rule.at_keyboard("share", B, 0.0).share == 0.0


def test_what_cannot_be_is_not_asked_about(tmp_path: Path) -> None:
    rule = ruled(tmp_path, keys=True)
    before = rule.registry.path.read_bytes()
    with pytest.raises(AgreementError, match="is champion"):
        rule.asked_by("alice", "promoted", A)
    assert rule.registry.path.read_bytes() == before


ASKS: dict[str, Callable[[Rule], str]] = {
    "the API": lambda rule: rule.asked_by("alice", "promoted", B).state,
    "the keyboard": lambda rule: rule.at_keyboard("promoted", B).what,
}


@pytest.mark.parametrize("who", ASKS)
def test_two_approvers_of_a_company_must_have_approved(tmp_path: Path, state: Path, who: str) -> None:
    """Clients are no persons then: two of them are not enough. The approvals are used up."""
    rule = ruled(tmp_path, state, keys=True)
    deed = Deed.promoting(B)
    for signer, names in ((RISK, ()), (SECURITY, ("risk",))):
        release = rule.asked_by("alice", "promoted", B)
        assert (release.state, release.approved_by, release.needed) == ("awaits approval", names, 2)
        assert rule.asked_by("bob", "promoted", B).state == "awaits approval"
        with pytest.raises(UsageError, match="another model that decides must be approved by 2 of risk, security"):
            rule.at_keyboard("promoted", B)
        approve(state, deed, signer, NOW)
    assert ASKS[who](rule) in ("done", "promoted")
    assert sorted(rule.registry.read().changes[-1].by) == ["risk", "security"]
    assert rule.asked_by("alice", "rolled-back", A).state == "awaits approval"
    rule.registry.enter("rolled-back", A, ("test",))
    assert rule.asked_by("alice", "promoted", B).state == "awaits approval", "the approvals were for once"
