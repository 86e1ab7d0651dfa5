"""Summaries for people: tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from vfl.agreement import Agreement
from vfl.config import Scenario
from vfl.progress import PHASES
from vfl.summary import Summary

_MODELS = {
    "federated": "joint, encrypted",
    "bank_only": "{active} alone (LightGBM)",
    "pooled_lightgbm": "all columns pooled (LightGBM, simulation only)",
}


def show_summary(summary: Summary, out: Path, console: Console) -> None:
    """The end of `tallystick run`."""
    body = summary.body
    console.print()
    console.print(_rows(body))
    console.print(_metrics(body))
    console.print(_costs(body))
    ledger, privacy = body["ledger"], body["privacy"]
    console.print(
        f"Ledger: {ledger['entries']:,} signed entries, {ledger['checkpoints']} countersigned checkpoints, "
        f"{ledger['overhead_fraction']:.1%} of the CPU time.",
        highlight=False,
    )
    console.print(
        f"Privacy: scheme {privacy['scheme']}, level {privacy['level']}, {privacy['key_bits']}-bit key, "
        f"bins of at least {privacy['min_bin_population']} rows.",
        highlight=False,
    )
    console.print(
        f"Results in {out}: summary.json, predictions.csv, one folder a party.", highlight=False, soft_wrap=True
    )
    console.print(
        f"Verify alone: python -m ledger verify {out / 'audit.bundle'} --policy {out / 'policy.txt'}",
        highlight=False,
        soft_wrap=True,
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _rows(body: Mapping[str, Any]) -> Table:
    table = _table(f"Customers ({body['scenario']})", "party", "usable rows", "features", "CPU s")
    rows = body["rows"]
    for name, cpu in body["cpu_seconds"].items():
        table.add_row(name, f"{rows[name]:,}", str(body["features"][name]), f"{cpu:.1f}")
    table.add_section()
    table.add_row("in common", f"{rows['intersection']:,}", "", "")
    for part in ("train", "validation", "holdout"):
        if rows[part]:
            table.add_row(f"  {part}", f"{rows[part]:,}", "", "")
    return table


def _metrics(body: Mapping[str, Any]) -> Table:
    table = _table("Hold-out", "model", "AUC", "KS", "Gini")
    active = next(iter(body["cpu_seconds"]))
    for name, found in body["metrics"].items():
        label = _MODELS[name].format(active=active)
        table.add_row(label, *(f"{found[figure]:.4f}" for figure in ("auc", "ks", "gini")))
    return table


def _costs(body: Mapping[str, Any]) -> Table:
    table = _table("Cost", "phase", "seconds", "MB")
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
    table = _table(
        f"{scenario.name}: the scenario and its tables are fine", "party", "usable rows", "features", "left out"
    )
    for name, counts in found.items():
        left_out = counts["excluded"] + counts["duplicates"]
        table.add_row(name, f"{counts['customers']:,}", str(counts["features"]), f"{left_out:,}")
    console.print(table)
    console.print(f"Agreement {agreement.digest}", highlight=False)
