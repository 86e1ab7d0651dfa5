"""Writes the parts of the documentation that repeat the code, between markers, and checks that they are current.

    python -m docs.generate                               rewrite what is stale
    python -m docs.generate --check                       say what is stale; exit code 1 if anything is
    python -m docs.generate --picture runs/demo           draw docs/images/demo.svg from the summary of a finished run
    python -m docs.report_picture runs/demo               docs/images/report.png, by a browser

A generated block stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; everything else is by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib
import inspect
import json
import math
import pkgutil
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import typer
from msgspec import inspect as layout
from rich.console import Console

import ledger.verify
from ledger.__main__ import _parser as ledger_parser
from ledger.envelope import Envelope as Statement
from ledger.envelope import sign_envelope
from ledger.keys import Identity
from vfl import cli, config, desk, errors, protocols, wire
from vfl.channel import Record, Step, digest_of
from vfl.config import HoldoutConfig, PrivacyConfig, PsiConfig, scenario_from_mapping
from vfl.errors import UsageError
from vfl.interruption import INTERRUPTED
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.parameters import GBDTParameters
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.loading import loader
from vfl.present import show_summary
from vfl.protocols.boost import TreeClosed
from vfl.summary import Summary

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("SECURITY.md", "docs/learns.md", "docs/guide/own-data.md", "docs/guide/features.md", "docs/guide/scorecard.md",
         "docs/guide/commands.md", "docs/guide/verify.md", "docs/guide/errors.md", "docs/spec/wire.md")  # fmt: skip
ORDER = (
    "handshake",
    "intersect",
    "kkrt",
    "confirm_rows",
    "woe",
    "correlate",
    "correlate_partners",
    "boost",
    "score",
    "logistic",
    "standard_errors",
    "points",
    "freeze",
)
"""Protocols in the order of a run; one that is not named here comes last."""
SIDES = ("active", "passive")
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end of \2 -->\n)", re.S)


# ---- protocols -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Script:
    """A protocol's module docstring, taken apart. `learns` by side, `messages` in the order of the file."""

    name: str
    title: str
    arrows: str
    source: str
    learns: Mapping[str, str]
    cost: str
    messages: tuple[type[wire.Message], ...]


def scripts() -> list[Script]:
    """Every protocol, in the order of a run."""
    names = [found.name for found in pkgutil.iter_modules(protocols.__path__)]
    names.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return [read_script(importlib.import_module(f"vfl.protocols.{name}")) for name in names]


def read_script(module: ModuleType) -> Script:
    """The script in a module's docstring. Raises ValueError for a part that is not there."""
    name, text = module.__name__.rpartition(".")[2], inspect.getdoc(module) or ""
    parts = re.fullmatch(
        r"(?P<title>.*?)\n\n(?P<arrows>    active.*?)\n\n(?P<rest>(?! ).*?)^Learns:  active  ->(?P<active>.*?)"
        r"^         passive ->(?P<passive>.*?)^Cost:(?P<cost>.*)",
        text, re.S | re.M,
    )  # fmt: skip
    if parts is None:
        raise ValueError(f"the docstring of {name} has no title, arrows, Learns: and Cost: in their order")
    source = re.search(r"^Source: (.*?)(?=\n\n)", parts["rest"], re.S | re.M)
    kinds = [kind for kind in vars(module).values() if _is_message(kind) and kind.__module__ == module.__name__]
    return Script(
        name=name,
        title=_joined(parts["title"]),
        arrows=inspect.cleandoc("\n" + parts["arrows"]),
        source=_joined(source[1]) if source else "",
        learns={side: _joined(parts[side]) for side in SIDES},
        cost=_joined(parts["cost"]),
        messages=tuple(kind for kind in kinds if not any(kind in other.__bases__ for other in kinds)),
    )


def _is_message(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, wire.Message) and kind is not wire.Message


def learns_table() -> str:
    """One row per protocol and side."""
    rows = [(script.name, side, script.learns[side]) for script in scripts() for side in SIDES]
    return _table(("protocol", "side", "learns"), rows)


