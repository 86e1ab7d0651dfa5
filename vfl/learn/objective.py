"""Binary log-loss, and its derivatives as integers.

    p = 1 / (1 + exp(-score))      g = p - y      h = p (1 - p)

Gradients become fixed-point integers once per tree, before anything is encrypted. Sums of integers are exact in every
order, so the encrypted and the plaintext trainer see the same sums and grow the same tree.

Source: LightGBM 4.x, src/objective/binary_objective.hpp (sigmoid = 1, no weights).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def binary_labels(y: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Labels as int8[n] of 0 and 1; raises UsageError for other values, no rows, or a single class."""
    raw = np.asarray(y)
    if raw.ndim != 1 or len(raw) == 0:
        raise UsageError(f"labels must be one column with at least one row, not of shape {raw.shape}")
    found = np.unique(raw)
    if not np.isin(found, (0, 1)).all():
        raise UsageError(f"labels must be 0 or 1, found {', '.join(map(str, found[:5]))}")
    if len(found) == 1:
        raise UsageError(f"all {len(raw)} labels are {int(found[0])}", remedy="Both classes are needed.")
    return raw.astype(np.int8)


def init_score(labels: npt.NDArray[np.int8], boost_from_average: bool = True) -> float:
    """Raw score every row starts from: the log-odds of the labels int8[n], or 0.0."""
    if not boost_from_average:
        return 0.0
    rate = float(labels.sum(dtype=np.int64)) / len(labels)
    return math.log(rate / (1.0 - rate))


def sigmoid(score: Reals) -> Reals:
    """Probability of a raw score, float64[n] -> float64[n]."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)


def gradients(score: Reals, labels: npt.NDArray[np.int8]) -> tuple[Reals, Reals]:
    """First and second derivative of the log-loss by the raw score: float64[n] each, |g| <= 1, 0 <= h <= 1/4."""
    sign = 2.0 * labels - 1.0
    with np.errstate(over="ignore"):
        g = -sign / (1.0 + np.exp(sign * score))
    size = np.abs(g)
    return g, size * (1.0 - size)


def to_fixed(values: Reals, bits: int) -> Integers:
    """Fixed-point integers in units of 2**-bits, rounded half to even: float64[n] -> int64[n].

    Derivatives of the log-loss give |g| <= 2**bits and 0 <= h <= 2**(bits - 2).
    """
    return np.rint(np.ldexp(values, bits)).astype(np.int64)


def fixed_gradients(score: Reals, labels: npt.NDArray[np.int8], bits: int) -> tuple[Integers, Integers]:
    """The integers a tree is grown from: g and h, int64[n] each, in units of 2**-bits."""
    g, h = gradients(score, labels)
    return to_fixed(g, bits), to_fixed(h, bits)


def validation_rows(n_rows: int, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Rows kept aside for early stopping: bool[n_rows] with round(n_rows * fraction) true, fixed by `seed`.

    The rows with the smallest 64-bit words of SHAKE-256("tallystick-validation-v1" || seed as 8 bytes); public, and the
    same on every machine and at every party.
    """
    stream = hashlib.shake_256(b"tallystick-validation-v1" + seed.to_bytes(8, "big")).digest(8 * n_rows)
    order = np.argsort(np.frombuffer(stream, dtype=">u8").astype(np.uint64), kind="stable")
    chosen = np.zeros(n_rows, dtype=np.bool_)
    chosen[order[: round(n_rows * fraction)]] = True
    return chosen
