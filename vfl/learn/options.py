"""Parameters as fields of frozen dataclasses: default, range, aliases and explanation stand in one place.

    @dataclass(frozen=True, kw_only=True)
    class SomeParameters(Options):
        max_bins: int = option(6, "bins of a feature at most", low=2, high=32)

Whatever shows or reads a parameter derives it from these fields.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Self

from vfl.errors import UsageError


def option(
    default: Any,
    about: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: bool = False,
    choices: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its range `low <= value <= high` (`low < value` when `above`), aliases and explanation."""
    metadata = {"about": about, "low": low, "high": high, "above": above, "choices": choices, "aliases": aliases}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of parameter sets: every value is checked when one is made; raises UsageError for one out of range."""

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _checked(each, getattr(self, each.name)))

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """From names and values, as a configuration file gives them; aliases are names too.

        Raises UsageError naming an unknown parameter and the closest known one, a parameter given twice under two
        names, and a value of the wrong type or out of range.
        """
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            canonical = canonical_name(name, cls)
            if canonical in chosen:
                raise UsageError(
                    f"parameter {canonical!r} is given twice, once as {name!r}", remedy="Keep one of them."
                )
            chosen[canonical] = value
        return cls(**chosen)

    def as_dict(self) -> dict[str, Any]:
        """Every parameter by its canonical name, in declared order."""
        return asdict(self)


def canonical_name(name: str, *kinds: type[Options]) -> str:
    """The parameter of these kinds that goes by `name`, its own or an alias.

    Raises UsageError for an unknown name, with the closest known one.
    """
    own = [each for kind in kinds for each in fields(kind)]
    known = {alias: each.name for each in own for alias in (each.name, *each.metadata["aliases"])}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(each.name for each in own)
    raise UsageError(f"unknown parameter {name!r}", remedy=f"{meant}Parameters: {listed}.")


def _checked(each: Field[Any], value: object) -> Any:
    """The value in the type of the field's default; raises UsageError naming parameter, value and allowed range."""
    kind: type = type(each.default)
    if kind is bool or kind is str:
        choices = each.metadata["choices"]
        if isinstance(value, kind) and (kind is bool or value in choices):
            return value
        allowed = "true or false" if kind is bool else " or ".join(map(repr, choices))
        raise UsageError(f"parameter {each.name!r} is {value!r}", remedy=f"Allowed: {allowed}.")
    if isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool):
        exact = kind(value)
        if _inside(exact, each.metadata):
            return exact
    low, high, relation = each.metadata["low"], each.metadata["high"], "<" if each.metadata["above"] else "<="
    noun, upper = "a whole number" if kind is int else "a number", f" <= {high}" if math.isfinite(high) else ""
    raise UsageError(
        f"parameter {each.name!r} is {value!r}", remedy=f"Allowed: {noun} with {low} {relation} {each.name}{upper}."
    )


def _inside(value: float, about: Mapping[str, Any]) -> bool:
    above_low = about["low"] < value if about["above"] else about["low"] <= value
    return bool(above_low and value <= about["high"] and math.isfinite(value))
