"""party.toml as `tallystick party init` writes it: every option, those with a default commented out."""

from __future__ import annotations

from vfl.engine import PART_ROWS
from vfl.party.addresses import parse_address, written
from vfl.party.config import Deadlines, PartyFile, Tls, default_host

_TEXT = """\
# How this company takes part. A line that begins with # shows a default. Paths are relative to this file.

[party]
name = "{name}"
address = "{address}"    # where others reach this party; it stands in the card
# state = "state"    # keys, peers' cards and runs; readable by its owner alone
# disk_free = {disk_free}    # megabytes below which `tallystick party status` warns

[serve]
# listen = "{listen}"    # the address that the service listens at

[deadlines]    # in seconds
# connect = {deadlines.connect}    # until a peer answers a call
# silence = {deadlines.silence}    # without any word within a run; then the next attempt begins
# patience = {deadlines.patience}    # a run that stands still for so long is given up

[tls]
# days = {tls.days}    # how long a new certificate is valid; the next one is made for twice as long
# warn_days = {tls.warn_days}    # how long before its end `tallystick party status` warns
"""
_DATA = """
[data]    # the table that this party brings; as in a scenario file, see docs/guide/own-data.md
table = "customers.parquet"    # or .csv, .csv.gz
id = "customer_id"    # or a list of columns
# label = "default"    # 0/1; whoever has one is the active party
# weight = "exposure"    # what each row counts, active party only; default: all the same
# features = ["income"]    # the only columns that agreements may name; default: every other column
# categorical = ["branch"]    # of trees: features whose values are categories, numbered from 0
# ledger = "postgresql://bank_writer@db/ledger"    # default: a file in the folder of the run
# [data.engine]    # where its work over many rows is done; see docs/guide/scale.md
# kind = "ray"    # default: "local", the party's own process
# address = "10.0.0.7:6379"    # of the party's own cluster; default: a Ray on this machine
# partition_rows = {partition_rows}    # rows in a part
# [data.reasons]    # what a customer reads where a feature speaks against them
# income = "Income is low for the amount"
# [data.special]    # of a scorecard: values that are codes and get bins of their own
# income = [-1, 999999]
# [data.trends]    # of a scorecard: direction of the bad rate
# income = "descending"
# [data.monotone]    # of trees: 1 the prediction may not fall along the feature, -1 it may not rise
# income = -1
"""


def template(name: str, address: str, *, data: bool) -> str:
    """The file of a party; without `data` for one that brings no table."""
    host, port = parse_address(address, "--address")
    text = _TEXT.format(
        name=name,
        address=address,
        listen=written(default_host(host), port),
        disk_free=PartyFile.disk_free,
        deadlines=Deadlines(),
        tls=Tls(),
    )
    return text + (_DATA.replace("{partition_rows}", str(PART_ROWS)) if data else "")
