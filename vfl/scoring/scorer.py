"""The active party's service of scores: applicants in, decisions out, each on the ledger before it is answered.

read the row or the fresh values  ->  ask the partners  ->  judge  ->  grade  ->  record, durably  ->  answer

Every answer has exactly one entry; a batch is one answer. An idempotency key that comes again gives the answer that is
on record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, ParamSpec, TypeVar

import msgspec

from ledger.canonical import Json
from ledger.clock import format_time
from ledger.keys import VerifyingKey
from vfl.clock import Clock
from vfl.errors import UsageError, VflError
from vfl.scoring.answers import (
    MOST_OF_A_BATCH,
    Applicant,
    Decision,
    KeyInUse,
    KeyReused,
    LedgerPart,
    Model,
    PartnerAway,
    PartnerHealth,
    Proof,
    Refused,
    UnknownApplicant,
)  # fmt: skip
from vfl.scoring.contender import Contender
from vfl.scoring.drafts import placed, read_record
from vfl.scoring.joined import Joined
from vfl.scoring.keys import Asked
from vfl.scoring.lineup import Lineup
from vfl.scoring.link import Line
from vfl.scoring.own_table import UNKNOWN
from vfl.scoring.policy import ModelRules
from vfl.scoring.recorder import Recorder
from vfl.scoring.shadows import Seen, Shadows
from vfl.scoring.turns import Turn, turns_of
from vfl.scoring.volumes import SHADOW, Group, Volumes

R = TypeVar("R")
P = ParamSpec("P")
COSIGN_SECONDS = 10.0  # until a partner has cosigned a head at the latest
MOST_SHOWN = 1000  # entries of a stretch of the ledger


class Service:
    """A `vfl.scoring.answers.Scorer`."""

    def __init__(
        self, lineup: Lineup, volumes: Volumes, rules: ModelRules, clock: Clock, cosign_seconds: float
    ) -> None:  # fmt: skip
        """`cosign_seconds`: between two heads that partners cosign."""
        self.lineup, self._volumes, self._clock = lineup, volumes, clock
        self.shadows = Shadows(lineup, rules, self._score_beside)
        self._recorder = Recorder(volumes)
        self._under_way: set[tuple[str, str]] = set()
        self._decisions: set[asyncio.Task[Any]] = set()
        self._every, self._cosigned = cosign_seconds, 0
        self._tasks: list[asyncio.Task[None]] = []
        self.on_decisions: list[Callable[[Sequence[Decision], float], None]] = []
        """Told the decisions of each answer once they are durable, and the seconds they took. Must be quick."""

    @property
    def active(self) -> str:
        return self.lineup.home.file.agreement.active.name

    @property
    def own_features(self) -> tuple[str, ...]:
        return self.lineup.champion.table.names

    def models(self) -> list[Model]:
        return self.lineup.models()

    def partners(self) -> Mapping[str, PartnerHealth]:
        return self.lineup.champion.bench.partners()

    def start(self) -> None:
        """Open the lines to the partners; in a running event loop."""
        self.lineup.home.bench.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._cosigning()), loop.create_task(self.shadows.run())]

    async def ready(self) -> None:
        """Until every partner answers."""
        await self.lineup.ready()

    async def close(self) -> None:
        """Stop asking, sign the last head, release the files."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.cosign()
        await asyncio.gather(*self._decisions, return_exceptions=True)
        await self.lineup.stop()
        await self._read(self._volumes.close)
        self._recorder.close()

    async def cosign(self) -> None:
        """Sign the head of the newest volume, and have every partner that can be reached cosign it."""
        for line, witness in self.lineup.home.bench.witnesses():
            if line.may_ask():
                with contextlib.suppress(VflError, TimeoutError):
                    await asyncio.wait_for(self._cosigned_by(line, witness), COSIGN_SECONDS)

    async def _cosigned_by(self, line: Line, witness: VerifyingKey) -> None:
        volume, old = self._volumes.newest, None
        for _ in range(2):  # the second time from where the partner says that it stands
            shown = await self._read(volume.shown_to, witness, old)
            if shown is None:
                return
            seen = await line.show_head(shown)
            if seen.line:
                await self._read(volume.cosigned, seen.size, seen.line, witness)
                return
            old = seen.size

    async def _cosigning(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if len(self._volumes.newest.log) != self._cosigned:
                self._cosigned = len(self._volumes.newest.log)
                await self.cosign()

    # -- decisions ----------------------------------------------------------------------------------------------

    async def score(self, applicant: Applicant, caller: str, key: str | None = None) -> Decision:
        return await self._to_its_end(self._score(applicant, caller, key))

    async def _score(self, applicant: Applicant, caller: str, key: str | None) -> Decision:
        began = self._clock.monotonic_ns()
        with self._turns([applicant]) as turns:
            if refused := turns[0].found.refused:
                raise UnknownApplicant() if refused[0].code == UNKNOWN else UsageError(refused[0].detail)
            async with _OneAtATime(self._under_way, caller, key, applicant) as asked:
                if asked is not None and (earlier := await self._earlier(asked)) is not None:
                    return _whole(earlier)
                drafts = await _drafts(turns)
                if drafts.first is not None:
                    raise PartnerAway()
                return _whole(await self._record([applicant], drafts, asked, began, batch=False))

    async def score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None = None
    ) -> tuple[Decision | Refused, ...]:
        return await self._to_its_end(self._score_batch(applicants, caller, key))

    async def _score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None
    ) -> tuple[Decision | Refused, ...]:
        began = self._clock.monotonic_ns()
        if not 1 <= len(applicants) <= MOST_OF_A_BATCH:
            raise UsageError(f"a batch has 1 to {MOST_OF_A_BATCH} applicants, not {len(applicants)}")
        async with _OneAtATime(self._under_way, caller, key, applicants) as asked:
            if asked is not None and (earlier := await self._earlier(asked)) is not None:
                return tuple(earlier)
            with self._turns(applicants) as turns:
                drafts = await _drafts(turns)
            return tuple(await self._record(applicants, drafts, asked, began, batch=True))

    @contextlib.contextmanager
    def _turns(self, applicants: Sequence[Applicant]) -> Iterator[Sequence[Turn]]:
        """Who decides about whom; none of them goes meanwhile."""
        turns = turns_of(self.lineup, applicants)
        with contextlib.ExitStack() as at_work:
            for turn in turns:
                at_work.enter_context(turn.contender.at_work())
            yield turns

    async def _to_its_end(self, work: Coroutine[Any, Any, R]) -> R:
        """What was begun is finished though the caller went: its key is in use until the answer is on record."""
        task = asyncio.get_running_loop().create_task(work)
        self._decisions.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._decisions.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _record(
        self, applicants: Sequence[Applicant], drafts: Joined, asked: Asked | None, began: int, *, batch: bool
    ) -> list[Decision | Refused]:  # fmt: skip
        """Put drafts on record as one entry, durably, and give them their place. `began`: ns of the clock."""
        records = drafts.records(format_time(self._clock.now()))
        kept = await self._recorder.keep(Group(records, {"batch": batch, **drafts.counts()}, asked))
        made = drafts.decisions(kept, batch=batch)
        seconds = (self._clock.monotonic_ns() - began) / 1e9
        decided = [one for one in made if isinstance(one, Decision)]
        for tell in self.on_decisions if decided else ():
            tell(decided, seconds)
        self.shadows.offer(applicants, made)
        return made

    async def _score_beside(self, challenger: Contender, seen: Sequence[Seen], dropped: int) -> None:
        """Put on record what a challenger would have decided."""
        applicants = [each.applicant for each in seen]
        turn = Turn(challenger, range(len(seen)), applicants, challenger.table.look_up(applicants))
        drafts = await turn.drafts()
        records = drafts.shadows([each.decision for each in seen], format_time(self._clock.now()))
        params = {"model": challenger.version, "batch": True, "dropped": dropped, **drafts.counts()}
        await self._recorder.keep(Group(records, params, step=SHADOW))

    async def note(self, step: str, params: Mapping[str, Json]) -> None:
        """Put something else on record, durably."""
        await self._read(self._volumes.note, step, params)

    # -- what is on record --------------------------------------------------------------------------------------

    async def _earlier(self, asked: Asked) -> list[Decision | Refused] | None:
        found = self._volumes.keys.find(asked.caller, asked.key)
        if found is None:
            return None
        body, number, seq = found
        if body != asked.body:
            raise KeyReused()
        return await self._read(self._all_of, number, seq)

    async def find(self, decision_id: str) -> tuple[Decision, Proof] | None:
        try:
            number, seq, *rest = (int(part) for part in decision_id.split("-"))
            (place,) = rest or [0]
        except ValueError:
            return None
        return await self._read(self._proven, number, seq, place, decision_id)

    async def recent(self, count: int) -> list[tuple[str, Decision]]:
        return await self._read(self._newest, count)

    async def ledger(self, log: str | None, start: int, count: int) -> LedgerPart:
        return await self._read(self._stretch, log, start, count)

    async def _read(self, work: Callable[P, R], *words: P.args, **named: P.kwargs) -> R:
        """Readers take their turn with the writer, who alone moves the log."""
        return await self._recorder.read(lambda: work(*words, **named))

    def _newest(self, count: int) -> list[tuple[str, Decision]]:
        found: list[tuple[str, Decision]] = []
        for entered, place in self._volumes.latest(min(count, MOST_SHOWN)):
            time, draft = read_record(entered.records[place][1])
            decision = placed(draft, entered.kept, place if entered.batch else None)
            if isinstance(decision, Decision):
                found.append((time, decision))
        return found

    def _all_of(self, number: int, seq: int) -> list[Decision | Refused]:
        volume = self._volumes.volume(number)
        entered = volume.records(seq) if volume is not None else None
        if entered is None:
            raise UsageError("the answer to an idempotency key is not on record", remedy="restore the volumes")
        return [
            placed(read_record(body)[1], entered.kept, place if entered.batch else None)
            for place, (_, body) in enumerate(entered.records)
        ]

    def _proven(self, number: int, seq: int, place: int, decision_id: str) -> tuple[Decision, Proof] | None:
        volume = self._volumes.volume(number)
        entered = volume.records(seq) if volume is not None else None
        if volume is None or entered is None or not 0 <= place < len(entered.records):
            return None
        salt, body = entered.records[place]
        decision = placed(read_record(body)[1], entered.kept, place if entered.batch else None)
        if isinstance(decision, Refused) or decision.decision_id != decision_id:
            return None
        head = volume.covering(seq)
        return decision, Proof(
            record=body.decode(), salt=salt.hex(), place=place, count=len(entered.records),
            path=_hex(entered.tree().inclusion_proof(place)), entry=entered.entry, index=seq,
            size=head.size, inclusion=_hex(volume.log.inclusion_proof(seq, head.size)), checkpoint=head.note,
            key=volume.log.key.vkey,
        )  # fmt: skip

    def _stretch(self, log: str | None, start: int, count: int) -> LedgerPart:
        volumes = self._volumes
        logs = {volumes.origin(number): number for number in volumes.numbers()}
        if log is not None and log not in logs:
            raise UsageError("there is no such log of decisions", remedy="take one of `logs` of the newest")
        volume = volumes.newest if log is None else volumes.volume(logs[log])
        assert volume is not None
        head = volume.covering(len(volume.log) - 1)
        first = max(0, min(start, head.size))
        shown = range(first, min(head.size, first + max(0, min(count, MOST_SHOWN))))
        return LedgerPart(
            logs=tuple(logs), log=volume.log.origin, key=volume.log.key.vkey, checkpoint=head.note, size=head.size,
            start=first, entries=tuple(volume.store.row(seq).body.decode() for seq in shown),
            inclusion=tuple(_hex(volume.log.inclusion_proof(seq, head.size)) for seq in shown),
        )  # fmt: skip


