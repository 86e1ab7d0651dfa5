"""Real data split as in the study behind docs/guide/privacy.md, and runs of the protocol on them."""

from __future__ import annotations

from functools import cache

import numpy as np
from protocols.boosting import Case, Scheme, share_of, train
from protocols.hostile import Tape

from scenarios import card_limit
from scenarios.split import read_source
from vfl.attacks.views import PassiveView, passive_view
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts
from vfl.learn.tree import SplitRecord, go_left

PARAMETERS = GBDTParameters(
    num_iterations=10, learning_rate=0.3, num_leaves=16, max_depth=4, max_bin=32, min_data_in_bin=20
)
HISTORY = tuple(f"PAY_{month}" for month in (2, 3, 4, 5, 6))
PAID = tuple(f"PAY_AMT{month}" for month in range(1, 7))
BANK = ("LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE", *(f"BILL_AMT{month}" for month in range(1, 7)))
WEAK = ("PAY_0", *HISTORY, *BANK), PAID  # the partner has what customers paid
EVEN = ("PAY_0", "PAY_AMT6", *BANK), (*HISTORY, *PAID[:5])  # 13 and 10 columns
STRONG = (*PAID[4:], *BANK), ("PAY_0", *HISTORY, *PAID[:4])  # the partner knows the latest arrears


@cache
def cards() -> dict[str, np.ndarray]:
    """30,000 credit cards: each column as numbers."""
    source = read_source(card_limit.STORY)
    return {name: np.array([float(cell) if cell else np.nan for cell in cells]) for name, cells in source.items()}


def card_case(
    split: tuple[tuple[str, ...], ...],
    rows: int = 30_000,
    bad_rate: float | None = None,
    parameters: GBDTParameters = PARAMETERS,
    least: int = 20,
) -> Case:
    """Two thirds of so many cards train. `bad_rate`: keep as many of the bad ones as give this rate."""
    found = cards()
    labels = found["default.payment.next.month"].astype(np.int8)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    if bad_rate is not None:
        goods, bads = order[labels[order] == 0], order[labels[order] == 1]
        count = round(rows * bad_rate)
        order = rng.permutation(np.concatenate([goods[: rows - count], bads[:count]]))
    order = order[:rows]
    values = np.column_stack([found[name][order] for names in split for name in names])
    fit = np.arange(len(order)) < 2 * len(order) // 3
    return Case(values, tuple(map(len, split)), labels[order], Parts(fit, np.zeros_like(fit)), parameters, least)


def view(case: Case, tape: Tape, party: int = 1) -> PassiveView:
    """What a passive party saw."""
    received = [record for record in tape.transcript.all if not record.sent]
    names = [f"f{i}" for i in range(case.owned[party])]
    return passive_view(received, names, case.of(party), case.parameters, case.least)


def run(case: Case, scheme: Scheme) -> dict[str, Tape]:
    return train(case, scheme)


def scores(case: Case, tapes: dict[str, Tape]) -> np.ndarray:
    """The model's raw score of every row."""
    decisions = [
        np.array([go_left(case.of(party)[:, record.feature], record) for record in records]).reshape(
            -1, len(case.labels)
        )
        for party, records in enumerate(share_of(tapes, case))
    ]
    return tapes["bank"].result.predict_raw(decisions)


def essence(tapes: dict[str, Tape], case: Case) -> tuple[list[list[SplitRecord]], list[list[float]]]:
    """Everybody's splits and all leaf values: equal for equal models."""
    return share_of(tapes, case), [tree.leaf_value.tolist() for tree in tapes["bank"].result.trees]
