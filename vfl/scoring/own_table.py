"""The bank's own columns: of an applicant the row of its table, or the fresh values that came along."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.ids import normalise
from vfl.scoring.answers import Applicant, Refused

Reals = npt.NDArray[np.float64]
UNKNOWN = "unknown-applicant"


@dataclass(frozen=True, eq=False)
class LookedUp:
    """Those who can be scored: normalised identifiers, own columns float64[n, features]; `refused`: others by place."""

    identifiers: Sequence[str]
    values: Reals
    refused: Mapping[int, Refused]


@dataclass(frozen=True, eq=False)
class OwnTable:
    """The bank's own columns. rows: where an identifier's customer stands.   values: float64[n, features]."""

    names: tuple[str, ...]
    id_rule: str
    rows: Mapping[str, int]
    values: Reals
    categorical: frozenset[str] = frozenset()

    def look_up(self, applicants: Sequence[Applicant]) -> LookedUp:
        """Who of them can be scored, in their order, and why the others cannot."""
        tokens = normalise([each.id for each in applicants], self.id_rule).tokens
        refused, fresh, rows = dict[int, Refused](), dict[int, list[float]](), list[int]()
        for place, (applicant, token) in enumerate(zip(applicants, tokens, strict=True)):
            row = -1
            if token is None:
                refused[place] = Refused("bad-id", f"the id has no meaning under the rule {self.id_rule}")
            elif applicant.features is not None:
                values = self._fresh(applicant.features)
                if isinstance(values, Refused):
                    refused[place] = values
                else:
                    fresh[place] = values
            elif (row := self.rows.get(token, -1)) < 0:
                refused[place] = Refused(UNKNOWN, "the own table has no row of that id; give features")
            rows.append(row)
        stored = self.values.take(np.array(rows, np.intp), axis=0) if len(self.values) else np.empty((len(rows), 0))
        if fresh:
            stored = np.full((len(rows), len(self.names)), np.nan) if not len(self.values) else stored
            stored[list(fresh)] = np.array(list(fresh.values()), np.float64)
        if not refused:
            return LookedUp([token for token in tokens if token is not None], stored, refused)
        good = [place for place in range(len(tokens)) if place not in refused]
        return LookedUp([token for place in good if (token := tokens[place]) is not None], stored[good], refused)

    def _fresh(self, features: Mapping[str, float | None]) -> list[float] | Refused:
        names = self.names
        if features.keys() != set(names):
            missing, extra = sorted(set(names) - features.keys()), len(features.keys() - set(names))
            lacks = f"lacks {', '.join(missing)}" if missing else f"has {extra} names that the model does not use"
            return Refused("bad-features", f"features {lacks}; the model uses {', '.join(names)}")
        values = [math.nan if (value := features[name]) is None else float(value) for name in names]
        for name, value in zip(names, values, strict=True):
            if math.isinf(value):
                return Refused("bad-features", f"{name} is not finite; null says that a value is missing")
            if name in self.categorical and (value < 0 or value != value // 1) and not math.isnan(value):
                return Refused("bad-features", f"{name} is a category: a whole number from 0")
        return values
