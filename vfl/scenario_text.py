"""A scenario as the text of a scenario file: what `vfl.config` reads is what was written, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from vfl.config import Scenario
from vfl.tuning_space import Among, Between


def toml_of(scenario: Scenario) -> str:
    """TOML with every key that the scenario has; paths of tables are absolute, parameters at their default left out."""
    usual = type(scenario.model).from_mapping({}).as_dict()
    changed = {name: value for name, value in scenario.model.as_dict().items() if value != usual[name]}
    tables: dict[str, Mapping[str, Any]] = {"scenario": {"name": scenario.name}}
    tables |= {f"party.{party.name}": _keys(party, "name") for party in scenario.parties}
    tables["model"] = {"kind": scenario.kind, **changed}
    tables |= {name: _keys(getattr(scenario, name)) for name in ("privacy", "psi")}
    tables["holdout"] = _keys(scenario.holdout, *(("fraction", "seed") if scenario.holdout.column else ()))
    tables["tune"] = scenario.tune
    return "\n".join(line for path, values in tables.items() for line in _table(path, values))


def _keys(of: Any, *omit: str) -> dict[str, Any]:
    """The fields of a part of the scenario that say something; those of parts of it as tables."""
    found = {each.name: getattr(of, each.name) for each in fields(of) if each.name not in omit}
    found |= {name: _keys(value) for name, value in found.items() if is_dataclass(value)}
    return {name: value for name, value in found.items() if value is not None and value not in ({}, ())}


def _table(path: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a table: its own keys, then the tables in it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    if not values:
        return
    yield f"[{path}]"
    yield from (f"{_toml(key)} = {_toml(value)}" for key, value in values.items() if key not in inner)
    yield ""
    for key, value in inner.items():
        yield from _table(f"{path}.{key}", value)


def _toml(value: object) -> str:
    """A value as TOML writes it: JSON has the same texts, numbers, booleans and lists."""
    match value:
        case Between(low, high, log):
            return f"{{ low = {_toml(low)}, high = {_toml(high)}, log = {_toml(log)} }}"
        case Among(values):
            value = values
        case Path():
            value = str(value.resolve())
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
