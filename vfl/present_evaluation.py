"""An evaluation for people: tables on a terminal, the three models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from vfl.console import say, show, table

COLUMNS = {"federated": "joint", "bank_only": "{active}", "pooled_lightgbm": "pooled*"}
"""The models as heads of columns."""
ROWS = {"federated": "joint model", "bank_only": "{active} alone", "pooled_lightgbm": "all pooled*"}
"""The models as heads of rows."""


def names(body: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    """What the models of an evaluation are called, in its order."""
    return [words[name].format(active=body["active"]) for name in body["models"]]


def show_evaluation(body: Mapping[str, Any], console: Console) -> None:
    """The end of `tallystick evaluate`."""
    held = body["customers"]["holdout"]
    confidence = f"{body['parameters']['confidence']:.0%}"
    show(
        console,
        f"{body['scenario']}: {held:,} hold-out customers, {body['bad_rate']:.1%} bad ({confidence} intervals)",
        _figures(body),
    )
    show(console, "What the joint model gains", _differences(body))
    groups = f"about {held / len(body['models']['federated']['lift']):,.0f} customers"
    show(console, f"Lift: groups of {groups}, the riskiest first; found: of all bad ones so far", _lift(body))
    show(console, "Score bands: equal shares of training in each, the safest first", _bands(body))
    show(console, "Calibration: do probabilities come true? (p: Hosmer-Lemeshow test)", _calibration(body))
    show(console, f"Recalibrated, fitted on {_fitted_on(body)}", _recalibration(body))
    show(console, "Approve the safest: bad rate and expected profit", _approvals(body))
    show(console, "Best cut-off, and those asked for" if _asked(body) else "Best cut-off", _cutoffs(body))
    say(console, *_footnotes(body))


def _footnotes(body: Mapping[str, Any]) -> list[str]:
    money = body["parameters"]
    even = money["profit_good"] / (money["profit_good"] + money["loss_bad"])
    return [
        "* LightGBM on one table of everything: exists in simulation only.",
        f"Profit per applicant: a good one earns {money['profit_good']:g}, a bad one loses {money['loss_bad']:g},",
        f"by default as shares of the amount lent; one more approval pays below a PD of {even:.1%}.",
        "The best cut-off was found on the hold-out itself and looks better there than it will be.",
    ]


def _figures(body: Mapping[str, Any]) -> Table:
    made = table("model", "AUC", "interval", "KS", "interval", "Gini", "interval")
    for name, model in zip(names(body, ROWS), body["models"].values(), strict=True):
        cells = []
        for figure in ("auc", "ks", "gini"):
            low, high = model[figure]["interval"]
            cells += [f"{model[figure]['value']:.3f}", f"{low:.3f}-{high:.3f}"]
        made.add_row(name, *cells)
    return made


def _differences(body: Mapping[str, Any]) -> Table:
    made = table("over", "AUC", "interval", "KS", "interval", "p (DeLong)")
    called = dict(zip(body["models"], names(body, ROWS), strict=True))
    for name, found in body["differences"].items():
        cells = []
        for figure in ("auc", "ks"):
            low, high = found[figure]["interval"]
            cells += [f"{found[figure]['value']:+.3f}", f"{low:+.3f} to {high:+.3f}"]
        made.add_row(called[name], *cells, _p(found["delong_p"]))
    return made


def _groups(body: Mapping[str, Any], *titles: str) -> list[str]:
    """Heads of one column a model under each title."""
    short = names(body, COLUMNS)
    return [f"{title if number == 0 else ''}\n{name}" for title in titles for number, name in enumerate(short)]


def _lift(body: Mapping[str, Any]) -> Table:
    made = table("no.", *_groups(body, "bad", "lift", "found"))
    for number, rows in enumerate(zip(*(model["lift"] for model in body["models"].values()), strict=True), 1):
        cells = [f"{row['bad_rate']:.1%}" for row in rows] + [f"{row['lift']:.2f}" for row in rows]
        made.add_row(str(number), *cells, *(f"{row['captured']:.0%}" for row in rows))
    return made


def _bands(body: Mapping[str, Any]) -> Table:
    """The bands of each model are its own; the joint model's are shown."""
    models = list(body["models"].values())
    made = table("no.", "PD\njoint", "customers\njoint", "mean PD\njoint", *_groups(body, "bad"), "bad so far\njoint")
    for number in range(max(len(model["bands"]) for model in models)):
        rows = [model["bands"][number] if number < len(model["bands"]) else None for model in models]
        own, rates = rows[0], [_share(row and row["bad_rate"]) for row in rows]
        if own is None:
            made.add_row(str(number + 1), "", "", "", *rates, "")
            continue
        shown = _range(own["low"], own["high"]), f"{own['customers']:,}", _share(own["mean_score"])
        made.add_row(str(number + 1), *shown, *rates, _share(own["cumulative_bad_rate"]))
    made.add_section()
    made.add_row("PSI", "", "", "", *(f"{m['psi']['value']:.3f}" for m in models), models[0]["psi"]["verdict"])
    return made


