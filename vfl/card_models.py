"""Shares of a joint scorecard as files: each party's own lines, as plain JSON and as a table for people.

A share holds the party's features with bounds, weights of evidence, coefficients and points. The active party's has the
intercept as well, how points are scaled, the verdict on every feature, and how the fit went.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.files import csv_bytes
from vfl.learn.logistic import Inference
from vfl.learn.prebins import PreBins
from vfl.learn.scorecard import Card, Scaling
from vfl.learn.selection import Verdict
from vfl.learn.woe import WoeFeature

FORMAT = "tallystick-scorecard-share-v1"


def card_share(
    agreement: Agreement, party: str, card: Card, tests: Inference | None, more: Mapping[str, Any] | None = None
) -> bytes:
    """A party's share. `tests`: of its coefficients; `more`: what only the active party has."""
    lines = [
        {
            "feature": feature.name,
            "coefficient": coefficient,
            **_tested(tests, number),
            "bins": _bins(feature),
            "woe": [] if feature.woe is None else feature.woe.tolist(),
            "points": card.scaling.points(feature, coefficient).tolist(),
        }
        for number, (feature, coefficient) in enumerate(zip(card.features, card.coefficients.tolist(), strict=True))
    ]
    body = {
        "format": FORMAT,
        "party": party,
        "agreement": agreement.digest,
        "features": list(agreement.member(party).features),
        "scaling": {"factor": card.scaling.factor, "offset": card.scaling.offset},
        "lines": lines,
        **(more or {}),
    }
    return (json.dumps(body, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def verdict_lines(owners: Sequence[str], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts on all features, ready for JSON. `owners`: names of the parties by number.

    `psi` and `vif` are null where nobody told or looked.
    """
    return [
        {
            "party": owners[one.candidate.party],
            "feature": one.candidate.name,
            "bins": one.candidate.bins,
            "iv": one.candidate.iv,
            "psi": _finite(one.candidate.psi),
            "vif": _finite(one.vif),
            "kept": one.kept,
            "reason": one.reason,
        }
        for one in verdicts
    ]


def verdict_table(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Lines of `verdict_lines` as CSV, a row for each feature of every party."""
    return csv_bytes(lines[0], ({**line, "kept": "yes" if line["kept"] else "no"}.values() for line in lines))


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return None if value is None or not math.isfinite(value) else value


def card_table(card: Card, tests: Inference | None, base: tuple[float, int, Inference | None] | None = None) -> bytes:
    """The party's lines as CSV, a row for each attribute. `base`: at the active party intercept, points and tests."""
    header = ["feature", "attribute", "woe", "points", "coefficient", "standard_error", "p_value"]
    rows: list[list[object]] = []
    if base is not None:
        intercept, points, own = base
        rows.append(["(base)", "", "", points, repr(intercept), *_tested(own, 0).values()])
    found = {feature.name: number for number, feature in enumerate(card.features)}
    for line in card.attributes():
        number = found[line.feature]
        tested = _tested(tests, number).values()
        coefficient = repr(float(card.coefficients[number]))
        rows.append([line.feature, line.attribute, f"{line.woe:.6f}", line.points, coefficient, *tested])
    return csv_bytes(header, rows)


def read_card(share: bytes) -> Card:
    """The card in a share. Raises UsageError if it is no share of a scorecard."""
    body = read_share(share)
    try:
        features = tuple(_feature(line) for line in body["lines"])
        coefficients = np.array([float(line["coefficient"]) for line in body["lines"]], dtype=np.float64)
        return Card(features, coefficients, Scaling(float(body["scaling"]["factor"]), float(body["scaling"]["offset"])))
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise UsageError(f"the share of the scorecard is damaged: {error!r}") from None


def read_share(share: bytes) -> dict[str, Any]:
    """Everything in a share. Raises UsageError if it is none."""
    try:
        body: dict[str, Any] = json.loads(share)
        if body["format"] != FORMAT:
            raise UsageError(f"not a share of a scorecard of format {FORMAT}")
        return body
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"not a share of a scorecard: {error!r}") from None


def require_card(share: bytes, agreement: Agreement, party: str) -> None:
    """Raise UsageError unless this is the share of `party` under this agreement."""
    body = read_share(share)
    for key, due in (("party", party), ("agreement", agreement.digest)):
        if body.get(key) != due:
            raise UsageError(f"the share of {party} is of another {key}: {body.get(key)!r}, not {due!r}")


def _tested(tests: Inference | None, number: int) -> dict[str, float | None]:
    """Standard error and p-value; null where there is none."""
    found = (math.nan, math.nan) if tests is None else (float(tests.errors[number]), float(tests.p_values[number]))
    error, p_value = (None if math.isnan(one) else one for one in found)
    return {"standard_error": error, "p_value": p_value}


def _bins(feature: WoeFeature) -> dict[str, Any]:
    bins = feature.prebins
    return {
        "upper": bins.upper[:-1].tolist(),  # the last bound is infinite
        "special": list(bins.special),
        "special_codes": list(bins.special_codes),
        "missing_code": bins.missing_code,
        "groups": feature.groups.tolist(),
    }


def _feature(line: Mapping[str, Any]) -> WoeFeature:
    bins = line["bins"]
    upper = np.array([*map(float, bins["upper"]), np.inf])
    special, codes = tuple(map(float, bins["special"])), tuple(map(int, bins["special_codes"]))
    prebins = PreBins(upper, special, codes, int(bins["missing_code"]))
    groups, woe = np.array(bins["groups"], dtype=np.int64), np.array(line["woe"], dtype=np.float64)
    if len(groups) != prebins.n_bins or len(special) != len(codes) or len(woe) != groups.max() + 1 or groups.min() < 0:
        raise ValueError(f"the bins of {line['feature']!r} do not fit together")
    return WoeFeature(str(line["feature"]), prebins, groups, woe)
