"""Summaries for people: tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vfl.agreement import Agreement
from vfl.config import Scenario
from vfl.console import say as _say
from vfl.console import show as _show
from vfl.console import table as _table
from vfl.progress import PHASES
from vfl.summary import Summary

_MODELS = {
    "federated": "joint, encrypted",
    "bank_only": "{active} alone (LightGBM)",
    "pooled_lightgbm": "all columns pooled (simulation only)",
}
_FIGURES = {"rmse": "RMSE", "mae": "MAE", "r2": "R squared", "log_loss": "log-loss", "accuracy": "accuracy"}
_CARDS = {
    "federated": "joint scorecard, encrypted",
    "bank_only": "{active} alone (scorecard)",
    "pooled_lightgbm": "all pooled (LightGBM, simulation only)",
    "pooled_scorecard": "all pooled (scorecard, simulation only)",
}


def show_summary(summary: Summary, out: Path, console: Console) -> None:
    """The end of `tallystick run`."""
    body = summary.body
    _show(console, f"Customers ({body['scenario']})", _rows(body))
    _show(console, "Hold-out", _metrics(body))
    _show(console, "Cost", _costs(body))
    ledger, privacy = body["ledger"], body["privacy"]
    _say(
        console,
        f"Ledger:  {ledger['entries']:,} entries under {ledger['checkpoints']} countersigned checkpoints, "
        f"{ledger['share_of_run']:.1%} of the time",
        *_inference(body.get("attacks", {})),
        *_card(body),
        f"Privacy: level {privacy['level']}, scheme {_scheme(privacy)}, "
        f"bins of {privacy['min_bin_population']} rows or more",
        *([f"Decoys:  {body['decoys_note']}"] if "decoys_note" in body else []),
        f"Results: {out}: summary.json, predictions.csv, one folder a party",
        f"Verify:  python -m ledger verify {out / 'audit.bundle'} --policy {out / 'policy.txt'}",
    )


def _card(body: Mapping[str, Any]) -> list[str]:
    """How the fit of a scorecard went."""
    if "scorecard" not in body:
        return []
    card = body["scorecard"]
    lines = ", ".join(f"{count} of {party}" for party, count in card["features"].items())
    told = ", ".join(f"{party} {count}" for party, count in card["numbers_told"].items())
    found = "with" if card["standard_errors"] else "without"
    settled = "settled" if card["converged"] else "NOT settled: allow more iterations"
    return [
        f"Card:    features {lines}; coefficients {settled}, {found} standard errors",
        *([f"         numbers told of each training row: {told}"] if told else []),
    ]


def _scheme(privacy: Mapping[str, Any]) -> str:
    keyed = privacy["scheme"] == "paillier"  # the only scheme whose strength is a choice
    return f"{privacy['scheme']}-{privacy['key_bits']}" if keyed else str(privacy["scheme"])


def _inference(attacks: Mapping[str, Any]) -> list[str]:
    """The worst figures of all partners, if the run was large enough for any."""
    figures = [figure for found in attacks.get("node_sets", {}).values() for figure in found]
    if not figures:
        return []
    sets, splits = (max(figure[key] for figure in figures) for key in ("advantage", "split_hint"))
    worst = max(attacks.get("metadata", {}).values(), key=lambda found: abs(found - 0.5), default=None)
    return [
        f"Label inference by partners: advantage {sets:+.3f} AUC (measured on this run),",
        f"         and {splits:+.3f} AUC from which splits of their own columns were chosen",
        *([f"         ciphertexts without the key: AUC {worst:.3f} (0.5 is nothing)"] if worst is not None else []),
    ]


def show_attacks(attacks: Mapping[str, Any], level: str, console: Console) -> None:
    """The end of `tallystick attack`."""
    table = _table("partner", "known labels", "AUC own columns", "with node sets", "with chosen splits", "noise")
    for party, figures in attacks["node_sets"].items():
        for found in figures:
            aucs = (f"{found[f'auc_{name}']:.3f}" for name in ("own", "with_sets", "with_splits"))
            table.add_row(party, str(found["known"]), *aucs, f"{found['noise']:.4f}")
    _show(console, f"Guessing the labels of training customers (level {level})", table)
    _say(console, *_inference(attacks) or ["The run is too small for a figure."])


def _rows(body: Mapping[str, Any]) -> Table:
    table = _table("party", "usable rows", "features", "CPU s")
    rows = body["rows"]
    for name, cpu in body["cpu_seconds"].items():
        table.add_row(name, f"{rows[name]:,}", str(body["features"][name]), f"{cpu:.1f}")
    table.add_section()
    table.add_row("in common", f"{rows['intersection']:,}", "", "")
    for part in ("train", "validation", "holdout"):
        if rows[part]:
            table.add_row(f"  {part}", f"{rows[part]:,}", "", "")
    if rows.get("decoys"):
        table.add_row("decoys", f"{rows['decoys']:,}", "", "")
    return table


def _metrics(body: Mapping[str, Any]) -> Table:
    around, active = body["intervals"], next(iter(body["cpu_seconds"]))
    if not around:
        return _other_metrics(body, active)
    table = _table("model", "AUC", f"{around['confidence']:.0%} interval", "KS", "Gini")
    called = _MODELS if body["model"] == "gbdt" else _CARDS
    for name, found in body["metrics"].items():
        label, (low, high) = called[name].format(active=active), around[name]["auc"]
        auc, ks, gini = (f"{found[figure]:.4f}" for figure in ("auc", "ks", "gini"))
        table.add_row(label, auc, f"{low:.3f}-{high:.3f}", ks, gini)
    return table


def _other_metrics(body: Mapping[str, Any], active: str) -> Table:
    """Of a regression, or of several classes."""
    table = _table("model", *(_FIGURES[figure] for figure in body["metrics"]["federated"]))
    for name, found in body["metrics"].items():
        table.add_row(_MODELS[name].format(active=active), *(f"{figure:,.4f}" for figure in found.values()))
    return table


def _costs(body: Mapping[str, Any]) -> Table:
    table = _table("phase", "seconds", "MB")
    for phase, seconds in body["seconds"].items():
        if phase == "total":
            continue
        size = body["bytes"].get(phase)
        table.add_row(PHASES.get(phase, phase), f"{seconds:.2f}", "" if size is None else f"{size / 1e6:.2f}")
    table.add_section()
    table.add_row("total", f"{body['seconds']['total']:.2f}", f"{body['bytes']['total'] / 1e6:.2f}")
    return table


def show_check(
    scenario: Scenario, agreement: Agreement, found: Mapping[str, Mapping[str, int]], console: Console
) -> None:
    """The end of `tallystick run --config-check`."""
    table = _table("party", "usable rows", "features", "left out")
    for name, counts in found.items():
        left_out = counts["excluded"] + counts["duplicates"]
        table.add_row(name, f"{counts['customers']:,}", str(counts["features"]), f"{left_out:,}")
    _show(console, f"{scenario.name}: the scenario and its tables are fine", table)
    _say(console, f"Agreement {agreement.digest}")
