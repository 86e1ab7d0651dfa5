"""Writes docs/benchmarks.md and the picture of growth from the figures of `python -m benchmarks all`.

    python -m benchmarks page            write both
    python -m benchmarks page --check    change nothing; exit code 1 if they are not what the figures say

Every figure of ours stands beside the command that gave it. Figures of other systems are constants of this module.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.picture import draw
from benchmarks.suite import FILE

PAGE, PICTURE = Path("docs/benchmarks.md"), Path("docs/images/benchmark-growth.svg")
Figures = Mapping[str, Any]
AXES = {
    "rows": "rows", "passive_features": "features of the passive party", "bins": "bins a feature",
    "depth": "depth of a tree", "parties": "passive parties",
}  # fmt: skip
COSTS = {
    "cpu_seconds_per_tree": "CPU-seconds a tree", "hint_cpu_seconds": "CPU-seconds for bins and hint, once",
    "bytes_per_tree": "MB a tree", "hint_bytes": "MB for the hint, once",
}  # fmt: skip
PEERS = (
    ("SecretFlow SGB 1.13.0b0", "OU-2048", 20_000, "9.6", "16.7", "10.2"),
    ("SecretFlow SGB 1.13.0b0", "OU-2048", 100_000, "18.1", "33.7", "39.1"),
    ("SecretFlow SGB 1.13.0b0", "ZPaillier-2048", 20_000, "51.1", "93.9", "18.0"),
    ("FATE 2.2 SecureBoost, 1 tree", "Paillier-2048", 20_000, "", "611", ""),
    ("FATE 2.2 SecureBoost, 2 trees", "OU-2048", 2_000, "43.0", "70.5", ""),
    ("FedTree 1.0.5, 2 trees", "Paillier-512", 20_000, "13.6", "21.9", ""),
    ("NVFlare 2.9 + XGBoost 3.2", "none", 20_000, "7.6", "5.8", "3.5"),
    ("XGBoost, pooled columns, 2 threads", "none", 100_000, "0.05", "", ""),
    ("LightGBM, pooled columns, 2 threads", "none", 100_000, "0.07", "", ""),
)
"""System, encryption, rows, then for each tree: wall seconds, CPU-seconds of all parties, MB on the wire."""
PSI_PEERS = (
    ("SPU, ECDH on Curve25519", 100_000, "17.7", "33.5", "8.8"),
    ("SPU, KKRT", 100_000, "1.14", "1.9", "12.8"),
    ("SPU, RR22", 100_000, "0.65", "1.1", "4.5"),
    ("OpenMined PSI 2.0.6, ECDH, one process", 20_000, "9.95", "9.5", "1.5"),
)
"""System, ids of each party, then for the whole run: wall seconds, CPU-seconds of both, MB on the wire."""


def main(words: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks page", description="Write the benchmarks page.")
    parser.add_argument("--figures", type=Path, default=FILE, help="default: docs/benchmarks.json")
    parser.add_argument("--out", type=Path, default=Path(), help="folder that has docs/ (default: this one)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if page or picture is stale")
    given = parser.parse_args(words)
    body = json.loads(given.figures.read_text(encoding="utf-8"))
    stale = []
    for path, text in ((given.out / PAGE, page(body)), (given.out / PICTURE, picture(body))):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if not given.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path}: {'stale' if given.check else 'written'}\n")
    return 1 if given.check and stale else 0


def picture(body: Figures) -> str:
    """The SVG of growth. ValueError when the figures have no growth in them."""
    found = _runs(body, "growth")
    if not found:
        raise ValueError("the figures have no run of `growth`")
    return draw(found[0], AXES)


def page(body: Figures) -> str:
    """The whole page."""
    parts = [_HEAD.format(version=body["tallystick"], **body["machine"]), "## Training", _TRAINING]
    parts += [_table(_TRAIN_HEAD, [_train_row(run) for run in _runs(body, "train")]), _TRAIN_NOTES]
    parts += ["## Encrypted histograms alone", _HISTOGRAMS]
    parts += [_table(_HISTOGRAM_HEAD, [_histogram_row(run) for run in _runs(body, "histogram")])]
    parts += ["## Intersection", _INTERSECTION]
    parts += [_table(_PSI_HEAD, [_psi_row(run) for run in _runs(body, "psi")])]
    parts += ["## Ledger", _LEDGER]
    parts += [_table(_LEDGER_HEAD, [row for run in _runs(body, "ledger") for row in _ledger_rows(run)])]
    for run in body["runs"]:
        if run["name"] not in _OWN_TABLE:
            parts += [f"## {run['name'].capitalize()}", _table(_LEDGER_HEAD, _plain_rows(run))]
    for run in _runs(body, "growth"):
        parts += growth(run)
    parts += [
        "## Other systems, for scale",
        _OTHERS,
        _table(_PEER_HEAD, [(name, how, f"{rows:,}", *rest) for name, how, rows, *rest in PEERS]),
    ]
    parts += [_table(_PSI_PEER_HEAD, [(name, f"{ids:,}", *rest) for name, ids, *rest in PSI_PEERS])]
    return "\n\n".join(parts) + "\n"


_HEAD = """\
# Benchmarks

