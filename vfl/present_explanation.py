"""Explanations for people: the importance of features, and one customer's waterfall and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from vfl.console import say, show, table
from vfl.learn.objective import sigmoid

_SHOWN = 12  # contributions that get a line of their own
_BAR = 20  # characters of the longest bar


def show_importance(body: Mapping[str, Any], console: Console) -> None:
    """The end of `tallystick explain DIR`."""
    made = table("feature", "party", "mean |SHAP|", "gain", "splits")
    for row in body["features"]:
        figures = f"{row['mean_abs_shap']:.4f}", f"{row['gain']:.1f}", str(row["splits"])
        made.add_row(row["feature"], row["party"], *figures)
    show(console, f"What features do ({body['customers']:,} hold-out customers)", made)
    say(console, "mean |SHAP| in log-odds; gain and splits of the whole model")


def show_customer(body: Mapping[str, Any], console: Console) -> None:
    """The end of `tallystick explain DIR --id ID`."""
    show(console, f"Customer {body['id']}: probability of default {body['pd']:.2%}", _waterfall(body))
    lines = [f"  {number}. {r['words']} ({r['party']})" for number, r in enumerate(body["reasons"], 1)]
    say(console, "Reasons, the weightiest first:" if lines else "Nothing speaks against this customer.", *lines)


def show_card(body: Mapping[str, Any], console: Console) -> None:
    """The end of `tallystick explain DIR` for a scorecard."""
    made = table("attribute", "WOE", "points", "coefficient", "p")
    made.add_row("everybody", "", f"{body['base_points']}", f"{body['intercept']:.3f}", "")
    for line in body["lines"]:
        made.add_section()
        known = line["standard_error"] is not None
        around = f" ({line['standard_error']:.3f})" if known else ""
        p = ("<0.001" if line["p_value"] < 0.0005 else f"{line['p_value']:.3f}") if known else ""
        made.add_row(f"{line['party']}: {line['feature']}", "", "", f"{line['coefficient']:.3f}{around}", p)
        for one in line["attributes"]:
            made.add_row(f"  {one['attribute']}", f"{one['woe']:+.3f}", f"{one['points']:+d}", "", "")
    show(console, "Scorecard: points add up, more are better; standard errors in brackets", made)
    looked = table("feature", "IV", "PSI", "VIF", "verdict")
    looked.columns[-1].justify, looked.columns[-1].no_wrap = "left", False
    for verdict in sorted(body["verdicts"], key=lambda one: (not one["kept"], -one["iv"])):
        said = "on the card" if verdict["kept"] else f"left out: {verdict['reason']}"
        told = (f"{verdict['iv']:.3f}", _known(verdict["psi"], ".3f"), _known(verdict["vif"], ".1f"))
        looked.add_row(f"{verdict['party']}: {verdict['feature']}", *told, said)
    show(console, "Features that were looked at", looked)
    say(console, "PSI: training against all other rows; -: not told, or not looked at")


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _waterfall(body: Mapping[str, Any]) -> Table:
    """From the average of training to the score, the largest contributions first."""
    made = table("feature", "party", "log-odds", "score", "PD", "")
    made.columns[-1].justify = "left"
    rows = body["contributions"]
    added = np.array([row["contribution"] for row in rows])
    longest = float(np.abs(added).max(initial=0.0)) or 1.0
    scores = np.cumsum([body["base"], *added])
    steps = [(f"{score:+.3f}", f"{pd:.1%}") for score, pd in zip(scores, sigmoid(scores), strict=True)]
    made.add_row("average in training", "", "", *steps[0], "")
    for row, value, step in list(zip(rows, added, steps[1:], strict=True))[:_SHOWN]:
        bar = ("+" if value > 0 else "-") * round(_BAR * abs(value) / longest)
        made.add_row(row["feature"], row["party"], f"{value:+.3f}", *step, bar)
    if len(rows) > _SHOWN:
        made.add_row(f"{len(rows) - _SHOWN} others", "", f"{added[_SHOWN:].sum():+.3f}", *steps[-1], "")
    return made
