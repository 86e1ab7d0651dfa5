"""Decisions and their ledger: one SQLite file a volume, and both in one transaction.

SEAT/scoring/volumes/000001.sqlite      a ledger store (docs/spec/ledger.md) with three more tables:
    record (seq, place, salt, body)     what was decided, canonical JSON; `seq`: of the entry that commits to it;
                                        of a batch in one row, the salts joined and the records packed
    shadow (seq, place, salt, body)     the same of what challengers would have decided
    asked (caller, key, body, seq)      idempotency keys: who asked what, by digest, and which entry answers
SEAT/scoring/keys.sqlite                where keys of the last day are: an index of `asked`, made again when it is lost

leaf of a record = SHA-256(0x00 || salt || record)      salts of an entry = SHAKE256(key, volume, entry), the key drawn
An entry commits to the RFC 6962 root of the leaves of all its records; a single decision is a tree of one.

A volume is a log of its own, `bank/decisions-<run>-000001`: it ends after so many entries, and the first entry of the
next one names its head. Salts lie beside their records alone, and no seed gives them again: once those were purged
(`vfl.records`), nobody can try whether an entry commits to a guess.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from pathlib import Path
from typing import Any, NamedTuple

from ledger.canonical import Json
from ledger.checkpoint import Checkpoint
from ledger.clock import format_time
from ledger.entry import Entry, slot_name
from ledger.keys import Identity, VerifyingKey
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash, root_of
from ledger.note import Note
from ledger.store import Head, PeerAdvance, Row, SQLiteStore
from ledger.tables import make_tables, tables
from vfl.clock import Clock
from vfl.decisions import ALGORITHM, SALT_BYTES, leaf_of
from vfl.errors import UsageError
from vfl.notary import CERTIFIED_FOR, SET_BACK
from vfl.own_ledger import own_ledger
from vfl.protocols.score_online import ShowHead
from vfl.records import TABLES, append_only
from vfl.scoring.keys import KEPT_SECONDS, Asked, Keys
from vfl.scoring.session import decisions_job

_TABLES = (
    "CREATE TABLE record (seq INTEGER NOT NULL, place INTEGER NOT NULL, salt BLOB NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (seq, place)) STRICT, WITHOUT ROWID",
    "CREATE TABLE asked (caller TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY (caller, key)) STRICT, WITHOUT ROWID",
    "CREATE TABLE shadow (seq INTEGER NOT NULL, place INTEGER NOT NULL, salt BLOB NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (seq, place)) STRICT, WITHOUT ROWID",
)
_SLICE = 100  # rows, each of one decision or of a batch
_LEVEL = 1  # of zlib: records of a batch are alike, and harder work saves little more
STEP, SHADOW, PHASE = "decision", "shadow", "serve"
_TABLE_OF = {STEP: "record", SHADOW: "shadow"}
VOLUMES, INDEX, RESTORED = "volumes", "keys.sqlite", "restored"
"""RESTORED stands beside volumes that came from a backup: partners may have cosigned later heads of the newest."""
SKIPPED = 1000
"""Volumes that may have been begun since such a backup: the next one has a number that no lost one had."""


@dataclass(frozen=True)
class Kept:
    """Where records were kept: volume, entry, SHA-256 of the entry as a leaf (hex)."""

    log: str
    volume: int
    entry: int
    leaf: str


class Group(NamedTuple):
    """Records of one entry, a line each, its parameters, the idempotency key that it answers, and its step."""

    records: bytes
    params: Mapping[str, Json]
    asked: Asked | None = None
    step: str = STEP


@dataclass(frozen=True)
class Entered:
    """What stands in one entry. batch: whether it was asked as one.   records: salt and record of each decision."""

    kept: Kept
    batch: bool
    entry: str
    records: Sequence[tuple[bytes, bytes]]

    def tree(self) -> Tree:
        """Over the records."""
        return Tree(leaf_of(salt, record) for salt, record in self.records)


class VolumeStore(SQLiteStore):
    """A ledger store that keeps records beside the entries."""

    def __init__(self, path: Path) -> None:
        self._beside: list[tuple[str, Sequence[tuple[Any, ...]]]] = []
        super().__init__(path)

    def _create(self) -> None:
        super()._create()
        # A crash may come between the tables of the ledger and these; without the first entry there is no record.
        (begun,) = self._db.execute("SELECT EXISTS (SELECT 1 FROM entry)").fetchone()
        (whole,) = self._db.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'record')").fetchone()
        if not begun and not whole:
            _make_tables(self._db)

    def _tables_due(self) -> list[tuple[str, str]]:
        return _tables_due()

    def beside(
        self, step: str, records: Sequence[tuple[int, int, bytes, bytes]], asked: Sequence[tuple[str, str, bytes, int]]
    ) -> None:
        """Keep these with what is written next. `step`: of the entry."""
        self._beside.append((f"INSERT INTO {_TABLE_OF[step]} VALUES (?, ?, ?, ?)", records))  # noqa: S608 - ours
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

    def records(self, seq: int, step: str = STEP) -> list[tuple[bytes, bytes]]:
        """Salts and records of an entry. `step`: of the entry."""
        with self._lock, self._speaking("read"):
            query = f"SELECT salt, body FROM {_TABLE_OF[step]} WHERE seq = ? ORDER BY place"  # noqa: S608 - ours
            return self._db.execute(query, (seq,)).fetchall()

    def bodies(self) -> Iterator[tuple[int, int, bytes]]:
        """Entry, place and record of all decisions, read in slices so that a long volume needs little memory."""
        last = -1
        while True:
            with self._lock, self._speaking("read"):
                query = (
                    "SELECT seq, record.body, json_extract(CAST(entry.body AS TEXT), '$.params.batch')"
                    " FROM record JOIN entry USING (seq) WHERE seq > ? ORDER BY seq LIMIT ?"
                )
                part = self._db.execute(query, (last, _SLICE)).fetchall()
            for seq, body, batch in part:
                yield from ((seq, place, line) for place, line in enumerate(self.lines(seq, body, batch=bool(batch))))
            if len(part) < _SLICE:
                return
            last = part[-1][0]

    def lines(self, seq: int, body: bytes, *, batch: bool) -> list[bytes]:
        """The records of an entry, from their row."""
        try:
            return zlib.decompress(body).splitlines() if batch else [body]
        except zlib.error:
            raise _damaged(self.path, seq) from None

    def shadows(self) -> list[int]:
        """The entries of what challengers would have decided."""
        with self._lock, self._speaking("read"):
            return [seq for (seq,) in self._db.execute("SELECT seq FROM shadow ORDER BY seq")]

    def newest(self, count: int) -> list[int]:
        """The latest entries with records, newest first."""
        with self._lock, self._speaking("read"):
            query = "SELECT seq FROM record ORDER BY seq DESC LIMIT ?"
            return [seq for (seq,) in self._db.execute(query, (count,))]

    def all_asked(self) -> list[tuple[str, str, bytes, int]]:
        """Every idempotency key of this volume."""
        with self._lock, self._speaking("read"):
            return self._db.execute("SELECT caller, key, body, seq FROM asked").fetchall()


def entered_in(store: VolumeStore, origin: str, number: int, seq: int, step: str = STEP) -> Entered | None:
    """What an entry of a volume commits to; None for an entry of another step. Raises UsageError if it is damaged."""
    row = store.row(seq)
    if leaf_hash(row.body) != row.leaf:
        raise _damaged(store.path, seq)
    entry = Entry.from_bytes(row.body)
    if entry.step != step:
        return None
    try:
        ((salts, body),) = store.records(seq, step)
        batch = bool(entry.params["batch"])
        records = store.lines(seq, body, batch=batch)
        kept = Kept(origin, number, seq, row.leaf.hex())
        found = Entered(kept, batch, row.body.decode(), list(zip(_each(salts), records, strict=True)))
    except ValueError:
        raise _damaged(store.path, seq) from None
    if [one["digest"] for one in entry.commit] != [found.tree().root().hex()]:
        raise _damaged(store.path, seq)
    return found


class Volume:
    """One volume, open for writing or for reading."""

    def __init__(
        self, path: Path, number: int, run: str, agreement: str, identity: Identity, key: bytes, clock: Clock,
        forgotten: int = 0,
    ) -> None:  # fmt: skip
        """`key`: of the salts.   forgotten: entries whose records were purged. Begins the volume where it is new."""
        self.number, self._key, self._forgotten = number, key, forgotten
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

    def keep(self, lines: bytes, params: Mapping[str, Json], asked: Asked | None, step: str = STEP) -> Kept:
        """Enter records, a line each, as one entry; durable with `commit`. params: `batch` says whether it is one.

        `step`: STEP or SHADOW.
        """
        log, seq = self.log, len(self.log)
        records = lines.splitlines()
        salts = self._salts(seq, len(records))
        root = root_of(map(leaf_of, _each(salts), records))
        entry = log.append(
            phase=PHASE, round=0, step=step, slot=slot_name(PHASE, 0, step, log.party, log.party, n=seq), dir="local",
            commit=[{"kind": step, "alg": ALGORITHM, "digest": root.hex()}], params={"count": len(records), **params},
        )  # fmt: skip
        body = zlib.compress(lines, _LEVEL) if params["batch"] else records[0]
        self.store.beside(
            step, [(seq, 0, salts, body)], [] if asked is None else [(asked.caller, asked.key, asked.body, seq)]
        )
        return Kept(log.origin, self.number, seq, leaf_hash(entry.to_bytes()).hex())

    def records(self, seq: int) -> Entered | None:
        """What an entry commits to; None for one that is no decision, or whose records were purged.

        Raises UsageError if it is damaged.
        """
        with own_ledger():
            if not self._forgotten <= seq < len(self.log):
                return None
            return entered_in(self.store, self.log.origin, self.number, seq)

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
        if (found := newest_over(self.log.checkpoints(), seq)) is None:
            self.checkpoint()
            found = newest_over(self.log.checkpoints(), seq)
        assert found is not None
        return found

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

    def _salts(self, seq: int, count: int) -> bytes:
        return shake_256(self._key + b"%d/%d" % (self.number, seq)).digest(SALT_BYTES * count)


class Volumes:
    """All volumes of one party for one run: the newest is written, the others are read."""

    def __init__(
        self, folder: Path, run: str, agreement: str, identity: Identity, key: bytes, clock: Clock, most_entries: int,
        forgotten: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        """`forgotten`: by volume, of how many entries the records were purged.

        Raises UsageError where a file is damaged.
        """
        self._folder, self._most = folder / VOLUMES, most_entries
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open: Callable[[int], Volume] = lambda number: Volume(
            self._folder / f"{number:06d}.sqlite", number, run, agreement, identity, key, clock,
            (forgotten or {}).get(number, 0),
        )  # fmt: skip
        self._clock, self._lock = clock, threading.RLock()
        self._older: dict[int, Volume] = {}
        self._stale = False
        self.newest: Volume = self._open(max(self.numbers(), default=1))
        self._continue()
        self.keys = Keys(folder / INDEX)
        for number in self._unlearned():
            self._learn(number)
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

    def write(self, groups: Sequence[Group]) -> list[Kept]:
        """Keep groups of records, each as one entry, in one transaction. They are durable when this returns."""
        with self._lock:
            with self._whole_or_nothing():
                if self._over():
                    self._turn()
                found = [self.newest.keep(*group) for group in groups]
                self.newest.commit()
            self.keys.add(
                (group.asked, kept.volume, kept.entry) for group, kept in zip(groups, found, strict=True) if group.asked
            )
            return found

    def note(self, step: str, params: Mapping[str, Json]) -> None:
        """Put something else on record, durably."""
        with self._lock, self._whole_or_nothing():
            self.newest.note(step, params)
            self.newest.commit()

    def latest(self, count: int) -> list[tuple[Entered, int]]:
        """The latest decisions, newest first: where each is entered, and at which place. Raises UsageError."""
        found: list[tuple[Entered, int]] = []
        for number in reversed(self.numbers()):
            volume = self.volume(number)
            assert volume is not None
            for seq in volume.store.newest(count - len(found)):
                if len(found) < count and (entered := volume.records(seq)) is not None:
                    found += [(entered, place) for place in reversed(range(len(entered.records)))]
            if len(found) >= count or number < self.newest.number:
                break  # a volume that has just begun is filled up from the one before it
        return found[:count]

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

    def _unlearned(self) -> list[int]:
        """Volumes with keys that the index may lack: from its last one on, and written to in the last day."""
        since = self._clock.now().timestamp() - KEPT_SECONDS
        written = {number: (self._folder / f"{number:06d}.sqlite").stat().st_mtime for number in self.numbers()}
        return [n for n, at in written.items() if n >= self.keys.last and (at >= since or n == self.newest.number)]

    def _learn(self, number: int) -> None:
        volume = self.volume(number)
        assert volume is not None
        self.keys.add((Asked(caller, key, body), number, seq) for caller, key, body, seq in volume.store.all_asked())

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """What could not be written was not said either: after a failure the volume is read again from the disk."""
        if self._stale:
            self._again()
        try:
            yield
        except BaseException:
            self._stale = True
            with suppress(UsageError):  # the disk may still refuse: then the next write tries again
                self._again()
            raise

    def _again(self) -> None:
        self.newest.store.close()
        self.newest = self._open(max(self.numbers()))
        self._continue()
        self._learn(self.newest.number)  # the disk may have kept what it said it could not
        self._stale = False

    def _turn(self, further: int = 1) -> None:
        if further == 1:  # one that was restored is not signed again: that might contradict what it signed before
            self.newest.checkpoint()
        last, self.newest = self.newest, self._open(self.newest.number + further)
        last.store.close()
        self._continue()

    def _continue(self) -> None:
        """A volume's second entry names the head of the volume before it: made now, where a crash came between."""
        earlier = [number for number in self.numbers() if number < self.newest.number]
        if earlier and len(self.newest.log) == 1:
            before = self._open(earlier[-1])
            try:
                if earlier[-1] + 1 == self.newest.number:
                    before.checkpoint()
                head = Checkpoint.parse(Note.parse(before.log.checkpoints()[-1].note).text)
            finally:
                before.store.close()
            self.newest.note("continues", {"log": head.origin, "size": head.size, "root": head.root.hex()})
            self.newest.commit()


