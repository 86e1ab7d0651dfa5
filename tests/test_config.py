"""The scenario file: what it gives, and what every mistake in it is told."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfl import config
from vfl.config import (
    HoldoutConfig,
    PrivacyConfig,
    PsiConfig,
    Scenario,
    load_scenario,
    scenario_from_mapping,
)
from vfl.crypto import schemes
from vfl.errors import UsageError
from vfl.learn.parameters import GBDTParameters

SMALL = """
[scenario]
name = "my-bank"
[party.bank]
role = "active"
table = "bank.csv"
id = "customer_id"
label = "default"
[party.telecom]
role = "passive"
table = "data/telecom.parquet"
id = "phone"
"""
FULL = (
    SMALL
    + """
features = ["age", "seniority"]
[party.shop-1]
role = "passive"
table = "/srv/shop.csv.gz"
id = ["phone"]
[model]
kind = "gbdt"
num_iterations = 50
learning_rate = 0.1
num_leaves = 15
max_bin = 63
[privacy]
scheme = "paillier"
level = "disclosed"
key_bits = 3072
min_bin_population = 30
min_intersection = 100
[psi]
protocol = "x25519"
id_rule = "phone-es@1"
duplicates = "first"
max_invalid_share = 0
max_set_size = 1000
[holdout]
column = "is_test"
"""
)


def load(folder: Path, text: str) -> Scenario:
    path = folder / "scenario.toml"
    path.write_text(text)
    return load_scenario(path)


def refused(folder: Path, text: str, *words: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    for word in ("scenario.toml", *words):
        assert word in str(caught.value), str(caught.value)
    assert remedy in caught.value.remedy, caught.value.remedy
    assert str(folder) not in caught.value.diagnostics()


def changed(old: str, new: str, text: str = FULL) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


# ---- what it gives ---------------------------------------------------------------------------------------------------


def test_a_small_file_gets_every_default(tmp_path: Path) -> None:
    scenario = load(tmp_path, SMALL)
    assert scenario.name == "my-bank"
    assert scenario.active.name == "bank"
    assert scenario.active.table == tmp_path / "bank.csv"
    assert scenario.active.id == ("customer_id",)
    assert scenario.active.label == "default"
    assert scenario.active.features is None
    assert [party.name for party in scenario.passive] == ["telecom"]
    assert scenario.party("telecom").table == tmp_path / "data/telecom.parquet"
    assert scenario.model == GBDTParameters()
    assert (scenario.privacy, scenario.psi, scenario.holdout) == (PrivacyConfig(), PsiConfig(), HoldoutConfig())
    assert scenario.psi.id_rule == "text@1"
    assert scenario.privacy.min_intersection == 200
    with pytest.raises(dataclasses.FrozenInstanceError):
        scenario.name = "other"  # type: ignore[misc]


def test_a_full_file_is_taken_as_written(tmp_path: Path) -> None:
    scenario = load(tmp_path, FULL)
    assert scenario.party("telecom").features == ("age", "seniority")
    assert scenario.party("shop-1").table == Path("/srv/shop.csv.gz")
    assert scenario.model == GBDTParameters(num_iterations=50, learning_rate=0.1, num_leaves=15, max_bin=63)
    assert scenario.privacy == PrivacyConfig("paillier", "disclosed", 3072, 30, 100)
    assert scenario.psi == PsiConfig("x25519", "phone-es@1", "first", 0.0, 1000)
    assert scenario.holdout.column == "is_test"


@pytest.mark.parametrize(
    ("lines", "scheme", "level"),
    [
        ("", "lattice", "hidden"),
        ('scheme = "lattice"', "lattice", "hidden"),
        ('level = "hidden"', "lattice", "hidden"),
        ('scheme = "lattice"\nlevel = "hidden"', "lattice", "hidden"),
        ('scheme = "paillier"', "paillier", "disclosed"),
        ('level = "disclosed"', "paillier", "disclosed"),
        ('scheme = "paillier"\nlevel = "disclosed"', "paillier", "disclosed"),
    ],
)
def test_a_scheme_implies_its_level_and_a_level_its_scheme(tmp_path: Path, lines: str, scheme: str, level: str) -> None:
    found = load(tmp_path, f"{SMALL}\n[privacy]\n{lines}\n").privacy
    assert (found.scheme, found.level) == (scheme, level)


def test_sums_are_masked_of_scorecards_with_two_partners(tmp_path: Path) -> None:
    payroll = '[party.payroll]\nrole = "passive"\ntable = "payroll.csv"\nid = "customer"\n'
    card, masked = '[model]\nkind = "scorecard"\n', "[privacy]\nmasked_scores = true\n"
    assert load(tmp_path, SMALL + payroll + card + masked).privacy.masked_scores
    assert not load(tmp_path, SMALL + payroll + card).privacy.masked_scores
    told = "[privacy] masked_scores is true"
    refused(tmp_path, SMALL + payroll + masked, told, "walked by the active party", remedy='kind = "scorecard"')
    refused(tmp_path, SMALL + card + masked, told, "one partner", remedy="a second partner")


def test_shares_are_merged_only_where_the_file_says_so(tmp_path: Path) -> None:
    for written, merged in (("", False), ("merge_models = false", False), ("merge_models = true", True)):
        assert load(tmp_path, f"{SMALL}\n[privacy]\n{written}\n").privacy.merge_models is merged
    for wrong, kind in (("1", "a whole number"), ('"true"', "a text"), ("[true]", "a list")):
        text = f"{SMALL}\n[privacy]\nmerge_models = {wrong}\n"
        refused(tmp_path, text, f"[privacy] merge_models is {kind}", remedy="true or false")


def test_reasons_are_words_by_feature(tmp_path: Path) -> None:
    text = f'{SMALL}\n[party.telecom.reasons]\ncalls = "Few calls"\n"mean age" = "年龄"\n'
    assert load(tmp_path, text).party("telecom").reasons == {"calls": "Few calls", "mean age": "年龄"}
    assert load(tmp_path, SMALL).party("telecom").reasons == {}


@pytest.mark.parametrize(
    "words", ["3", "true", '""', '"  "', '"two\\nlines"', '"\\u001b[31m"', '["a"]', f'"{"x" * 201}"']
)
def test_reasons_are_one_line_of_text(tmp_path: Path, words: str) -> None:
    text = f"{SMALL}\n[party.telecom.reasons]\ncalls = {words}\n"
    refused(tmp_path, text, "[party.telecom.reasons] 'calls' is ", remedy="one line, 200 characters")


@pytest.mark.parametrize(("value", "kind"), [('"words"', "a text"), ("true", "true/false"), ("[1]", "a list")])
def test_reasons_are_a_table(tmp_path: Path, value: str, kind: str) -> None:
    text = SMALL.replace('role = "passive"', f'role = "passive"\nreasons = {value}')
    refused(tmp_path, text, f"[party.telecom] reasons is {kind}", remedy="table of texts")


def test_every_scheme_of_a_file_is_one_that_a_run_has() -> None:
    assert config.SCHEMES == schemes.LEVELS
    assert next(iter(schemes.LEVELS)) == PrivacyConfig().scheme


def test_restrict_keeps_the_named_parties_in_the_order_of_the_file(tmp_path: Path) -> None:
    scenario = load(tmp_path, FULL)
    assert [party.name for party in scenario.restrict(["shop-1", "bank"]).parties] == ["bank", "shop-1"]
    assert scenario.restrict(["bank", "telecom", "shop-1"]) == scenario
    with pytest.raises(UsageError, match="'bureau'") as caught:
        scenario.restrict(["bank", "bureau"])
    assert caught.value.remedy == "Known parties: bank, telecom, shop-1."
    with pytest.raises(UsageError, match="'bank' holds the label") as caught:
        scenario.restrict(["telecom"])
    assert "bank,telecom" in caught.value.remedy
    with pytest.raises(UsageError, match="alone") as caught:
        scenario.restrict(["bank"])
    assert "telecom, shop-1" in caught.value.remedy


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path, "[scenario\n", "not valid TOML", "line 1", remedy="key = value")
    refused(tmp_path, "a = " + "[" * 5000, "scenario.toml", remedy="")
    refused(tmp_path, "a = " + "9" * 5000, "scenario.toml", remedy="")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    for name, word in (("latin.toml", "UTF-8"), ("nowhere.toml", "no scenario file"), (".", "cannot be read")):
        with pytest.raises(UsageError, match=word):
            load_scenario(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "words", "remedy"),
    [
        ("[holdout]", "[holdut]", ("unknown table 'holdut'",), "'holdout'"),
        ("[model]", "[modle]", ("unknown table 'modle'",), "'model'"),
        ('name = "my-bank"', 'nmae = "x"', ("[scenario]", "unknown key 'nmae'"), "'name'"),
        ('name = "my-bank"', "", ("[scenario]", "'name' is missing"), "Add name"),
        ('name = "my-bank"', "name = 3", ("[scenario] name is a whole number ('3')",), "a text"),
        ('name = "my-bank"', 'name = "a b"', ("[scenario] name is 'a b'",), "letters"),
        ("[scenario]\n", "[party.x]\n", ("no [scenario] table",), "[scenario]"),
        ('table = "bank.csv"', 'tabel = "bank.csv"', ("[party.bank]", "unknown key 'tabel'"), "'table'"),
        ('table = "bank.csv"', "table = true", ("[party.bank] table is true/false",), "a text"),
        ('table = "bank.csv"', 'table = " "', ("[party.bank] table is ' '",), "not blank"),
        ('table = "bank.csv"', 'table = "a\\u0000"', ("[party.bank] table",), ".csv"),
        ('id = "customer_id"', "", ("[party.bank]", "'id' is missing"), "column name"),
        ('id = "customer_id"', "id = []", ("[party.bank] id is '[]'",), "one column name"),
        ('id = "customer_id"', 'id = ["a", "a"]', ("[party.bank] id",), "different"),
        ('id = "customer_id"', "id = [1]", ("[party.bank] id",), "column name"),
        ('id = "customer_id"', 'id = ["a", "b"]', ("[party.telecom] id has 1", "[party.bank] 2"), "same columns"),
        ('id = "customer_id"', 'id = "default"', ("[party.bank]", "'default'", "more than once"), "id, label"),
        ('features = ["age"', 'features = ["phone"', ("[party.telecom]", "'phone'"), "id, label, weight or feature"),
        ('role = "active"', 'role = "passive"', ("[party.bank]", "label 'default' at a passive"), "active"),
        ('role = "active"', 'role = "guest"', ("[party.bank] role is 'guest'",), "'active', 'passive'"),
        ('label = "default"', "", ("[party.bank]", "no label"), "label ="),
        ('role = "passive"', 'role = "active"\nlabel = "y"', ("2 active parties (bank, telecom)",), "exactly one"),
        ("[party.telecom]", "[party.Telecom]", ("'Telecom'",), "small letter"),
        ("[party.telecom]", f"[party.{'t' * 32}]", ("party name",), "small letter"),
        ('kind = "gbdt"', 'kind = "mlp"', ("[model] kind is 'mlp'",), "'gbdt'"),
        ("num_leaves", "num_leafs", ("[model]", "num_leafs"), "num_lea"),
        ("num_leaves = 15", "num_leaves = 1", ("[model]", "num_leaves", "1"), "2"),
        ("num_leaves = 15", 'num_leaves = "many"', ("[model]", "num_leaves", "many"), "whole number"),
        ("learning_rate = 0.1", f"learning_rate = 1{'0' * 400}", ("[model] learning_rate",), "64 bits"),
        (
            'scheme = "paillier"',
            'scheme = "lattice"',
            ("[privacy] level is 'disclosed', but scheme 'lattice' is 'hidden'",),
            'or write scheme = "paillier"',
        ),
        (
            'level = "disclosed"',
            'level = "hidden"',
            ("[privacy] level is 'hidden', but scheme 'paillier' is 'disclosed'",),
            'or write scheme = "lattice"',
        ),
        ('scheme = "paillier"', 'scheme = "rot13"', ("[privacy] scheme is 'rot13'",), "'lattice', 'paillier'"),
        ('level = "disclosed"', 'level = "secret"', ("[privacy] level is 'secret'",), "'hidden', 'disclosed'"),
        ("key_bits = 3072", "key_bits = 1024", ("[privacy] key_bits is '1024'",), "2048 or 3072 or 4096"),
        ("key_bits = 3072", "key_bits = true", ("[privacy] key_bits is true/false",), "whole number"),
        ("min_intersection = 100", "min_intersection = 19", ("min_intersection is '19'",), "20 to"),
        ("min_bin_population = 30", "min_bin_population = 0", ("min_bin_population is '0'",), "1 to"),
        ("min_bin_population", "min_bin_pop", ("[privacy]", "'min_bin_pop'"), "'min_bin_population'"),
        ('protocol = "x25519"', 'protocol = "sha256"', ("[psi] protocol is 'sha256'",), "'x25519'"),
        ('"phone-es@1"', '"phone-es@2"', ("[psi] id_rule is 'phone-es@2'",), "'phone-es@1'"),
        ('"first"', '"last"', ("[psi] duplicates is 'last'",), "'error', 'first'"),
        ("max_invalid_share = 0", "max_invalid_share = 1.5", ("max_invalid_share is '1.5'",), "0.0 to 1.0"),
        ("max_invalid_share = 0", "max_invalid_share = nan", ("max_invalid_share is 'nan'",), "0.0 to 1.0"),
        ("max_set_size = 1000", "max_set_size = 1.0", ("max_set_size is a number",), "whole number"),
        ('column = "is_test"', "fraction = 0", ("[holdout] fraction is '0'",), "0.01 to 0.9"),
        ('column = "is_test"', "fraction = inf", ("[holdout] fraction is 'inf'",), "0.01 to 0.9"),
        ('column = "is_test"', "seed = -1", ("[holdout] seed is '-1'",), "0 to"),
        ('column = "is_test"', 'column = "is_test"\nseed = 1', ("[holdout] column",), "one way"),
        ('column = "is_test"', 'column = "default"', ("[holdout] column 'default'", "[party.bank]"), "its own"),
        ("[holdout]\n", "[[holdout]]\n", ("holdout is a list",), "[holdout]"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, words: tuple[str, ...], remedy: str) -> None:
    refused(tmp_path, changed(old, new), *words, remedy=remedy)


def test_parties_that_are_missing(tmp_path: Path) -> None:
    head, bank = SMALL.split("[party.telecom]")[0], "[party.telecom]" + SMALL.split("[party.telecom]")[1]
    refused(tmp_path, head, "no passive party", remedy="passive")
    refused(tmp_path, '[scenario]\nname = "x"\n' + bank, "no active party", remedy="active")
    refused(tmp_path, '[scenario]\nname = "x"\n', "no [party] table", remedy="[party]")
    refused(tmp_path, 'party = 1\n[scenario]\nname = "x"\n', "party is a whole number", remedy="[party]")
    many = "".join(f'[party.p{n}]\nrole = "passive"\ntable = "t.csv"\nid = "i"\n' for n in range(40))
    refused(tmp_path, SMALL + many, "42 parties", remedy="passive")


def test_a_phone_rule_needs_one_id_column(tmp_path: Path) -> None:
    text = FULL.replace('id = "customer_id"', 'id = ["a", "b"]').replace('id = "phone"', 'id = ["a", "b"]')
    text = text.replace('id = ["phone"]', 'id = ["a", "b"]')
    refused(tmp_path, text, "'phone-es@1' is for one column", remedy="text@1")


# ---- fuzz ------------------------------------------------------------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=8),
        st.dates(), st.sampled_from(["active", "passive", "default", "gbdt", "paillier", "text@1", math.nan, 0.3, 20]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def slots(raw: dict[str, Any], found: list[tuple[dict[str, Any], str]]) -> list[tuple[dict[str, Any], str]]:
    for key, value in raw.items():
        found.append((raw, key))
        if isinstance(value, dict):
            slots(value, found)
    return found


@examples(130, thorough=400)
@given(st.data())
def test_any_change_gives_a_scenario_or_a_usage_error(data: st.DataObject) -> None:
    raw = tomllib.loads(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        table, key = data.draw(st.sampled_from(slots(raw, [])))
        how = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "remove":
            del table[key]
        else:
            table[key if how == "replace" else data.draw(st.text(max_size=6))] = data.draw(VALUES)
        if not raw:
            break
    with contextlib.suppress(UsageError):
        assert isinstance(scenario_from_mapping(raw, Path("scenario.toml")), Scenario)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(FULL)))
def test_any_bytes_give_a_scenario_or_a_usage_error(tmp_path: Path, junk: bytes, at: int) -> None:
    path = tmp_path / "scenario.toml"
    path.write_bytes(FULL[:at].encode() + junk + FULL[at + len(junk) :].encode())
    with contextlib.suppress(UsageError):
        assert isinstance(load_scenario(path), Scenario)