class _OneAtATime:
    """Lets no two requests with one key go on at the same time; gives what is remembered of the key."""

    def __init__(self, under_way: set[tuple[str, str]], caller: str, key: str | None, request: object) -> None:
        self._under_way, self._caller, self._key, self._request = under_way, caller, key, request

    async def __aenter__(self) -> Asked | None:
        if self._key is None:
            return None
        if (self._caller, self._key) in self._under_way:
            raise KeyInUse()
        self._under_way.add((self._caller, self._key))
        return Asked(self._caller, self._key, _digest(self._request))

    async def __aexit__(self, *_: object) -> None:
        if self._key is not None:
            self._under_way.discard((self._caller, self._key))


def _digest(request: object) -> bytes:
    """SHA-256 of what was asked, whatever the order of its features."""
    return sha256(msgspec.json.encode(request, order="deterministic")).digest()


async def _drafts(turns: Sequence[Turn]) -> Joined:
    found = [await turns[0].drafts()] if len(turns) == 1 else await asyncio.gather(*(turn.drafts() for turn in turns))
    return Joined([(turn.places, drafts) for turn, drafts in zip(turns, found, strict=True)])


def _whole(found: Sequence[Decision | Refused]) -> Decision:
    (decision,) = found
    if isinstance(decision, Refused):  # the key was used for a batch of one
        raise KeyReused()
    return decision


def _hex(hashes: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(each.hex() for each in hashes)
