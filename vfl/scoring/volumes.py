"""Decisions and their ledger: one SQLite file a volume, and both in one transaction.

SEAT/scoring/volumes/000001.sqlite      a ledger store (docs/spec/ledger.md) with two more tables:
    record (seq, place, salt, body)     what was decided, canonical JSON; `seq`: of the entry that commits to it
    asked (caller, key, body, seq)      idempotency keys: who asked what, by digest, and which entry answers
SEAT/scoring/keys.sqlite                where keys of the last day are: an index of `asked`, made again when it is lost

leaf of a record = SHA-256(0x00 || salt || record)      salt = HMAC-SHA256(key, volume, entry, place)
An entry commits to the RFC 6962 root of the leaves of all its records; a single decision is a tree of one.

A volume is a log of its own, `bank/decisions-<run>-000001`: it ends after so many entries, and the first entry of the
next one names its head. The salts follow from the party's seed: whoever destroys that destroys them all.
"""

from __future__ import annotations

import hmac
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.canonical import Json, decode
from ledger.checkpoint import Checkpoint
from ledger.clock import format_time
from ledger.entry import slot_name
from ledger.keys import Identity, VerifyingKey
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash
from ledger.note import Note
from ledger.store import Head, PeerAdvance, Row, SQLiteStore
from ledger.tables import make_tables, tables
from vfl.clock import Clock
from vfl.decisions import ALGORITHM, leaf_of
from vfl.errors import UsageError
from vfl.notary import CERTIFIED_FOR, SET_BACK
from vfl.own_ledger import own_ledger
from vfl.protocols.score_online import ShowHead
from vfl.scoring.session import decisions_job

_TABLES = (
    "CREATE TABLE record (seq INTEGER NOT NULL, place INTEGER NOT NULL, salt BLOB NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (seq, place)) STRICT, WITHOUT ROWID",
    "CREATE TABLE asked (caller TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY (caller, key)) STRICT, WITHOUT ROWID",
)
STEP, PHASE = "decision", "serve"
VOLUMES, INDEX, RESTORED = "volumes", "keys.sqlite", "restored"
"""RESTORED stands beside volumes that came from a backup: partners may have cosigned later heads of the newest."""
SKIPPED = 1000
"""Volumes that may have been begun since such a backup: the next one has a number that no lost one had."""
KEPT_SECONDS = 86_400
"""How long an idempotency key is remembered at least."""
_REMEMBER = "INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?, ?, unixepoch())"


@dataclass(frozen=True)
class Asked:
    """An idempotency key: who used it, and SHA-256 of the request."""

    caller: str
    key: str
    body: bytes


@dataclass(frozen=True)
class Kept:
    """Where records were kept: volume, entry, SHA-256 of the entry as a leaf (hex)."""

    log: str
    volume: int
    entry: int
    leaf: str


