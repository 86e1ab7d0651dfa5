"""Small data sets split between parties, trained together, and the pooled reference they must equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from clear_scheme import ClearEvaluator, ClearKeyHolder
from hypothesis import strategies as st

from vfl.channel import Channel
from vfl.crypto import ring
from vfl.crypto.lattice import QUERY_VECTORS, VALUES
from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.scheme import Evaluator, KeyHolder, Lanes
from vfl.crypto.schemes import SchemeTerms
from vfl.errors import BrokenPromise
from vfl.learn.binning import BinMapper
from vfl.learn.categories import CategoryMapper
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Ensemble
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import ReferenceModel, train_reference
from vfl.learn.rounds import Parts, Target
from vfl.learn.tree import SplitRecord, go_left
from vfl.protocols import boost
from vfl.randomness import Randomness

from .hostile import Role, Tape, record

PARTNERS = ("telecom", "retailer", "insurer")
KINDS = (
    "normal", "ties", "negative", "zeros", "constant", "missing", "mostly missing", "all missing", "flag", "copy",
    "categories",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """Pooled columns, who has which (the active party first), labels, parts, and what was agreed."""

    values: np.ndarray  # float64[n, features]
    owned: tuple[int, ...]  # features of each party
    labels: np.ndarray
    parts: Parts
    parameters: GBDTParameters
    least: int = 1  # rows in a bin
    noise: float = 0.0  # on a partner's cells
    weights: np.ndarray | None = None
    monotone: tuple[int, ...] | None = None  # of the pooled columns
    categorical: tuple[int, ...] = ()  # pooled columns
    every: int = 1  # trees that a round boundary covers

    @property
    def directions(self) -> list[np.ndarray] | None:
        """Of each party's columns."""
        if self.monotone is None:
            return None
        return np.split(np.array(self.monotone, np.int8), self.starts[1:-1])

    @property
    def target(self) -> Target:
        return Target(self.labels, self.weights)

    @property
    def partners(self) -> tuple[str, ...]:
        return PARTNERS[: len(self.owned) - 1]

    @property
    def starts(self) -> np.ndarray:
        """First pooled column of each party."""
        return np.concatenate([[0], np.cumsum(self.owned)])

    @property
    def lanes(self) -> Lanes:
        return self.lanes_of(int(self.parts.train.sum()))

    def lanes_of(self, rows: int) -> Lanes:
        scale = self.parameters.scale
        g_noise, h_noise = round(self.noise * scale), round(self.noise * scale / 4)
        return Lanes(rows, scale, max(1, scale // 4), g_noise, h_noise)

    def of(self, party: int, values: np.ndarray | None = None) -> np.ndarray:
        """The columns of a party, of these values or others."""
        pooled = self.values if values is None else values
        return pooled[:, self.starts[party] : self.starts[party + 1]]

    def columns(self, party: int) -> Columns:
        names = [f"f{i}" for i in range(self.owned[party])]
        sizes = self.parameters, self.least, self.named(party)
        return Columns.fit(names, self.of(party), self.parts.train, *sizes)

    def named(self, party: int) -> list[str]:
        """The categorical columns of a party."""
        first, end = self.starts[party : party + 2]
        return [f"f{i - first}" for i in self.categorical if first <= i < end]


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


# Schemes


@dataclass(frozen=True)
class Scheme:
    """How both sides get their half of a scheme."""

    holder: Callable[[Lanes], KeyHolder]
    evaluator: Callable[[bytes, Lanes], Evaluator]


def clear(named: bool) -> Scheme:
    """The scheme without encryption; `named`: rows of a node are disclosed."""
    return Scheme(lambda lanes: ClearKeyHolder(lanes, discloses_membership=named), ClearEvaluator)


def paillier(bits: int) -> Scheme:
    small = {"small_keys_for_tests": bits < 2048}
    return Scheme(
        lambda lanes: PaillierKeyHolder(lanes, b"run", seed(9), bits=bits, **small),
        lambda public, lanes: PaillierEvaluator(public, lanes, b"run", **small),
    )


def lattice(case: Case) -> tuple[Case, Scheme]:
    """The scheme with its key, and the case with the gradient bits that it affords."""
    parameters = case.parameters
    terms = SchemeTerms(
        "lattice",
        "run",
        key_bits=0,
        cells=max(case.owned[1:]) * parameters.max_bin,
        trees=parameters.num_iterations * parameters.outputs,
        queries=parameters.num_iterations * parameters.outputs * parameters.num_leaves,
        fixed_bits=parameters.gradient_bits,
        cell_noise=case.noise,
    )
    scheme = Scheme(
        lambda lanes: terms.key_holder(lanes.rows, seed(9)),
        lambda public, lanes: terms.evaluator("lattice", public, lanes.rows),
    )
    bits = terms.bits(int(case.parts.train.sum()))
    return replace(case, parameters=replace(parameters, gradient_bits=bits)), scheme


# Roles


def bank(case: Case, scheme: Scheme, number: int = 1) -> Role:
    async def role(peers: Mapping[str, Channel]) -> Ensemble:
        passives, key = [peers[name] for name in case.partners], scheme.holder(case.lanes)
        mine = case.columns(0)
        rng = seed(number)
        return await boost.active(
            passives, case.owned[1:], mine, case.target, case.parts, case.parameters, key, rng,
            monotone=case.directions, every=case.every,
        )  # fmt: skip

    return role


def partner(case: Case, party: int, scheme: Scheme, number: int = 2) -> Role:
    async def role(peers: Mapping[str, Channel]) -> tuple[Columns, list[SplitRecord]]:
        def evaluators(name: str, public: bytes, rows: int) -> Evaluator:
            # The lanes are for the rows that the active party names; what was agreed bounds them.
            if name != scheme.holder(case.lanes).name:
                raise BrokenPromise("another scheme was agreed on")
            return scheme.evaluator(public, case.lanes_of(rows))

        names = [f"f{i}" for i in range(case.owned[party])]
        mine = case.of(party)
        terms = case.parameters, case.least, evaluators, seed(number)
        return await boost.passive(peers["bank"], names, mine, *terms, categorical=case.named(party), every=case.every)

    return role


def cast(case: Case, scheme: Scheme, **others: Role) -> dict[str, Role]:
    """Everybody's role; `others` take the place of honest ones."""
    honest = {name: partner(case, i, scheme, 1 + i) for i, name in enumerate(case.partners, 1)}
    return {"bank": bank(case, scheme), **honest} | others


def train(case: Case, scheme: Scheme, **others: Role) -> dict[str, Tape]:
    return record(cast(case, scheme, **others), [("bank", name) for name in case.partners])


def share_of(tapes: Mapping[str, Tape], case: Case) -> list[list[SplitRecord]]:
    """Every party's records, the active party's first."""
    return [list(tapes["bank"].result.records), *(tapes[name].result[1] for name in case.partners)]


# The reference


def pooled_mappers(case: Case) -> list[BinMapper]:
    """The bins that the parties come to, fitted on the pooled columns."""
    mappers = []
    for number, column in enumerate(case.values[case.parts.train].T):
        if number in case.categorical:
            sizes = case.parameters.max_bin, case.parameters.min_data_in_bin, case.least
            mappers.append(CategoryMapper.fit(column, *sizes))
            continue
        fine = BinMapper.fit(column, case.parameters.max_bin, case.parameters.min_data_in_bin)
        mappers.append(fine.merge_small(fine.transform(column), case.least))
    return mappers


def reference(case: Case) -> ReferenceModel:
    fit, aside = case.parts.train, case.parts.validation
    watched = (case.values[aside], case.labels[aside]) if aside.any() else None
    mappers, weights = pooled_mappers(case), case.weights
    directions = None if case.monotone is None else np.array(case.monotone, np.int8)
    if weights is not None:
        weights = np.concatenate([weights[fit], weights[aside]])
    return train_reference(case.values[fit], case.labels[fit], case.parameters, watched, mappers, weights, directions)


def assert_same_model(case: Case, model: Ensemble, shares: list[list[SplitRecord]], oracle: ReferenceModel) -> None:
    """Tree by tree, node by node: the pooled column, bin, threshold and direction; leaf values to the last bit."""
    assert model.starts == oracle.starts
    assert len(model.trees) == len(oracle.trees)
    assert model.validation_losses == oracle.validation_losses
    assert model.passive_features == tuple(tuple(record.feature for record in share) for share in shares[1:])
    train = case.values[case.parts.train]

    def left(record: SplitRecord) -> np.ndarray:
        return go_left(train[:, record.feature], record)

    for tree, due in zip(model.trees, oracle.trees, strict=True):
        assert tree.left.tolist() == due.left.tolist()
        assert tree.right.tolist() == due.right.tolist()
        assert tree.leaf_value.tobytes() == due.leaf_value.tobytes()
        leaves = due.route(lambda _, number: left(oracle.records[number]), len(train))
        everybody = np.bincount(leaves, minlength=tree.n_leaves)
        sampled = case.parameters.bagging_freq or case.parameters.data_sample_strategy == "goss"
        assert (tree.cover.count <= everybody).all() if sampled else (tree.cover.count == everybody).all()
        for owner, number, known in zip(tree.owner.tolist(), tree.record.tolist(), due.record.tolist(), strict=True):
            own, pooled = shares[owner][number], oracle.records[known]
            assert dataclasses.replace(own, feature=int(case.starts[owner]) + own.feature) == pooled


# Data


def column(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """One column of a kind that binning or splitting treats in its own way."""
    gap = {"missing": 0.3, "mostly missing": 0.9, "all missing": 1.0}.get(kind, 0.0)
    values = {
        "ties": lambda: rng.integers(-2, 3, n).astype(float),
        "negative": lambda: -rng.exponential(size=n),
        "zeros": lambda: np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n)),
        "constant": lambda: np.full(n, 3.0),
        "flag": lambda: rng.integers(0, 2, n).astype(float),
        "categories": lambda: np.where(rng.random(n) < 0.1, np.nan, np.floor(rng.exponential(4.0, n))),
    }.get(kind, lambda: np.round(rng.normal(size=n), 1))()
    return np.where(rng.random(n) < gap, np.nan, values)


def pooled(kinds: list[str], n: int, rng: np.random.Generator) -> np.ndarray:
    """Columns of these kinds; a copy repeats an earlier column, so that two parties offer the same split."""
    columns: list[np.ndarray] = []
    for kind in kinds:
        copied = kind == "copy" and columns
        columns.append(columns[rng.integers(len(columns))] if copied else column(kind, n, rng))
    return np.column_stack(columns)


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "num_iterations": st.integers(1, 4),
    "learning_rate": st.sampled_from([0.1, 0.5, 1.0]),
    "num_leaves": st.integers(2, 9),
    "max_depth": st.sampled_from([-1, 1, 2, 3]),
    "min_data_in_leaf": st.sampled_from([1, 2, 5, 12]),
    "min_sum_hessian_in_leaf": st.sampled_from([0.0, 1e-3, 1.0]),
    "lambda_l1": st.sampled_from([0.0, 0.3]),
    "lambda_l2": st.sampled_from([0.0, 1.0]),
    "min_gain_to_split": st.sampled_from([0.0, 0.1, 1.0]),
    "max_bin": st.sampled_from([2, 3, 8, 255]),
    "min_data_in_bin": st.sampled_from([1, 3]),
    "boost_from_average": st.booleans(),
    "gradient_bits": st.sampled_from([8, 24, 32]),
}


