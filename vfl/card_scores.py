"""What a joint scorecard and the models it is measured against say of every common customer.

`bank_only` is a scorecard of the active party's own columns with the same parameters: every bank can make it. Pooled
columns exist in simulation only, where one machine holds everything: `pooled_scorecard` is the same scorecard of all of
them, `pooled_lightgbm` boosted trees with LightGBM's defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.card_models import read_card, read_share
from vfl.comparison import lightgbm_scores
from vfl.holding import Holding
from vfl.learn.objective import sigmoid
from vfl.learn.parameters import GBDTParameters
from vfl.learn.rounds import Parts
from vfl.learn.scorecard import Central
from vfl.protocols.points import as_told, joined
from vfl.scores import POOLED_SCORECARD
from vfl.terms import Terms

Reals = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


def card_scores(
    terms: Terms,
    shares: Sequence[bytes],
    holdings: Sequence[Holding],
    tables: Sequence[Reals],
    labels: Labels,
    parts: Parts,
) -> dict[str, Reals]:
    """Probabilities of label 1 by model, float64[n] each.

    `shares`: of each party, the active one's first; `tables`: float64[n, features], in the same order, from `holdings`.
    """
    pooled = np.hstack(tables)
    model, least, everybody = terms.scorecard, terms.min_bin_population, np.ones(len(labels), np.bool_)

    def central(some: Sequence[Holding], columns: Reals) -> Central:
        return Central.fit(
            [f"{one.name}.{feature}" for one in some for feature in one.names],
            columns, labels, parts.train, model, least,
            {f"{one.name}.{feature}": codes for one in some for feature, codes in one.special.items()},
            {f"{one.name}.{feature}": trend for one in some for feature, trend in one.trends.items()},
        )  # fmt: skip

    alone, together = central(holdings[:1], tables[0]), central(holdings, pooled)
    return {
        "federated": sigmoid(joint_log_odds(shares, terms, tables)),
        "bank_only": sigmoid(alone.predictor(tables[0])),
        "pooled_lightgbm": lightgbm_scores(pooled, labels, parts, everybody, GBDTParameters()),
        POOLED_SCORECARD: sigmoid(together.predictor(pooled)),
    }


def joint_log_odds(shares: Sequence[bytes], terms: Terms, tables: Sequence[Reals]) -> Reals:
    """Log-odds of label 1, where one machine holds all shares and tables: float64[n]."""
    found = []
    members = (terms.agreement.active, *terms.agreement.passives)
    for member, share, table in zip(members, shares, tables, strict=True):
        card = read_card(share)
        places = [member.features.index(feature.name) for feature in card.features]
        found.append(card.predictor(table[:, places]))
    own, *told = found
    return joined(float(read_share(shares[0])["intercept"]) + own, [as_told(part) for part in told])


def card_summary(share: bytes) -> dict[str, Any]:
    """For a summary: how the fit went, from the active party's share."""
    body = read_share(share)
    kept = [line for line in body["verdicts"] if line["kept"]]
    return {
        "converged": body["converged"],
        "standard_errors": body["standard_errors"],
        "base_points": body["base_points"],
        "numbers_told": body["numbers_told"],
        "features": {party: sum(line["party"] == party for line in kept) for party in _parties(body)},
    }


def _parties(body: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(line["party"] for line in body["verdicts"]))