class VolumeStore(SQLiteStore):
    """A ledger store that keeps records beside the entries."""

    def __init__(self, path: Path) -> None:
        self._beside: list[tuple[str, Sequence[tuple[Any, ...]]]] = []
        super().__init__(path)

    def _create(self) -> None:
        fresh = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        super()._create()
        if fresh:
            _make_tables(self._db)

    def _tables_due(self) -> list[tuple[str, str]]:
        return _tables_due()

    def beside(
        self, records: Sequence[tuple[int, int, bytes, bytes]], asked: Sequence[tuple[str, str, bytes, int]]
    ) -> None:
        """Keep these with what is written next."""
        self._beside.append(("INSERT INTO record VALUES (?, ?, ?, ?)", records))
        self._beside.append(("INSERT INTO asked VALUES (?, ?, ?, ?)", asked))

    def _insert(
        self,
        rows: Sequence[Row],
        checkpoint: Head | None,
        cosignatures: Sequence[tuple[int, str]],
        peers: Sequence[PeerAdvance],
    ) -> None:
        super()._insert(rows, checkpoint, cosignatures, peers)
        for query, values in self._beside:
            self._db.executemany(query, values)

    def write(
        self,
        rows: Sequence[Row] = (),
        checkpoint: Head | None = None,
        cosignatures: Sequence[tuple[int, str]] = (),
        peers: Sequence[PeerAdvance] = (),
    ) -> bool:
        kept = super().write(rows, checkpoint, cosignatures, peers)
        if kept:
            self._beside = []
        return kept

    def records(self, seq: int) -> list[tuple[bytes, bytes]]:
        """Salt and record of all decisions of an entry, in their order."""
        with self._lock, self._speaking("read"):
            return self._db.execute("SELECT salt, body FROM record WHERE seq = ? ORDER BY place", (seq,)).fetchall()

    def newest(self, count: int) -> list[tuple[int, int, bytes]]:
        """Entry, place and record of the latest decisions, newest first."""
        with self._lock, self._speaking("read"):
            query = "SELECT seq, place, body FROM record ORDER BY seq DESC, place DESC LIMIT ?"
            return self._db.execute(query, (count,)).fetchall()

    def all_asked(self) -> list[tuple[str, str, bytes, int]]:
        """Every idempotency key of this volume."""
        with self._lock, self._speaking("read"):
            return self._db.execute("SELECT caller, key, body, seq FROM asked").fetchall()


class Volume:
    """One volume, open for writing or for reading."""

    def __init__(
        self, path: Path, number: int, run: str, agreement: str, identity: Identity, key: bytes, clock: Clock
    ) -> None:
        """`key`: of the salts. Begins the volume where the file is new."""
        self.number, self._key = number, key
        self.job = decisions_job(run, f"{number:06d}")
        with own_ledger():
            self.store = VolumeStore(path)
            now = clock.now()
            self.log = Log(
                self.store, identity, identity.name, self.job, clock,
                entry_key=identity.entry_key(self.job),
                certificate=identity.certify(self.job, now - SET_BACK, now + CERTIFIED_FOR),
                agreement=agreement, sign_messages=False,
            )  # fmt: skip

    def note(self, step: str, params: Mapping[str, Json]) -> None:
        """Put something on record that is no decision: with what is kept next."""
        me, log = self.log.party, self.log
        slot = slot_name(PHASE, 0, step, me, me, n=len(log))
        log.append(phase=PHASE, round=0, step=step, slot=slot, dir="local", params=params)

    def keep(self, records: Sequence[bytes], params: Mapping[str, Json], asked: Asked | None) -> Kept:
        """Enter records as one entry; durable with `commit`."""
        log, seq = self.log, len(self.log)
        salts = [self._salt(seq, place) for place in range(len(records))]
        root = Tree(leaf_of(salt, record) for salt, record in zip(salts, records, strict=True)).root()
        entry = log.append(
            phase=PHASE, round=0, step=STEP, slot=slot_name(PHASE, 0, STEP, log.party, log.party, n=seq), dir="local",
            commit=[{"kind": STEP, "alg": ALGORITHM, "digest": root.hex()}], params={"count": len(records), **params},
        )  # fmt: skip
        rows = [(seq, place, salt, body) for place, (salt, body) in enumerate(zip(salts, records, strict=True))]
        self.store.beside(rows, [] if asked is None else [(asked.caller, asked.key, asked.body, seq)])
        return Kept(log.origin, self.number, seq, leaf_hash(entry.to_bytes()).hex())

    def kept(self, seq: int) -> Kept:
        """Where the records of an entry are."""
        return Kept(self.log.origin, self.number, seq, self.store.row(seq).leaf.hex())

    def place(self, seq: int, place: int) -> int | None:
        """The place of a record in the batch of its entry; None where the entry is of one decision."""
        batch = decode(self.store.row(seq).body)["params"]["batch"]  # type: ignore[index,call-overload]
        return place if batch else None

    def commit(self) -> None:
        """Everything so far is durable when this returns. Raises UsageError where the disk refuses."""
        with own_ledger():
            self.log.commit()

    def checkpoint(self) -> str:
        """The signed head over everything."""
        with own_ledger():
            return self.log.checkpoint()

    def covering(self, seq: int) -> Head:
        """A checkpoint over an entry: the newest that somebody cosigned, else the newest; made now if need be."""
        heads = [head for head in self.log.checkpoints() if head.size > seq]
        if not heads:
            self.checkpoint()
            heads = self.log.checkpoints()
        cosigned = [head for head in heads if len(Note.parse(head.note).signatures) > 1]
        return (cosigned or heads)[-1]

    def shown_to(self, witness: VerifyingKey, old: int | None = None) -> ShowHead | None:
        """The newest head with a proof from the one that `witness` cosigned last, or of size `old`.

        None where it has cosigned the newest already.
        """
        self.checkpoint()
        head, last = self.log.checkpoints()[-1], self.log.last_cosigned_by(witness)
        since = old if old is not None else last.size if last else 0
        if since >= head.size:
            return None
        return ShowHead(note_alone(head.note), since, self.log.consistency_proof(since, head.size))

    def cosigned(self, size: int, line: str, witness: VerifyingKey) -> None:
        """Keep a cosignature of the head of that size. Raises LedgerError."""
        self.log.add_cosignatures(size, [line], [witness])
        self.log.commit()

    def close(self) -> None:
        """Sign the last head, and release the file."""
        try:
            self.checkpoint()
        finally:
            self.store.close()

    def _salt(self, seq: int, place: int) -> bytes:
        return hmac.digest(self._key, b"%d/%d/%d" % (self.number, seq, place), sha256)


