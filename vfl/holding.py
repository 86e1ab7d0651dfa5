"""What a party brings to a run: its usable customers and their features, read from its own table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vfl.agreement import Scalar
from vfl.bits import Mask
from vfl.config import PartyConfig
from vfl.engine import HERE, Engine
from vfl.errors import UsageError
from vfl.ids import usable
from vfl.labels import LabelKind, read_weights
from vfl.learn.categories import check_categories
from vfl.learn.objective import Labels
from vfl.randomness import Randomness
from vfl.table import BINARY, JOINT, Table, read_table, shown
from vfl.texts import Texts

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Holding:
    """A party's customers with usable ids. All arrays and tuples but `names` have one item per customer.

    tokens: normalised ids, unique.   ids: as the table writes them.   names, values: features, float64[n, n_features].
    labels, holdout, weights: of the active party, else None: labels as `vfl.labels` reads them, bool[n], and if there
    is such a column what each row counts, float64[n].   excluded, duplicates: rows left out.
    engine: where the party computes over its rows.
    special, trends: by feature, for the bins of a scorecard.   categorical: features whose values are categories.
    """

    name: str
    tokens: Sequence[str]
    ids: Sequence[str]
    excluded: int
    duplicates: int
    names: tuple[str, ...]
    values: Reals
    labels: Labels | None = None
    holdout: Mask | None = None
    weights: Reals | None = None
    special: Mapping[str, Sequence[float]] = field(default_factory=dict)
    trends: Mapping[str, str] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    engine: Engine = HERE

    @property
    def digest(self) -> str:
        """SHA-256 of the customers in their order, hex: for the party itself, to know its table again."""
        found = hashlib.sha256()
        for number, token in enumerate(self.tokens):
            found.update(b"\n" * bool(number) + token.encode())
        return found.hexdigest()


def read_holding(
    party: PartyConfig, psi: Mapping[str, Scalar], holdout: Mapping[str, Scalar], kind: LabelKind = BINARY
) -> Holding:
    """Read the party's table under the agreement's `psi` and `holdout` clauses. `kind`: what its label may be.

    Raises UsageError naming file, column, row and remedy for anything that is not a clean table of customers.
    """
    mark = holdout.get("column") if party.role == "active" else None
    extra = [str(name) for name in (mark, party.weight) if name]
    table = read_table(party.table, party.id, party.label, party.features, extra, kind)
    where = f"{party.table.name}, column {', '.join(party.id)}"
    share = float(psi["max_invalid_share"])
    engine = party.engine.engine()
    customers = usable(table.ids, str(psi["id_rule"]), str(psi["duplicates"]), share, where, engine)
    kept = None
    if party.role == "active":
        kept = _marked(table, str(mark), party) if mark else _drawn(table.rows, holdout)
    rows = customers.rows
    for name in party.categorical:
        if name in table.columns:  # that it is a feature is seen where all such keys are
            check_categories(table.columns[name], f"{party.table.name}, column {shown(name)}")
    return Holding(
        name=party.name,
        tokens=customers.tokens,
        ids=Texts.of(table.ids).take(rows).replaced(JOINT, "|"),
        excluded=customers.report.excluded,
        duplicates=customers.report.duplicates,
        names=tuple(table.columns),
        values=np.column_stack([column[rows] for column in table.columns.values()]),
        labels=None if table.label is None else table.label[rows],
        holdout=None if kept is None else kept[rows],
        special=party.special,
        trends=party.trends,
        categorical=party.categorical,
        engine=engine,
        weights=None if party.weight is None else _weights(table, party.weight, party)[rows],
    )


def _weights(table: Table, column: str, party: PartyConfig) -> Reals:
    return read_weights(f"{party.table.name}: weight column {shown(column)}", table.extra[column])


def _drawn(rows: int, holdout: Mapping[str, Scalar]) -> Mask:
    """The hold-out as a seeded share of the table's rows: fixed before anybody is asked which customers are common."""
    seed = hashlib.sha256(b"tallystick-holdout-v1" + int(holdout["seed"]).to_bytes(8, "big")).digest()
    chosen = np.zeros(rows, np.bool_)
    chosen[Randomness(seed).permutation(rows)[: round(rows * float(holdout["fraction"]))]] = True
    return chosen


def _marked(table: Table, column: str, party: PartyConfig) -> Mask:
    values = table.extra[column]
    wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)))
    if len(wrong):
        found = "missing" if np.isnan(values[wrong[0]]) else f"{values[wrong[0]]:g}"
        raise UsageError(
            f"{party.table.name}: hold-out column {column!r} is {found} in data row {wrong[0] + 1}",
            remedy="mark hold-out rows with 1 and all others with 0",
        )
    return np.equal(values, 1.0)
