"""Streams between two parties for one attempt, over a network that loses, repeats, delays, changes and cuts frames.

A protected stream gives what TLS over TCP gives: every frame once and in order, or it breaks. A bare one hands the
desks whatever the network did, as if an attacker sat on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vfl.errors import Unreachable

from .mix import Mix
from .schedule import Schedule

AGAIN = 0.5  # seconds until a lost frame is sent again, doubling
TRIES = 6
KEEP_ALIVE = 20.0  # seconds until a stream over a cut network counts as broken


class Network(Protocol):
    """What streams ask of the world."""

    schedule: Schedule
    mix: Mix

    def tell(self, who: str, what: str) -> None: ...

    def spend(self) -> bool:
        """Whether one more disruptive fault may happen."""
        ...

    def cut(self, a: str, b: str) -> bool:
        """Whether the network between two parties is down."""
        ...

    def doctored(self, sender: str, receiver: str, frame: bytes) -> None:
        """A changed frame is handed to the receiver's desk."""
        ...


class End:
    """A party's end of a stream (`vfl.channel.Link`)."""

    full = False

    def __init__(self, stream: Stream, me: str, peer: str) -> None:
        self.stream, self.me, self.peer = stream, me, peer
        self.inbox: list[bytes] = []
        self.closed = self.peer_finished = False
        self.watch: Callable[[bytes], None] = lambda frame: None  # sees every frame before it leaves
        self.pulled: Callable[[bytes], None] = lambda frame: None  # and every frame that is taken in
        self.wake: Callable[[], None] = lambda: None

    def push(self, frame: bytes) -> None:
        self.watch(frame)
        self.stream.carry(self.me, frame)

    def pull(self) -> bytes | None:
        if self.inbox:
            frame = self.inbox.pop(0)
            self.pulled(frame)
            return frame
        if self.closed:
            raise Unreachable(f"{self.peer} closed the connection")
        return None


class Stream:
    """Both directions between two parties in one attempt."""

    def __init__(self, net: Network, a: str, b: str) -> None:
        self._net, self._protected = net, net.mix.protected
        self.ends = {a: End(self, a, b), b: End(self, b, a)}
        self.broken = False
        self._sent = {a: 0, b: 0}
        self._due = {a: 0, b: 0}  # number of the next frame, by sender
        self._latest = {a: 0.0, b: 0.0}  # when the latest frame arrives that nothing delays
        self._early: dict[str, dict[int, bytes | None]] = {a: {}, b: {}}

    def other(self, me: str) -> End:
        return next(end for name, end in self.ends.items() if name != me)

    def carry(self, me: str, frame: bytes | None) -> None:
        """Send a frame on its way; None: this end has said all it has to say."""
        number = self._sent[me]
        self._sent[me] += 1
        self._try(me, number, frame, 0)

    def _try(self, me: str, number: int, frame: bytes | None, tries: int) -> None:
        if self.broken:
            return
        net, peer = self._net, self.other(me).me
        mix, chance = net.mix, net.schedule.chance
        last = frame is None and not self._protected
        if not last and (net.cut(me, peer) or (chance.random() < mix.drop and (self._protected or net.spend()))):
            net.tell(me, f"frame {number} to {peer} is lost")
            if self._protected:
                self._again(me, number, frame, tries)
            return
        delay = max(chance.expovariate(50.0), self._latest[me] - net.schedule.now)
        self._latest[me] = net.schedule.now + delay
        if chance.random() < mix.late and (self._protected or net.spend()):
            delay += chance.uniform(0.1, 8.0)
        if not last and chance.random() < mix.duplicate and (self._protected or net.spend()):
            again = delay + chance.choice([0.0, chance.expovariate(5.0)])
            net.schedule.after(again, lambda: self._arrive(me, number, frame, whole=True))
        damaged = self._damaged(frame)
        if damaged is not frame:
            net.tell(me, f"frame {number} to {peer} is changed")
        net.schedule.after(delay, lambda: self._arrive(me, number, damaged, whole=damaged is frame))

    def _again(self, me: str, number: int, frame: bytes | None, tries: int) -> None:
        if tries == TRIES:
            self.break_off("nothing gets through")
            return
        self._net.schedule.after(AGAIN * 2**tries, lambda: self._try(me, number, frame, tries + 1))

    def _damaged(self, frame: bytes | None) -> bytes | None:
        mix, chance = self._net.mix, self._net.schedule.chance
        if frame is None or not mix.budget:
            return frame
        if chance.random() < mix.corrupt and self._net.spend():
            at = chance.randrange(len(frame))
            return frame[:at] + bytes([frame[at] ^ 1 << chance.randrange(8)]) + frame[at + 1 :]
        if chance.random() < mix.truncate and self._net.spend():
            return frame[: chance.randrange(len(frame))]
        return frame

    def _arrive(self, me: str, number: int, frame: bytes | None, *, whole: bool) -> None:
        if self.broken:
            return
        if not self._protected:
            if frame is not None and not whole:
                self._net.doctored(me, self.other(me).me, frame)
            self._deliver(me, frame)
        elif not whole:
            self.break_off("a record that fails its check")
        elif number >= self._due[me]:
            self._early[me][number] = frame
            while self._due[me] in self._early[me]:
                found = self._early[me].pop(self._due[me])
                self._due[me] += 1
                self._deliver(me, found)

    def _deliver(self, me: str, frame: bytes | None) -> None:
        end = self.other(me)
        if frame is None:
            end.peer_finished = True
        else:
            end.inbox.append(frame)
        end.wake()

    def break_off(self, why: str) -> None:
        """Both ends will learn that the stream is broken."""
        if self.broken:
            return
        self.broken = True
        names = list(self.ends)
        self._net.tell(" - ".join(names), f"the stream breaks: {why}")
        for end in self.ends.values():
            pause = KEEP_ALIVE if self._net.cut(*names) else self._net.schedule.chance.expovariate(20.0)
            self._net.schedule.after(pause, lambda end=end: self._close(end))  # type: ignore[misc]

    def _close(self, end: End) -> None:
        end.closed = True
        end.wake()
