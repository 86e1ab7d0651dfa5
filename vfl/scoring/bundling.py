"""Ledgers of scoring as audit bundles: each volume of decisions, and each session with a partner at both ends.

    OUT/decisions-0123456789ab-000001.bundle        the label owner's log, with the heads that partners cosigned
    OUT/scores-0123456789ab-20260131T120000-9f.bundle   a session: both logs, where both are on this machine

They are read beside a service that goes on: a bundle ends with the newest signed head. Records of decisions are not in
them, only what entries commit to; whoever has a record and its proof can check it against the bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ledger.bundle import write_bundle
from ledger.entry import Entry
from ledger.keys import Identity
from ledger.policy import Policy
from ledger.store import Head, Row, Store
from vfl.errors import UsageError
from vfl.files import refusals
from vfl.local_logs import own_identity
from vfl.own_ledger import open_store, own_ledger
from vfl.retention import IDENTITY
from vfl.scoring.session import FOLDER, SESSIONS
from vfl.scoring.volumes import VOLUMES, VolumeStore
from vfl.seat import RunFile, policy_of


@dataclass
class StoredLog:
    """A log as it lies there, up to its newest signed head (`ledger.bundle.LogSource`)."""

    store: Store
    party: str
    run: str
    agreement: str

    @classmethod
    def of(cls, store: Store) -> StoredLog | None:
        """None for a log without a signed head: nobody has given a word for it yet."""
        if not store.checkpoints():
            return None
        first = Entry.from_bytes(store.row(0).body)
        return cls(store, first.actor, first.job, first.agreement)

    def commit(self) -> None:
        """It is not written to."""

    def rows(self) -> Iterator[Row]:
        """The entries below the newest head."""
        size = self.store.checkpoints()[-1].size
        return (row for row in self.store.rows() if row.seq < size)

    def checkpoints(self) -> list[Head]:
        """The signed heads with their cosignatures."""
        return [head._replace(note=head.note + "".join(self.store.cosignatures(head.size)))
                for head in self.store.checkpoints()]  # fmt: skip


def write_bundles(directory: Path, file: RunFile, out: Path) -> list[Path]:
    """Bundles of everything that scoring keeps of a run on this machine, into the new folder `out`.

    Raises UsageError where there is nothing, a file is damaged, or the folder is there already.
    """
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another folder")
    signers = {name: own_identity(directory, file, name) for name in file.keys if _has_keys(directory / name)}
    with ExitStack() as ends, own_ledger():
        jobs = _found(directory, file, ends)
        if not jobs:
            raise UsageError(f"nothing was scored with {directory}", remedy="tallystick serve, or tallystick score")
        with refusals(out.parent, "name a folder that can be written"):
            out.mkdir(parents=True)
            return [_write(out, job, logs, signers, policy_of(file)) for job, logs in sorted(jobs.items())]


def _found(directory: Path, file: RunFile, ends: ExitStack) -> Mapping[str, list[StoredLog]]:
    """The logs of each volume and of each session."""
    found: dict[str, list[StoredLog]] = {}
    for name in file.keys:
        scoring = directory / name / FOLDER
        stores: list[Store] = [VolumeStore(path) for path in sorted((scoring / VOLUMES).glob("*.sqlite"))]
        stores += [open_store(path, path.stem) for path in sorted((scoring / SESSIONS).glob("*.sqlite"))]
        for store in stores:
            ends.callback(store.close)
            if (log := StoredLog.of(store)) is not None:
                found.setdefault(log.run, []).append(log)
    return found


def _write(out: Path, job: str, logs: Sequence[StoredLog], signers: Mapping[str, Identity], policy: Policy) -> Path:
    path = out / f"{job}.bundle"
    own = [signers[log.party] for log in logs if log.party in signers]
    write_bundle(path, logs, job, artefacts={}, identities=own, policy=policy)
    return path


def _has_keys(seat: Path) -> bool:
    return any((seat / name).exists() for name in ("seed", IDENTITY))