SAMPLES: list[dict[str, Any]] = [
    {},
    {"bagging_fraction": 0.7, "bagging_freq": 2},
    {"feature_fraction": 0.5},
    {"data_sample_strategy": "goss", "top_rate": 0.3, "other_rate": 0.3},
]
TARGETS = ("binary", "weighted", "unbalanced", "regression", "multiclass")


def target(kind: str, signal: np.ndarray, rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
    """Parameters of a kind of target, and labels that follow a signal; the first four rows have every class twice."""
    if kind == "regression":
        return {"objective": "regression"}, 1e4 * (signal + rng.normal(size=len(signal)))
    labels = (signal > np.median(signal)).astype(np.int8)
    labels[:4] = [0, 1, 0, 1]
    if kind == "multiclass":
        return {"objective": "multiclass", "num_class": 2}, labels.astype(np.int16)
    return {"scale_pos_weight": 30.0} if kind == "unbalanced" else {}, labels


@st.composite
def cases(draw: st.DrawFn, *, watched: bool = False) -> Case:
    """Two to four parties with columns of all kinds; `watched`: with validation rows and early stopping."""
    owned = tuple(draw(st.lists(st.integers(1, 3), min_size=2, max_size=4)))
    n = draw(st.integers(8, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=sum(owned), max_size=sum(owned)))
    values = pooled(kinds, n, rng)
    signal = np.nan_to_num(values[:, rng.integers(values.shape[1])]) + rng.normal(size=n)
    kind = draw(st.sampled_from(TARGETS))
    more, labels = target(kind, signal, rng)
    options = {name: draw(choice) for name, choice in OPTIONS.items()} | more | draw(st.sampled_from(SAMPLES))
    weights = rng.integers(0, 4, n) * 1.7 if kind in ("weighted", "regression") else None
    train, aside = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    train[2:] = rng.random(n - 2) >= draw(st.sampled_from([0.0, 0.2]))  # the others are the hold-out
    if weights is not None:
        weights[:4] = 1.0
    if watched:
        options |= {"early_stopping_round": draw(st.integers(1, 3)), "num_iterations": 8, "learning_rate": 1.0}
        aside[4:] = rng.random(n - 4) < 0.3
        aside[2:4] = True
    parts = Parts(train & ~aside, aside)
    least = draw(st.sampled_from([0, 1, 4, 20]))
    ways = st.lists(st.sampled_from([-1, 0, 1]), min_size=sum(owned), max_size=sum(owned)).map(tuple)
    named = tuple(number for number, kind in enumerate(kinds) if kind == "categories")
    monotone = draw(st.one_of(st.none(), ways))
    if monotone is not None:
        monotone = tuple(0 if number in named else way for number, way in enumerate(monotone))
    options |= {"min_data_per_group": draw(st.sampled_from([1, 5])), "cat_smooth": draw(st.sampled_from([0.0, 2.0]))}
    options |= {"max_cat_to_onehot": draw(st.sampled_from([1, 4])), "cat_l2": draw(st.sampled_from([0.0, 10.0]))}
    return Case(values, owned, labels, parts, GBDTParameters(**options), least, 0.0, weights, monotone, named)


def credit(
    n: int = 60, owned: tuple[int, ...] = (2, 2), *, aside: float = 0.0, idle: float = 0.0, **options: object
) -> Case:
    """A fixed case in which every party has something to say."""
    rng = np.random.default_rng(n + sum(owned))
    kinds = ["normal", "ties", "missing", "zeros", "flag", "negative"]
    values = pooled([kinds[i % len(kinds)] for i in range(sum(owned))], n, rng)
    risk = np.nan_to_num(values) @ (1.0 + np.arange(values.shape[1]) % 3) + rng.normal(size=n) * 0.3
    labels = (risk > np.quantile(risk, 0.6)).astype(np.int8)
    drawn = rng.random(n)
    parts = Parts(drawn >= aside + idle, drawn < aside)
    chosen = {"num_iterations": 2, "num_leaves": 4, "min_data_in_leaf": 3, "max_bin": 8, "learning_rate": 0.5} | options
    return Case(values, owned, labels, parts, GBDTParameters.from_mapping(chosen))


def many_cells() -> Case:
    """Every value of three features in a bin of its own: a hint of two blocks in the lattice scheme."""
    case = credit(250, (1, 3), num_leaves=3, max_bin=255, min_data_in_bin=1, num_iterations=1)
    return replace(case, values=np.random.default_rng(5).normal(size=case.values.shape))


# Real encryption with a hint, or a query, of several blocks.
MANY_CELLS = lattice(many_cells())
MANY_ROWS = lattice(credit(QUERY_VECTORS // VALUES * ring.N + 60, (1, 1), num_leaves=2, max_bin=4, num_iterations=1))
