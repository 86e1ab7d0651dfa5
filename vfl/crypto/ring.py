"""Exact products in Z_q[x]/(x^4096 + 1), q = 2^108, through floating-point Fourier transforms.

An element is held as four limbs of 27 bits, value = l0 + l1 2^27 + l2 2^54 + l3 2^81 mod q, int64[..., 4, 4096]. One
factor of every product here is small (a secret in {-1, 0, 1} or an indicator in {0, 1}), so a product is four small
integer convolutions, each of which double precision gives exactly:

Folded transform. x mod (x^2048 - i) is z_j = x_j + i x_{j+2048}; its values at the 2048 roots of x^2048 = i are the
transform of z_j w^j, w = exp(i pi / 4096). Products of values are values of products. For real x the values of
x(1/X) are the complex conjugates of those of x.

Error. For transforms of length 2^n with twiddle factors correct to u = 2^-53, a product differs from the true one by
at most ||x|| ||y|| ((3n + 3n) u + (3n + 1) sqrt(5) u) (Percival, Math. Comp. 72 (2003), 387-395, theorem 5.1, to first
order); with n = 11 and the three multiplications by w^j that is below 160 u ||x|| ||y||. Limbs are centred, so
||x|| <= 2^26 * 64 and ||y|| <= 64: below 160 * 2^-53 * 2^38 < 2^-7. A sum of `MAX_SUM` such products stays below 1/4,
and rounding to the next integer is exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft

from vfl.randomness import Randomness

N = 4096
LIMB_BITS, LIMBS = 27, 4
LOG_Q = LIMB_BITS * LIMBS
ELEMENT_BYTES = 14  # on the wire: 112 bits, little-endian, of which the highest 4 are zero
WORD_BITS = 64
HIGH_BITS = LOG_Q - WORD_BITS
MAX_SUM = 16
"""Products that may be added before the result is rounded."""
_HALF = N // 2
_MASK = (1 << LIMB_BITS) - 1
_TWIST = np.exp(1j * np.pi * np.arange(_HALF) / N)

Int64s = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]
Spectrum = npt.NDArray[np.complex128]


def spectrum(values: npt.NDArray[np.generic]) -> Spectrum:
    """Values at the 2048 roots: real or integer [..., 4096] -> complex128[..., 2048]."""
    real = values.astype(np.float64, copy=False)
    folded = (real[..., :_HALF] + 1j * real[..., _HALF:]) * _TWIST
    return np.asarray(scipy.fft.fft(folded, axis=-1, overwrite_x=True))


def coefficients(values: Spectrum) -> Int64s:
    """The integers whose spectrum this is, up to the error above: complex128[..., 2048] -> int64[..., 4096]."""
    folded = scipy.fft.ifft(values, axis=-1) * _TWIST.conj()
    out = np.empty((*values.shape[:-1], N), dtype=np.int64)
    np.rint(folded.real, out=out[..., :_HALF], casting="unsafe")
    np.rint(folded.imag, out=out[..., _HALF:], casting="unsafe")
    return out


def carry(limbs: Int64s, axis: int) -> Int64s:
    """The same elements mod q with every limb in 0..2^27-1; in place. Limbs may have been any int64 below 2^62."""
    parts = np.moveaxis(limbs, axis, 0)
    for place in range(LIMBS):
        if place + 1 < LIMBS:
            parts[place + 1] += parts[place] >> LIMB_BITS
        parts[place] &= _MASK
    return limbs


def uniform(seed: Randomness) -> Int64s:
    """A uniform element with centred limbs, int64[4, 4096] in -2^26..2^26-1: a constant shift of uniform limbs."""
    words = np.frombuffer(seed.bytes(4 * LIMBS * N), dtype="<u4").astype(np.int64).reshape(LIMBS, N)
    return (words & _MASK) - (1 << (LIMB_BITS - 1))


def ternary(rng: Randomness, count: int) -> npt.NDArray[np.int8]:
    """Uniform in {-1, 0, 1}: int8[count, 4096], by rejection of the byte 255."""
    need, kept = count * N, np.empty(0, dtype=np.uint8)
    while len(kept) < need:
        drawn = np.frombuffer(rng.bytes(need - len(kept) + 64), dtype=np.uint8)
        kept = np.concatenate([kept, drawn[drawn < 255]])
    return ((kept[:need] % 3).astype(np.int8) - 1).reshape(count, N)


def binomial(rng: Randomness, *shape: int) -> npt.NDArray[np.int8]:
    """Centred binomial noise of parameter 10 (variance 5, at most 10 in size): int8 of `shape`."""
    words = np.frombuffer(rng.bytes(4 * int(np.prod(shape))), dtype="<u4")
    ones, others = np.bitwise_count(words & 0x3FF), np.bitwise_count((words >> 10) & 0x3FF)
    noise: npt.NDArray[np.int8] = ones.astype(np.int8) - others.astype(np.int8)
    return noise.reshape(shape)


def words(limbs: Int64s) -> tuple[Words, Words]:
    """Carried limbs int64[4, ...] as numbers of 108 bits: the lowest 64 bits and the 44 above, uint64[...] each."""
    parts = limbs.view(np.uint64)
    low = parts[0] | (parts[1] << np.uint64(LIMB_BITS)) | (parts[2] << np.uint64(2 * LIMB_BITS))
    high = (parts[2] >> np.uint64(WORD_BITS - 2 * LIMB_BITS)) | (parts[3] << np.uint64(3 * LIMB_BITS - WORD_BITS))
    return low, high


def to_wire(low: Words, high: Words) -> bytes:
    """Elements as bytes, 14 each, in the order of the arrays."""
    count = low.size
    octets = np.empty(count * ELEMENT_BYTES, dtype=np.uint8)
    # The high word first, two bytes too early and shifted by as much: the low word then overwrites those two.
    _strided(octets, 6, count).reshape(high.shape)[...] = high << np.uint64(16)
    _strided(octets, 0, count).reshape(low.shape)[...] = low
    return octets.tobytes()


def from_wire(data: bytes) -> tuple[Words, Words] | None:
    """Elements from bytes: uint64[n] twice; None where one is not below 2^108 or the length is wrong."""
    count, rest = divmod(len(data), ELEMENT_BYTES)
    if rest:
        return None
    octets = np.frombuffer(data, dtype=np.uint8)
    low, high = _strided(octets, 0, count).copy(), _strided(octets, 6, count) >> np.uint64(16)
    return None if count and int(high.max()) >> HIGH_BITS else (low, high)


def _strided(octets: npt.NDArray[np.uint8], offset: int, count: int) -> Words:
    """The eight bytes at `offset` of each element, as a view."""
    if not count:
        return np.empty(0, dtype=np.uint64)
    return np.ndarray((count,), dtype="<u8", buffer=octets.data, offset=offset, strides=(ELEMENT_BYTES,))
