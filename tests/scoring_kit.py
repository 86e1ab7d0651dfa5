"""Scoring in one process: a real service over a finished run, its partners a thread away, and one over processes."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import queue
import shutil
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from run_kit import TOML

from ledger.checkpoint import cosigners, open_checkpoint
from ledger.entry import Entry
from ledger.keys import VerifyingKey
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.note import Note
from vfl.clock import Clock, SystemClock
from vfl.desk import Envelope, Frame
from vfl.errors import Unreachable, VflError
from vfl.retention import TO_SCORE
from vfl.scoring.answers import Applicant, Decision, Proof
from vfl.scoring.contender import Contender
from vfl.scoring.host import budget_of, partner_of
from vfl.scoring.link import Dial, Wire
from vfl.scoring.opening import Dialler, Opened, open_service, ready_model, speaker_of
from vfl.scoring.partner import ScoringPartner
from vfl.scoring.policy import PartnerRules, RecordRules, ServingPolicy
from vfl.scoring.session import Speaker
from vfl.seat import RunFile, identity_of, read_seed

T = TypeVar("T")
CARD = TOML[: TOML.index("[model]")] + '[model]\nkind = "scorecard"\nmin_iv = 0.0\n' + TOML[TOML.index("[privacy]") :]
SHORT = RecordRules(checkpoint_seconds=1)


def policy(record: RecordRules = SHORT, **partners: Any) -> ServingPolicy:
    return ServingPolicy(partners=PartnerRules(**partners), record=record)


def copied(run: Path, folder: Path) -> Path:
    """A run of one's own to score with."""
    return Path(shutil.copytree(run, folder / "run"))


@dataclass
class Stage:
    """A partner and how it behaves: away, mute, or so many seconds late; and what it was asked."""

    partner: ScoringPartner
    away: bool = False
    mute: bool = False
    late: float = 0.0
    asked: list[int] = field(default_factory=list)  # bytes of tokens of each question
    dialled: int = 0
    wires: list[ThreadWire] = field(default_factory=list)

    def drop(self) -> None:
        """As when the process is killed."""
        for wire in self.wires:
            wire.cut()


class ThreadWire:
    """A wire to a partner in a thread of this process."""

    def __init__(self, stage: Stage, active: str, job: str) -> None:
        self._stage, self._loop = stage, asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._out: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.thread = threading.Thread(target=self._serve, args=(active, job), daemon=True)
        self.thread.start()

    def _serve(self, active: str, job: str) -> None:
        end: Exception | None = None
        try:
            for frame in self._stage.partner.serve(active, job, iter(self._inbox.get, None)):
                self._tell(frame)
        except VflError as error:
            end = error
        self._tell(end)

    def _tell(self, item: bytes | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._out.put_nowait, item)

    async def write(self, frame: bytes) -> None:
        said: Frame = msgspec.msgpack.decode(frame, type=Frame)
        if isinstance(said, Envelope) and "/Ask/" in said.slot:
            self._stage.asked.append(len(said.body))
        self._inbox.put(frame)

    async def read(self) -> bytes | None:
        item = await self._out.get()
        while self._stage.mute:
            await asyncio.sleep(0.005)
        if self._stage.late:
            await asyncio.sleep(self._stage.late)
        if isinstance(item, Exception):
            raise item
        return item

    def cut(self) -> None:
        self._tell(Unreachable("cut"))
        self._inbox.put(None)

    async def close(self) -> None:
        self._inbox.put(None)


@dataclass
class Table:
    """A service and its partners, all here."""

    opened: Opened
    stages: Mapping[str, Stage]
    root: Path
    others: dict[Path, Mapping[str, Stage]] = field(default_factory=dict)  # by run, of models that were opened later

    @property
    def service(self) -> Any:
        return self.opened.service

    async def score(self, customer: str, key: str | None = None, **features: Any) -> Decision:
        found: Decision = await self.service.score(Applicant(customer, features or None), "tests", key)
        return found

    async def batch(self, customers: Sequence[str], key: str | None = None) -> Any:
        return await self.service.score_batch([Applicant(each) for each in customers], "tests", key)