def newest_over(heads: Sequence[Head], seq: int) -> Head | None:
    """Of the heads over an entry the newest that somebody cosigned, else the newest; None where there is none."""
    over = [head for head in heads if head.size > seq]
    cosigned = [head for head in over if len(Note.parse(head.note).signatures) > 1]
    return max(cosigned or over, key=lambda head: head.size, default=None)


def _each(salts: bytes) -> list[bytes]:
    return [salts[at : at + SALT_BYTES] for at in range(0, len(salts), SALT_BYTES)]


def _damaged(path: Path, seq: int) -> UsageError:
    return UsageError(
        f"{path}: entry {seq} does not commit to the records beside it",
        remedy="somebody changed the file: restore it from a backup, and keep this one for the auditor",
    )


def note_alone(note: str) -> str:
    """A note with the first of its signatures, the log's own."""
    text, _, lines = note.partition("\n\n")
    return f"{text}\n\n{lines.splitlines()[0]}\n"


def _make_tables(db: sqlite3.Connection) -> None:
    triggers = (append_only(table, verb) for table in TABLES for verb in ("UPDATE", "DELETE"))
    db.executescript("BEGIN IMMEDIATE;" + ";".join((*_TABLES, *triggers)) + ";COMMIT;")


@lru_cache
def _tables_due() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        make_tables(db)
        _make_tables(db)
        return tables(db)
