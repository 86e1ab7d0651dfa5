"""The tables and keys of a scenario file, and the parameters of models."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vfl import config
from vfl.config import HoldoutConfig, PrivacyConfig, PsiConfig, scenario_from_mapping
from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.parameters import GBDTParameters
from vfl.learn.scorecard_parameters import ScorecardParameters
from vfl.settlement import Settlement

from .markdown import codes, table

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
    "privacy.masked_scores": "of a scorecard with two partners or more: of an applicant the service learns the sum "
    "of all parts and nothing else (the run still shows parts of its hold-out), see [serving](serving.md)",
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
    "settlement.value": "what a coalition of partners is worth at the cut-off: what approved customers earn and cost, "
    "or how far the rate of bads among them falls; see [contribution](contribution.md)",
    "settlement.approve": "the cut-off: the share of customers approved, those of the lowest probability first",
    "settlement.profit_good": "what an approved good customer earns, in minor units (cents)",
    "settlement.loss_bad": "what an approved bad customer costs, in minor units",
    "settlement.label_owner": "whether the active party only pays, or has a share like everybody",
    "settlement.price": "of a decision, in minor units; decisions of the stand-in are free",
    "settlement.currency": "of all amounts",
    "settlement.stake": "what each party locks in the contract for a run, in minor units",
    "settlement.period": "of payments, by UTC",
    "settlement.dispute_hours": "to dispute proposed shares",
    "settlement.respond_hours": "to answer a challenge",
    "settlement.similarity": "share of variance that the columns of two parties explain of each other's from which "
    "they are paid once",
    "settlement.in_cluster": "how those share what they are paid: equally, or whoever stands first gets it",
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
        ("[settlement]", [*_settlement_keys(), _ENTITIES]),
    ]
    lines: list[str] = []
    for title, rows in tables:
        lines += [f"### `{title}`", "", table(("key", "type", "default", "allowed", "meaning"), rows), ""]
    return "\n".join(lines[:-1])


def feature_parameters() -> str:
    """Parameters of binning and of selection."""
    rows = [
        _parameter(option) for kind in (BinningParameters, SelectionParameters) for option in dataclasses.fields(kind)
    ]
    return table(("parameter", "type", "default", "allowed", "meaning"), rows)


def scorecard_parameters() -> str:
    """Parameters of coefficients and points."""
    rows = [_parameter(option) for option in dataclasses.fields(ScorecardParameters)]
    return table(("parameter", "type", "default", "allowed", "meaning"), rows)


def aliases() -> str:
    """LightGBM's other names for the parameters of [model]."""
    rows = [(f"`{o.name}`", codes(o.metadata["aliases"])) for o in _options() if o.metadata["aliases"]]
    return table(("parameter", "also known as"), rows)


def _options() -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(GBDTParameters)


def _fields(kind_of: type) -> list[tuple[str, type, Any]]:
    kinds = typing.get_type_hints(kind_of)
    return [(f.name, _plain(kinds[f.name]), f.default) for f in dataclasses.fields(kind_of)]


_ENTITIES = ("`entities`", "table of texts", "none", "a text for each party", "the legal entity of each party")


def _settlement_keys() -> list[Sequence[str]]:
    fields = [one for one in _fields(Settlement) if one[0] != "entities"]
    return [_key("settlement", field, kind, _toml(default)) for field, kind, default in fields]


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
        allowed = codes(about["choices"])
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
