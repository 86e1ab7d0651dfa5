"""Random and real columns shared by the learning tests, and LightGBM's view of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from derivatives import fixed_gradients, init_score

from vfl.learn.objective import sigmoid
from vfl.learn.parameters import GBDTParameters

REPOSITORY = Path(__file__).parents[2]


def odd_columns(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One column of each kind that binning treats in its own way."""
    sometimes = rng.random(n)
    gap = np.where(sometimes < 0.2, np.nan, rng.normal(size=n))
    return {
        "normal": rng.normal(size=n),
        "ties": np.round(rng.normal(size=n), 1),
        "integers": rng.integers(0, 50, n).astype(float),
        "negative": -rng.exponential(size=n),
        "positive": rng.lognormal(size=n) * 1000,
        "zeros": np.where(sometimes < 0.8, 0.0, rng.normal(size=n)),
        "constant": np.full(n, 3.0),
        "zero": np.zeros(n),
        "rare": rng.choice([-2.0, 0.0, 5.0], n, p=[0.98, 0.01, 0.01]),
        "frequent": np.where(sometimes < 0.3, 1.5, np.where(rng.random(n) < 0.3, -1.0, rng.lognormal(size=n))),
        "tiny": rng.normal(size=n) * 1e-36,
        "neighbours": 1 + rng.integers(0, 40, n) * 2.0**-52,
        "missing": gap,
        "one value or missing": np.where(sometimes < 0.5, np.nan, 1.0),
        "mostly missing": np.where(sometimes < 0.9, np.nan, rng.integers(1, 4, n)),
        "all missing": np.full(n, np.nan),
    }


def credit_like(n: int, rng: np.random.Generator, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Columns float64[n, 6] with interactions, and labels; `missing` is the share of NaN in two of them.

    Zero is frequent, so that its bin is not empty in a node: an empty bin makes two thresholds alike.
    """
    x = np.round(2 * rng.normal(size=(n, 6))) / 2
    x[:, 2] = np.floor(rng.lognormal(size=n))
    x[:, 5] = rng.integers(0, 12, n)
    risk = x[:, 0] + x[:, 1] * (x[:, 0] > 0) - 0.4 * x[:, 2] + 0.15 * x[:, 5] - 1.0
    y = (rng.random(n) < sigmoid(risk)).astype(np.int8)
    for column in (1, 2):
        x[rng.random(n) < missing, column] = np.nan
    return x, y


def real(name: str, label: str, bad: object, drop: str) -> tuple[np.ndarray, np.ndarray]:
    """A real data set: from scenarios/data, or from the folder named by TALLYSTICK_DATA; skips the test without it."""
    folders = [REPOSITORY / "scenarios" / "data", Path(os.environ.get("TALLYSTICK_DATA", os.devnull))]
    found = [folder / name for folder in folders if (folder / name).is_file()]
    if not found:
        pytest.skip(f"{name} is in none of the data folders")
    frame = pd.read_csv(found[0]).drop(columns=drop)
    y = (frame.pop(label) == bad).to_numpy(np.int8)
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            words = {word: code for code, word in enumerate(sorted(frame[column].dropna().unique()))}
            frame[column] = frame[column].map(words)
    return frame.to_numpy(np.float64), y


def spanish() -> tuple[np.ndarray, np.ndarray]:
    return real("credit_data_es_4454.csv.gz", "Status", "bad", "rownames")


def taiwanese() -> tuple[np.ndarray, np.ndarray]:
    return real("taiwan_credit_card_default_30k.csv.gz", "default.payment.next.month", 1, "ID")


def train_lightgbm(x: np.ndarray, y: np.ndarray, params: GBDTParameters, **more: Any) -> lightgbm.Booster:
    """LightGBM with its own objective, on the pooled columns."""
    options = params.lightgbm_params()
    return lightgbm.train(options, lightgbm.Dataset(x, y), num_boost_round=params.num_iterations, **more)


def train_lightgbm_on_integers(x: np.ndarray, y: np.ndarray, params: GBDTParameters) -> lightgbm.Booster:
    """LightGBM fed with our fixed-point gradients. They are exact in float32 and their sums in float64, so its
    histograms have no rounding at all. Predictions lack the initial score."""

    def derivatives(score: np.ndarray, _: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
        g, h = fixed_gradients(score, y, params.gradient_bits)
        return g / params.scale, h / params.scale

    options = params.lightgbm_params() | {"objective": derivatives, "boost_from_average": False, "metric": "none"}
    start = np.full(len(y), init_score(y, params.boost_from_average))
    return lightgbm.train(options, lightgbm.Dataset(x, y, init_score=start), num_boost_round=params.num_iterations)


def shapes(booster: lightgbm.Booster) -> list[tuple[list[tuple[Any, ...]], np.ndarray]]:
    """Per tree: internal nodes in the order of splitting as (feature, threshold, default left or None, left, right),
    children ~leaf for a leaf, and the leaf values."""
    trees = []
    for info in booster.dump_model()["tree_info"]:
        nodes: dict[int, tuple[Any, ...]] = {}
        leaves: dict[int, float] = {}

        def visit(node: dict[str, Any], nodes: dict = nodes, leaves: dict = leaves) -> int:
            if "split_index" not in node:
                leaves[node.get("leaf_index", 0)] = node["leaf_value"]
                return ~node.get("leaf_index", 0)
            side = node["default_left"] if node["missing_type"] == "NaN" else None
            children = visit(node["left_child"]), visit(node["right_child"])
            nodes[node["split_index"]] = (node["split_feature"], node["threshold"], side, *children)
            return node["split_index"]

        visit(info["tree_structure"])
        trees.append(([nodes[key] for key in sorted(nodes)], np.array([leaves[key] for key in sorted(leaves)])))
    return trees
