"""Yes/no columns on the wire: one bit a row, first row in the highest bit, zero padding, C order."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from vfl.wire import require

Mask = npt.NDArray[np.bool_]


def pack_bits(mask: Mask) -> bytes:
    """`mask`, bool of any shape, as bits."""
    return np.packbits(mask.ravel()).tobytes()


def unpack_bits(data: bytes, *shape: int) -> Mask:
    """The inverse of `pack_bits`. Raises BrokenPromise for a wrong length or padding that is not zero."""
    count = prod(shape)
    require(len(data) == (count + 7) // 8, f"{count} bits take {(count + 7) // 8} bytes")
    require(not count % 8 or not data[-1] & 0xFF >> count % 8, "padding bits are zero")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count)
    return bits.view(np.bool_).reshape(shape)
