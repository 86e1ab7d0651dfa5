"""The long-term keys of a party once more, for what it signs after a run: they are not kept with the run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ledger.keys import Identity, PublicIdentity
from vfl.errors import UsageError
from vfl.notary import PeerKeys
from vfl.party.keystore import FILE, unlock
from vfl.party.passphrase import passphrase


def long_term_identity(directory: Path, name: str, expected: PeerKeys) -> Identity:
    """The keys of `name`, in whose state folder `directory` is; the passphrase is asked for. Raises UsageError."""
    state = directory.resolve().parent.parent
    if not (state / FILE).exists():
        raise UsageError(
            f"{name} signs the run in {directory} with its long-term keys, which are not here",
            remedy=f"name the run where the party keeps it: STATE/runs/{directory.name}",
        )
    identity = _unlocked(state)
    if identity.public != PublicIdentity(name, expected.identity, expected.witness):
        raise UsageError(f"{state / FILE} holds other keys than those of {name} in this run")
    return identity


@cache  # one command signs several times, and nobody is to be asked twice
def _unlocked(state: Path) -> Identity:
    return unlock(state, passphrase(None)).identity
