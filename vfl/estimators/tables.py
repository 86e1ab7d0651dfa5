"""Tables of pandas, polars or Arrow as what a party brings to a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.ids import usable
from vfl.labels import read_weights
from vfl.learn.categories import check_categories
from vfl.learn.objective import Labels
from vfl.table import closest, shown

Reals = npt.NDArray[np.float64]
RULE = "text@1"


@dataclass(frozen=True, eq=False)
class PartyTable:
    """A party's table with what its columns are for; features None: every other column."""

    name: str
    table: Any
    id: str
    label: str | None = None
    weight: str | None = None
    features: tuple[str, ...] | None = None
    categorical: tuple[str, ...] = ()

    def holding(
        self, labels: Labels | None = None, weights: Reals | None = None
    ) -> tuple[Holding, npt.NDArray[np.int64]]:
        """What the party brings, and which rows of the table its customers are.

        `labels`, `weights`: of all rows, at the active party. Raises UsageError naming party, column and value.
        """
        frame = self._frame()
        names = self.features or tuple(name for name in frame.columns if name not in (self.id, self.label, self.weight))
        if not names:
            raise UsageError(f"party {shown(self.name)} has no feature columns", remedy="Give it one beside the id.")
        ids = ["" if one is None else str(one) for one in self._column(frame, self.id).to_list()]
        customers = usable(ids, RULE, "error", 0.0, f"party {shown(self.name)}, column {shown(self.id)}")
        rows = customers.rows
        columns = [self.numbers(frame, name) for name in names]
        for name in self.categorical:
            self._check_categorical(names, name, columns)
        return (
            Holding(
                name=self.name,
                tokens=customers.tokens,
                ids=tuple(ids[row] for row in rows.tolist()),
                excluded=0,
                duplicates=0,
                names=tuple(names),
                values=np.column_stack(columns)[rows],
                labels=None if labels is None else labels[rows],
                holdout=None if labels is None else np.zeros(len(rows), np.bool_),
                weights=None if weights is None else weights[rows],
                categorical=self.categorical,
            ),
            rows,
        )

    def values_of(self, name: str) -> list[Any]:
        """A column as it stands."""
        return self._column(self._frame(), name).to_list()

    def read_weights(self) -> Reals | None:
        """What each row counts."""
        if self.weight is None:
            return None
        where = f"party {shown(self.name)}, weight column {shown(self.weight)}"
        return read_weights(where, self.numbers(self._frame(), self.weight))

    def has(self, name: str) -> bool:
        """Whether the table has this column."""
        return name in self._frame().columns

    def numbers(self, frame: nw.DataFrame[Any], name: str) -> Reals:
        """A column as float64[n], NaN where missing. Raises UsageError for text and infinite values."""
        column = self._column(frame, name)
        where = f"party {shown(self.name)}, column {shown(name)}"
        values = np.empty(len(column))
        for row, value in enumerate(column.to_list() if column.dtype in _LOOSE else ()):
            try:
                values[row] = np.nan if value is None else float(value)
            except (TypeError, ValueError):
                raise UsageError(
                    f"{where} is not numeric: {shown(value)} in row {row + 1}",
                    remedy="Encode it as numbers, or leave the column out.",
                ) from None
        if column.dtype not in _LOOSE:
            if not (column.dtype.is_numeric() or column.dtype == nw.Boolean):
                raise UsageError(
                    f"{where} is of type {column.dtype}, not numeric",
                    remedy="Encode it as numbers, or leave the column out.",
                )
            found = column.cast(nw.Float64).to_numpy()
            values = np.asarray(found, dtype=np.float64)
        if np.isinf(values).any():
            raise UsageError(
                f"{where} is infinite in row {int(np.flatnonzero(np.isinf(values))[0]) + 1}",
                remedy="Leave the value out where it is not known.",
            )
        return values

    def _frame(self) -> nw.DataFrame[Any]:
        try:
            return nw.from_native(self.table, eager_only=True)
        except TypeError:
            raise UsageError(
                f"the table of party {shown(self.name)} is a {type(self.table).__name__}",
                remedy="Give a table of pandas, polars or Arrow.",
            ) from None

    def _column(self, frame: nw.DataFrame[Any], name: str) -> nw.Series[Any]:
        if name not in frame.columns:
            raise UsageError(
                f"party {shown(self.name)} has no column {shown(name)}", remedy=closest(name, map(str, frame.columns))
            )
        return frame[name]

    def _check_categorical(self, names: Sequence[str], name: str, columns: Sequence[Reals]) -> None:
        if name not in names:
            raise UsageError(
                f"categorical column {shown(name)} is no feature of party {shown(self.name)}",
                remedy=closest(name, names),
            )
        check_categories(columns[names.index(name)], f"party {shown(self.name)}, column {shown(name)}")


_LOOSE = (nw.Object, nw.Unknown)
"""Types of columns whose values are looked at one by one."""


def ids_of(id: str | Mapping[str, str], parties: Collection[str]) -> dict[str, str]:
    """The id column of each party. Raises UsageError where one has none."""
    if isinstance(id, str):
        return dict.fromkeys(parties, id)
    for party in parties:
        if party not in id:
            raise UsageError(f"no id column is named for party {shown(party)}", remedy="Add it to `id`.")
    return {party: id[party] for party in parties}
