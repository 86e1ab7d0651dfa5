"""A partner that cheats in a run, to show that it is caught. Only scenarios that say so switch it on.

`noise`: before an answer leaves, the partner adds a little to the first cell of the first node, under encryption:

    c (1 + d n) mod n^2    holds    m + d        so G of that cell grows by d >> h_bits

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
_NOISE = 1 << 56  # as much as one row with the largest gradient, in a run of some hundred rows of 24 bits


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
        return NodeHistograms(answer.node, [Sealed(added(answer.sums[0], self._key, _NOISE)), *answer.sums[1:]])


def added(ciphertexts: bytes, key: bytes, amount: int) -> bytes:
    """`ciphertexts`, the first of which holds `amount` more. `key`: the public bytes of `vfl.crypto.paillier_keys`."""
    bits = int.from_bytes(key[8:10], "big")
    n, width = int.from_bytes(key[10 : 10 + bits // 8], "big"), bits // 4
    first = int.from_bytes(ciphertexts[:width], "big") * (1 + amount * n) % (n * n)
    return first.to_bytes(width, "big") + ciphertexts[width:]


CHEATS: dict[str, Cheat] = {"noise": NoisyHistograms}
"""Ways to cheat, by name."""
