"""Work of the intersection over a block of ids or points, for `vfl.engine`. The secret travels along, inside the party.

A block is what a message holds, so each piece of work is a message.
"""

from __future__ import annotations

from vfl.crypto.group import POINT, Mask, check_points, hash_to_curve
from vfl.secret import Secret
from vfl.texts import Texts


def mask_tokens(tokens: Texts, scalar: bytes, tag: bytes) -> bytes:
    """The masked points of some ids, flat."""
    return Mask(Secret(scalar)).apply(hash_to_curve(list(tokens.encoded()), tag))


def mask_twice(points: bytes, scalar: bytes, width: int) -> bytes:
    """The first `width` bytes of each received point after our mask. Raises BrokenPromise for a bad point."""
    check_points(points, len(points) // POINT)
    masked = Mask(Secret(scalar)).apply(points)
    return b"".join([masked[start : start + width] for start in range(0, len(masked), POINT)])