def _calibration(body: Mapping[str, Any]) -> Table:
    made = table("model", "mean PD", "bad rate", "Brier", "log-loss", "slope", "H-L", "p")
    for name, model in zip(names(body, ROWS), body["models"].values(), strict=True):
        found = model["calibration"]
        test = found["hosmer_lemeshow"]
        statistic = "infinite" if test["statistic"] is None else f"{test['statistic']:.1f}"
        figures = [f"{found[key]:.4f}" for key in ("brier", "log_loss")]
        shares = [f"{found[key]:.1%}" for key in ("mean_pd", "bad_rate")]
        made.add_row(name, *shares, *figures, f"{found['slope']:.2f}", statistic, _p(test["p_value"]))
    return made


def _recalibration(body: Mapping[str, Any]) -> Table:
    made = table("model", "Platt\nBrier", "\nlog-loss", "\np", "isotonic\nBrier", "\nlog-loss", "\np")
    for name, model in zip(names(body, ROWS), body["models"].values(), strict=True):
        cells = []
        for kind in ("platt", "isotonic"):
            found = model["recalibration"][kind]
            cells += [f"{found['brier']:.4f}", f"{found['log_loss']:.4f}", _p(found["hosmer_lemeshow_p"])]
        made.add_row(name, *cells)
    return made


def _approvals(body: Mapping[str, Any]) -> Table:
    made = table("approved", "up to PD\njoint", *_groups(body, "bad", "profit"))
    for rows in zip(*(model["approvals"] for model in body["models"].values()), strict=True):
        rates, profits = [_share(row["bad_rate"]) for row in rows], [f"{row['profit']:+.4f}" for row in rows]
        made.add_row(f"{rows[0]['approved']:.0%}", _share(rows[0]["cutoff"]), *rates, *profits)
    return made


def _cutoffs(body: Mapping[str, Any]) -> Table:
    made = table("model", "approve PD up to", "approved", "bad rate", "profit")
    for name, model in zip(names(body, ROWS), body["models"].values(), strict=True):
        for row in (model["best_cutoff"], *model["cutoffs"]):
            best = " (best)" if row is model["best_cutoff"] and _asked(body) else ""
            cells = f"{row['approved']:.1%}", _share(row["bad_rate"]), f"{row['profit']:+.4f}"
            made.add_row(name + best, _share(row["cutoff"]), *cells)
    return made


def _asked(body: Mapping[str, Any]) -> Sequence[Any]:
    found: Sequence[Any] = body["models"]["federated"]["cutoffs"]
    return found


def _fitted_on(body: Mapping[str, Any]) -> str:
    return str(body["models"]["federated"]["recalibration"]["fitted_on"])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"to {_share(high)}"
    return f"above {_share(low)}" if high is None else f"{low * 100:.1f}-{_share(high)}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
