"""Machines, the network between them, and what goes wrong, until the run has ended."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from ledger.ending import ended
from ledger.errors import BadClock, StoreError
from vfl.errors import ProtocolError, UsageError, VflError

from .auditing import audit
from .casts import ACTIVE, Cast
from .damage import flip_a_bit, roll_back
from .disk import Disk, Killed
from .machine import Machine, caused_by
from .mix import HORIZON, Mix
from .network import Stream
from .promises import Broken, Promises, Undisturbed, records_of
from .schedule import Schedule

ENDS_WITHIN = 400.0  # seconds of virtual time after the last fault
LONGEST_WAIT = 30.0  # seconds between two attempts
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
DAY = 86400.0
PATIENCE = 150.0  # seconds that a run may stand still where somebody may be gone for good
REFUSALS = 3  # of a run that a changed message has spoilt, until its parties give up


class World:
    """Machines, the network between them, and what goes wrong."""

    def __init__(self, cast: Cast, mix: Mix, chance: random.Random, folder: Path, due: Undisturbed | None) -> None:
        self.cast, self.mix, self.signed, self.folder = cast, mix, mix.signed, folder
        self.impatient = mix.gone > 0  # somebody may be gone for good
        self.audited = False  # whether the ledgers are verified at the end
        self.schedule = Schedule(chance)
        self.promises = Promises(due)
        self.trace: list[str] = []
        self.faults: dict[str, int] = {}
        self.results: dict[str, Any] = {}
        self.done = ""
        self.attempts = 0
        self._waits = 0
        self._refusals = 0
        self._dialling = False
        self._moved = (0, 0.0)  # bytes of the bank's transcript, and since when there are so many
        self._heard: dict[str, float] = {}  # when the bank last called a peer
        self._quiet_since = HORIZON
        self._cuts: dict[frozenset[str], float] = {}
        self._streams: list[Stream] = []
        self.machines: dict[str, Machine] = {}
        for name in cast.parties:
            home = folder / name
            home.mkdir(parents=True, exist_ok=True)
            machine = Machine(self, name, Disk(home))
            machine.disk.step = lambda what, machine=machine: self._durable(machine, what)  # type: ignore[misc]
            machine.disk.fails = lambda machine=machine: self._write_fails(machine)  # type: ignore[misc]
            machine.skew = chance.uniform(-1, 1) * mix.skew
            self.machines[name] = machine

    # What the parts ask

    def tell(self, who: str, what: str) -> None:
        self.trace.append(f"{self.schedule.now:9.3f}  {who}: {what}")

    def spend(self) -> bool:
        if self.mix.budget <= 0:
            return False
        self.mix.budget -= 1
        if self.mix.budget == 0:
            self.quiet()
        return True

    def quiet(self) -> None:
        """Every fault stops."""
        if self._quiet_since > self.schedule.now:
            self._quiet_since = self.schedule.now
        self.mix.quiet()
        self.tell("world", "all faults stop")

    def cut(self, a: str, b: str) -> bool:
        return self._cuts.get(frozenset((a, b)), 0.0) > self.schedule.now

    def doctored(self, sender: str, receiver: str, frame: bytes) -> None:
        self.promises.doctored |= not self.signed

    def _fault(self, what: str) -> None:
        self.faults[what] = self.faults.get(what, 0) + 1

    def _durable(self, machine: Machine, what: str) -> None:
        mix, chance = self.mix, self.schedule.chance
        drawn = chance.random()
        if drawn < mix.kill + mix.power and self.spend():
            self._fault(what)
            raise Killed(power=drawn >= mix.kill)

    def _write_fails(self, machine: Machine) -> bool:
        fails = self.schedule.chance.random() < self.mix.full and self.spend()
        if fails:
            self._fault("a full disk")
            self.tell(machine.name, "its disk refuses a write")
        return fails

    # Attempts

    def start(self) -> None:
        self.schedule.after(0.0, self._dial)
        for name in self.cast.peers(ACTIVE) if self.impatient else ():
            self.schedule.after(PATIENCE, lambda one=self.machines[name]: self._wait_for_bank(one))  # type: ignore[misc]
        self.schedule.after(HORIZON, lambda: self.mix.budget and self.quiet())

    def _dial_later(self) -> None:
        if not self._dialling and not self.done:
            self._dialling = True
            self.schedule.after(min(2.0**self._waits, LONGEST_WAIT), self._dial)
            self._waits += 1

    def _dial(self) -> None:
        self._dialling = False
        bank, peers = self.machines[ACTIVE], self.cast.peers(ACTIVE)
        if self.done or not bank.up or bank.running:
            return
        self._maybe_cut(peers)
        if self.impatient and self._stands_still(bank):
            self._end_by_bank()
            return
        for name in peers:
            self._heard[name] = self.schedule.now
        away = [name for name in peers if not self.machines[name].up or self.cut(ACTIVE, name)]
        if away:
            self.tell(ACTIVE, f"cannot reach {', '.join(away)}")
            self._dial_later()
            return
        self.attempts += 1
        self.tell(ACTIVE, f"begins attempt {self.attempts}")
        self._streams = [Stream(self, ACTIVE, name) for name in peers]
        for name, stream in zip(peers, self._streams, strict=True):
            self._join(self.machines[name], {ACTIVE: stream})
        self._join(bank, dict(zip(peers, self._streams, strict=True)))

    def _join(self, machine: Machine, streams: dict[str, Stream]) -> None:
        def begin() -> None:
            if not machine.up:
                for stream in streams.values():
                    stream.break_off("nobody is there")
            elif not any(stream.broken for stream in streams.values()):
                machine.begin({peer: stream.ends[machine.name] for peer, stream in streams.items()})
            elif machine.name == ACTIVE:
                self._dial_later()

        self.schedule.after(self.schedule.chance.expovariate(10.0), begin)

    def _maybe_cut(self, peers: list[str]) -> None:
        chance = self.schedule.chance
        if chance.random() < self.mix.partition and self.spend():
            peer, length = chance.choice(peers), chance.uniform(1, 60)
            start = chance.uniform(0, 2)

            def begin() -> None:
                self._cuts[frozenset((ACTIVE, peer))] = self.schedule.now + length
                self.tell("world", f"{ACTIVE} and {peer} are apart for {length:.0f} seconds")
                self._fault("a partition")

            self.schedule.after(start, begin)

    # What machines tell

    def finished(self, machine: Machine, result: Any) -> None:
        self.tell(machine.name, "has finished")
        self.results[machine.name] = result
        self.promises.finished(machine, essence_of(result))
        if machine.name == ACTIVE:
            self.schedule.after(1.0, self._look)

    def _look(self) -> None:
        """Whether the attempt has ended well for everybody; else there will be another one."""
        bank = self.machines[ACTIVE]
        if self.done or not bank.up or bank.running:
            return
        if all(end.peer_finished for end in bank.ends.values()):
            self.done = "a model"
        elif any(end.closed for end in bank.ends.values()):
            self._dial_later()
        elif not self.done:
            self.schedule.after(5.0, self._look_again)

    def _look_again(self) -> None:
        bank = self.machines[ACTIVE]
        for end in bank.ends.values():
            if not end.peer_finished and not self.machines[end.peer].running:
                end.stream.break_off("the peer is gone")
        self._look()

    def attempt_ended(self, machine: Machine) -> None:
        if machine.name == ACTIVE:
            self._dial_later()

    def refused(self, machine: Machine, error: VflError) -> None:
        """A process ended in a declared refusal: whether anything happened that excuses it."""
        self._fault(type(error).__name__)
        changed = [one for one in self.machines.values() if one.version.endswith("-changed")]
        back = [one for one in self.machines.values() if one.rolled_back is not None]
        if caused_by(error, StoreError, OSError) and self.faults.get("a full disk"):
            return
        if caused_by(error, BadClock) and abs(machine.skew - machine.certified_at) > DAY:
            machine.skew = machine.certified_at
            self.tell(machine.name, "its keeper sets the clock")
            return
        if isinstance(error, ProtocolError) and changed and error.peer == machine.name == changed[0].name:
            machine.version = machine.version.removesuffix("-changed")
            return
        if isinstance(error, ProtocolError) and any(one.name == error.peer for one in back):
            for one in back:
                one.disk.store, one.rolled_back = one.rolled_back, None
                one.end_attempt("its keeper restores the right ledger")
                self.attempt_ended(one)
            return
        if self.mix.protected:
            raise Broken("P3", f"{machine.name} ends in {type(error).__name__}: {error}") from error
        if self.promises.doctored:
            self._refusals += 1
            if self._refusals >= REFUSALS and self.schedule.now > self._quiet_since:
                self.done = "refused"
        elif self.schedule.now > self._quiet_since + ENDS_WITHIN / 2:
            raise Broken("P3", f"{machine.name} ends in {type(error).__name__} long after the last fault: {error}")

    # Those who never come back

    def _stands_still(self, bank: Machine) -> bool:
        size, since = self._moved
        if bank.disk.size() != size:
            self._moved = bank.disk.size(), self.schedule.now
            return False
        return self.schedule.now - since > PATIENCE

    def _end_by_bank(self) -> None:
        """The active party gives the run up and tells whom it can reach; then, or when it died in there, look again."""
        bank = self.machines[ACTIVE]
        bank.give_up(ACTIVE, "bank gave it up")
        if bank.ended is not None:
            for name in self.cast.peers(ACTIVE):
                if self.machines[name].up and not self.cut(ACTIVE, name):
                    self.machines[name].give_up(ACTIVE, "bank gave it up")
        self._look_at_ends()

    def ended_before(self, machine: Machine) -> None:
        """It found the end in its ledger."""
        assert machine.notary is not None
        machine.ended = ended(machine.notary.log)
        if machine.name == ACTIVE:
            self._end_by_bank()
        self._look_at_ends()

    def _wait_for_bank(self, machine: Machine) -> None:
        """A passive party gives the run up when nobody has called it for long."""
        if self.done or machine.gone or machine.ended is not None:
            return
        heard = max(self._heard.get(machine.name, 0.0), machine.booted)
        left = heard + PATIENCE - self.schedule.now
        if left <= 0 and machine.up and not machine.running:
            machine.give_up(machine.name, f"{machine.name} gave it up")
            self._look_at_ends()
        self.schedule.after(max(left, 5.0), lambda: self._wait_for_bank(machine))

    def _look_at_ends(self) -> None:
        remain = [machine for machine in self.machines.values() if not machine.gone]
        if all(machine.ended is not None and machine.up for machine in remain):
            self.done = "given up"

    def died(self, machine: Machine) -> None:
        if self.impatient and self.schedule.chance.random() < self.mix.gone:
            self._fault("gone for good")
            self.tell(machine.name, "is gone for good")
            machine.gone = True
            self._look_at_ends()
            return
        self.schedule.after(self.schedule.chance.uniform(0.5, 40), lambda: self._boot(machine))

    def _boot(self, machine: Machine) -> None:
        chance, mix = self.schedule.chance, self.mix
        machine.up, machine.booted = True, self.schedule.now
        machine.skew += chance.uniform(-1, 1) * mix.skew
        if chance.random() < mix.damage:
            self._fault("a flipped bit")
            flip_a_bit(machine, chance)
        if chance.random() < mix.rollback and not self.promises.doctored and roll_back(machine, self.promises, chance):
            self._fault("an old backup")
        elif chance.random() < mix.changed and self.cast.name == "run" and records_of_sent(machine):
            machine.version += "-changed"
            self._fault("another version")
        self.tell(machine.name, "is up again")
        if machine.name == ACTIVE:
            self._dial_later()

    # The whole

    def run(self) -> str:
        """Until everybody has finished. How it ended. Raises Broken."""
        self.start()
        while not self.done:
            if not self.schedule.step():
                raise Broken("P6", "nothing will ever happen again")
            if self.schedule.now > self._quiet_since + ENDS_WITHIN:
                raise Broken("P6", f"no end {ENDS_WITHIN:.0f} seconds after the last fault")
        self.mix.quiet()
        if self.done == "given up":
            self.promises.given_up(self.machines)
        if self.done == "a model":
            if set(self.results) != set(self.machines):
                raise Broken("P6", "the attempt ended, and not everybody has a model")
            for machine in self.machines.values():
                machine.end_attempt("the run has ended")
            self.promises.ended(self.machines)
            if self.audited:
                audit(self.machines, self.folder)
        return self.done

    def close(self) -> None:
        """Every process ends."""
        for machine in self.machines.values():
            machine.end_attempt("the run has ended")


def records_of_sent(machine: Machine) -> bool:
    """Whether the machine has said anything that its disk remembers."""
    return machine.disk.size() > 0 and any(way.startswith("to ") for way, _, _ in whole_records(machine))


def whole_records(machine: Machine) -> list[Any]:
    """Of a transcript that may end inside a record."""
    try:
        return records_of(machine)
    except UsageError:
        return []


def essence_of(result: Any) -> str:
    """All of a result that must be the same again."""
    share = getattr(result, "share", None)
    return share.hex() if isinstance(share, bytes) else _ADDRESS.sub("", repr(result))