Figures, not promises: every number stands beside the command that gave it, on {processor}, {cores} cores, Python
{python}, Tallystick {version}. Everything again, this page included:

```sh
make bench
```

The figures as JSON: [benchmarks.json](benchmarks.json). One benchmark alone: its command in the last column; every
command has `--help`. All parties run on one machine, so wall times have no network in them, and parties that work at
the same time share its cores. MB are millions of bytes; CPU-seconds are those of the parties' processes."""

_TRAINING = """\
One process a party over loopback sockets, with keys, transcripts and ledgers as in a real run. Synthetic data: normal
columns, a noisy linear score, a quarter of the rows bad. `a + p` features: those of the active party and those of each
passive party."""

_TRAIN_NOTES = """\
* CPU-seconds: of the training phase. Bins and hint: once per run, all parties. Wall: from the first message to the
  scores of all rows; starting processes is left out.
* Overhead: the share of the training phase's CPU time, of all parties, that is not spent in encryption, sums of
  ciphertexts, sealing and decryption: plaintext learning, copying, hashing, transcript, ledger, sockets, Python.
* AUC on the training rows; beside it that of the plaintext integer trainer at full gradient width (up to 200,000 rows)
  and that of LightGBM on the pooled columns.
* Times LightGBM: CPU of all parties by that of LightGBM with one thread and the same parameters on the pooled columns,
  in the same run: from raw columns to the last tree, and (in brackets) the trees alone."""

_HISTOGRAMS = """\
The kernel without protocol, ledger and sockets: all nodes of one tree that are asked for, each compared with the
plaintext sums. Times plaintext: CPU of both parties by that of the same sums without encryption."""

_INTERSECTION = """\
Two processes, half of each set common: declaration, match, and the proof that row k is the same customer at both."""

_LEDGER = """\
A party's log of messages, each signed, every batch durable under a signed head; then the bundle with the peer's log, as
the regulator checks it."""

_OTHERS = """\
Measured by us on the same kind of machine (two cores), outside this repository, so there is no command beside them.
Workload of the first table: 10 + 10 features, a quarter of the rows bad, 32 bins, depth 5, 5 trees unless said
otherwise; figures are for each tree. Starting processes is left out; SecretFlow's times include scoring the training
rows once. That is the shape of the runs above with 20,000
and 100,000 rows and 5 trees. The systems make different promises about what each party may see, and serve other
purposes besides; an empty cell was not measured."""