def learns_page() -> str:
    """Every protocol with its arrows, its `Learns:` and its `Cost:`."""
    lines: list[str] = []
    for script in scripts():
        lines += [f"## {script.name}", "", script.title, "", "```text", script.arrows, "```", ""]
        lines += [f"* {side} learns: {script.learns[side]}" for side in SIDES]
        lines += [f"* cost: {script.cost}"]
        lines += [f"* source: {script.source}"] if script.source else []
        lines.append("")
    return "\n".join(lines[:-1])


# ---- the scenario file -----------------------------------------------------------------------------------------------

ABOUT = {
    "scenario.name": "names the run and its default directory",
    "party.role": "exactly one party is active: the one with the label",
    "party.table": "CSV, gzipped CSV or Parquet; relative to the scenario file",
    "party.id": "identifier column, or several; the same number of columns at every party",
    "party.label": "1 = defaulted, 0 = did not, or what `objective` asks for; required at the active party, "
    "and nowhere else",
    "party.features": "the columns the model may use; default: every column that is not id, label or hold-out mark",
    "party.reasons": "what a customer reads where a feature speaks against them, see [explain](explain.md); a feature "
    "without an entry gets words of its name",
    "party.weight": "what each row counts in training, 0 or more; at the active party only, see [trees](trees.md)",
    "party.categorical": "features whose values are categories, numbered with whole numbers from 0; of trees, see "
    "[trees](trees.md)",
    "party.ledger": "address of the PostgreSQL database for the ledger, without password; by default a file in the "
    "run's directory, see [ledger store](ledger-store.md)",
    "party.engine": "where the party's work over many rows is done, its own affair, see [scale](scale.md)",
    "party.special": "values of a feature that are codes and get bins of their own; of a scorecard",
    "party.trends": "direction of a feature's bad rate over its bins, in place of the model's `trend`; of a scorecard",
    "party.monotone": "1: predictions may not fall along the feature, -1: they may not rise; of trees, and part of the "
    "agreement, see [trees](trees.md)",
    "privacy.scheme": "how gradients are encrypted; implied by `level`, see [privacy](privacy.md)",
    "privacy.level": "what passive parties may see of tree nodes; implied by `scheme`, see [privacy](privacy.md)",
    "privacy.key_bits": "size of the `paillier` modulus; 2048 is about 112 bits of strength, 3072 about 128",
    "privacy.cell_noise": "noise of a partner on its sums, in largest gradients of one customer (`lattice` only)",
    "privacy.min_bin_population": "training rows in a bin at least, at every party",
    "privacy.min_intersection": "common customers at least; below, nothing is computed and no count is told",
    "privacy.merge_models": "whether the shares may be merged into one model, which shows everybody's thresholds, see "
    "[export](export.md)",
    "privacy.keep_until": "last day on which `tallystick purge` refuses; see [retention](retention.md)",
    "privacy.receipts": "when a party signs what it said: once a `round`, or with every `message`, see "
    "[verify](verify.md)",
    "psi.protocol": "how common customers are found",
    "psi.id_rule": "how identifiers are normalised; the same rule and version at every party",
    "psi.duplicates": "what to do with an identifier that comes twice: refuse the table, or keep its first row",
    "psi.max_invalid_share": "share of blank or invalid identifiers above which a table is refused",
    "psi.max_set_size": "identifiers in one table at most",
    "psi.decoys": "decoy rows for each common customer, which hide from passive parties who is common; 0 is off; needs "
    "level `hidden`, see [privacy](privacy.md)",
    "holdout.fraction": "share of the active party's rows that is kept out of training",
    "holdout.column": "0/1 column of the active party's table; 1 marks hold-out rows; instead of fraction and seed",
    "holdout.seed": "chooses the hold-out rows",
    "model.kind": "the kind of model",
}
"""What the keys outside [model] are for; those of [model] carry their explanation in `GBDTParameters`."""

