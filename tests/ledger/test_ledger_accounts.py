"""Accounts of conversations in a bundle: what they confirm, and what shows when they are bent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ledger_kit import World, found, pretty
from test_ledger_told import Conversation

from ledger import Code, Entry
from ledger.account import Account, account_in, account_of
from ledger.errors import BadEntry


class Unsigned(Conversation):
    """A conversation without envelopes whose heads are cosigned, as a bundle."""

    def __init__(self, cosigning: bool = True) -> None:
        super().__init__()
        self.world.end_round([*self.world.people] if cosigning else [])


@pytest.fixture
def world() -> World:
    return Unsigned().world


@pytest.fixture
def members(world: World, tmp_path: Path) -> dict[str, bytes]:
    return world.members(tmp_path / "run.bundle")


def edit_messages(change) -> object:
    """Change the third message in a log, and leave the rest."""

    def edit(entries: list[Entry]) -> list[Entry]:
        place = [place for place, entry in enumerate(entries) if entry.peer][2]
        return [change(entry) if at == place else entry for at, entry in enumerate(entries)]

    return edit


def other_digest(entry: Entry) -> Entry:
    assert entry.payload is not None
    return replace(entry, payload=replace(entry.payload, digest="ab" * 32))


def retold(entries: list[Entry]) -> list[Entry]:
    """The account that fits the entries."""
    account, told = None, []
    for entry in entries:
        if entry.peer:
            account = (account or Account(entry.peer)).with_messages([entry.envelope()])
        retell = account is not None and account_of(entry) is not None
        told.append(replace(entry, params=account.to_json()) if retell and account else entry)
    return told


def test_a_conversation_without_envelopes_is_valid(world: World, members: dict[str, bytes]) -> None:
    result = world.verify(members)
    assert result.code is Code.VALID, pretty(result)
    assert all(b'"env":null' in members[f"logs/{name}/entries.jsonl"] for name in world.people)
    world.forge(members, "bank", lambda entries: entries)
    assert world.verify(members).code is Code.VALID


def test_what_no_peer_cosigned_is_not_confirmed(tmp_path: Path) -> None:
    world = Unsigned(cosigning=False).world
    result = world.verify(world.members(tmp_path / "run.bundle"))
    assert result.code is Code.INVALID
    assert "no account confirms the message" in found(result, Code.INVALID, step=10, party="telecom")[0]


def test_an_account_that_does_not_fit_its_entries_is_named(world: World, members: dict[str, bytes]) -> None:
    world.forge(members, "telecom", edit_messages(other_digest))
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert "otherwise than the entries do" in " ".join(found(result, Code.INVALID, step=10, party="telecom"))


def test_a_history_retold_with_its_account_shows_at_the_other_end(world: World, members: dict[str, bytes]) -> None:
    world.forge(members, "telecom", lambda entries: retold(edit_messages(other_digest)(entries)))  # type: ignore[operator]
    result = world.verify(members)
    assert result.code is Code.INVALID, "one side's word is no proof against the other"
    assert any("tell different messages" in text for text in found(result, Code.INVALID, step=11))


def test_a_malformed_account_is_a_fault(world: World, members: dict[str, bytes]) -> None:
    def edit(entries: list[Entry]) -> list[Entry]:
        return [replace(e, params={"peer": "bank"}) if e.step == "account" else e for e in entries]

    world.forge(members, "telecom", edit)
    result = world.verify(members)
    assert "is no account" in " ".join(found(result, Code.INVALID, step=10, party="telecom"))


@pytest.mark.parametrize(
    "change",
    [{"said": -1}, {"said": True}, {"said_digest": "zz"}, {"said_digest": "AB" * 32}, {"peer": 7}, {"more": 1}],
)
def test_accounts_have_one_form(change: dict[str, object]) -> None:
    good = Account("telecom", 3, b"\1" * 32, 2, b"\2" * 32)
    assert account_in(good.to_json()) == good
    assert good.as_told_by_peer("bank").as_told_by_peer("telecom") == good
    with pytest.raises(BadEntry):
        account_in(good.to_json() | change)


def test_both_directions_are_counted() -> None:
    talk = Conversation(4)
    bank, telecom = (talk.accounts[name] for name in ("bank", "telecom"))
    assert (bank.said, bank.heard) == (telecom.heard, telecom.said) == (4, 2)
    assert bank == telecom.as_told_by_peer("telecom")
