"""What the docstrings of protocols say: arrows, `Learns:` and `Cost:`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from types import ModuleType

from vfl import protocols, wire

from .markdown import joined, table

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
    "bystand",
    "standard_errors",
    "points",
    "freeze",
    "score_online",
)
"""Protocols in the order of a run; one that is not named here comes last."""
SIDES = ("active", "passive")


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
        title=joined(parts["title"]),
        arrows=inspect.cleandoc("\n" + parts["arrows"]),
        source=joined(source[1]) if source else "",
        learns={side: joined(parts[side]) for side in SIDES},
        cost=joined(parts["cost"]),
        messages=tuple(kind for kind in kinds if not any(kind in other.__bases__ for other in kinds)),
    )


def _is_message(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, wire.Message) and kind is not wire.Message


def learns_table() -> str:
    """One row per protocol and side."""
    rows = [(script.name, side, script.learns[side]) for script in scripts() for side in SIDES]
    return table(("protocol", "side", "learns"), rows)


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
