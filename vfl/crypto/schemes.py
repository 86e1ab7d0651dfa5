"""Which schemes exist, by name: the one place where a scheme's name becomes code."""

from __future__ import annotations

from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.scheme import Evaluator, KeyHolder, Lanes
from vfl.errors import BrokenPromise, UsageError
from vfl.randomness import Randomness

LEVELS = {"paillier": ("disclosed",)}
"""Privacy levels that each scheme offers."""


def key_holder(scheme: str, lanes: Lanes, run: str, key_bits: int, rng: Randomness) -> KeyHolder:
    """A fresh key for the run. Raises UsageError for an unknown scheme or a key size it does not offer."""
    if scheme not in LEVELS:
        raise UsageError(f"there is no scheme {scheme!r}", remedy=f"choose one of: {', '.join(LEVELS)}")
    return PaillierKeyHolder(lanes, run.encode(), rng, bits=key_bits)


def evaluator(scheme: str, agreed: str, public: bytes, lanes: Lanes, run: str, key_bits: int) -> Evaluator:
    """The passive side for a key just received. Raises BrokenPromise if it is not of the scheme and size agreed."""
    if scheme != agreed:
        raise BrokenPromise(f"offers scheme {scheme[:40]!r}, but {agreed!r} was agreed")
    found = PaillierEvaluator(public, lanes, run.encode())
    if found.key_bits != key_bits:
        raise BrokenPromise(f"offers a key of {found.key_bits} bits, but {key_bits} were agreed")
    return found
