"""What `tallystick tune` looks through: the `[tune]` table of a scenario file.

    [tune]
    learning_rate = { low = 0.02, high = 0.3, log = true }      # any number between
    num_leaves = { low = 4, high = 64 }                         # any whole number between
    max_depth = [3, 4, 5, -1]                                   # one of these

A parameter may go by any name that it has under [model]. A file without the table gets DEFAULTS of its kind of model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vfl.errors import UsageError
from vfl.learn.options import canonical_name
from vfl.learn.parameters import GBDTParameters
from vfl.learn.scorecard_parameters import KINDS, ScorecardModel
from vfl.table import shown
from vfl.toml_table import TomlTable


@dataclass(frozen=True)
class Between:
    """Numbers from low to high, whole ones if both are; `log`: by their logarithm."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Among:
    """One of these values."""

    values: tuple[bool | int | float | str, ...]


Space = Mapping[str, Between | Among]
DEFAULTS: Mapping[str, Space] = {
    "gbdt": {
        "learning_rate": Between(0.02, 0.3, log=True),
        "num_iterations": Between(20, 200),
        "num_leaves": Between(4, 31),
        "min_data_in_leaf": Between(10, 200, log=True),
        "lambda_l2": Between(1e-3, 30.0, log=True),
    },
    "scorecard": {
        "max_bins": Between(3, 8),
        "significance": Between(0.01, 0.3, log=True),
        "min_iv": Between(0.005, 0.05, log=True),
        "max_correlation": Between(0.5, 0.9),
    },
}
"""By kind of model."""


def read_space(table: TomlTable, model: GBDTParameters | ScorecardModel) -> Space:
    """The space that a file describes, by canonical names; empty where it has none.

    Raises UsageError naming parameter and remedy.
    """
    kinds = KINDS if isinstance(model, ScorecardModel) else (type(model),)
    found: dict[str, Between | Among] = {}
    for name, value in table.raw.items():
        one = _one(table, name, value)
        try:
            canonical = canonical_name(name, *kinds)
            for edge in _edges(one):
                type(model).from_mapping({canonical: edge})
        except UsageError as error:
            raise UsageError(f"{table.place(name)}: {error}", remedy=error.remedy) from None
        if canonical in found:
            first = next(other for other in table.raw if canonical_name(other, *kinds) == canonical)
            raise UsageError(
                f"{table.place(canonical)} is given twice, as {first!r} and as {name!r}", remedy="Keep one of them."
            )
        found[canonical] = one
    return found


def _one(table: TomlTable, name: str, value: Any) -> Between | Among:
    if isinstance(value, list) and value:
        return Among(tuple(value))
    if isinstance(value, Mapping) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        low, high, log = value["low"], value["high"], value.get("log", False)
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high))
        if numbers and low < high and isinstance(log, bool) and (low > 0 or not log):
            return Between(low, high, log)
    raise UsageError(
        f"{table.place(name)} is {shown(value)}",
        remedy="Write a list of values, or { low = 0.02, high = 0.3, log = true } with low below high.",
    )


def _edges(one: Between | Among) -> tuple[Any, ...]:
    return one.values if isinstance(one, Among) else (one.low, one.high)
