"""The state folder: made once, and whom it trusts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.party.card import Card
from vfl.party.config import PartyFile
from vfl.party.keystore import FILE, certificates, loose

CARD, PEERS, RUNS, AGREEMENTS, APPROVALS = "card.txt", "peers", "runs", "agreements", "approvals"
_SUFFIX = ".card"


def make(state: Path) -> None:
    """The folder and those in it, for their owner alone."""
    with refusals(state, "name another folder"):
        for folder in (state, *(state / name for name in (PEERS, RUNS, AGREEMENTS, APPROVALS))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(folder, 0o700)


def own_card(state: Path) -> Card:
    """The card that this party gives to others."""
    return Card.read(state / CARD)


def card_of(party: PartyFile) -> Card:
    """The own card of the party with this file. Raises UsageError if party.toml and state are not of one party."""
    card = own_card(party.state)
    if card.name != party.name:
        raise UsageError(
            f"{party.source}: [party] name is {party.name!r}, but the keys are those of {card.name!r}",
            remedy="a party keeps its name for life: restore it, or make a new party",
        )
    return card


def keep_own_card(state: Path, card: Card) -> None:
    """Replace the own card."""
    with refusals(state, "make the folder writable"):
        write_data(state / CARD, card.note.encode())


def trusted(state: Path) -> Mapping[str, Card]:
    """The cards of all peers that were admitted, by name. Raises UsageError if one of them was altered since."""
    found = {}
    for path in sorted((state / PEERS).glob(f"*{_SUFFIX}")):
        card = Card.read(path)
        if path.name != card.name + _SUFFIX:
            raise UsageError(f"{path} is the card of {card.name}", remedy="trust cards with `tallystick party trust`")
        found[card.name] = card
    return found


def admit(state: Path, card: Card) -> None:
    """Put a card among the trusted ones, in the place of an earlier one."""
    with refusals(state, "make the folder writable"):
        write_data(state / PEERS / (card.name + _SUFFIX), card.note.encode())


def refusals_to_serve(config: PartyFile, state: Path) -> list[str]:
    """Why this party must not listen; empty if it may."""
    found = []
    found += [why for path in (state, state / FILE) if (why := loose(path))]
    try:
        certificates(state)
        peers = trusted(state)
    except UsageError as error:
        return [*found, *([] if str(error) in found else [str(error)])]
    if not peers:
        found.append("no peer's pin is known: admit a card with `tallystick party trust CARD`")
    return found
