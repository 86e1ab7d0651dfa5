"""A peer's card is admitted: new, newer, or with other keys than before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vfl.errors import UsageError
from vfl.party.card import Card
from vfl.party.state import own_card, trusted


@dataclass(frozen=True)
class Admission:
    """What trusting a card would change; `before` is the card that is trusted now."""

    card: Card
    before: Card | None

    @property
    def new_identity(self) -> bool:
        """Whether somebody else may have made it."""
        return self.before is not None and self.before.identity != self.card.identity

    @property
    def new_pins(self) -> tuple[str, ...]:
        """Pins that would count and did not before."""
        return tuple(pin for pin in self.card.pins if self.before is None or pin not in self.before.pins)

    @property
    def sensitive(self) -> bool:
        """Whether two persons must have approved it."""
        return self.before is not None and (self.new_identity or set(self.card.pins) != set(self.before.pins))

    @property
    def words(self) -> str:
        """What changes, for people."""
        if self.before is None:
            return "a new peer"
        if self.new_identity:
            return "ANOTHER IDENTITY under a known name"
        if self.sensitive:
            return f"another certificate: {len(self.new_pins)} new, {len(self.card.pins)} in all"
        if self.card == self.before:
            return "nothing; it is trusted already"
        return "another address" if self.card.address != self.before.address else "only its date"


def examine(state: Path, card: Card) -> Admission:
    """What trusting it would change. Raises UsageError for our own card, an older one, or keys of another peer."""
    own = own_card(state)
    if card.name == own.name:
        raise UsageError(f"this is a card of {own.name}, which is this party's own name")
    peers = trusted(state)
    before = peers.get(card.name)
    for other in (own, *peers.values()):
        if other.name != card.name and (
            {other.identity.public} & {card.identity.public} or set(other.pins) & set(card.pins)
        ):
            raise UsageError(f"the card of {card.name} has a key of {other.name}", remedy="ask both whose it is")
    if before is not None and card.identity == before.identity and card.created < before.created:
        raise UsageError(
            f"the card of {card.name} is of {card.created}, and a newer one of {before.created} is trusted",
            remedy="ask for its newest card",
        )
    return Admission(card, before)


def require_heard(card: Card, told: str) -> None:
    """Raise UsageError unless the digits that somebody heard are those of the card."""
    digits = "".join(told.split()).replace("-", "")
    if digits != card.fingerprint.replace(" ", ""):
        raise UsageError(
            f"the fingerprint of {card.name} is {card.fingerprint}, not the one given",
            remedy="have it read out again by somebody you know there; if it differs, the card is not theirs",
        )
