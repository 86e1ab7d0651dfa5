"""What `tallystick explain` and `tallystick export` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from vfl import exporting
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.explaining import Explained, explain, reasons_table
from vfl.explaining_card import card_body
from vfl.files import refusals, write_data
from vfl.party.approvals import approved_of_run
from vfl.present_explanation import show_card, show_customer, show_importance
from vfl.retention import ROWS, SHARES, require_kept
from vfl.seat import RunFile
from vfl.terms import SCORECARD

FORMATS = ("json", "lightgbm")


def explain_run(directory: Path, customer: str | None, most: int, table: bool, as_json: bool) -> None:
    """`tallystick explain`."""
    file = RunFile.read(directory, needs=())
    require_kept(directory, [file.agreement.active.name], (SHARES, ROWS))
    if file.terms.kind == SCORECARD and customer is None and not table:
        card = card_body(directory, file)
        if as_json:
            sys.stdout.write(json.dumps(card, ensure_ascii=False) + "\n")
        else:
            show_card(card, Console())
        return
    found = explain(directory)
    if table:
        target = directory / file.agreement.active.name / "reasons.csv"
        with refusals(target, remedy="make the folder writable, or leave --csv out"):
            write_data(target, reasons_table(found, most))
        if not as_json:
            sys.stderr.write(f"written: {target}\n")
    body = importance_body(found) if customer is None else customer_body(found, found.place(customer), most)
    if as_json:
        sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
    elif customer is None:
        show_importance(body, Console())
    else:
        show_customer(body, Console())


def importance_body(found: Explained) -> dict[str, Any]:
    """All features, the most important first: mean |Shapley value| in the hold-out, gain and splits in the model."""
    of = found.importance
    rows = zip(found.columns, of.shap.tolist(), of.gain.tolist(), of.splits.tolist(), strict=True)
    features = [
        {"party": column.party, "feature": column.feature, "words": column.words}
        | {"mean_abs_shap": shap, "gain": gain, "splits": splits}
        for column, shap, gain, splits in rows
    ]
    features.sort(key=lambda row: -row["mean_abs_shap"])
    return {"customers": len(found.ids), "base": found.attribution.base, "features": features}


def customer_body(found: Explained, place: int, most: int) -> dict[str, Any]:
    """One customer: score, what every feature adds to it, and the reasons."""
    values, base = found.attribution.values[place], found.attribution.base
    contributions = [
        {"party": column.party, "feature": column.feature, "contribution": value}
        for column, value in zip(found.columns, values.tolist(), strict=True)
    ]
    contributions.sort(key=lambda row: -abs(row["contribution"]))
    return {
        "id": found.ids[place],
        "pd": float(found.pd[place]),
        "raw_score": base + float(values.sum()),
        "base": base,
        "contributions": contributions,
        "reasons": [vars(reason) for reason in found.reasons(place, most)],
    }


def export(directory: Path, form: str, out: Path, party: str | None, as_json: bool) -> None:
    """`tallystick export`."""
    if form not in FORMATS:
        raise UsageError(f"--format is {form!r}", remedy=f"This version has {', '.join(map(repr, FORMATS))}.")
    if form == "lightgbm" and party is not None:
        raise UsageError(
            "--party is given with --format lightgbm, which is the model of all parties",
            remedy="leave --party out, or write --format json",
        )
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")
    with approved_of_run(directory, "release", SystemClock().now()):
        data = exporting.merged(directory) if form == "lightgbm" else exporting.share(directory, party)
        with refusals(out, remedy="name another --out"):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_data(out, data)
    told: Mapping[str, object] = {"format": form, "file": str(out), "bytes": len(data)}
    sys.stdout.write(json.dumps(told) + "\n" if as_json else f"{out}: {len(data):,} bytes, format {form}\n")
