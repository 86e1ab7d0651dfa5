"""A run's name and agreement, and what they mean in the protocols' own types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vfl.agreement import Agreement
from vfl.bits import Mask
from vfl.channel import Channel
from vfl.commitments import Commitment
from vfl.crypto.scheme import HintStore, NoHints
from vfl.crypto.schemes import SchemeTerms
from vfl.crypto.weighted import ShareTerms
from vfl.decoys import Shown
from vfl.errors import UsageError
from vfl.features import FeatureTerms
from vfl.holding import Holding
from vfl.learn.monotone import Directions, directions
from vfl.learn.objective import Labels
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts
from vfl.learn.scorecard_parameters import ScorecardModel
from vfl.protocols.intersect import PsiTerms
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Commit = Callable[[str, Sequence[Commitment]], None]
"""Puts commitments on the party's own record, outside any message."""
GBDT, SCORECARD = "gbdt", "scorecard"
INIT_MODEL = "init_model"  # clause about the model: the run that it goes on from
BINARY = "binary"  # the objective that reports of credit risk are made for


@dataclass(frozen=True)
class Terms:
    """A run's name and agreement, and what they mean in the protocols' own types."""

    run: str
    agreement: Agreement

    @property
    def kind(self) -> str:
        """Of the model: `gbdt` or `scorecard`."""
        return str(self.agreement.model["kind"])

    @property
    def objective(self) -> str:
        """What is learned: of a scorecard and by default two classes."""
        return str(self.agreement.model.get("objective", BINARY))

    def require_two_classes(self, why: str, remedy: str) -> None:
        """Raise UsageError unless two classes are learned. `why`: what is for them only."""
        if self.objective != BINARY:
            raise UsageError(f"this run learned a {self.objective}; {why} of two classes", remedy=remedy)

    @property
    def parameters(self) -> GBDTParameters:
        """Of boosted trees."""
        return GBDTParameters.from_mapping(self._model())

    @property
    def scorecard(self) -> ScorecardModel:
        """Of a scorecard."""
        return ScorecardModel.from_mapping(self._model())

    def _model(self) -> dict[str, object]:
        return {k: v for k, v in self.agreement.model.items() if k not in ("kind", INIT_MODEL)}

    @property
    def goes_on(self) -> bool:
        """Whether trees are grown where those of an earlier run's model end."""
        return INIT_MODEL in self.agreement.model

    @property
    def monotone(self) -> list[Directions] | None:
        """Directions of each party's features, the active one's first; None where all are free."""
        members = (self.agreement.active, *self.agreement.passives)
        found = [directions(member.features, member.monotone) for member in members]
        return found if any(one.any() for one in found) else None

    @property
    def validation(self) -> tuple[float, int]:
        """Share of the training rows that is kept aside, and the seed that chooses them."""
        if self.kind == SCORECARD:
            return 0.0, 0
        return self.parameters.validation_fraction, self.parameters.seed

    @property
    def rounds(self) -> tuple[str, int]:
        """The phase of the long work, and of how many rounds at most."""
        if self.kind == SCORECARD:
            return "fit", self.scorecard.card.iterations
        return "train", self.parameters.num_iterations

    @property
    def psi(self) -> PsiTerms:
        """Of the intersection."""
        psi, privacy = self.agreement.psi, self.agreement.privacy
        least = int(privacy["min_intersection"])
        rule, decoys = str(psi["id_rule"]), float(psi.get("decoys", 0.0))
        return PsiTerms(self.run, rule, int(psi["max_set_size"]), least, str(psi["protocol"]), decoys)

    @property
    def scheme(self) -> SchemeTerms:
        """Of the encryption of boosted trees."""
        privacy, parameters = self.agreement.privacy, self.parameters
        widest = max(len(member.features) for member in self.agreement.passives)
        psi, trees = self.agreement.psi, parameters.num_iterations * parameters.outputs
        return SchemeTerms(
            scheme=str(privacy["scheme"]),
            run=str(psi.get("aligned_in", self.run)),
            key_bits=int(privacy["key_bits"]),
            cells=widest * parameters.max_bin,
            trees=trees,
            # Answers of all trainings on the same hint add up.
            queries=trees * parameters.num_leaves * int(psi.get("training", 1)),
            fixed_bits=parameters.gradient_bits,
            cell_noise=float(privacy.get("cell_noise", 0.0)),
        )

    @property
    def features(self) -> FeatureTerms:
        """Of the bins and the selection of a scorecard."""
        privacy, model = self.agreement.privacy, self.scorecard
        return FeatureTerms(
            model.binning,
            model.selecting,
            len(self.agreement.active.features),
            tuple(member.features for member in self.agreement.passives),
            self.min_bin_population,
            self.min_shown_population,
            self.run,
            str(privacy["scheme"]),
            int(privacy["key_bits"]),
        )

    @property
    def shares(self) -> ShareTerms:
        """Of the encryption of a scorecard's residuals."""
        privacy = self.agreement.privacy
        bits = self.scorecard.card.residual_bits
        return ShareTerms(str(privacy["scheme"]), f"{self.run}/logistic", int(privacy["key_bits"]), bits)

    @property
    def holds_out(self) -> bool:
        """Whether customers are kept aside for the final figures; in a notebook they are not."""
        return bool(self.agreement.holdout.get("fraction", 1.0))

    @property
    def sign_messages(self) -> bool:
        """Whether every message is signed, rather than all of a round together."""
        return self.agreement.privacy.get("receipts") == "message"

    @property
    def min_bin_population(self) -> int:
        """Training rows in a bin at least."""
        return int(self.agreement.privacy["min_bin_population"])

    @property
    def min_shown_population(self) -> int:
        """The same at a passive party, whose bins have decoys as well: so many that the rest is enough on average."""
        return self.psi.with_decoys(self.min_bin_population)