def stages_of(root: Path, clock: Clock, per_day: int | None = None) -> dict[str, Stage]:
    """The passive parties of a run, ready to answer."""
    file = RunFile.read(root, needs=TO_SCORE)
    found = {}
    for member in file.agreement.passives:
        seed = read_seed(root / member.name)
        who = speaker_of(root, member.name, seed, identity_of(member.name, seed), file, clock)
        found[member.name] = Stage(partner_of(who, file, budget_of(who, per_day, None)))
    return found


@contextlib.asynccontextmanager
async def table(
    root: Path, rules: ServingPolicy | None = None, clock: Clock | None = None, *, wait: bool = True
) -> AsyncIterator[Table]:
    """A service over the run in `root`, with its partners in this process."""
    rules, clock = rules or policy(), clock or SystemClock()
    others: dict[Path, Mapping[str, Stage]] = {}

    async def other(place: Path) -> Contender:
        its, who = RunFile.read(place, needs=TO_SCORE), speaker(place, clock)
        others[place] = stages_of(place, clock, rules.partners.scores_per_day or None)
        return ready_model(place, who, its, rules)(dialler(others[place], who.name))

    stages, who = stages_of(root, clock, rules.partners.scores_per_day or None), speaker(root, clock)
    opened = open_service(root, who, RunFile.read(root, needs=TO_SCORE), dialler(stages, who.name), rules, other)
    opened.service.start()
    found = Table(opened, stages, root, others)
    try:
        await opened.succession.catch_up()
        if wait:
            await asyncio.wait_for(opened.service.ready(), 10)
        yield found
    finally:
        await opened.service.close()
        for stage in [stage for each in (stages, *others.values()) for stage in each.values()]:
            for wire in stage.wires:
                wire.cut()
                wire.thread.join(5)
            stage.partner.close()


def speaker(root: Path, clock: Clock) -> Speaker:
    """The active party of a run."""
    file = RunFile.read(root, needs=TO_SCORE)
    active = file.agreement.active.name
    seed = read_seed(root / active)
    return speaker_of(root, active, seed, identity_of(active, seed), file, clock)


def dialler(stages: Mapping[str, Stage], active: str) -> Dialler:
    """To partners in this process."""

    def to(peer: str) -> Dial:
        async def dial(job: str) -> Wire:
            stage = stages[peer]
            stage.dialled += 1
            if stage.away:
                raise Unreachable(f"{peer} is away")
            stage.wires.append(wire := ThreadWire(stage, active, job))
            return wire

        return dial

    return to


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def predictions(root: Path) -> list[dict[str, str]]:
    """The hold-out as the run scored it."""
    with (root / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def witnesses(root: Path) -> dict[str, VerifyingKey]:
    """The keys that partners cosign with."""
    file = RunFile.read(root, needs=TO_SCORE)
    return {member.name: file.keys[member.name].witness for member in file.agreement.passives}


def verify(proof: Proof) -> Entry:
    """What anybody checks who has a proof, with functions of the ledger alone. Raises LedgerError."""
    key = VerifyingKey.parse(proof.key)
    record = leaf_hash(bytes.fromhex(proof.salt) + proof.record.encode())
    entry = Entry.from_bytes(proof.entry.encode())
    (commitment,) = entry.commit
    root = bytes.fromhex(str(commitment["digest"]))
    verify_inclusion(record, proof.place, proof.count, [bytes.fromhex(one) for one in proof.path], root)
    head = open_checkpoint(proof.checkpoint, key).head
    assert head.size == proof.size > proof.index == entry.seq
    leaf = leaf_hash(proof.entry.encode())
    verify_inclusion(leaf, proof.index, head.size, [bytes.fromhex(one) for one in proof.inclusion], head.root)
    return entry


def cosigned_by(proof: Proof, root: Path) -> set[str]:
    """The partners who cosigned the checkpoint of a proof."""
    note = Note.parse(proof.checkpoint)
    return {name for name, key in witnesses(root).items() if cosigners(note, [key])}


def sessions(root: Path, party: str) -> Iterator[Path]:
    """The ledgers of sessions at a party."""
    return (root / party / "scoring" / "sessions").glob("*.sqlite")