_SMALLEST: dict[str, Any] = {
    "scenario": {"name": "x"},
    "party": {
        "a": {"role": "active", "table": "a.csv", "id": "id", "label": "y"},
        "b": {"role": "passive", "table": "b.csv", "id": "id"},
    },
}


def toml_reference() -> str:
    """Every table and key of a scenario file. What is allowed is asked of the reader itself."""
    tables = [
        ("[scenario]", [_key("scenario", "name", str, "required")]),
        ("[party.NAME]", _party_keys()),
        ("[model]", [_key("model", "kind", str, _toml(config.MODELS[0])), *map(_parameter, _options())]),
        *(
            (f"[{name}]", [_key(name, field, kind, _toml(default)) for field, kind, default in _fields(kind_of)])
            for name, kind_of in (("privacy", PrivacyConfig), ("psi", PsiConfig), ("holdout", HoldoutConfig))
        ),
    ]
    lines: list[str] = []
    for title, rows in tables:
        lines += [f"### `{title}`", "", _table(("key", "type", "default", "allowed", "meaning"), rows), ""]
    return "\n".join(lines[:-1])


def feature_parameters() -> str:
    """Parameters of binning and of selection."""
    rows = [
        _parameter(option) for kind in (BinningParameters, SelectionParameters) for option in dataclasses.fields(kind)
    ]
    return _table(("parameter", "type", "default", "allowed", "meaning"), rows)


def scorecard_parameters() -> str:
    """Parameters of coefficients and points."""
    rows = [_parameter(option) for option in dataclasses.fields(ScorecardParameters)]
    return _table(("parameter", "type", "default", "allowed", "meaning"), rows)


def aliases() -> str:
    """LightGBM's other names for the parameters of [model]."""
    rows = [(f"`{o.name}`", _codes(o.metadata["aliases"])) for o in _options() if o.metadata["aliases"]]
    return _table(("parameter", "also known as"), rows)


def _options() -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(GBDTParameters)


def _fields(kind_of: type) -> list[tuple[str, type, Any]]:
    kinds = typing.get_type_hints(kind_of)
    return [(f.name, _plain(kinds[f.name]), f.default) for f in dataclasses.fields(kind_of)]


def _plain(kind: Any) -> type:
    found: type = next((part for part in typing.get_args(kind) if part is not type(None)), kind)
    return found


def _party_keys() -> list[Sequence[str]]:
    known = [field.name for field in dataclasses.fields(config.PartyConfig)]
    required = {field.name for field in dataclasses.fields(config.PartyConfig) if _has_no_default(field)}
    types = {
        "id": "text or list of texts",
        "features": "text or list of texts",
        "categorical": "text or list of texts",
        "reasons": "table of texts",
        "trends": "table of texts",
        "special": "table of lists of numbers",
        "monotone": "table of whole numbers",
        "engine": "table",
    }
    defaults, allowed = {"features": "all others"}, {"engine": "`kind`, `address`, `partition_rows`"}
    rows: list[Sequence[str]] = []
    for name in known[1:]:  # the name itself is the table's
        row = list(_key("party", name, str, "required" if name in required else defaults.get(name, "none")))
        row[1], row[3] = types.get(name, row[1]), allowed.get(name, row[3])
        rows.append(row)
    return rows


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _key(table: str, key: str, kind: type, default: str) -> Sequence[str]:
    words = {str: "text", int: "whole number", float: "number", bool: "true/false"}
    return (f"`{key}`", words[kind], default, _allowed(table, key, kind), ABOUT[f"{table}.{key}"])


def _allowed(table: str, key: str, kind: type) -> str:
    """What the reader says is allowed when it is given something that is not."""
    wrong: Any = "\n" if kind is str else -1
    raw = json.loads(json.dumps(_SMALLEST))
    place = raw["party"]["b"] if table == "party" else raw.setdefault(table, {})
    place[key] = wrong
    try:
        scenario_from_mapping(raw, Path("x.toml"))
    except UsageError as error:
        return _range(error.remedy)
    raise ValueError(f"[{table}] {key} takes {wrong!r}")