@dataclass(frozen=True, eq=False)
class Kept:
    """What a party has on disk from this run or from the one it goes on from.

    hints: hints of tables.   rng: what keys of hints and hints are drawn from.
    rows: the aligned rows of the earlier run, index into the holding's tokens; None where they are to be found.
    init: the own share of the model to go on from.
    """

    hints: HintStore
    rng: Randomness
    rows: Int64s | None = None
    init: bytes | None = None

    @classmethod
    def nothing(cls, rng: Randomness) -> Kept:
        """For a run of its own that keeps nothing."""
        return cls(NoHints(), rng)


@dataclass(frozen=True, eq=False)
class ActiveTask:
    """What the active party learns a model from. Arrays are over common customers.

    rows: index into the holding's tokens.   shown: where passive parties have these rows, and decoys.
    """

    mine: Holding
    terms: Terms
    passives: Mapping[str, Channel]
    rows: Int64s
    values: Reals
    labels: Labels
    holdout: Mask
    parts: Parts
    shown: Shown
    rng: Randomness
    kept: Kept
    weights: Reals | None = None


@dataclass(frozen=True, eq=False)
class PassiveTask:
    """What a passive party learns its share from. values: of its aligned rows, decoys among them."""

    mine: Holding
    terms: Terms
    active: Channel
    rows: Int64s
    values: Reals
    rng: Randomness
    kept: Kept


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What a party of either side holds at the end.

    rows: its aligned rows, index into its holding's tokens; at a passive party decoys are among them.
    share: its share of the model.   files: what else it keeps, by name.
    """

    rows: Int64s
    share: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class ActiveOutcome(Outcome):
    """What the active party holds. Arrays are over common customers unless said otherwise.

    shown: where passive parties have these rows, and decoys.   pd: probability of label 1 for the hold-out rows,
    float64[n_holdout]; of other objectives what `Ensemble.predict` says.   points: of a scorecard, int64[n_holdout].
    """

    labels: Labels
    holdout: Mask
    parts: Parts
    shown: Shown
    pd: Reals
    points: Int64s | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PassiveOutcome(Outcome):
    """What a passive party holds."""
