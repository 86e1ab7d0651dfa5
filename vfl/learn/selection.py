"""Which features a scorecard starts from, and why not the others: one verdict a feature, with its reason in words.

    one bin  ->  information value  ->  stability  ->  correlation  ->  variance inflation

Of two features that say the same, the one with the greater information value stays. What is not known (a correlation
across two partners, a stability nobody told) rejects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vfl.learn.collinearity import known_inflation
from vfl.learn.evidence import strength
from vfl.learn.feature_parameters import SelectionParameters
from vfl.learn.stability import band

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A feature before selection. `party`: its number, 0 is the one with the labels; `psi`: None where not told."""

    party: int
    name: str
    bins: int
    iv: float
    psi: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A feature after selection, with the reason in words. `vif`: None where it was not looked at."""

    candidate: Candidate
    kept: bool
    reason: str
    vif: float | None = None


def screen(candidates: Sequence[Candidate], parameters: SelectionParameters) -> list[Verdict]:
    """What each feature shows alone: bins, information value, stability."""
    return [Verdict(one, not reason, reason) for one in candidates for reason in [_alone(one, parameters)]]


def select(screened: Sequence[Verdict], matrix: Reals, parameters: SelectionParameters) -> list[Verdict]:
    """The final verdicts, in the order given.

    `matrix`: correlations of the features kept so far, in their order, float64[kept, kept]; NaN = unknown.
    """
    kept = [number for number, verdict in enumerate(screened) if verdict.kept]
    assert matrix.shape == (len(kept), len(kept))
    left = [screened[number] for number in kept]
    left = _without_inflation(_without_repeats(left, matrix, parameters), matrix, parameters)
    final = dict(zip(kept, left, strict=True))
    return [final.get(number, verdict) for number, verdict in enumerate(screened)]


def _alone(one: Candidate, parameters: SelectionParameters) -> str:
    """Why a feature is rejected on its own; empty if it is not."""
    if one.bins < 2:
        return "one bin only: too few different values, or no difference in bad rate"
    if one.iv < parameters.min_iv:
        return f"information value {one.iv:.4f} below {parameters.min_iv:g}: {strength(one.iv)}"
    if 0 < parameters.max_iv < one.iv:
        return f"information value {one.iv:.4f} above {parameters.max_iv:g}: does it know the outcome?"
    if one.psi is not None and 0 < parameters.max_psi < one.psi:
        return f"stability index {one.psi:.3f} above {parameters.max_psi:g}: {band(one.psi)} since training"
    return ""


def _without_repeats(left: list[Verdict], matrix: Reals, parameters: SelectionParameters) -> list[Verdict]:
    """Go from the greatest information value down; whatever repeats one that stays is rejected."""
    found, stay = list(left), list[int]()
    for own in sorted(range(len(left)), key=lambda number: (-left[number].candidate.iv, number)):
        near = [other for other in stay if abs(matrix[own, other]) > parameters.max_correlation]  # never true of NaN
        if not near:
            stay.append(own)
            continue
        other = max(near, key=lambda number: abs(matrix[own, number]))
        stays = left[other].candidate
        reason = (
            f"correlation {matrix[own, other]:+.2f} with {stays.name!r} of party {stays.party}, "
            f"which has more information ({stays.iv:.4f})"
        )
        found[own] = Verdict(left[own].candidate, False, reason)
    return found


def _without_inflation(left: list[Verdict], matrix: Reals, parameters: SelectionParameters) -> list[Verdict]:
    """Reject the feature with the greatest factor, one at a time, until all are within the limit."""
    found, owners = list(left), np.array([verdict.candidate.party for verdict in left], dtype=np.int64)
    while (stay := np.array([number for number, one in enumerate(found) if one.kept], dtype=np.int64)).size:
        factors = known_inflation(matrix[np.ix_(stay, stay)], owners[stay])
        # Of equal factors the feature with less information goes.
        worst = max(range(len(stay)), key=lambda place: (factors[place], -found[stay[place]].candidate.iv))
        if not parameters.max_vif or factors[worst] <= parameters.max_vif:
            for number, factor in zip(stay.tolist(), factors.tolist(), strict=True):
                found[number] = replace(found[number], reason=_kept(found[number].candidate), vif=factor)
            break
        reason = f"variance inflation {factors[worst]:.1f} above {parameters.max_vif:g}: the others say it together"
        number = int(stay[worst])
        found[number] = replace(found[number], kept=False, reason=reason, vif=float(factors[worst]))
    return found


def _kept(one: Candidate) -> str:
    return f"kept: information value {one.iv:.4f}, {strength(one.iv)}"
