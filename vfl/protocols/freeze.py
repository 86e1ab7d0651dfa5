"""Model freeze: each party names its share of the model by a salted digest, before any figure is reported.

    active                                          passive
    ModelShare   digest                          -->
                                              <--   ModelShare   digest

Learns:  active  -> a digest that only the passive party can open
         passive -> a digest that only the active party can open
Cost:    1 round, 2 messages of 32 bytes
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from vfl.channel import Channel
from vfl.randomness import Randomness
from vfl.wire import Bytes32, Message


class ModelShare(Message, frozen=True):
    """A commitment to the sender's share of the model."""

    digest: Annotated[bytes, Bytes32]


def commitment(content: bytes, rng: Randomness) -> bytes:
    """HMAC-SHA256 of `content` under a fresh 32-byte salt: reveals nothing even of guessable content."""
    return committed(content, salt_of(rng))


def salt_of(rng: Randomness) -> bytes:
    """The salt of a commitment, 32 bytes: who has it can check the content."""
    return rng.child("salt").bytes(32)


def committed(content: bytes, salt: bytes) -> bytes:
    """The commitment to `content` under `salt`."""
    return hmac.digest(salt, content, hashlib.sha256)


async def active(passive: Channel, share: bytes, rng: Randomness) -> bytes:
    """Commit to the bytes of the own share; returns the passive party's commitment."""
    passive.enter("freeze")
    await passive.send(ModelShare(commitment(share, rng)))
    return (await passive.recv(ModelShare)).digest


async def passive(active: Channel, share: bytes, rng: Randomness) -> bytes:
    """Commit to the bytes of the own share; returns the active party's commitment."""
    active.enter("freeze")
    theirs = await active.recv(ModelShare)
    await active.send(ModelShare(commitment(share, rng)))
    return theirs.digest
