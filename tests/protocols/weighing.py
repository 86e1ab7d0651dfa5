"""Labels at one party, features at all: the parties of weights of evidence, and what the pooled columns say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from vfl.channel import Channel
from vfl.crypto.scheme import Evaluator, Lanes
from vfl.crypto.schemes import SchemeTerms
from vfl.decoys import Shown
from vfl.errors import BrokenPromise
from vfl.learn.feature_parameters import TRENDS, BinningParameters
from vfl.learn.rounds import Parts
from vfl.learn.woe import WoeFeature, fit_features
from vfl.protocols import woe
from vfl.protocols.woe import FeatureReport

from .boosting import PARTNERS, Scheme, pooled, seed
from .hostile import Role, Tape, record

KINDS = ("normal", "ties", "negative", "zeros", "constant", "missing", "mostly missing", "all missing", "flag", "coded")


@dataclass(frozen=True, eq=False)
class Features:
    """Pooled columns, who has which (the active party first), labels, parts, and what was agreed."""

    values: np.ndarray  # float64[n, features]
    owned: tuple[int, ...]
    labels: np.ndarray
    parts: Parts
    parameters: BinningParameters
    least: int = 5
    special: tuple[float, ...] = ()
    trends: tuple[str, ...] = ()  # wished for the first features of every party
    called: tuple[str, ...] = PARTNERS

    @property
    def partners(self) -> tuple[str, ...]:
        return self.called[: len(self.owned) - 1]

    def of(self, party: int) -> np.ndarray:
        start = sum(self.owned[:party])
        return self.values[:, start : start + self.owned[party]]

    def names(self, party: int) -> list[str]:
        return [f"f{number}" for number in range(self.owned[party])]

    def specials(self, party: int) -> dict[str, tuple[float, ...]]:
        return dict.fromkeys(self.names(party), self.special)

    def wished(self, party: int) -> dict[str, str]:
        return dict(zip(self.names(party), self.trends, strict=False))

    def fitted(self, party: int) -> list[WoeFeature]:
        """What a party with labels makes of its columns: the truth that everybody must come to."""
        return fit_features(
            self.names(party), self.of(party), self.labels, self.parts.train, self.parameters, self.least,
            special=self.specials(party), trends=self.wished(party),
        )  # fmt: skip

    @property
    def lanes(self) -> Lanes:
        return Lanes(int(self.parts.train.sum()), g_max=256, h_max=64)


def bank(case: Features, scheme: Scheme, number: int = 1, shown: Shown | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> FeatureReport:
        passives = [peers[name] for name in case.partners]
        rows = case.lanes if shown is None else replace(case.lanes, rows=int(shown.train.sum()))
        key = scheme.holder(rows)
        return await woe.active(
            passives, case.owned[1:], case.fitted(0), case.labels, case.parts, case.parameters, case.least, key,
            seed(number), shown=shown,
        )  # fmt: skip

    return role


def partner(case: Features, party: int, scheme: Scheme, number: int = 2, values: np.ndarray | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> list[WoeFeature]:
        def evaluators(name: str, public: bytes, rows: int) -> Evaluator:
            if name != scheme.holder(case.lanes).name:
                raise BrokenPromise("another scheme was agreed on")
            return scheme.evaluator(public, replace(case.lanes, rows=rows))

        mine = case.of(party) if values is None else values
        return await woe.passive(
            peers["bank"], case.names(party), mine, case.parameters, case.least, evaluators, seed(number),
            special=case.specials(party), trends=case.wished(party),
        )  # fmt: skip

    return role


def weigh(case: Features, scheme: Scheme, **others: Role) -> dict[str, Tape]:
    honest = {name: partner(case, i, scheme, 1 + i) for i, name in enumerate(case.partners, 1)}
    cast = {"bank": bank(case, scheme), **honest} | others
    return record(cast, [("bank", name) for name in case.partners])


def lattice(case: Features) -> Scheme:
    """The real scheme with hidden rows, as a run would agree on it."""
    cells = max(case.owned[1:]) * case.parameters.max_prebins
    terms = SchemeTerms("lattice", "run", key_bits=0, cells=cells, trees=1, queries=1, fixed_bits=8)
    return Scheme(
        lambda lanes: terms.key_holder(lanes.rows, seed(9)),
        lambda public, lanes: terms.evaluator("lattice", public, lanes.rows),
    )


# Data


def column(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "coded":
        return np.where(rng.random(n) < 0.3, rng.choice([-1.0, 999.0], n), np.round(rng.normal(size=n), 1))
    return pooled([kind], n, rng)[:, 0]


OPTIONS = {
    "method": st.sampled_from(["chimerge", "quantile"]),
    "max_prebins": st.sampled_from([4, 8, 24]),
    "max_bins": st.sampled_from([2, 3, 6]),
    "min_bin_share": st.sampled_from([0.0, 0.05, 0.5]),
    "min_class_rows": st.sampled_from([1, 3]),
    "significance": st.sampled_from([0.01, 0.5, 1.0]),
    "trend": st.sampled_from(["none", "auto", "ascending", "descending"]),
    "woe_bits": st.sampled_from([4, 12, 24]),
    "share_woe": st.booleans(),
}


@st.composite
def cases(draw: st.DrawFn) -> Features:
    """Two to four parties with columns of all kinds."""
    owned = tuple(draw(st.lists(st.integers(1, 3), min_size=2, max_size=4)))
    n = draw(st.integers(6, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=sum(owned), max_size=sum(owned)))
    values = np.column_stack([column(kind, n, rng) for kind in kinds])
    labels = (rng.random(n) < draw(st.sampled_from([0.05, 0.3, 0.8]))).astype(np.int8)
    labels[:2] = [0, 1]
    train = np.ones(n, np.bool_)
    train[2:] = rng.random(n - 2) >= draw(st.sampled_from([0.0, 0.3]))
    options = {name: draw(choice) for name, choice in OPTIONS.items()}
    special = draw(st.sampled_from([(), (-1.0, 999.0)]))
    least = draw(st.sampled_from([0, 1, 5, 20]))
    trends = tuple(draw(st.lists(st.sampled_from(TRENDS), max_size=2)))
    parameters = BinningParameters.from_mapping(options)
    return Features(values, owned, labels, Parts(train, ~train), parameters, least, special, trends)


def credit(n: int = 80, owned: tuple[int, ...] = (1, 2), **options: object) -> Features:
    """A fixed case in which every feature says something."""
    rng = np.random.default_rng(n + sum(owned))
    kinds = ["normal", "missing", "coded", "ties", "flag", "negative"]
    values = np.column_stack([column(kinds[i % len(kinds)], n, rng) for i in range(sum(owned))])
    risk = np.nan_to_num(values).clip(-3, 3).sum(axis=1) + rng.normal(size=n)
    labels = (risk > np.quantile(risk, 0.6)).astype(np.int8)
    train = rng.random(n) < 0.8
    chosen = {
        "max_prebins": 8,
        "max_bins": 4,
        "min_bin_share": 0.0,
        "min_class_rows": 1,
        "significance": 1.0,
        "trend": "none",
    } | options
    parameters = BinningParameters.from_mapping(chosen)
    return Features(values, owned, labels, Parts(train, ~train), parameters, special=(-1.0, 999.0))