class Volumes:
    """All volumes of one party for one run: the newest is written, the others are read."""

    def __init__(
        self, folder: Path, run: str, agreement: str, identity: Identity, key: bytes, clock: Clock, most_entries: int
    ) -> None:
        """Raises UsageError where a file is damaged."""
        self._folder, self._most = folder / VOLUMES, most_entries
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open: Callable[[int], Volume] = lambda number: Volume(
            self._folder / f"{number:06d}.sqlite", number, run, agreement, identity, key, clock
        )
        self._clock, self._lock = clock, threading.RLock()
        self._older: dict[int, Volume] = {}
        numbers = self.numbers()
        self.newest: Volume = self._open(numbers[-1] if numbers else 1)
        self.keys = Keys(folder / INDEX, self)
        if (restored := self._folder / RESTORED).exists():
            self._turn(SKIPPED)
            restored.unlink()
        elif self._over():
            self._turn()

    def origin(self, number: int) -> str:
        """The name of a volume's log."""
        party, _, job = self.newest.log.origin.partition("/")
        return f"{party}/{job.rpartition('-')[0]}-{number:06d}"

    def numbers(self) -> list[int]:
        """Of all volumes."""
        return sorted(int(path.stem) for path in self._folder.glob("*.sqlite") if path.stem.isdecimal())

    def volume(self, number: int) -> Volume | None:
        """One of them; a few older ones stay open."""
        with self._lock:
            if number == self.newest.number:
                return self.newest
            if number not in self._older:
                if number not in self.numbers():
                    return None
                while len(self._older) >= 4:
                    self._older.pop(next(iter(self._older))).store.close()
                self._older[number] = self._open(number)
            return self._older[number]

    def write(self, groups: Sequence[tuple[Sequence[bytes], Mapping[str, Json], Asked | None]]) -> list[Kept]:
        """Keep groups of records, each as one entry, in one transaction. They are durable when this returns."""
        with self._lock:
            if self._over():
                self._turn()
            try:
                found = [self.newest.keep(*group) for group in groups]
                self.newest.commit()
            except UsageError:
                self._again()
                raise
            self.keys.add([(asked, kept) for (_, _, asked), kept in zip(groups, found, strict=True) if asked])
            return found

    def note(self, step: str, params: Mapping[str, Json]) -> None:
        """Put something else on record, durably."""
        with self._lock:
            self.newest.note(step, params)
            self.newest.commit()

    def checkpoint(self) -> str:
        """Sign the newest volume's head."""
        with self._lock:
            return self.newest.checkpoint()

    def close(self) -> None:
        """Sign, and release all files."""
        with self._lock:
            self.keys.close()
            for one in self._older.values():
                one.store.close()
            self.newest.close()

    def _over(self) -> bool:
        """Whether the newest volume is full, or its key will not be valid for much longer."""
        ends = self.newest.log.certificate.not_after
        return len(self.newest.log) >= self._most or format_time(self._clock.now() + SET_BACK) > ends

    def _again(self) -> None:
        """The newest volume as it stands on the disk: what could not be written was not said either."""
        self.newest.store.close()
        self.newest = self._open(self.newest.number)

    def _turn(self, further: int = 1) -> None:
        # A volume that was restored is not signed again: what it says might contradict what it said before.
        note = self.newest.checkpoint() if further == 1 else self.newest.log.checkpoints()[-1].note
        last, head = self.newest, Checkpoint.parse(Note.parse(note).text)
        self.newest = self._open(last.number + further)
        self.newest.note("continues", {"log": head.origin, "size": head.size, "root": head.root.hex()})
        self.newest.commit()
        last.store.close()


