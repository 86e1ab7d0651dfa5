"""party.toml: how a company takes part. What it may hold is what the dataclasses here name; each default stands once.

An unknown key, a wrong type or a value out of range is refused naming file, table, key and value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vfl.config import PartyConfig, check_name, read_own_table, read_toml
from vfl.errors import UsageError
from vfl.party.addresses import is_loopback, parse_address
from vfl.toml_table import TomlTable

NAME = "party.toml"


@dataclass(frozen=True)
class Deadlines:
    """In seconds. connect: until a peer answers a call.   silence: without any word within a run.

    patience: how long a run may stand still, through all attempts, before this party ends it for good.
    """

    connect: int = 10
    silence: int = 600
    patience: int = 86_400


@dataclass(frozen=True)
class Tls:
    """days: how long a new certificate is valid.   warn_days: how long before its end `party status` warns."""

    days: int = 365
    warn_days: int = 30


@dataclass(frozen=True)
class PartyFile:
    """A company's own settings. `table` is None for one that brings no data, such as a regulator.

    disk_free: megabytes below which `party status` warns.
    """

    name: str
    state: Path
    address: str
    listen: tuple[str, int]
    table: PartyConfig | None
    deadlines: Deadlines = field(default_factory=Deadlines)
    tls: Tls = field(default_factory=Tls)
    disk_free: int = 1024
    source: Path = Path(NAME)

    @property
    def peers(self) -> Path:
        """The folder with the cards of trusted peers."""
        return self.state / "peers"

    @property
    def runs(self) -> Path:
        """The folder with the runs."""
        return self.state / "runs"


def read_party_file(path: Path) -> PartyFile:
    """The party whose file, or whose folder, this is. Raises UsageError for anything it must not hold."""
    folder, path = path, path / NAME if path.is_dir() else path
    if not path.exists():
        raise UsageError(
            f"there is no {NAME} in {folder.absolute()}",
            remedy="name the party's folder with --party DIR, or make one: tallystick party init DIR",
        )
    top = TomlTable(read_toml(path, "party"), path.name)
    top.only("party", "serve", "deadlines", "tls", "data")
    head, serve = top.table("party", required=True), top.table("serve")
    head.only("name", "address", "state", "disk_free")
    if "verify" in serve.raw:
        raise UsageError(
            f"{serve.place('verify')} is not to be chosen: peers are asked for a pinned certificate wherever they are",
            remedy="remove the line",
        )
    serve.only("listen")
    name = check_name(head.text("name", required=True), head.place())
    address = head.text("address", required=True)
    host, port = parse_address(address, head.place("address"))
    listen = serve.text("listen")
    bound = parse_address(listen, serve.place("listen")) if listen else (default_host(host), port)
    data = top.table("data")
    return PartyFile(
        name=name,
        state=path.parent / _state(head),
        address=address,
        listen=bound,
        table=read_own_table(name, data, path.parent) if data.raw else None,
        deadlines=_deadlines(top.table("deadlines")),
        tls=_tls(top.table("tls")),
        disk_free=head.integer("disk_free", PartyFile.disk_free, range(10**9)),
        source=path,
    )


def default_host(announced: str) -> str:
    """Where to listen when the file does not say: on this machine alone if others are told nothing else."""
    return announced if is_loopback(announced) else "0.0.0.0"  # noqa: S104  # everybody is asked for a pin


def _state(table: TomlTable) -> str:
    path = table.text("state") or "state"
    if "\0" in path:
        raise UsageError(f"{table.place('state')} is no folder", remedy='Write state = "state".')
    return str(path)


def _deadlines(table: TomlTable) -> Deadlines:
    default = Deadlines()
    table.only(*vars(default))
    return Deadlines(
        connect=table.integer("connect", default.connect, range(1, 301)),
        silence=table.integer("silence", default.silence, range(1, 86_401)),
        patience=table.integer("patience", default.patience, range(1, 31 * 86_400 + 1)),
    )


def _tls(table: TomlTable) -> Tls:
    default = Tls()
    table.only(*vars(default))
    return Tls(
        days=table.integer("days", default.days, range(1, 826)),
        warn_days=table.integer("warn_days", default.warn_days, range(366)),
    )
