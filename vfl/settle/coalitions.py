"""The models of coalitions: the label owner with some of its partners, trained as the whole model was.

The same customers, aligned once, the same hold-out, committed to before anything was learned, the same protocols and
encryption. Hints of a partner's columns are made once and kept, so that further trainings are cheap. What one training
shows of sums adds to what the others do: each is made as private as if it were run as often as there are coalitions
(`psi.training`, `vfl.continuing`).

A coalition that was trained is kept in a file: a valuation that was killed goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl import in_process
from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.files import read_array, write_array, write_whole
from vfl.hints import HintFolder
from vfl.holding import Holding
from vfl.learn.metrics import auc, ks
from vfl.learn.objective import sigmoid
from vfl.learn.scorecard import Central
from vfl.randomness import Randomness
from vfl.retention import ROWS, SALTS, require_kept
from vfl.scoring.standin import alone, trees_alone
from vfl.seat import HINTS, RunFile, read_own_holding, read_seed
from vfl.settle.book import FOLDER
from vfl.settle.patterns import places_of
from vfl.terms import GBDT, Kept

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
_HELD_OUT = 2
_NULL = "null"  # columns of the noise party
_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Measured:
    """One coalition. parties: the partners in it.   null: whether columns of noise are among the label owner's.

    pd: of the customers held out, float64[n].   model: SHA-256 over the shares, hex.
    """

    parties: tuple[str, ...]
    null: bool
    pd: Reals
    model: str
    auc: float
    ks: float

    def told(self) -> dict[str, Any]:
        """What is on record of it."""
        return {"parties": list(self.parties), "null": self.null, "model": self.model,
                "auc": f"{self.auc:.{_DECIMALS}f}", "ks": f"{self.ks:.{_DECIMALS}f}"}  # fmt: skip


class Coalitions:
    """Trains coalitions of a finished run. `labels`: of the customers held out, as scores are ordered.

    `places`: a place for each of them, int64[n], which follows from who it is.
    """

    def __init__(self, directory: Path, file: RunFile, seed: bytes, trainings: int) -> None:
        """`seed`: of the noise.   trainings: how many there will be at most.

        Raises UsageError where the run cannot be valued.
        """
        file.terms.require_two_classes("contributions are valued", "Value a run of a model with two classes.")
        self._directory, self._file, self._seed = directory, file, seed
        self._folder = directory / file.agreement.active.name / FOLDER
        names = [member.name for member in file.agreement.members]
        require_kept(directory, names, [ROWS, SALTS])
        if "decoys" in file.agreement.psi:
            raise UsageError("a run with decoys is not valued", remedy="value a run of the same parties without decoys")
        self._agreement = _repeated(file, trainings)
        self._holdings = {name: read_own_holding(directory / name, file.agreement) for name in names}
        self._rows = {name: read_array(directory / name / "rows.npy") for name in names}
        self.active = file.agreement.active.name
        mine, rows = self._holdings[self.active], self._rows[self.active]
        assert mine.labels is not None
        self._parts = read_array(directory / self.active / "parts.npy")
        self._labels = mine.labels[rows].astype(np.int8)
        held_out = rows[self._parts == _HELD_OUT]
        self.labels = mine.labels[held_out].astype(np.int8)
        self.places = places_of([mine.tokens[row] for row in held_out])
        self._own = {name: Randomness(read_seed(directory / name)) for name in names}
        self._kept = {name: self._hints(name) for name in names}

    @property
    def partners(self) -> tuple[str, ...]:
        """In the order of the agreement."""
        return tuple(member.name for member in self._file.agreement.passives)

    def columns(self, party: str) -> Reals:
        """The aligned columns of a party, float64[n, features]."""
        found: Reals = self._holdings[party].values[self._rows[party]]
        return found

    def measure(self, parties: Sequence[str], *, null: bool = False) -> Measured:
        """Train with these partners, or read what was trained before."""
        among = tuple(name for name in self.partners if name in parties)
        name = sha256(json.dumps([self._agreement.encode().hex(), among, null]).encode()).hexdigest()[:24]
        told, scores = self._folder / f"{name}.json", self._folder / f"{name}.npy"
        if told.exists():
            body = json.loads(told.read_text(encoding="utf-8"))
            pd, model = read_array(scores), str(body["model"])
        else:
            pd, model = self._joint(among, null) if among else self._alone(null)
            self._folder.mkdir(parents=True, exist_ok=True)
            write_array(scores, pd)
            write_whole(told, {"model": model})
        return Measured(among, null, pd, model, auc(self.labels, pd), ks(self.labels, pd))

    def _joint(self, among: Sequence[str], null: bool) -> tuple[Reals, str]:
        holdings = {name: self._holdings[name] for name in (self.active, *among)}
        agreement = replace(
            self._agreement, members=tuple(one for one in self._agreement.members if one.name in holdings)
        )
        kept = {name: self._kept[name] for name in holdings}
        if null:
            holdings[self.active] = self._with_noise()
            agreement = _renamed(agreement, holdings[self.active].names)
        # What a model comes to follows from seeds that were committed to: nobody can draw again until it pleases.
        place = f"settlement/{','.join(among)}{'/null' if null else ''}"
        seeds = {name: self._own[name].child(place).bytes(32) for name in holdings}
        found = in_process.train(holdings, agreement, None, kept=kept, seeds=seeds)
        pd: Reals = found.outcomes[self.active].pd
        return pd, _model_of(found.shares)

    def _alone(self, null: bool) -> tuple[Reals, str]:
        terms = self._file.terms
        mine = self._with_noise() if null else self._holdings[self.active]
        rows, held_out = self._rows[self.active], self._parts == _HELD_OUT
        values, weights = mine.values[rows], None if mine.weights is None else mine.weights[rows]
        if terms.kind == GBDT:
            agreement = _renamed(alone(self._file.agreement), mine.names)
            model, _ = trees_alone(
                replace(terms, agreement=agreement), mine, values, self._labels, self._parts, weights
            )
            pd, text = model.predict(values[held_out]), repr((model.starts, model.trees, model.records))
        else:
            least = terms.min_bin_population
            card = Central.fit(
                mine.names, values, self._labels, self._parts == 0, terms.scorecard, least, mine.special, mine.trends
            )
            pd, text = sigmoid(card.predictor(values[held_out])), repr(card)
        return pd, _model_of({self.active: text.encode()})

    def _with_noise(self) -> Holding:
        """The label owner's table with as many columns of noise as the partner with the most columns has."""
        mine = self._holdings[self.active]
        count = max(len(self._holdings[name].names) for name in self.partners)
        drawn = Randomness(sha256(b"null" + self._seed).digest()).uint64(count * len(mine.tokens))
        noise = (drawn >> np.uint64(11)).astype(np.float64).reshape(-1, count) / 2.0**53
        names = (*mine.names, *(f"{_NULL}{number}" for number in range(count)))
        return replace(mine, names=names, values=np.hstack([mine.values, noise]))

    def _hints(self, name: str) -> Kept:
        """Of one party: hints lie in its own folder, and their keys follow from its seed."""
        own = self._directory / name / FOLDER / HINTS
        return Kept(HintFolder([own], own), self._own[name].child("settlement"), self._rows[name])


def _repeated(file: RunFile, trainings: int) -> Agreement:
    """The agreement of one training among many on the same customers."""
    psi = file.agreement.psi
    again: dict[str, str | int] = {
        "aligned_in": f"{file.run}-settlement",
        "training": int(psi.get("training", 1)) + trainings,
    }
    return replace(file.agreement, psi={**psi, **again}, contract=None, settlement=None)


def _renamed(agreement: Agreement, names: tuple[str, ...]) -> Agreement:
    """With these columns of the active party."""
    members = tuple(
        replace(member, features=names) if member.role == "active" else member for member in agreement.members
    )
    return replace(agreement, members=members)


def _model_of(shares: Mapping[str, bytes]) -> str:
    digests = {name: sha256(share).hexdigest() for name, share in shares.items()}
    return sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
