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
from vfl.learn.compiled_card import CompiledCard
from vfl.learn.compiled_reasons import CompiledReasons, top_reasons
from vfl.learn.compiled_splits import CompiledSplits
from vfl.learn.compiled_trees import CompiledTrees
from vfl.learn.objective import sigmoid
from vfl.models import read_ensemble, require_share
from vfl.protocols.points import joined
from vfl.protocols.score_online import UNIT_BITS, Decided, Masked, Parted, Told
from vfl.reasons import MOST, Column, columns_of, groups_of
from vfl.scoring.answers import Reason
from vfl.scoring.grading import Grades, points_of
from vfl.scoring.verdicts import Judged
from vfl.seat import RunFile
from vfl.terms import GBDT
from vfl.wire import require

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Kind = Literal["gbdt", "scorecard"]


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
    def book(self) -> Book:
        """The reasons that it knows."""
        ...

    @property
    def frozen(self) -> Mapping[str, str]:
        """Of each party, the digest under which its share was frozen (hex)."""
        ...

    @property
    def splits(self) -> Mapping[str, int | None]:
        """Of each partner, how many splits are its own; of a scorecard None, or 0 where it has no line on it."""
        ...

    def judge(self, values: Reals, told: Sequence[Told], grades: Grades) -> Judged:
        """By the own columns, float64[n, features], and what each of the `partners_of` it told.

        Raises BrokenPromise where what several told cannot be.
        """
        ...


def partners_of(model: JointModel) -> tuple[str, ...]:
    """Whom to ask, in the agreement's order: nobody is told of applicants whose columns the model does not use."""
    return tuple(member.name for member in model.agreement.passives if model.splits[member.name] != 0)


def code_of(column: Column) -> str:
    """A reason's code for machines: whose column, and which; of columns with the same words the first."""
    return f"{column.party}.{column.feature}"


class Book:
    """The reasons that an agreement knows."""

    def __init__(self, agreement: Agreement) -> None:
        columns = columns_of(agreement)
        _, groups = groups_of(columns)
        self._groups = np.array(groups, np.intp)
        first = dict(reversed(list(zip(groups, columns, strict=True))))
        self.reasons = tuple(Reason(code_of(first[k]), first[k].words, first[k].party) for k in range(len(first)))
        self.columns = len(columns)
        members = (agreement.active, *agreement.passives)
        widths = np.cumsum([0, *(len(member.features) for member in members)]).tolist()
        self.starts = {member.name: start for member, start in zip(members, widths, strict=False)}

    def worst(self, contributions: npt.NDArray[np.float64 | np.int64]) -> Int64s:
        """[n, columns of all parties] -> numbers of what raises each row's risk most: int64[n, 4], -1 for none."""
        return top_reasons(contributions, self._groups, MOST)


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
    book: Book
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
            CompiledReasons.of(model, widths), Book(agreement),
            dict(zip(names, model.passive_records, strict=True)),
        )  # fmt: skip

    def judge(self, values: Reals, told: Sequence[Told], grades: Grades) -> Judged:
        parts = [self.own.left(values)]
        for each in told:
            assert isinstance(each, Decided)
            parts.append(each.left)
        decisions = np.concatenate(parts)
        pd = self.trees.predict(decisions)
        return Judged(pd, points_of(grades.scaling, pd), self.book.worst(self.why.attributions(decisions)))


@dataclass(frozen=True, eq=False)
class JointCard:
    """A scorecard."""

    run: str
    version: str
    agreement: Agreement
    frozen: Mapping[str, str]
    card: CompiledCard
    book: Book
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
        lines = {one["party"] for one in head.get("verdicts", ()) if one["kept"]}
        return cls(
            run, version_of(frozen), agreement, frozen, CompiledCard.of(card), Book(agreement),
            feature_numbers([each.name for each in card.features], active.features),
            float(head["intercept"]), int(head["base_points"]),
            {member.name: None if member.name in lines else 0 for member in agreement.passives},
        )  # fmt: skip

    def judge(self, values: Reals, told: Sequence[Told], grades: Grades) -> Judged:
        predictor, own, by_feature = self.card.parts(values[:, self.own_features])
        points, parts, masked = self.base_points + own, list[Reals](), list[Masked]()
        lost = np.zeros((len(values), self.book.columns), np.int64)
        lost[:, self.own_features] = self.card.lost(by_feature)  # the active party's columns come first
        for name, each in zip(partners_of(self) if told else (), told, strict=True):
            if isinstance(each, Parted):
                parts.append(each.predictor)
                points = points + each.points
                row, place = np.nonzero(each.reasons >= 0)
                lost[row, self.book.starts[name] + each.reasons[row, place]] = each.lost[row, place]
            else:
                assert isinstance(each, Masked)
                masked.append(each)
        if masked:
            units, more = _unmasked(masked)
            parts.append(np.ldexp(units.astype(np.float64), -UNIT_BITS))
            points = points + more
        return Judged(sigmoid(joined(self.intercept + predictor, parts)), points, self.book.worst(lost))


def _unmasked(masked: Sequence[Masked]) -> tuple[Int64s, Int64s]:
    """Sums of parts in units of 2**-20 and of points, int64[n] both; zero where some passive knows nothing.

    Raises BrokenPromise where masks do not cancel: each part has 32 bits.
    """
    known = np.logical_and.reduce([each.known for each in masked])
    found = []
    for words in ([each.predictor for each in masked], [each.points for each in masked]):
        total = np.where(known, np.add.reduce(np.stack(words)).astype(np.int64), 0)  # modulo 2**64
        require((np.abs(total) <= 2**31 * len(masked)).all(), "masks cancel in a sum of parts")
        found.append(total)
    return found[0], found[1]


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
