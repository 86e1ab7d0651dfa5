"""Which cells are audited: nobody's choice, once the party's head is cosigned and the regulator has named a nonce.

    seed  = SHA-256("tallystick-audit-v1" || run || 0x00 || party || 0x00 || root of the party's last cosigned head
                    || nonce)
    cells = the first n of a permutation of all cells, drawn from the seed: of a partner its answers to queries, of the
            active party the blocks of encrypted rows that it sent

The head was cosigned before the nonce was known, so the party cannot have answered truly just where it will be asked;
and the regulator cannot pick the cells either.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from ledger.checkpoint import Checkpoint
from vfl.errors import UsageError
from vfl.randomness import Randomness
from vfl.terms import Terms

C_co = TypeVar("C_co", covariant=True)
_DOMAIN = b"tallystick-audit-v1"
LEAST_NONCE = 16  # bytes
SHARES = (0.01, 0.05, 0.10)
"""Shares of false cells that the probability of detection is told for."""


class Drawn(Protocol[C_co]):
    """The record of a party that cells are drawn from."""

    @property
    def terms(self) -> Terms: ...

    @property
    def party(self) -> str: ...

    @property
    def checkpoint(self) -> Checkpoint:
        """Its last cosigned head."""
        ...

    @property
    def cells(self) -> Sequence[C_co]:
        """All that can be drawn, in order."""
        ...


def read_nonce(text: str) -> bytes:
    """The regulator's nonce from hex; raises UsageError for a short one."""
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        nonce = b""
    if not LEAST_NONCE <= len(nonce) <= 64:
        raise UsageError("the nonce is not 16 to 64 bytes in hex", remedy="draw one: openssl rand -hex 32")
    return nonce


def draw(record: Drawn[C_co], nonce: bytes, count: int) -> list[C_co]:
    """`count` cells, or all where there are fewer, in the order of the run."""
    if not record.cells:
        raise UsageError(f"{record.party} sent nothing in this run that can be computed again")
    head = record.checkpoint.root
    words = b"\0".join([record.terms.run.encode(), record.party.encode(), head + nonce])
    seed = hashlib.sha256(_DOMAIN + words).digest()
    order = Randomness(seed).permutation(len(record.cells))[:count]
    return [record.cells[place] for place in sorted(order.tolist())]


def detection(share: float, cells: int) -> float:
    """Probability that `cells` drawn answers show a false one when that `share` of all is false: 1 - (1 - f)^n."""
    return float(1.0 - (1.0 - share) ** cells)


def needed(share: float, probability: float = 0.99) -> int:
    """How many cells detect with that probability."""
    return math.ceil(math.log(1.0 - probability) / math.log(1.0 - share))
