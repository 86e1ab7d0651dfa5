"""Features with their WOE known: the parties that compare them, and what the pooled columns say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vfl.channel import Channel
from vfl.crypto.scheme import Evaluator, Lanes
from vfl.crypto.schemes import SchemeTerms
from vfl.decoys import Shown
from vfl.errors import BrokenPromise
from vfl.learn.collinearity import correlations
from vfl.learn.feature_parameters import SelectionParameters
from vfl.learn.stability import outside_training
from vfl.learn.woe import woe_matrix
from vfl.protocols import correlate
from vfl.protocols.correlate import Others, Selection

from .boosting import Scheme, seed
from .hostile import Role, Tape, record
from .weighing import Features, credit


@dataclass(frozen=True, eq=False)
class Comparison:
    """Features, and what was agreed about their selection."""

    features: Features
    parameters: SelectionParameters

    @property
    def lanes(self) -> Lanes:
        return Lanes(int(self.features.parts.train.sum()), g_max=1 << 20, h_max=1 << 18)

    def psi(self, party: int) -> list[float | None]:
        """What becomes known of a party's stability, in thousandths where it travelled."""
        data, parameters = self.features, self.parameters
        found = outside_training(data.fitted(party), data.of(party), data.parts.train, parameters.min_psi_rows)
        if party:
            return [None if one is None or not parameters.share_psi else round(1000 * one) / 1000 for one in found]
        return found

    def pooled(self, compared: Sequence[int]) -> np.ndarray:
        """Correlations of the pooled WOE columns, NaN between two passive parties."""
        case = self.features
        parties = range(len(case.owned))
        matrix = np.column_stack([woe_matrix(case.fitted(party), case.of(party)) for party in parties])
        owners = np.repeat(parties, case.owned)[list(compared)]
        found = correlations(matrix[case.parts.train][:, list(compared)])
        if not self.parameters.partner_correlations:
            found[(owners[:, None] != owners) & (owners[:, None] > 0) & (owners > 0)] = np.nan
        return found


def bank(case: Comparison, scheme: Scheme, number: int = 1, shown: Shown | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> Selection:
        data = case.features
        tables = [[one.counted for one in data.fitted(i)] for i in range(1, len(data.owned))]
        names = [data.names(i) for i in range(1, len(data.owned))]
        lanes = case.lanes if shown is None else replace(case.lanes, rows=int(shown.train.sum()))
        return await correlate.active(
            [peers[name] for name in data.partners], names, tables, data.fitted(0), data.of(0), data.parts,
            case.parameters, scheme.holder(lanes), seed(number), shown=shown,
        )  # fmt: skip

    return role


def partner(case: Comparison, party: int, scheme: Scheme, number: int = 2, values: np.ndarray | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> np.ndarray:
        def evaluators(name: str, public: bytes, rows: int) -> Evaluator:
            if name != scheme.holder(case.lanes).name:
                raise BrokenPromise("another scheme was agreed on")
            return scheme.evaluator(public, replace(case.lanes, rows=rows))

        data, others = case.features, None
        if case.parameters.partner_correlations:
            widths = tuple(width for number, width in enumerate(data.owned[1:], 1) if number != party)
            others = Others(lambda rows, rng: scheme.holder(replace(case.lanes, rows=rows)), evaluators, widths)
        mine = [one.without_counts() for one in data.fitted(party)]
        if not data.parameters.share_woe:
            mine = [replace(one, woe=None) for one in mine]
        return await correlate.passive(
            peers["bank"], mine, data.of(party) if values is None else values, data.owned[0], case.parameters,
            evaluators, seed(number), others=others,
        )  # fmt: skip

    return role


def compare(case: Comparison, scheme: Scheme, **others: Role) -> dict[str, Tape]:
    partners = case.features.partners
    honest = {name: partner(case, i, scheme, 1 + i) for i, name in enumerate(partners, 1)}
    cast = {"bank": bank(case, scheme), **honest} | others
    return record(cast, [("bank", name) for name in partners])


def three_partners(**options: Any) -> Comparison:
    """Partners that tell each other's correlations; `telecom` is the second of one couple and the first of another."""
    data = replace(credit(80, (1, 2, 2, 1), max_prebins=4), called=("retailer", "telecom", "insurer"))
    chosen = {"min_iv": 0.0, "max_correlation": 1.0, "max_vif": 0.0, "partner_correlations": True} | options
    return Comparison(data, SelectionParameters.from_mapping(chosen))


def lattice(case: Comparison) -> Scheme:
    """The real scheme with hidden rows. Its bounds are those of gradients: h has a quarter of the room of g."""
    cells = max(case.features.owned[1:]) * case.features.parameters.max_prebins
    terms = SchemeTerms("lattice", "run", key_bits=0, cells=cells, trees=9, queries=9, fixed_bits=20)
    assert terms.lanes(case.lanes.rows) == case.lanes
    return Scheme(
        lambda lanes: terms.key_holder(lanes.rows, seed(9)),
        lambda public, lanes: terms.evaluator("lattice", public, lanes.rows),
    )
