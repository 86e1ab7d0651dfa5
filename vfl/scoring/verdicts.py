"""What is said of many applicants, column by column: no object a row before there has to be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.scoring.answers import Partner, Reason

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Parties = Mapping[str, Partner]


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model says of n applicants: pd float64[n], points int64[n], reasons int64[n, 4].

    reasons: up to four numbers among the model's reasons (`vfl.scoring.models.Book`), the weightiest first, then -1.
    """

    pd: Reals
    points: Int64s
    reasons: Int64s


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What is said of n applicants: as `Judged`, by whichever model scores.

    words: what `reasons` are numbers of.   degraded, refused: bool[n]; of a refused one nothing else counts.
    party: int64[n], numbers among `parties`: applicants whom the same partners know share one.
    """

    pd: Reals
    points: Int64s
    reasons: Int64s
    words: Sequence[Reason]
    degraded: Flags
    refused: Flags
    party: Int64s
    parties: Sequence[Parties]

    @classmethod
    def none(cls) -> Verdicts:
        """Of nobody."""
        reals, whole, flags = np.empty(0), np.empty(0, np.int64), np.empty(0, np.bool_)
        return cls(reals, whole, np.empty((0, 4), np.int64), (), flags, flags, whole, ())

    def __len__(self) -> int:
        return len(self.pd)

    def part(self, start: int, end: int) -> Verdicts:
        """Of the applicants from `start` to `end`."""
        its = slice(start, end)
        return Verdicts(
            self.pd[its], self.points[its], self.reasons[its], self.words, self.degraded[its], self.refused[its],
            self.party[its], self.parties,
        )  # fmt: skip
