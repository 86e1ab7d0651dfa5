"""From a party's file and unlocked keys to what it is in runs; what changes on disk is read anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from ledger.keys import PublicIdentity
from vfl.agreements.signed import SignedAgreement
from vfl.clock import Clock
from vfl.errors import AgreementError, UsageError
from vfl.net.tls import Known, OwnTls
from vfl.notary import PeerKeys
from vfl.party.card import Card
from vfl.party.config import PartyFile
from vfl.party.keystore import FILE, Keys
from vfl.party.standing import Admitted, Standing
from vfl.party.state import PEERS, trusted

T = TypeVar("T")


def standing_of(file: PartyFile, keys: Keys, clock: Clock) -> Standing:
    """The party of `file`, whose keys are `keys`. Raises UsageError if it brings no table."""
    if file.table is None:
        raise UsageError(f"{file.source} has no [data]", remedy="name the party's table: the template shows how")
    if keys.name != file.name:
        raise UsageError(f"{file.source} is of {file.name}, and the keys are of {keys.name}")

    def read_tls() -> OwnTls:
        now = keys.again(file.state)
        return OwnTls(now.tls_key, now.certificate)

    def read_cards() -> Mapping[str, Card]:
        return trusted(file.state)

    cards = _Cached(file.state / PEERS, read_cards)

    def admit(data: bytes) -> Admitted:
        signed = SignedAgreement.decode(data)
        signed.verify(clock.now())
        _require_known(
            signed, {**{name: card.public for name, card in cards().items()}, file.name: keys.identity.public}
        )
        pairs = {
            member.name: PeerKeys(signed.parties[member.name].identity, signed.parties[member.name].witness)
            for member in signed.agreement.members
        }
        return Admitted(signed.agreement, pairs, data, signed.require_budget)

    return Standing(
        name=file.name,
        seed=keys.seed,
        state=file.state,
        table=file.table,
        connect=float(file.deadlines.connect),
        timeout=float(file.deadlines.silence),
        patience=float(file.deadlines.patience),
        tls=_Cached(file.state / FILE, read_tls),
        trusted=lambda: {name: _known(card) for name, card in cards().items()},
        admit=admit,
    )


class _Cached(Generic[T]):
    """What a file or folder says, read again when it, or a file in it, was written."""

    def __init__(self, path: Path, read: Callable[[], T]) -> None:
        self._path, self._read = path, read
        self._held: tuple[object, T] | None = None

    def __call__(self) -> T:
        mark = self._mark()
        if self._held is None or self._held[0] != mark:
            self._held = mark, self._read()
        return self._held[1]

    def _mark(self) -> object:
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        stats = [(file.name, file.stat()) for file in files if file.exists()]
        return [(name, stat.st_mtime_ns, stat.st_ino, stat.st_size) for name, stat in stats]


def _known(card: Card) -> Known:
    return Known(card.name, card.address, card.certificates, frozenset(card.pins))


def _require_known(signed: SignedAgreement, known: Mapping[str, PublicIdentity]) -> None:
    """Nobody's key in an agreement is another than on the card that was admitted by hand."""
    for name, keys in signed.parties.items():
        if name in known and known[name] != keys:
            raise AgreementError(
                f"the agreement names other keys for {name} than its card here",
                remedy="compare fingerprints, and draft the agreement with the newest cards",
            )
