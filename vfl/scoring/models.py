"""A joint model made ready to score: the active party's share, and what must be asked of whom.

What it computes from its own columns and the partners' answers is the offline prediction bit for bit, for one applicant
or for many: the same sums in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ledger.log import Log
from vfl.agreement import Agreement
from vfl.card_models import read_card, read_share, require_card
from vfl.closing import frozen_in, version_of
from vfl.errors import UsageError
from vfl.files import read_result
from vfl.learn.compiled import CompiledCard, CompiledReasons, CompiledSplits, CompiledTrees
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble, require_share
from vfl.protocols.points import joined
from vfl.protocols.score_online import UNIT_BITS, Decided, Masked, Parted, Told
from vfl.reasons import MOST, Column, columns_of
from vfl.scoring.answers import Reason
from vfl.scoring.grading import Grades, points_of
from vfl.seat import RunFile
from vfl.terms import GBDT

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Kind = Literal["gbdt", "scorecard"]


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model says of n applicants: pd float64[n], points int64[n], and of each up to four reasons."""

    pd: Reals
    points: Int64s
    reasons: tuple[tuple[Reason, ...], ...]


class JointModel(Protocol):
    """A model and what to ask for it."""

    @property
    def run(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def agreement(self) -> Agreement: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def frozen(self) -> Mapping[str, str]:
        """Of each party, the digest under which its share was frozen (hex)."""
        ...

    @property
    def splits(self) -> Mapping[str, int | None]:
        """Of each partner, how many splits are its own; None where the model is a scorecard."""
        ...

    def judge(self, values: Reals, told: Sequence[Told], grades: Grades) -> Judged:
        """By the own columns, float64[n, features], and what each partner told, in the agreement's order."""
        ...


def code_of(column: Column) -> str:
    """A reason's code for machines: whose column, and which."""
    return f"{column.party}.{column.feature}"


@dataclass(frozen=True, eq=False)
class JointTrees:
    """Boosted trees of two classes."""

    run: str
    version: str
    agreement: Agreement
    frozen: Mapping[str, str]
    own: CompiledSplits
    trees: CompiledTrees
    why: CompiledReasons
    splits: Mapping[str, int | None]
    kind: Kind = "gbdt"

    @classmethod
    def of(cls, share: bytes, run: str, agreement: Agreement, frozen: Mapping[str, str]) -> JointTrees:
        """From the active party's share. Raises UsageError."""
        require_share(share, agreement, agreement.active.name)
        model = read_ensemble(share)
        widths = [len(member.features) for member in (agreement.active, *agreement.passives)]
        names = [member.name for member in agreement.passives]
        return cls(
            run, version_of(frozen), agreement, frozen,
            CompiledSplits.of(model.records), CompiledTrees.of(model),
            CompiledReasons.of(model, widths, columns_of(agreement)),
            dict(zip(names, model.passive_records, strict=True)),
        )  # fmt: skip

    def judge(self, values: Reals, told: Sequence[Told], grades: Grades) -> Judged:
        parts = [self.own.left(values)]
        for each in told:
            assert isinstance(each, Decided)
            parts.append(each.left)
        decisions = np.concatenate(parts)
        pd = self.trees.predict(decisions)
        found = self.why.top(self.why.attributions(decisions), MOST)
        return Judged(pd, points_of(grades.scaling, pd), tuple(map(self._reasons, found)))

    def _reasons(self, columns: Sequence[Column]) -> tuple[Reason, ...]:
        return tuple(Reason(code_of(each), each.words, each.party) for each in columns)


@dataclass(frozen=True, eq=False)
class JointCard:
    """A scorecard."""

    run: str
    version: str
    agreement: Agreement
    frozen: Mapping[str, str]
    card: CompiledCard
    own_features: Int64s  # of the card's lines, by number in the agreement
    intercept: float
    base_points: int
    splits: Mapping[str, int | None]
    kind: Kind = "scorecard"

    @classmethod
    def of(cls, share: bytes, run: str, agreement: Agreement, frozen: Mapping[str, str]) -> JointCard:
        """From the active party's share. Raises UsageError."""
        active = agreement.active
        require_card(share, agreement, active.name)
        head, card = read_share(share), read_card(share)
        return cls(
            run, version_of(frozen), agreement, frozen, CompiledCard.of(card),
            feature_numbers([each.name for each in card.features], active.features),
            float(head["intercept"]), int(head["base_points"]), {member.name: None for member in agreement.passives},
        )  # fmt: skip

    def judge(self, values: Reals, told: Sequence[Told], grades: Grades) -> Judged:
        own = self.card.parts(values[:, self.own_features])
        points, parts = self.base_points + own.points, []
        lost = [(self.agreement.active.name, self.own_features[None].repeat(len(values), 0), own.lost)]
        masked: list[Masked] = []
        for member, each in zip(self.agreement.passives, told, strict=False):
            if isinstance(each, Parted):
                parts.append(each.predictor)
                points = points + each.points
                lost.append((member.name, each.reasons, each.lost))
            else:
                assert isinstance(each, Masked)
                masked.append(each)
        if masked:
            units, more = (_sum(words) for words in ([m.predictor for m in masked], [m.points for m in masked]))
            parts.append(np.ldexp(units.astype(np.float64), -UNIT_BITS))
            points = points + more
        score = joined(self.intercept + own.predictor, parts)
        return Judged(sigmoid(score), points, self._reasons(lost, len(values)))

    def _reasons(self, lost: Sequence[tuple[str, Int64s, Int64s]], n: int) -> tuple[tuple[Reason, ...], ...]:
        """The features that cost the most points: each party's feature numbers and points, int64[n, some]."""
        columns = {(each.party, each.feature): each for each in columns_of(self.agreement)}
        found = []
        for row in range(n):
            costs: dict[tuple[str, str], tuple[int, Column]] = {}
            for party, features, points in lost:
                names = self.agreement.member(party).features
                for feature, cost in zip(features[row].tolist(), points[row].tolist(), strict=True):
                    if feature >= 0 and cost > 0:
                        column = columns[party, names[feature]]
                        before, first = costs.get((party, column.words), (0, column))
                        costs[party, column.words] = (before + cost, first)
            worst = sorted(costs.values(), key=lambda each: -each[0])[:MOST]
            found.append(tuple(Reason(code_of(each), each.words, each.party) for _, each in worst))
        return tuple(found)


def _sum(words: Sequence[npt.NDArray[np.uint64]]) -> Int64s:
    """Modulo 2**64, where masks cancel; read as signed."""
    total: npt.NDArray[np.uint64] = np.add.reduce(np.stack(words))
    return total.astype(np.int64)


def feature_numbers(names: Sequence[str], features: Sequence[str]) -> Int64s:
    """Where each of `names` stands among a party's features in the agreement."""
    return np.array([features.index(name) for name in names], np.int64)


def read_model(folder: Path, file: RunFile, log: Log) -> JointModel:
    """The model of a finished run, from the active party's folder and log. Raises UsageError."""
    file.terms.require_two_classes("scores are probabilities of default", "Train a model of two classes.")
    frozen = {name: one.digest for name, one in frozen_in(log, file.agreement.active.name).items()}
    if missing := [name for name in file.keys if name not in frozen]:
        raise UsageError(f"the ledger does not say under which digest {', '.join(missing)} froze its share")
    return model_of(read_result(folder / "share.json"), file.run, file.agreement, frozen)


def model_of(share: bytes, run: str, agreement: Agreement, frozen: Mapping[str, str]) -> JointModel:
    """The model in an active party's share. Raises UsageError."""
    if agreement.model["kind"] == GBDT:
        return JointTrees.of(share, run, agreement, frozen)
    return JointCard.of(share, run, agreement, frozen)


def stand_in_of(share: bytes, run: str, agreement: Agreement) -> JointModel:
    """The stand-in in its share; its agreement is `vfl.scoring.standin.alone`."""
    return model_of(share, run, agreement, {agreement.active.name: sha256(share).hexdigest()})
