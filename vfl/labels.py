"""The label column of the active party, as what is learned wants it.

binary       0 or 1, both present                      int8
multiclass   whole numbers from 0 to num_class - 1     int16
regression   finite numbers, not all the same          float64
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.learn.objective import Labels

_DEFAULTED = "Write 1 for a customer who defaulted and 0 for one who did not."


@dataclass(frozen=True)
class LabelKind:
    """What a label may be: of a GBDT `objective`, and of how many classes where there are several."""

    objective: str = "binary"
    classes: int = 1

    @classmethod
    def of(cls, model: Mapping[str, object]) -> LabelKind:
        """By the clauses of an agreement about the model; a scorecard's labels are 0 and 1."""
        return cls(str(model.get("objective", "binary")), int(str(model.get("num_class", 1))))

    @property
    def written(self) -> str:
        """What a label must be, for people."""
        names = {"binary": "0/1", "multiclass": f"a class number, 0 to {self.classes - 1}"}
        return names.get(self.objective, "a number")

    @property
    def remedy(self) -> str:
        """How to write it."""
        if self.objective == "binary":
            return _DEFAULTED
        if self.objective == "multiclass":
            return "Number the classes from 0, and set num_class to how many there are."
        return "Write one number a customer."

    def read(self, where: str, values: npt.NDArray[np.float64]) -> Labels:
        """Labels from a column [n] called `where`. Raises UsageError for missing, other or equal values."""
        missing = np.flatnonzero(np.isnan(values))
        if missing.size:
            raise UsageError(
                f"{where} is missing in {missing.size} of {values.size} rows, first in data row {missing[0] + 1}",
                remedy="Leave out the customers whose outcome is not known.",
            )
        if self.objective != "regression":
            allowed = np.arange(max(self.classes, 2))
            other = np.flatnonzero(~np.isin(values, allowed))
            if other.size:
                first = f"data row {other[0] + 1} holds {values[other[0]]:g} ({other.size} such rows)"
                raise UsageError(f"{where} is not {self.written}: {first}", remedy=self.remedy)
        if values.min() == values.max():
            alone, rows = f"all {values.size} rows hold {values[0]:g}", "A model needs customers who differ."
            if self.objective == "binary":
                rows = "A model needs customers who defaulted (1) and customers who did not (0)."
            what = "one value" if self.objective == "regression" else "one class"
            raise UsageError(f"{where} has {what} only: {alone}", remedy=rows)
        kinds = {"binary": np.int8, "multiclass": np.int16}
        label: Labels = values.astype(kinds.get(self.objective, np.float64))
        label.setflags(write=False)
        return label


def read_weights(where: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What each row counts, from a column [n] called `where`. Raises UsageError for missing and negative ones."""
    wrong = np.flatnonzero(~(values >= 0.0))
    if wrong.size:
        found = "is missing" if np.isnan(values[wrong[0]]) else f"is {values[wrong[0]]:g}"
        raise UsageError(
            f"{where} {found} in data row {wrong[0] + 1} ({wrong.size} such rows)",
            remedy="Write what each customer counts: a number, 0 or more.",
        )
    return values
