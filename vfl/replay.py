"""Re-execution: a role is fed its recorded messages and must say the recorded bytes again.

One mechanism for golden tests and for a regulator's check of a party's work. Crash recovery uses the same comparison
in `vfl.desk`.
"""

from __future__ import annotations

from collections.abc import Iterable

from vfl.channel import Idle, Record, Step, digest_of, same_again
from vfl.errors import ProtocolError
from vfl.wire import Blinds, M, Message, pack, unblinded, unpack


class ReplayChannel:
    """A channel to the past: hands out recorded messages and demands that the role says the recorded bytes again."""

    def __init__(
        self, me: str, peer: str, past: Iterable[Record], blind: Blinds = unblinded, *, first: int = 0
    ) -> None:
        """`blind`: the blinds with which `me` spoke. `first`: number of the first message to hear."""
        self.peer = peer
        self._first = first
        self._blind = blind
        self._me = me
        self._phase, self._round = "start", 0
        past = list(past)
        self._to_say = [record for record in past if record.sent]
        self._to_hear = [record for record in past if not record.sent]
        self.said = self.heard = 0

    @property
    def left(self) -> int:
        """How many recorded messages the role has not come to."""
        return len(self._to_say) + len(self._to_hear) - self.said - self.heard

    def enter(self, phase: str, round: int = 0) -> None:
        self._phase, self._round = phase, round

    async def send(self, message: Message) -> None:
        step = Step(self._phase, self._round, type(message).__name__, self._me, self.peer, self.said)
        if self.said >= len(self._to_say):
            raise ProtocolError("says more than is on record", peer=self._me, step=step.slot)
        same_again(self._to_say[self.said], step, digest_of(pack(message, self._blind(step.slot))), self._me)
        self.said += 1

    async def recv(self, *kinds: type[M]) -> M:
        number = self._first + self.heard
        due = {Step(self._phase, self._round, kind.__name__, self.peer, self._me, number).slot: kind for kind in kinds}
        place = " or ".join(due)
        if self.heard >= len(self._to_hear):
            raise ProtocolError("expects more than is on record", peer=self._me, step=place)
        record = self._to_hear[self.heard]
        if record.slot not in due:
            raise ProtocolError(f"the record has {record.slot} next", peer=self._me, step=place)
        if digest_of(record.body) != record.digest:
            raise ProtocolError("the recorded message was altered: its digest differs", peer=self._me, step=record.slot)
        self.heard += 1
        return unpack(due[record.slot], record.body)

    async def checkpoint(self) -> None:
        """Heads are not part of a transcript."""

    def suspect(self, error: ProtocolError) -> None:
        """Nobody waits for the past to be signed."""
        raise error

    def meanwhile(self, work: Idle) -> None:
        """The past does not keep anybody waiting."""
