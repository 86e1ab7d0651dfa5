"""The parties' ledgers of a finished run that rest on this machine, opened once more, and the audit bundle anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.bundle import POLICY, read_bundle, write_bundle
from ledger.keys import Identity, PublicIdentity
from ledger.log import Log
from ledger.policy import Policy
from ledger.witness import Witness
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.notary import LedgerNotary
from vfl.party.signing import long_term_identity
from vfl.retention import IDENTITY
from vfl.seat import RunFile, identity_of, open_ledger, read_seed

BUNDLE, PART_BUNDLE = "audit.bundle", "purged.bundle"


@dataclass(frozen=True)
class LocalLogs:
    """Keys, log and witness by party, of those whose keys are on this machine."""

    identities: Mapping[str, Identity]
    logs: Mapping[str, Log]
    witnesses: Mapping[str, Witness]

    def rebundle(self, directory: Path, file: RunFile, policy: Policy | None = None) -> None:
        """The bundle anew, with artefacts and time stamps of the one before; beside it if some logs are elsewhere.

        Where the bundle itself is elsewhere, as with passive parties that are companies, there is none to renew.

        `policy`: another one than before.
        """
        if not (directory / BUNDLE).exists():
            return
        before = read_bundle(directory / BUNDLE)
        start = "artefacts/"
        artefacts = {name.removeprefix(start): data for name, data in before.members.items() if name.startswith(start)}
        write_bundle(
            directory / (BUNDLE if self.all_of(file) else PART_BUNDLE),
            list(self.logs.values()),
            file.run,
            artefacts=artefacts,
            identities=list(self.identities.values()),
            policy=policy or Policy.parse(before.members[POLICY]),
            stamps={place: data for place, data in before.stamps().items() if place[0] in self.logs},
        )

    def all_of(self, file: RunFile) -> bool:
        """Whether the logs of all parties are here."""
        return self.logs.keys() == file.keys.keys()


@contextmanager
def local_logs(directory: Path, file: RunFile, clock: Clock) -> Iterator[LocalLogs]:
    """Open what is here of the run in `directory`."""
    here = [name for name in file.keys if any((directory / name / key).exists() for key in (IDENTITY, "seed"))]
    stores = {name: open_ledger(directory / name, file.run) for name in here}
    try:
        who = {name: own_identity(directory, file, name) for name in here}
        digest = file.agreement.digest
        logs = {name: LedgerNotary(stores[name], who[name], file.run, digest, {}, clock).log for name in here}
        yield LocalLogs(who, logs, {name: Witness(who[name], stores[name], clock) for name in here})
    finally:
        for store in stores.values():
            store.close()


def own_identity(directory: Path, file: RunFile, name: str) -> Identity:
    """The keys under which the party `name` signs in the run in `directory`: of the run, or its long-term ones."""
    found, keys = _of_run(directory / name, name), file.keys[name]
    if found.public == PublicIdentity(name, keys.identity, keys.witness):
        return found
    return long_term_identity(directory, name, keys)


def _of_run(folder: Path, name: str) -> Identity:
    if (folder / "seed").exists():
        return identity_of(name, read_seed(folder))
    try:
        return Identity(name, bytes.fromhex((folder / IDENTITY).read_text().strip()))
    except ValueError as error:
        raise UsageError(f"{folder / IDENTITY} is damaged: {error}") from None
