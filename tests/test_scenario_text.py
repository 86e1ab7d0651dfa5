"""A scenario written as a file is the scenario that was read, whatever keys it has."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from vfl.config import HoldoutConfig, PartyConfig, PrivacyConfig, PsiConfig, Scenario, load_scenario
from vfl.scenario_text import toml_of

TREES = """\
[scenario]
name = "my.bank"
[party.bank]
role = "active"
table = "bank \\"1\\".csv"
id = ["customer", "branch"]
label = "default"
weight = "exposure"
features = ["income", "Größe", "kind"]
categorical = ["kind"]
[party.bank.reasons]
"Größe" = "Too \\"small\\" \\\\ for this"
[party.bank.monotone]
income = -1
[party.bank.engine]
kind = "ray"
address = "10.0.0.7:6379"
partition_rows = 131072
[party.telecom]
role = "passive"
table = "telecom.parquet"
id = ["phone", "shop"]
[model]
num_round = 7
eta = 1e-05
boost_from_average = false
[privacy]
level = "hidden"
key_bits = 3072
min_bin_population = 5
min_intersection = 100
cell_noise = 0.25
merge_models = true
receipts = "message"
keep_until = "2036-12-31"
[psi]
protocol = "auto"
id_rule = "exact@1"
duplicates = "first"
max_invalid_share = 0.5
max_set_size = 1000
decoys = 0.2
[holdout]
column = "held out"
[tune]
eta = { low = 0.02, high = 0.3, log = true }
num_leaves = { low = 4, high = 64 }
objective = ["binary"]
max_depth = [3, -1]
"""
CARD = """\
[scenario]
name = "card"
[party.bank]
role = "active"
table = "/data/bank.csv"
id = "customer"
label = "default"
ledger = "postgresql://bank@db/ledger"
[party.bank.special]
income = [-1, 999999.5]
[party.bank.trends]
income = "descending"
[party.telecom]
role = "passive"
table = "telecom.parquet"
id = "phone"
[party.shop]
role = "passive"
table = "shop.parquet"
id = "phone"
[model]
kind = "scorecard"
signs = "positive"
[privacy]
scheme = "paillier"
masked_scores = true
[holdout]
fraction = 0.25
seed = 9
"""


def read(folder: Path, text: str) -> Scenario:
    path = folder / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return load_scenario(path)


@pytest.mark.parametrize("text", [TREES, CARD])
def test_what_is_read_from_the_text_is_what_was_written(tmp_path: Path, text: str) -> None:
    given = read(tmp_path, text)
    whole = tuple(replace(party, table=party.table.resolve()) for party in given.parties)
    (tmp_path / "other").mkdir()
    again = read(tmp_path / "other", toml_of(given))
    assert replace(again, source=given.source) == replace(given, parties=whole)


def test_every_key_is_among_them(tmp_path: Path) -> None:
    """Else the test above would pass without it: each differs from its default in one of the two files."""
    given = [read(tmp_path, text) for text in (TREES, CARD)]
    bank = PartyConfig("", "", Path(), ())
    for usual, ours in (
        (bank, [one.active for one in given]),
        (PrivacyConfig(), [one.privacy for one in given]),
        (PsiConfig(), [one.psi for one in given]),
        (HoldoutConfig(), [one.holdout for one in given]),
    ):
        for each in fields(usual):
            assert any(getattr(one, each.name) != getattr(usual, each.name) for one in ours), each.name
