"""A party's computer: a disk, a clock, and a process that takes its role from its transcript."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from unittest import mock

from ledger.ending import Ended, sign_end
from ledger.keys import Identity
from vfl import run
from vfl.channel import Channel
from vfl.desk import Desk
from vfl.errors import AgreementError, ProtocolError, RunEnded, TimedOut, TransportError, UsageError, VflError
from vfl.notary import LedgerNotary, PeerKeys
from vfl.own_ledger import own_ledger
from vfl.seat import blinds_of, require_going_on

from .casts import ACTIVE, Cast
from .disk import Disk, Killed, Store, Transcript
from .network import End
from .promises import Broken, Promises
from .schedule import Schedule

PATIENCE = 40.0  # seconds without a frame that end an attempt
RUN, AGREEMENT = "run-7", "ab" * 32
START = datetime(2026, 1, 31, 10, tzinfo=UTC)
IDENTITIES = {name: Identity(name, bytes([n]) * 32) for n, name in enumerate(("bank", "telecom", "retailer"), 1)}
KEYS = {name: PeerKeys(one.identity.verifying, one.witness.verifying) for name, one in IDENTITIES.items()}


class World(Protocol):
    """What a machine asks of the world."""

    schedule: Schedule
    promises: Promises
    cast: Cast
    signed: bool

    def tell(self, who: str, what: str) -> None: ...

    def died(self, machine: Machine) -> None: ...

    def attempt_ended(self, machine: Machine) -> None: ...

    def refused(self, machine: Machine, error: VflError) -> None: ...

    def finished(self, machine: Machine, result: Any) -> None: ...

    def ended_before(self, machine: Machine) -> None: ...


class Machine:
    """One party's computer."""

    def __init__(self, world: World, name: str, disk: Disk) -> None:
        self.world, self.name, self.disk = world, name, disk
        self.up = True
        self.skew = self.certified_at = 0.0  # seconds that its clock is off, and was when its key was certified
        self.booted = 0.0
        self.gone = False  # for good
        self.ended: Ended | None = None  # what it signed, once it gave the run up
        self.version = run.__version__
        self.number = 0  # what the role's draws depend on
        self.rolled_back: Any = None  # the right store, while an old one is in its place
        self.notary: LedgerNotary | None = None
        self.ends: dict[str, End] = {}
        self.heard = 0.0
        self._role: Coroutine[int, None, Any] | None = None
        self._transcript: Transcript | None = None
        self._ticks = 0

    # The clock

    def now(self) -> datetime:
        return START + timedelta(seconds=self.world.schedule.now + self.skew)

    def monotonic_ns(self) -> int:
        self._ticks += 1
        return int((self.world.schedule.now - self.booted) * 1e9) + self._ticks

    def cpu_seconds(self) -> float:
        return 0.0

    # The process

    @property
    def running(self) -> bool:
        return self._role is not None

    def begin(self, ends: Mapping[str, End]) -> None:
        """Take the role from the transcript, for a new attempt."""
        self.end_attempt("another attempt begins")
        self.ends = dict(ends)
        for end in ends.values():
            end.wake = self.resume
            end.watch = lambda frame, end=end: self.world.promises.leaves(self, end.peer, frame)  # type: ignore[misc]
            end.pulled = lambda frame, end=end: self.world.promises.taken(self, end.peer, frame)  # type: ignore[misc]
        self._guarded(self._sit)
        self.heard = self.world.schedule.now
        self.world.schedule.after(PATIENCE, lambda role=self._role: self._patience(role))  # type: ignore[misc]
        self.resume()

    def _sit(self) -> None:
        """As `vfl.seat.Seat` does."""
        cast, talking = self.world.cast, self.world.cast.peers(self.name)
        notary = self._open()
        assert self._transcript is not None
        require_going_on(notary.log)
        desk = Desk(self.name, self._transcript, notary, leads=self.name == ACTIVE, at_once=self.world.signed)
        desk.blind = blinds_of(bytes([len(self.name)]) * 32)
        channels: dict[str, Channel] = {peer: desk.channel(peer, self.ends[peer]) for peer in talking}

        async def whole() -> Any:
            commit = lambda step, found: notary.commit("commit", step, found)  # noqa: E731
            result = await cast.play(self.name, channels, commit, self.number)
            await desk.settle()
            notary.finish()
            return result

        self._role = desk.run(whole())

    def _open(self) -> LedgerNotary:
        """Its transcript and its ledger."""
        cast, keys = self.world.cast, KEYS
        self._transcript = self.disk.open()
        talking = cast.peers(self.name)
        peers = {peer: keys[peer] for peer in talking}
        others = {other: keys[other] for other in cast.parties if other not in (self.name, *talking)}
        if not any(self.disk.store.rows()):
            self.certified_at = self.skew
        self.notary = LedgerNotary(
            Store(self.disk), IDENTITIES[self.name], RUN, AGREEMENT, peers, self, others,
            sign_messages=self.world.signed,
        )  # fmt: skip
        self.world.promises.opened(self)
        return self.notary

    def give_up(self, by: str, why: str) -> None:
        """As `vfl.party.ending.end_run` does; whoever dies in here has not, or finds that it has."""
        self.end_attempt(why)

        def sign() -> None:
            notary = self._open()
            assert self._transcript is not None
            with suppress(ProtocolError):
                notary.catch_up(self._transcript.records())
            with own_ledger():
                self.ended = sign_end(notary.log, "aborted", by=by, why=why, attempts=1)
            self.world.tell(self.name, f"signs that {why}")

        self._guarded(sign)
        self._leave()

    def begins_again(self) -> bool:
        """Whether a role would begin over its ledger."""
        try:
            self._sit()
        except RunEnded:
            return False
        finally:
            self._leave()
        return True

    def resume(self) -> None:
        """Let the role go on until it waits."""
        if self._role is not None:
            self.heard = self.world.schedule.now
            self._guarded(self._go_on)

    def _go_on(self) -> None:
        assert self._role is not None
        with mock.patch.object(run, "__version__", self.version):
            self._role.send(None)

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except StopIteration as stop:
            self.world.finished(self, stop.value)
            for end in self.ends.values():
                end.stream.carry(self.name, None)
            self._leave()
        except Killed as death:
            self.die(power=death.power)
        except TransportError as error:
            self.end_attempt(str(error))
            self.world.attempt_ended(self)
        except RunEnded as end:
            self.end_attempt(f"it has ended already: {end}")
            self.world.ended_before(self)
        except (ProtocolError, AgreementError, UsageError) as error:
            self.world.refused(self, error)
            self.end_attempt(f"{type(error).__name__}: {error}")
            self.world.attempt_ended(self)
        except OSError as error:
            refusal = UsageError(str(error))
            refusal.__cause__ = error
            self.world.refused(self, refusal)
            self.end_attempt(str(error))
            self.world.attempt_ended(self)
        except (Broken, AssertionError):
            raise
        except Exception as error:  # whatever it is, it is a bug
            raise Broken("P7", f"{self.name} ends in {type(error).__name__}: {error}") from error

    def _patience(self, role: Any) -> None:
        if role is None or role is not self._role:
            return
        left = self.heard + PATIENCE - self.world.schedule.now
        if left > 0:
            self.world.schedule.after(left, lambda: self._patience(role))
            return
        self._guarded(self._give_up)

    def _give_up(self) -> None:
        raise TimedOut("nobody says a word")

    def die(self, *, power: bool) -> None:
        """The process is gone, and the machine with it."""
        self.world.tell(self.name, "loses its power" if power else "is killed")
        if self._transcript is not None:
            self._transcript.abandon()
            self._transcript = None
        self._drop_role()
        self.disk.lose(self.world.schedule.chance, power=power)
        self.up = False
        self._hang_up("its machine is down")
        self.world.died(self)

    def end_attempt(self, why: str) -> None:
        """The process closes what it holds open, in order."""
        if self._role is None and self._transcript is None:
            return
        self.world.tell(self.name, f"ends its attempt: {why[:200]}")
        self._leave()
        self._hang_up("a party ended its attempt")

    def _leave(self) -> None:
        self._drop_role()
        if self._transcript is not None:
            self._transcript.close()
            self._transcript = None

    def _drop_role(self) -> None:
        role, self._role = self._role, None
        if role is not None:
            role.close()

    def _hang_up(self, why: str) -> None:
        for end in self.ends.values():
            end.wake = lambda: None
            end.stream.break_off(why)


def caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether an error of one of these kinds led to this one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, kinds):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