def _range(remedy: str) -> str:
    found = re.fullmatch(r"(?:Allowed:|This version has|Write) (.*)\.", remedy)
    if not found:
        raise ValueError(f"no range in {remedy!r}")
    return re.sub(r"\b\d{5,}\b", lambda number: f"{int(number[0]):,}", found[1].replace("'", "`"))


def _parameter(option: dataclasses.Field[Any]) -> Sequence[str]:
    about, words = option.metadata, {str: "text", int: "whole number", float: "number", bool: "true/false"}
    if about["choices"]:
        allowed = _codes(about["choices"])
    elif isinstance(option.default, bool):
        allowed = "`true`, `false`"
    else:
        low, high = about["low"], about["high"]
        allowed = f"{'above ' if about['above'] else ''}{_number(low)}"
        allowed += f" to {_number(high)}" if math.isfinite(high) else " or more"
    return (f"`{option.name}`", words[type(option.default)], _toml(option.default), allowed, about["about"])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or value >= 1e4 else f"{value:g}"


def _toml(value: object) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


# ---- commands, verification, errors ----------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options."""
    lines: list[str] = []
    for title, command in tallystick_commands("tallystick", typer.main.get_command(cli.app)):
        rows = [_option(p) for p in command.params if "--help" not in p.opts]
        lines += _command(title, command.help, rows)
    for title, parser in ledger_parsers():
        rows = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue  # listed by itself
            flag = ", ".join(action.option_strings)
            shown = f"`{flag} {action.metavar}`" if flag and action.metavar else f"`{flag or action.metavar}`"
            rows.append((shown, "required" if action.required else "", str(action.help)))
        lines += _command(title, parser.description or "", rows[1:])  # all but --help
    return "\n".join(lines[:-1])


def ledger_parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of `python -m ledger`, and the parts of those that have some."""

    def within(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for part, found in action.choices.items():
                    yield f"{name} {part}", found
                    yield from within(f"{name} {part}", found)

    return within("python -m ledger", ledger_parser())


def tallystick_commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command of `tallystick`, and the parts of those that have some."""
    yield name, command
    for part, found in getattr(command, "commands", {}).items():
        yield from tallystick_commands(f"{name} {part}", found)


def _command(title: str, about: str, rows: Sequence[Sequence[str]]) -> list[str]:
    table = [_table(("argument or option", "default", "meaning"), rows), ""] if rows else []
    return [f"## `{title}`", "", _joined(about), "", *table]


def _option(parameter: Any) -> Sequence[str]:
    """Name, default and meaning of an argument or option of `tallystick`."""
    words, takes = ", ".join(parameter.opts), parameter.metavar or parameter.name.upper()
    flag = words.startswith("-")
    name = takes if not flag else words if parameter.is_flag else f"{words} {takes}"
    about, _, shown = parameter.help.removesuffix("]").partition("  [default: ")
    default = "" if parameter.default in (None, False) else f"{parameter.default}"
    return f"`{name}`", "required" if parameter.required else shown or default, about


def verification_steps() -> str:
    """The numbered steps in the verifier's own docstring."""
    found = re.findall(r"^\((\d+)\) {1,2}(.{14}) (.*)$", inspect.getdoc(ledger.verify) or "", re.M)
    rows = [(number, name.strip(), text) for number, name, text in found]
    if [row[0] for row in rows] != [str(number) for number in range(len(rows))]:
        raise ValueError("the steps in the docstring of ledger.verify are not numbered from 0")
    return _table(("step", "what", "must hold"), rows)


def exit_codes() -> str:
    """Of `tallystick`."""
    rows = [
        ("0", "done", ""),
        (str(cli.EXIT_USAGE), "fix the input", "`UsageError`, `AgreementError`, a wrong command line"),
        (str(cli.EXIT_PROTOCOL), "a party misbehaved", "`ProtocolError` and its kinds; party and step are named"),
        (str(cli.EXIT_TRANSPORT), "try again", "`TransportError` and its kinds; the run can be resumed"),
        (str(INTERRUPTED), "interrupted by Ctrl-C", "none; the run can be resumed"),
    ]
    return _table(("exit code", "what to do", "errors"), rows)


