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
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.explain import Attribution, Importance, importance, shapley
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble, require_share
from vfl.reasons import Column, Reason, columns_of, reasons
from vfl.seat import RunFile
from vfl.terms import BINARY, GBDT

Flags = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.float64]
_HELD_OUT = 2
_REMEDY = "name the directory of a finished run"


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
    file = RunFile.read(directory)
    agreement = file.agreement
    if file.terms.kind != GBDT:
        raise UsageError(
            "this run made a scorecard, which is its own explanation",
            remedy="See all points with `tallystick explain DIR`, or in scorecard.csv of each party.",
        )
    if file.terms.objective != BINARY:
        raise UsageError(
            f"this run learned a {file.terms.objective}; this explanation is for scores of two classes",
            remedy="Where the agreement allows it, export the model and ask LightGBM for pred_contrib.",
        )
    folder = directory / agreement.active.name
    share = _bytes(folder / "share.json")
    require_share(share, agreement, agreement.active.name)
    model = read_ensemble(share)
    rows = _array(folder / "rows.npy")[_array(folder / "parts.npy") == _HELD_OUT]
    decisions = decided(folder, model, len(rows))
    order = np.argsort(rows)
    widths = [len(member.features) for member in (agreement.active, *agreement.passives)]
    found = shapley(model, [answers[:, order] for answers in decisions], widths)
    ids, pd = _predictions(folder / "predictions.csv")
    if len(pd) != len(order) or not np.allclose(pd, sigmoid(model.predict_raw(decisions))[order], rtol=0, atol=1e-9):
        raise UsageError(f"{folder / 'predictions.csv'} is not of the model in share.json", remedy=_REMEDY)
    return Explained(ids, pd, found, columns_of(agreement), importance(model, found, widths))


def reasons_table(explained: Explained, most: int) -> bytes:
    """CSV `id,pd,reason_1,...` of the hold-out; a customer with fewer reasons has empty cells."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "pd", *(f"reason_{number}" for number in range(1, most + 1))])
    for place, customer in enumerate(explained.ids):
        words = [reason.words for reason in explained.reasons(place, most)]
        writer.writerow([customer, repr(float(explained.pd[place])), *words, *[""] * (most - len(words))])
    return text.getvalue().encode()


def decided(folder: Path, model: Ensemble, rows: int) -> list[Flags]:
    """Each party's decisions of the hold-out as the active party keeps them, bool[n_records, rows], own first.

    Raises UsageError if they are not of this model.
    """
    bits = _array(folder / "decisions.npy")
    counts = [len(model.records), *model.passive_records]
    if bits.dtype != np.uint8 or bits.shape != (sum(counts), (rows + 7) // 8):
        raise UsageError(f"{folder / 'decisions.npy'} is not of the model in share.json", remedy=_REMEDY)
    decided = np.unpackbits(bits, axis=1, count=rows).astype(np.bool_)
    return np.split(decided, np.cumsum(counts)[:-1])


def _predictions(path: Path) -> tuple[tuple[str, ...], Reals]:
    """Identifiers and probabilities, in the order of the file."""
    try:
        lines = list(csv.DictReader(io.StringIO(_bytes(path).decode())))
        return tuple(line["id"] for line in lines), np.array([float(line["pd"]) for line in lines])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {error!r}") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise UsageError(f"there is no {path.name} in {path.parent}", remedy=_REMEDY) from None


def _array(path: Path) -> npt.NDArray[Any]:
    try:
        found: npt.NDArray[Any] = np.load(io.BytesIO(_bytes(path)))
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is damaged: {error}") from None
    return found