class Keys:
    """Which entry answers an idempotency key. Lost entries are found again in the newest volumes."""

    def __init__(self, path: Path, volumes: Volumes) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        self._lock = threading.Lock()
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS asked (caller TEXT, key TEXT, body BLOB, volume INTEGER, seq INTEGER,"
            " moment INTEGER, PRIMARY KEY (caller, key)) WITHOUT ROWID"
        )
        self._db.execute("DELETE FROM asked WHERE moment < unixepoch() - ?", (KEPT_SECONDS,))
        (last,) = self._db.execute("SELECT coalesce(max(volume), 0) FROM asked").fetchone()
        for number in volumes.numbers():
            if number >= last and (
                volume := volumes.volume(number) if number != volumes.newest.number else volumes.newest
            ):
                rows = [(caller, key, body, number, seq) for caller, key, body, seq in volume.store.all_asked()]
                self._db.executemany(_REMEMBER, rows)

    def add(self, found: Sequence[tuple[Asked, Kept]]) -> None:
        """Remember keys."""
        if found:
            rows = [(one.caller, one.key, one.body, kept.volume, kept.entry) for one, kept in found]
            with self._lock:
                self._db.execute("BEGIN")
                self._db.executemany(_REMEMBER, rows)
                self._db.execute("COMMIT")

    def find(self, caller: str, key: str) -> tuple[bytes, int, int] | None:
        """Digest of the request, volume and entry of a key once used."""
        with self._lock:
            query = "SELECT body, volume, seq FROM asked WHERE caller = ? AND key = ?"
            found: tuple[bytes, int, int] | None = self._db.execute(query, (caller, key)).fetchone()
        return found

    def close(self) -> None:
        self._db.close()


def note_alone(note: str) -> str:
    """A note with the first of its signatures, the log's own."""
    text, _, lines = note.partition("\n\n")
    return f"{text}\n\n{lines.splitlines()[0]}\n"


def _make_tables(db: sqlite3.Connection) -> None:
    triggers = (
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT raise(ABORT, '{table} is append-only'); END"
        for table in ("record", "asked")
        for verb in ("UPDATE", "DELETE")
    )
    db.executescript("BEGIN IMMEDIATE;" + ";".join((*_TABLES, *triggers)) + ";COMMIT;")


@lru_cache
def _tables_due() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        make_tables(db)
        _make_tables(db)
        return tables(db)


def require_seat(seat: Path) -> None:
    """Raise UsageError if there is no seat of a finished run."""
    if not (seat / "share.json").exists():
        raise UsageError(f"{seat} holds no share of a model", remedy="name the directory of a finished run")