_TRAIN_HEAD = (
    "workload", "scheme, level", "CPU-s a tree", "CPU-s active, passive", "bins and hint, CPU-s", "wall, s",
    "wall a tree, s", "MB to passive, back", "peak MB active, passive", "overhead", "AUC", "plaintext, LightGBM",
    "times LightGBM", "command",
)  # fmt: skip
_HISTOGRAM_HEAD = (
    "workload", "scheme, level", "nodes", "CPU-s active, passive", "hint, CPU-s", "wall, s", "MB to passive, back",
    "peak MB active, passive", "overhead", "times plaintext", "command",
)  # fmt: skip
_PSI_HEAD = (
    "engine", "ids of each party", "CPU-s active, passive", "of these the match", "wall, s", "MB to passive, back",
    "bytes an id in the match", "peak MB active, passive", "command",
)  # fmt: skip
_OWN_TABLE = ("train", "histogram", "psi", "ledger", "growth")
_LEDGER_HEAD = ("what", "figure", "command")
_POINT_HEAD = (
    "CPU-s a tree", "bins and hint, CPU-s", "wall a tree, s", "MB a tree", "hint, MB", "peak MB active, passive",
    "overhead", "times LightGBM", "command",
)  # fmt: skip
_PEER_HEAD = ("system", "encryption", "rows", "wall, s", "CPU-s, all parties", "MB")
_PSI_PEER_HEAD = ("intersection, half common", "ids of each party", "wall, s", "CPU-s, both parties", "MB")


def _train_row(run: Figures) -> Sequence[str]:
    plaintext = "" if run["auc_plaintext"] is None else f"{run['auc_plaintext']:.4f}, "
    return (
        workload(run["options"]), _scheme(run), _number(run["cpu_seconds_per_tree"]), _both(run["cpu_seconds"]),
        _number(run["hint_cpu_seconds"]), _number(run["wall_seconds"]), _number(run["wall_seconds_per_tree"]),
        _megabytes(run), _both(run["peak_mb"]), f"{run['overhead_fraction']:.0%}", f"{run['auc']:.4f}",
        f"{plaintext}{run['auc_lightgbm']:.4f}",
        f"{_number(run['lightgbm_ratio'])} ({_number(run['lightgbm_trees_ratio'])})", _command(run["command"]),
    )  # fmt: skip


def _histogram_row(run: Figures) -> Sequence[str]:
    options = run["options"]
    words = f"{options['rows']:,} rows, {options['passive_features']} features, {options['bins']} bins"
    return (
        f"{words}, depth {options['depth']}", _scheme(run), f"{run['nodes']}", _both(run["cpu_seconds"]),
        _number(run["hint_cpu_seconds"]), _number(run["wall_seconds"]), _megabytes(run), _both(run["peak_mb"]),
        f"{run['overhead_fraction']:.0%}", _number(run["plaintext_ratio"]), _command(run["command"]),
    )  # fmt: skip


def _psi_row(run: Figures) -> Sequence[str]:
    return (
        run["options"]["engine"], f"{run['options']['ids']:,}", _both(run["cpu_seconds"]),
        _both(run["match_cpu_seconds"]), _number(run["wall_seconds"]), _megabytes(run),
        _number(run["match_bytes_per_id"]), _both(run["peak_mb"]), _command(run["command"]),
    )  # fmt: skip


def _ledger_rows(run: Figures) -> list[Sequence[str]]:
    rows = [
        (f"signed durable entries a second, {int(size):,} at a time", f"{rate:,}")
        for size, rate in run["durable_entries_per_second_by_batch"].items()
    ]
    rows += [
        ("hashes rebuilt a CPU-second", f"{run['hashes_per_cpu_second']:,}"),
        ("envelopes checked a CPU-second", f"{run['signatures_per_cpu_second']:,}"),
        ("entries checked a CPU-second, everything included", f"{run['checked_entries_per_cpu_second']:,}"),
        ("bytes of the bundle an entry", f"{run['bundle_bytes_per_entry']:,}"),
        ("peak MB, checker included", _number(run["peak_mb"]["active"])),
    ]
    return [(*row, _command(run["command"])) for row in rows]


