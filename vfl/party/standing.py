"""What a party is, for the runs it takes part in: its keys and data, whom it trusts, and what it holds to be signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from ledger.keys import Identity
from vfl.agreement import Agreement
from vfl.config import PartyConfig
from vfl.errors import AgreementError
from vfl.net.calls import MAX_HEAD, MAX_OFFER
from vfl.net.tls import Known, OwnTls
from vfl.notary import PeerKeys
from vfl.randomness import Randomness


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """What the active party offers: a run under an agreement (the bytes of its file, with all signatures).

    held: the newest head of the hearer's ledger that the active party countersigned in this run; empty if none.
    """

    run: Annotated[str, msgspec.Meta(max_length=63)]
    agreement: Annotated[bytes, msgspec.Meta(max_length=MAX_OFFER)]
    held: Annotated[bytes, msgspec.Meta(max_length=MAX_HEAD)] = b""

    def encode(self) -> bytes:
        """As it travels."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Offer:
        """Raises AgreementError for anything that is no offer."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise AgreementError("that is no offer") from None


@dataclass(frozen=True)
class Admitted:
    """An agreement that all its parties signed and that has not expired: the keys it names are theirs.

    require_budget: told how many runs have begun under it, raises AgreementError if it allows no more.
    """

    agreement: Agreement
    keys: Mapping[str, PeerKeys]
    data: bytes
    require_budget: Callable[[int], None]


@dataclass(frozen=True)
class Standing:
    """A party. Functions are asked anew each time, for the files behind them may change.

    table: what the party brings, as a scenario file says it.   admit: raises AgreementError for what is not admitted.
    connect: seconds until a peer answers a call.   timeout: seconds without any word after which an attempt ends.
    patience: seconds that a run may stand still, through all attempts, before this party ends it for good.
    """

    name: str
    seed: bytes
    state: Path
    table: PartyConfig
    connect: float
    timeout: float
    patience: float
    tls: Callable[[], OwnTls]
    trusted: Callable[[], Mapping[str, Known]]
    admit: Callable[[bytes], Admitted]

    @property
    def runs(self) -> Path:
        """Where its runs are."""
        return self.state / "runs"

    @property
    def identity(self) -> Identity:
        """Its long-term keys."""
        return Identity(self.name, self.seed)

    def seed_of(self, run: str) -> bytes:
        """The seed of one run: it leads to no other, and not back to the long-term one."""
        return Randomness(self.seed).child(f"run/{run}").bytes(32)

    def __repr__(self) -> str:
        return f"Standing({self.name!r}, {self.state})"
