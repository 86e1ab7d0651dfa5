"""Weights of evidence at all parties, labels at one: the parties of logistic regression, and the pooled solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vfl.channel import Channel
from vfl.coded import Coded
from vfl.crypto.weighted import Shares, ShareTerms
from vfl.decoys import Shown
from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters
from vfl.learn.logistic import Logistic
from vfl.learn.rounds import Parts
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.learn.woe import woe_matrix
from vfl.protocols import logistic, standard_errors
from vfl.protocols.logistic import ActiveFit, PassiveFit

from .boosting import seed
from .hostile import Role, Tape, record
from .weighing import Features


@dataclass(frozen=True, eq=False)
class Regression:
    """Features, and what was agreed about the scorecard."""

    features: Features
    parameters: ScorecardParameters

    @property
    def partners(self) -> tuple[str, ...]:
        return self.features.partners

    def matrix(self, party: int) -> np.ndarray:
        """Weights of evidence of a party's columns."""
        return woe_matrix(self.features.fitted(party), self.features.of(party))

    def coded(self, party: int) -> Coded:
        """What the bank knows of a partner's features."""
        tables = [one.counted for one in self.features.fitted(party) if one.counted is not None]
        return Coded.told(tables, self.features.parameters.woe_bits)

    @property
    def pooled(self) -> np.ndarray:
        """All training columns in one table."""
        parts = [self.matrix(party) for party in range(len(self.features.owned))]
        return np.hstack(parts)[self.features.parts.train]

    def reference(self) -> Logistic:
        """The solution of the pooled columns."""
        labels, agreed = self.features.labels[self.features.parts.train], self.parameters
        return Logistic.fit(self.pooled, labels, l1=agreed.l1, l2=agreed.l2, positive=agreed.signs == "positive")


def regression(
    rows: int = 300, owned: tuple[int, ...] = (2, 3), number: int = 1, aside: float = 0.2, bins: int = 4, **agreed: Any
) -> Regression:
    """Columns that repeat each other a little and say something each."""
    rng, d = np.random.default_rng(number), sum(owned)
    values = rng.normal(size=(rows, d)) @ (np.eye(d) + 0.25 * rng.normal(size=(d, d)))
    risk = values @ (0.4 + 0.4 * rng.random(d)) + rng.logistic(size=rows)
    labels = (risk > np.quantile(risk, 0.6)).astype(np.int8)
    train = rng.random(rows) >= aside
    binning = BinningParameters(max_prebins=bins, max_bins=bins, min_bin_share=0.0, significance=1.0, min_class_rows=1)
    return Regression(
        Features(values, owned, labels, Parts(train, ~train), binning), ScorecardParameters.from_mapping(agreed)
    )


def terms(case: Regression, scheme: str = "lattice", key_bits: int = 2048) -> ShareTerms:
    """The real scheme."""
    return ShareTerms(scheme, "run", key_bits, case.parameters.residual_bits)


TOLD_APART = "told apart"


def bank(case: Regression, shares: Shares, number: int = 1, shown: Shown | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> ActiveFit | str:
        data = case.features
        coded = [case.coded(party) for party in range(1, len(data.owned))]
        try:
            return await logistic.active(
                [peers[name] for name in data.partners], coded, case.matrix(0), data.labels, data.parts,
                case.parameters, shares, seed(number), shown=shown,
            )  # fmt: skip
        except UsageError as error:  # numbers that a peer made up may tell labels apart
            if "tell good and bad" not in str(error):
                raise
            return TOLD_APART

    return role


def partner(case: Regression, party: int, shares: Shares, number: int = 2, values: np.ndarray | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> PassiveFit:
        data = case.features
        mine = [one.without_counts() for one in data.fitted(party)]
        return await logistic.passive(
            peers["bank"], mine, data.of(party) if values is None else values, case.parameters,
            data.parameters.woe_bits, shares, seed(number),
        )  # fmt: skip

    return role


def fit(case: Regression, shares: Shares, **others: Role) -> dict[str, Tape]:
    honest = {name: partner(case, i, shares, 1 + i) for i, name in enumerate(case.partners, 1)}
    cast = {"bank": bank(case, shares), **honest} | others
    return record(cast, [("bank", name) for name in case.partners])


def with_errors(case: Regression, shares: Shares, **others: Role) -> dict[str, Tape]:
    """The fit, then standard errors: results are (fit, tests)."""

    def bank_role(peers: Mapping[str, Channel]) -> Any:
        async def role() -> Any:
            found = await bank(case, shares)(peers)
            if found == TOLD_APART:
                return found
            return found, await standard_errors.active([peers[p] for p in case.partners], found, case.parameters)

        return role()

    def partner_role(party: int) -> Role:
        async def role(peers: Mapping[str, Channel]) -> Any:
            found = await partner(case, party, shares, 1 + party)(peers)
            return found, await standard_errors.passive(peers["bank"], found, case.parameters)

        return role

    cast = {"bank": bank_role, **{name: partner_role(i) for i, name in enumerate(case.partners, 1)}} | others
    return record(cast, [("bank", name) for name in case.partners])


def coefficients(case: Regression, tapes: Mapping[str, Tape]) -> np.ndarray:
    """Everybody's, in the order of the pooled columns."""
    return np.concatenate(
        [tapes["bank"].result.joint.coefficients, *(tapes[name].result.coefficients for name in case.partners)]
    )