def error_example() -> str:
    """What the command line says of a scenario that is not there."""
    try:
        loader("pos-loann", None)
    except UsageError as error:
        return f"```text\nerror: {error}\n  to do: {error.remedy}\n```"
    raise ValueError("a scenario of that name is there")


def error_families() -> str:
    """Every error class with its explanation, below its parent."""
    rows = []
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.VflError):
            parent = kind.__base__.__name__ if kind is not errors.VflError and kind.__base__ else ""
            rows.append((f"`{name}`", f"`{parent}`" if parent else "", inspect.getdoc(kind) or ""))
    return _table(("error", "is a", "meaning"), rows)


# ---- the wire --------------------------------------------------------------------------------------------------------


def wire_example() -> str:
    """One message as it travels, cut into its parts; the parts are compared with what the code encodes."""
    identity = Identity("bank", hashlib.sha256(b"bank").digest())
    body = wire.pack(TreeClosed(False, True))
    step = Step("train", 3, "TreeClosed", "bank", "telecom", 41)
    digest = digest_of(body)
    said = Statement("run-7", step.slot, "bank", "telecom", "TreeClosed", digest.hex(), len(body))
    signature = bytes.fromhex(sign_envelope(identity.entry_key("run-7"), said).sig)
    frame = msgspec.msgpack.encode(desk.Envelope(step.slot, signature, body))
    parts = [
        (len(frame).to_bytes(4, "big"), f"sockets only: {len(frame)} bytes follow"),
        (b"\x84", "map of 4"),
        (_text("type") + _text("Envelope"), '"type": "Envelope"'),
        (_text("slot"), '"slot":'),
        (_text(step.slot), f'  "{step.slot}"'),
        (_text("signature") + b"\xc4\x40", '"signature": 64 bytes'),
        (signature, "  Ed25519"),
        (_text("body") + b"\xc4" + bytes([len(body)]), f'"body": {len(body)} bytes'),
        (b"\x83", "  map of 3"),
        (_text("type") + _text("TreeClosed"), '  "type": "TreeClosed"'),
        (_text("last") + b"\xc2", '  "last": false'),
        (_text("boundary") + b"\xc3", '  "boundary": true'),
    ]
    if b"".join(part for part, _ in parts) != parts[0][0] + frame:
        raise ValueError("the example of the wire is not what the code encodes")
    lines = [line for part, words in parts for line in _dump(part, words)]
    return "\n".join(["```text", *lines, "```", "", f"SHA-256 of the body: `{digest.hex()}`"])


def _text(words: str) -> bytes:
    return msgspec.msgpack.encode(words)


def _dump(part: bytes, words: str) -> list[str]:
    width = 24
    rows = [part[start : start + width].hex(" ") for start in range(0, len(part), width)]
    return [f"{rows[0]:<{3 * width}} {words}".rstrip(), *rows[1:]]


def limits() -> str:
    """The sizes that a reader enforces."""
    return _table(
        ("what", "at most", "in the code"),
        [
            ("a message", f"{wire.MAX_MESSAGE:,} bytes", "`vfl.wire.MAX_MESSAGE`"),
            ("a frame", f"{desk.MAX_FRAME:,} bytes", "`vfl.desk.MAX_FRAME`"),
        ],
    )


def frames() -> str:
    """The kinds of frames and their fields."""
    kinds = (desk.Opened, desk.Envelope, desk.Head, desk.Cosignature)
    return _table(("frame", "fields, in order", "meaning"), [_struct(kind) for kind in kinds])


def messages() -> str:
    """Every message of every protocol."""
    rows = [(script.name, *_struct(kind)) for script in scripts() for kind in script.messages]
    return _table(("protocol", "message", "fields, in order", "meaning"), rows)