def _plain_rows(run: Figures) -> list[Sequence[str]]:
    """All figures of a benchmark that has no table of its own."""
    rows: list[Sequence[str]] = []
    for key, value in run.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, figure in parts:
            if isinstance(figure, int | float) and not isinstance(figure, bool) and key != "options":
                rows.append((f"{key} {part}".strip().replace("_", " "), _number(figure), _command(run["command"])))
    return rows


def growth(run: Figures) -> list[str]:
    """The part about growth."""
    base, options = run["base"], run["options"]
    fixed = workload({**base, "active_features": options["active_features"], "trees": options["trees"]})
    text = f"""\
One thing grows, the rest stays at {fixed}, scheme `{options["scheme"]}`; all points by {_command(run["command"])}.
Through the three points go two curves, by least squares: a + b x, and a power of x. The exponent of the power is 1
where double the size is double the cost, and less where a fixed cost dominates. A level more doubles the nodes of a
tree, up to `num_leaves`. Passive parties work at the same time; their CPU time is added up."""
    return [
        "## How cost grows",
        f"![Cost by rows, features, bins, depth and parties]({PICTURE.relative_to(PAGE.parent).as_posix()})",
        text,
        _table(("what grows", "cost", "at these sizes", "a + b x", "exponent"), _fit_rows(run)),
        "The points:",
        _table(_POINT_HEAD, [_point_row(*one) for one in run["points"].items()]),
    ]


def _fit_rows(run: Figures) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for axis, found in run["axes"].items():
        what = f"{AXES[axis]}: {', '.join(f'{size:,}' for size in found['sizes'])}"
        for cost, about in COSTS.items():
            unit, fit = 1e6 if "bytes" in cost else 1.0, found["fits"][cost]
            values = ", ".join(_number(run["points"][one][cost] / unit) for one in found["commands"])
            exponent = "" if fit["exponent"] is None else f"{fit['exponent']:.2f}"
            rows.append((what, about, values, _line(fit["a"] / unit, fit["b"] / unit), exponent))
    return rows


def _point_row(command: str, point: Figures) -> Sequence[str]:
    return (
        _number(point["cpu_seconds_per_tree"]), _number(point["hint_cpu_seconds"]),
        _number(point["wall_seconds_per_tree"]), _number(point["bytes_per_tree"] / 1e6),
        _number(point["hint_bytes"] / 1e6), _both(point["peak_mb"]), f"{point['overhead_fraction']:.0%}",
        _number(point["lightgbm_ratio"]), _command(command),
    )  # fmt: skip


def workload(options: Figures) -> str:
    """For example `20,000 rows, 10 + 10 features, 32 bins, depth 5, 2 trees`."""
    parties = options["parties"]
    features = f"{options['active_features']} + {f'{parties} x ' if parties > 1 else ''}{options['passive_features']}"
    trees = f"{options['trees']} tree{'s' if options['trees'] > 1 else ''}"
    return f"{options['rows']:,} rows, {features} features, {options['bins']} bins, depth {options['depth']}, {trees}"


def _runs(body: Figures, name: str) -> list[Figures]:
    return [run for run in body["runs"] if run["name"] == name]


def _scheme(run: Figures) -> str:
    options = run["options"]
    bits = f"-{options['key_bits']}" if options["scheme"] == "paillier" else ""
    return f"{options['scheme']}{bits}, {options['level']}"


def _both(sides: Figures) -> str:
    return ", ".join(_number(sides[side]) for side in ("active", "passive"))


def _megabytes(run: Figures) -> str:
    return ", ".join(_number(run["bytes"][way] / 1e6) for way in ("active_to_passive", "passive_to_active"))


def _command(command: str) -> str:
    return f"`{command}`"


def _number(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else _small(value)


def _small(value: float) -> str:
    """Three figures, without an exponent where it can be read without."""
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.2e}"


def _line(a: float, b: float) -> str:
    """a + b x."""
    return f"{_small(a)} {'-' if b < 0 else '+'} {_small(abs(b))} x"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
