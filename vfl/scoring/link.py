"""The active party's line to one partner: one stream, one question at a time, and what is known of its health.

    up             a session is open
    connecting     none is, and another try is made soon: 0.1 s after the first failure, then twice as long, 5 s at most
    open circuit   so many questions in a row went without an answer in time: none is asked for some seconds
    refuses        the partner will not: somebody must settle it; tried again every 30 s

Who asks never waits longer than the deadline. An answer that comes later is heard and dropped: the ledgers of both have
it, and the next question waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal, Protocol, TypeVar

from ledger.keys import VerifyingKey
from vfl.channel import Channel
from vfl.errors import AgreementError, ProtocolError, TransportError, Unreachable, UsageError
from vfl.protocols import score_online
from vfl.protocols.score_online import OpenScoring, Seen, ShowHead, Spent, Told
from vfl.randomness import fresh_bytes
from vfl.scoring.answers import PartnerHealth
from vfl.scoring.policy import PartnerRules
from vfl.scoring.session import MOST_EXCHANGES, Session, Speaker, job_of

R = TypeVar("R")
_FIRST_WAIT, _LONGEST_WAIT, _REFUSED_WAIT = 0.1, 5.0, 30.0  # seconds between two tries
_EXCHANGES_A_ROUND = 50  # more would be longer to write out and to cosign than others like to wait


class Wire(Protocol):
    """A stream of frames to a partner, open."""

    async def write(self, frame: bytes) -> None: ...

    async def read(self) -> bytes | None:
        """The next frame; None where the partner hung up. Raises VflError."""
        ...

    async def close(self) -> None: ...


Dial = Callable[[str], Coroutine[Any, Any, Wire]]
"""Opens a stream for the session of that name. Raises VflError."""


@dataclass(eq=False)
class _Exchange:
    """Something to be said to the partner, and what comes of it."""

    role: Callable[[Channel], Coroutine[int, None, Any]]
    result: asyncio.Future[Any]


class Line:
    """The line to one partner about one model."""

    def __init__(
        self, who: Speaker, peer: str, dial: Dial, asked: OpenScoring, splits: int | None, features: int,
        rules: PartnerRules, round_seconds: float,
    ) -> None:  # fmt: skip
        """`splits`, `features`: what the model says the partner holds.   round_seconds: between two boundaries."""
        self.peer = peer
        self._who, self._dial, self._opening, self._rules = who, dial, asked, rules
        self._splits, self._features, self._round_seconds = splits, features, round_seconds
        self._exchanges: asyncio.Queue[_Exchange | None] = asyncio.Queue()
        self._ending = False
        self._state: Literal["up", "connecting", "refuses"] = "connecting"
        self._detail = "not tried yet"
        self._failures, self._open_until = 0, 0.0
        self.mask_key: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.mask_keys: Callable[[], Coroutine[Any, Any, dict[str, str]]] | None = None
        self.left: int | None = None
        self.up = asyncio.Event()

    def health(self) -> PartnerHealth:
        """How the line stands."""
        if self.open_circuit:
            seconds = self._open_until - self._now()
            return PartnerHealth("open circuit", f"asked again in {max(seconds, 0.0):.1f} s", self.left)
        return PartnerHealth(self._state, self._detail, self.left)

    @property
    def witness(self) -> VerifyingKey:
        """The key that the partner cosigns with."""
        return self._who.keys[self.peer].witness

    @staticmethod
    def _now() -> float:
        """Seconds that never run backwards."""
        return asyncio.get_running_loop().time()

    @property
    def open_circuit(self) -> bool:
        """Whether the circuit breaker is open."""
        return self._now() < self._open_until

    def may_ask(self) -> bool:
        """Whether there is any use in asking now."""
        return self._state == "up" and not self.open_circuit

    def ask(self, tokens: Sequence[bytes]) -> asyncio.Future[Told | Spent]:
        """Ask about applicants. Whoever waits for the answer minds the deadline, and says so by `failed`."""
        masked = self._opening.masked
        return self._exchange(
            lambda channel: score_online.ask(channel, tokens, self._splits, self._features, masked=masked)
        )

    def show_head(self, shown: ShowHead) -> asyncio.Future[Seen]:
        """Have a head of the log of decisions cosigned."""
        return self._exchange(lambda channel: score_online.show_head(channel, shown))

    def _exchange(self, role: Callable[[Channel], Coroutine[int, None, R]]) -> asyncio.Future[R]:
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._exchanges.put_nowait(_Exchange(role, result))
        return result

    def succeeded(self) -> None:
        """An answer came in time."""
        self._failures = 0

    def failed(self) -> None:
        """None came in time."""
        self._failures += 1
        if self._failures >= self._rules.breaker_failures:
            self._failures, self._open_until = 0, self._now() + self._rules.breaker_seconds

    def end(self) -> None:
        """Let `run` end the session, both ledgers cosigned, and return."""
        self._ending = True
        self._exchanges.put_nowait(None)

    async def run(self) -> None:
        """Keep a session open until `end`, or until cancelled."""
        wait = _FIRST_WAIT
        while True:
            began = self._now()
            try:
                await self._one_session()
                if self._ending:
                    return
                continue  # one ended because it was long enough
            except (AgreementError, ProtocolError, UsageError) as error:
                self._down("refuses", str(error))
                wait = _REFUSED_WAIT
            except (TransportError, OSError) as error:
                self._down("connecting", str(error))
            except Exception as error:  # nobody foresaw it, and a line that is not tried again would stay silent
                self._down("connecting", f"out of order: {type(error).__name__}")
            if self._ending:
                return
            if self._now() - began > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT) if self._state == "connecting" else _FIRST_WAIT

    def _down(self, state: Literal["connecting", "refuses"], detail: str) -> None:
        self._state, self._detail = state, detail
        self.up.clear()
        while not self._exchanges.empty():
            if (exchange := self._exchanges.get_nowait()) is not None:
                _fail(exchange.result, f"{self.peer} cannot be reached")

    async def _one_session(self) -> None:
        moment = self._who.clock.now().astimezone(UTC).strftime("%Y%m%dT%H%M%S")
        job = job_of(self._who.run, moment, fresh_bytes(4).hex())
        wire = await self._dial(job)
        try:
            session = Session(self._who, self.peer, job, leads=True)
            try:
                await self._talk(_Talk(session, wire))
            finally:
                session.close()
        finally:
            with contextlib.suppress(Exception):
                await wire.close()

    async def _talk(self, talk: _Talk) -> None:
        """One session, from its opening to its end."""
        ready = await talk.drive(score_online.active(talk.channel, self._opening))
        if self._splits is not None and ready.splits != self._splits:
            raise ProtocolError(f"holds {ready.splits} splits of the model, not {self._splits}", peer=self.peer)
        if self.mask_keys is not None:
            if not self.mask_key.done():
                self.mask_key.set_result(ready.mask_key)
            await talk.drive(score_online.tell_masks(talk.channel, await self.mask_keys()))
        self._state, self._detail = "up", f"session {talk.job}"
        self.up.set()
        round, since, asked = 0, 0.0, 0
        for _ in range(MOST_EXCHANGES):
            exchange = await self._next(since + self._round_seconds if asked else None)
            if exchange is not None:
                since = since if asked else self._now()
                asked += 1
                await self._go_through(talk, exchange)
            if self._ending and self._exchanges.empty():
                break
            due = self._now() >= since + self._round_seconds and self._exchanges.empty()
            if asked and (due or asked >= _EXCHANGES_A_ROUND):
                round, asked = round + 1, 0
                await talk.drive(score_online.boundary(talk.channel, round))
        await talk.drive(score_online.goodbye(talk.channel))

    async def _next(self, until: float | None) -> _Exchange | None:
        """The next exchange that somebody waits for; None when a boundary is due first, or the end."""
        while True:
            if not self._exchanges.empty():
                exchange = self._exchanges.get_nowait()
            else:
                try:
                    exchange = await asyncio.wait_for(self._exchanges.get(), until and until - self._now())
                except TimeoutError:
                    return None
            if exchange is None or not exchange.result.done():  # who gave it up need not be told of, or counted
                return exchange

    async def _go_through(self, talk: _Talk, exchange: _Exchange) -> None:
        try:
            found = await talk.drive(exchange.role(talk.channel))
        except BaseException as error:
            _fail(exchange.result, f"{self.peer} went: {type(error).__name__}")
            raise
        self.left = found.left if isinstance(found, Spent) else None
        if not exchange.result.done():
            exchange.result.set_result(found)


def _fail(result: asyncio.Future[Any], why: str) -> None:
    if not result.done():
        result.set_exception(Unreachable(why))
        result.exception()  # whoever asked may have gone


class _Talk:
    """A session and the wire that carries it."""

    def __init__(self, session: Session, wire: Wire) -> None:
        self._session, self._wire = session, wire
        self.channel, self.job = session.channel, session.job

    async def drive(self, role: Coroutine[int, None, R]) -> R:
        """Go through one exchange: what the role says is sent, what it waits for is read."""
        whole, frames = self._session.desk.run(role), self._session.frames
        try:
            while True:
                try:
                    whole.send(None)
                except StopIteration as stop:
                    await self._send(frames.leaving)
                    found: R = stop.value
                    return found
                await self._send(frames.leaving)
                frame = await self._wire.read()
                if frame is None:
                    raise Unreachable("the stream ended")
                frames.take_in(frame)
        finally:
            whole.close()

    async def _send(self, leaving: Any) -> None:
        while leaving:
            await self._wire.write(leaving.popleft())