def transcript_fields() -> str:
    """The fields of a transcript record."""
    return _table(("record", "fields, in order", "meaning"), [_struct(Record)])


def _struct(kind: type) -> tuple[str, str, str]:
    fields = ", ".join(f"`{f.name}` {_wire_type(f.type)}" for f in _fields_of(kind))
    return f"`{kind.__name__}`", fields, (inspect.getdoc(kind) or "").replace("\n", " ")


def _fields_of(kind: type) -> Sequence[layout.Field]:
    info = layout.type_info(kind)
    assert isinstance(info, layout.StructType)
    return [field for field in info.fields if field.name != "blind"]  # of every message: said once


def _wire_type(kind: layout.Type) -> str:
    match kind:
        case layout.BoolType():
            return "bool"
        case layout.IntType(ge=low, le=high):
            return f"int {low} to {high:,}" if high is not None else "int"
        case layout.FloatType():
            return "float64"
        case layout.StrType(max_length=most):
            return f"text, {most} at most" if most else "text"
        case layout.BytesType(min_length=least, max_length=most):
            return "bytes" if most is None else f"{most} bytes" if least == most else f"bytes, {most:,} at most"
        case layout.ListType(item_type=item, max_length=most):
            return f"list of {_wire_type(item)}" + (f", {most:,} at most" if most else "")
        case layout.StructType(cls=inner):
            fields = ", ".join(f"`{f.name}` {_wire_type(f.type)}" for f in _fields_of(inner))
            return f"maps ({fields})"
    raise ValueError(f"no words for {kind}")


# ---- pages -----------------------------------------------------------------------------------------------------------

BLOCKS: Mapping[str, Callable[[], str]] = {
    "learns-table": learns_table,
    "learns-page": learns_page,
    "toml-reference": toml_reference,
    "aliases": aliases,
    "feature-parameters": feature_parameters,
    "scorecard-parameters": scorecard_parameters,
    "commands": commands,
    "verification-steps": verification_steps,
    "exit-codes": exit_codes,
    "error-example": error_example,
    "error-families": error_families,
    "wire-example": wire_example,
    "wire-limits": limits,
    "wire-frames": frames,
    "wire-messages": messages,
    "transcript-fields": transcript_fields,
}


def rewritten(page: str) -> str:
    """The text of `page` with every generated block as it should be. Raises ValueError if it has none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    new, count = _BLOCK.subn(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)
    if not count or count != text.count("<!-- generated:"):
        raise ValueError(f"{page} has no generated block, or one without its end")
    return new


def stale() -> list[str]:
    """Pages whose generated blocks are not what the code says."""
    return [page for page in PAGES if rewritten(page) != (ROOT / page).read_text(encoding="utf-8")]


def _joined(text: str) -> str:
    return " ".join(text.split())


def _codes(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- the picture -----------------------------------------------------------------------------------------------------

_SVG = """\
<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The tables at the end of a run">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g class="{unique_id}-matrix" transform="translate(10, 18)">
{backgrounds}
{matrix}
</g>
</svg>
"""


def picture(run: Path) -> str:
    """The tables that end a run, as an SVG image without fonts or links of its own."""
    body = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    console = Console(record=True, width=88, file=StringIO(), force_terminal=True, legacy_windows=False)
    show_summary(Summary(body), Path("runs/demo"), console)
    image = console.export_svg(code_format=_SVG, unique_id="demo")
    return "\n".join(line.rstrip() for line in image.splitlines()) + "\n"


def main(words: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="Keep the documentation true.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is stale")
    parser.add_argument("--picture", metavar="DIR", type=Path, help="draw docs/images/demo.svg from this run")
    options = parser.parse_args(words)
    if options.picture:
        (ROOT / "docs/images/demo.svg").write_text(picture(options.picture), encoding="utf-8")
    found = stale()
    for page in found:
        if not options.check:
            (ROOT / page).write_text(rewritten(page), encoding="utf-8")
        sys.stdout.write(f"{page}: {'stale' if options.check else 'rewritten'}\n")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
