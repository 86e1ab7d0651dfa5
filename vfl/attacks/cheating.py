"""A partner that cheats in a run, to show that it is caught. Only scenarios that say so switch it on.

`noise`: before an answer leaves, the partner adds a little to the first cell of the first node, under encryption:

    c * (1 + n * d) mod n^2    holds    m + d        so G of that cell grows by d >> h_bits

It knows the key n, as every partner does, and neither the sum nor anybody's gradient. Under `paillier` alone.
"""

from __future__ import annotations

from collections.abc import Callable

from vfl.channel import Channel, Idle
from vfl.crypto.scheme import Sealed
from vfl.errors import ProtocolError
from vfl.protocols.boost import NodeHistograms, TrainingRows
from vfl.wire import M, Message

Cheat = Callable[[Channel], Channel]
_SHIFT = 56  # bits: one row with the largest gradient more, in a run of some hundred rows of 24 bits


class NoisyHistograms:
    """A channel to the key holder that adds noise to every histogram said over it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._key = b""

    @property
    def peer(self) -> str:
        return self._channel.peer

    def enter(self, phase: str, round: int = 0) -> None:
        self._channel.enter(phase, round)

    async def send(self, message: Message) -> None:
        await self._channel.send(self._noisy(message) if isinstance(message, NodeHistograms) else message)

    async def recv(self, *kinds: type[M]) -> M:
        message = await self._channel.recv(*kinds)
        if isinstance(message, TrainingRows):
            self._key = message.key
        return message

    async def checkpoint(self) -> None:
        await self._channel.checkpoint()

    def suspect(self, error: ProtocolError) -> None:
        self._channel.suspect(error)

    def meanwhile(self, work: Idle) -> None:
        self._channel.meanwhile(work)

    def _noisy(self, answer: NodeHistograms) -> NodeHistograms:
        bits = int.from_bytes(self._key[8:10], "big")
        n, width = int.from_bytes(self._key[10 : 10 + bits // 8], "big"), bits // 4
        first = int.from_bytes(answer.sums[0][:width], "big")
        noisy = first * (1 + (n << _SHIFT)) % (n * n)
        changed = Sealed(noisy.to_bytes(width, "big") + answer.sums[0][width:])
        return NodeHistograms(answer.node, [changed, *answer.sums[1:]])


CHEATS: dict[str, Cheat] = {"noise": NoisyHistograms}
"""Ways to cheat, by name."""
