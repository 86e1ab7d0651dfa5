"""Explanations of a finished run's hold-out, from the active party's folder alone.

The active party has kept what every split, its own and its partners', says of each hold-out row; with the counts in its
share that is all that exact attributions need. No partner is asked.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.files import NO_RUN, csv_bytes, read_array, read_result
from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import Attribution, Importance, importance, shapley
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble, require_share
from vfl.reasons import Column, Reason, columns_of, reasons
from vfl.retention import ROWS, SHARES, require_kept
from vfl.seat import RunFile
from vfl.terms import GBDT

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
_HELD_OUT = 2


@dataclass(frozen=True, eq=False)
class Explained:
    """The hold-out in the order of predictions.csv. All sequences but `columns` have one item per customer.

    ids: as the active party's table writes them.   pd: probability of label 1, float64[n].
    attribution: of the raw scores.   columns: the features of `attribution.values`.
    """

    ids: tuple[str, ...]
    pd: Reals
    attribution: Attribution
    columns: tuple[Column, ...]
    importance: Importance

    @cached_property
    def _places(self) -> dict[str, int]:
        return {customer: place for place, customer in enumerate(self.ids)}

    def place(self, customer: str) -> int:
        """Where a customer is. Raises UsageError for one that is not in the hold-out."""
        if customer not in self._places:
            raise UsageError(
                f"no customer {customer!r} in the hold-out", remedy="take an id from predictions.csv of the run"
            )
        return self._places[customer]

    def reasons(self, place: int, most: int) -> list[Reason]:
        """Why the customer at `place` is not a better one."""
        return reasons(self.attribution.values[place].tolist(), self.columns, most)


def explain(directory: Path) -> Explained:
    """Explain the hold-out of the run in `directory`.

    Raises UsageError if it is not the directory of a finished run, or its files do not belong together.
    """
    file = RunFile.read(directory, needs=())
    agreement = file.agreement
    require_kept(directory, [agreement.active.name], (SHARES, ROWS))
    if file.terms.kind != GBDT:
        raise UsageError(
            "this run made a scorecard, which is its own explanation",
            remedy="See all points with `tallystick explain DIR`, or in scorecard.csv of each party.",
        )
    file.terms.require_two_classes(
        "this explanation is for scores",
        "Where the agreement allows it, export the model and ask LightGBM for pred_contrib.",
    )
    folder = directory / agreement.active.name
    share = read_result(folder / "share.json")
    require_share(share, agreement, agreement.active.name)
    model = read_ensemble(share)
    rows = read_array(folder / "rows.npy")[read_array(folder / "parts.npy") == _HELD_OUT]
    decisions = decided(folder, model, len(rows))
    order = np.argsort(rows)
    widths = [len(member.features) for member in (agreement.active, *agreement.passives)]
    found = shapley(model, [answers[:, order] for answers in decisions], widths)
    ids, pd = _predictions(folder / "predictions.csv")
    if len(pd) != len(order) or not np.allclose(pd, sigmoid(model.predict_raw(decisions))[order], rtol=0, atol=1e-9):
        raise UsageError(f"{folder / 'predictions.csv'} is not of the model in share.json", remedy=NO_RUN)
    return Explained(ids, pd, found, columns_of(agreement), importance(model, found, widths))


def reasons_table(explained: Explained, most: int) -> bytes:
    """CSV `id,pd,reason_1,...` of the hold-out; a customer with fewer reasons has empty cells."""
    header = ["id", "pd", *(f"reason_{number}" for number in range(1, most + 1))]
    return csv_bytes(header, (_reasons_row(explained, place, most) for place in range(len(explained.ids))))


def _reasons_row(explained: Explained, place: int, most: int) -> list[str]:
    words = [reason.words for reason in explained.reasons(place, most)]
    return [explained.ids[place], repr(float(explained.pd[place])), *words, *[""] * (most - len(words))]


def decided(folder: Path, model: Ensemble, rows: int) -> list[Flags]:
    """Each party's decisions of the hold-out as the active party keeps them, bool[n_records, rows], own first.

    Raises UsageError if they are not of this model.
    """
    bits = read_array(folder / "decisions.npy")
    counts = [len(model.records), *model.passive_records]
    if bits.dtype != np.uint8 or bits.shape != (sum(counts), (rows + 7) // 8):
        raise UsageError(f"{folder / 'decisions.npy'} is not of the model in share.json", remedy=NO_RUN)
    decided = np.unpackbits(bits, axis=1, count=rows).astype(np.bool_)
    return np.split(decided, np.cumsum(counts)[:-1])


def _predictions(path: Path) -> tuple[tuple[str, ...], Reals]:
    """Identifiers and probabilities, in the order of the file."""
    try:
        lines = list(csv.DictReader(io.StringIO(read_result(path).decode())))
        return tuple(line["id"] for line in lines), np.array([float(line["pd"]) for line in lines])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {error!r}") from None
