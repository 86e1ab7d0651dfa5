"""Handshake: nothing happens before both ends hold the same agreement for the same run.

    active                                          passive
    Hello   run, agreement, software          -->
                                              <--   Hello   run, agreement, software

Who speaks is known already: the channel checked the peer's credential against the identity pinned for it.

Learns:  active  -> the passive's agreement text (equal to its own, or the run ends) and software version
         passive -> the active's agreement text (equal to its own, or the run ends) and software version
Cost:    1 round, 2 messages of the agreement's size
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from vfl.agreement import require_same
from vfl.channel import Channel
from vfl.wire import Message, require

WIRE_VERSION = 1


class Hello(Message, frozen=True):
    """The terms under which I am here."""

    run: Annotated[str, Meta(max_length=128)]
    agreement: Annotated[bytes, Meta(max_length=2**20)]
    wire: int
    software: Annotated[str, Meta(max_length=64)]


async def active(passive: Channel, run: str, agreement: bytes, software: str) -> None:
    """Greet one passive party. Raises AgreementError naming the clauses that differ."""
    passive.enter("handshake")
    await passive.send(Hello(run, agreement, WIRE_VERSION, software))
    _check(await passive.recv(Hello), passive.peer, run, agreement)
    await passive.checkpoint()


async def passive(active: Channel, run: str, agreement: bytes, software: str) -> None:
    """Answer the active party. Raises AgreementError naming the clauses that differ."""
    active.enter("handshake")
    hello = await active.recv(Hello)
    await active.send(Hello(run, agreement, WIRE_VERSION, software))
    _check(hello, active.peer, run, agreement)
    await active.checkpoint()


def _check(hello: Hello, peer: str, run: str, agreement: bytes) -> None:
    require(hello.wire == WIRE_VERSION, f"the peer speaks wire version {WIRE_VERSION}")
    require(hello.run == run, "the peer is here for the same run")
    require_same(agreement, hello.agreement, peer)
