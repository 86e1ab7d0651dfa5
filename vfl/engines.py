"""Which engines there are, and how a party names its own:

[party.bank.engine]        # in a scenario; in party.toml: [data.engine]
kind = "ray"               # default: "local", the party's own process
address = "10.0.0.7:6379"  # of the party's own cluster; default: a Ray on this machine
partition_rows = 1048576   # rows worked on together
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from vfl.engine import LEAST_ROWS, PART_ROWS, Engine, Here
from vfl.errors import UsageError
from vfl.toml_table import TomlTable

KINDS = ("local", "ray")
MOST_ROWS = 1 << 28
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}")


@dataclass(frozen=True)
class EngineConfig:
    """A party's own choice; no other party is told."""

    kind: str = KINDS[0]
    address: str | None = None
    partition_rows: int = PART_ROWS

    def engine(self) -> Engine:
        """The engine. Raises UsageError where what it needs is not there."""
        if self.kind == KINDS[0]:
            return Here(self.partition_rows)
        from vfl.ray_engine import RayEngine  # noqa: PLC0415 - an extra

        return RayEngine(self.partition_rows, self.address)


def _is_address(text: str) -> bool:
    return bool(_ADDRESS.fullmatch(text)) and 0 < int(text.rpartition(":")[2]) < 1 << 16


def read_engine(table: TomlTable) -> EngineConfig:
    """The engine that an `engine` table names. Raises UsageError naming file, key and value."""
    default = EngineConfig()
    table.only(*(each.name for each in fields(EngineConfig)))
    found = EngineConfig(
        table.choice("kind", KINDS, default=default.kind),
        table.text("address"),
        table.integer("partition_rows", default.partition_rows, range(LEAST_ROWS, MOST_ROWS + 1)),
    )
    if found.address is not None and found.kind != KINDS[1]:
        raise UsageError(
            f"{table.place('address')} is given, but kind is {found.kind!r}", remedy='Write kind = "ray" as well.'
        )
    if found.address is not None and not _is_address(found.address):
        raise UsageError(
            f"{table.place('address')} is {found.address!r}", remedy='Write HOST:PORT, as in "10.0.0.7:6379".'
        )
    return found
