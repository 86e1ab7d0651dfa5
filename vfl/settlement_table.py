"""The clause of settlement in a scenario file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from vfl.errors import UsageError
from vfl.settlement import CURRENCY, REAL, WHOLE, WORDS, Settlement
from vfl.table import closest, shown
from vfl.toml_table import TomlTable


def read_clause(table: TomlTable, parties: Sequence[str]) -> Settlement:
    """The clause in a [settlement] table. `parties`: who may have a legal entity. Raises UsageError."""
    default = Settlement()
    table.only(*(each.name for each in fields(default)))
    currency = table.text("currency") or default.currency
    if not CURRENCY.fullmatch(currency):
        raise UsageError(f"{table.place('currency')} is {shown(currency)}", remedy='Write its ISO 4217 code: "EUR".')
    entities = table.words("entities")
    for name in entities:
        if name not in parties:
            place = f"{table.file}: [{table.path}.entities] {shown(name)}"
            raise UsageError(f"{place} is no party", remedy=closest(name, parties))
    found: dict[str, Any] = {
        **{key: table.choice(key, allowed, default=getattr(default, key)) for key, allowed in WORDS.items()},
        **{key: table.integer(key, getattr(default, key), allowed) for key, allowed in WHOLE.items()},
        **{key: table.number(key, getattr(default, key), *ends) for key, ends in REAL.items()},
    }
    return Settlement(currency=currency, entities=entities, **found)
