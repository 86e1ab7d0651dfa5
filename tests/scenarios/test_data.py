"""The shipped scenarios: real values, honest coverage, the same bytes every time, and the user's own path."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from scenarios import card_limit, describe, materialise, pos_loan, scenario_names
from scenarios.split import BLANKS, Story, read_source
from vfl.config import load_scenario
from vfl.errors import UsageError
from vfl.ids import Usable, usable
from vfl.table import Table, read_table

STORIES = {story.name: story for story in (pos_loan.STORY, card_limit.STORY)}
COMMON = {"pos-loan": 3525, "card-limit": 24142}
Sides = dict[str, tuple[Table, Usable]]


@pytest.fixture(scope="module", params=list(STORIES))
def story(request: pytest.FixtureRequest) -> Story:
    return STORIES[request.param]


@pytest.fixture(scope="module")
def folder(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materialise(story.name, tmp_path_factory.mktemp(story.name)).parent


@pytest.fixture(scope="module")
def sides(folder: Path) -> Sides:
    """Every party's table with all its columns, and its usable identifiers."""
    scenario = load_scenario(folder / "scenario.toml")
    found = {}
    for party in scenario.parties:
        table = read_table(party.table, party.id, party.label)
        found[party.name] = table, usable(table.ids, scenario.psi.id_rule, scenario.psi.duplicates, where=party.name)
    return found


def test_the_source_tables_are_as_published(story: Story) -> None:
    packed = (resources.files("scenarios") / "data" / story.file).read_bytes()
    records = list(csv.DictReader(gzip.decompress(packed).decode().splitlines()))
    label = "Status" if story is pos_loan.STORY else "default.payment.next.month"
    bad = sum(record[label] in ("bad", "1") for record in records)
    assert (len(records), bad) == ((4454, 1254) if story is pos_loan.STORY else (30000, 6636))
    source = read_source(story)
    for name, cells in source.items():
        codes = story.codes.get(name, {})
        assert [codes.get(record[name], record[name]) for record in records] == cells
        assert len(set(codes.values())) == len(codes)


def test_every_aligned_row_holds_one_persons_real_values(story: Story, sides: Sides) -> None:
    """Aligned across all parties by token, the rows are rows of the source table, each used once."""
    source = read_source(story)
    tokens = sorted(set.intersection(*(set(found.tokens) for _, found in sides.values())))
    assert len(tokens) == COMMON[story.name]
    wanted, columns = [], []
    for part in story.parts:
        table, found = sides[part.name]
        place = dict(zip(found.tokens, found.rows.tolist(), strict=True))
        rows = [place[token] for token in tokens]
        for own, original in part.columns.items():
            wanted.append(original)
            columns.append(table.columns[own][rows])
        if part.label is not None:
            assert table.label is not None
            wanted.append(part.label)
            columns.append(table.label[rows])
    real = Counter(zip(*([float(cell) if cell else None for cell in source[name]] for name in wanted), strict=True))
    aligned = Counter(zip(*([None if np.isnan(v) else float(v) for v in column] for column in columns), strict=True))
    assert aligned <= real
    assert len(set(wanted)) == len(wanted)


def test_the_bank_knows_everybody_and_partners_a_share(story: Story, sides: Sides) -> None:
    bank = set(sides["bank"][1].tokens)
    people = len(read_source(story)["AGE" if "AGE" in read_source(story) else "Age"])
    assert len(bank) == people
    for part in story.parts[1:]:
        known = len(bank & set(sides[part.name][1].tokens))
        strangers = len(set(sides[part.name][1].tokens) - bank)
        assert 0.60 <= part.coverage <= 0.95
        assert known == round(part.coverage * people)
        assert strangers == round(part.others * people) - len(BLANKS)


def test_strangers_hold_real_values_but_are_nobodys_record(story: Story, sides: Sides) -> None:
    source = read_source(story)
    bank = set(sides["bank"][1].tokens)
    for part in story.parts[1:]:
        table, found = sides[part.name]
        rows = [row for token, row in zip(found.tokens, found.rows.tolist(), strict=True) if token not in bank]
        for own, original in part.columns.items():
            drawn = table.columns[own][rows]
            assert set(drawn[~np.isnan(drawn)]) <= {float(cell) for cell in source[original] if cell}
    everyone = [token for _, found in sides.values() for token in set(found.tokens) - bank]
    assert len(set(everyone)) == len(everyone)


def test_row_orders_differ(sides: Sides) -> None:
    bank = sides["bank"][1].tokens
    place = {token: at for at, token in enumerate(bank)}
    for name, (_, found) in sides.items():
        order = [place[token] for token in found.tokens if token in place]
        assert (name == "bank") == (abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) > 0.1)


def test_only_the_planted_dirt_is_there(story: Story, sides: Sides) -> None:
    for part in story.parts:
        report = sides[part.name][1].report
        blanks = sum(not blank.strip() for blank in BLANKS)
        planted = (0, 0) if part.label else (blanks, len(BLANKS) - blanks)
        assert (report.blank, report.null_like) == planted
        assert (report.invalid, report.too_long, report.duplicates) == (0, 0, story.duplicates)
        ids = [raw for raw in sides[part.name][0].ids if raw not in BLANKS]
        odd = [raw for raw in ids if not is_usual(story, part.style, raw)]
        share = (len(odd) - story.duplicates) / len(ids)
        assert 0.009 < share < 0.02
        assert any(not raw.isascii() for raw in odd)
        assert any(raw != raw.strip() for raw in odd)


def is_usual(story: Story, style: str, raw: str) -> bool:
    """Whether the number is written the way the party usually does."""
    marks = {"e164": "+" + story.calling_code, "zeros": "00" + story.calling_code}
    if style in marks:
        return raw.isascii() and raw == raw.strip() and raw.startswith(marks[style]) and raw.strip("+").isdigit()
    mark = " " if style == "spaced" else "-"
    return raw.isascii() and raw == raw.strip() and raw[0] not in "(+" and raw.count(mark) == 2


def test_numbers_are_fictitious(story: Story, sides: Sides) -> None:
    for _, found in sides.values():
        assert all(token.startswith(f"+{story.calling_code}{story.first_digit}") for token in found.tokens)


def test_duplicates_take_the_path_of_the_policy(folder: Path, story: Story) -> None:
    scenario = load_scenario(folder / "scenario.toml")
    bank = scenario.active
    table = read_table(bank.table, bank.id, bank.label)
    if story.duplicates:
        assert scenario.psi.duplicates == "first"
        with pytest.raises(UsageError, match="12 rows repeat"):
            usable(table.ids, scenario.psi.id_rule)
    else:
        assert usable(table.ids, scenario.psi.id_rule).report.duplicates == 0


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    whole = materialise("pos-loan", tmp_path / "whole").parent
    again = materialise("pos-loan", tmp_path / "deep" / "again").parent
    part = materialise("pos-loan", tmp_path / "part", ["telecom", "bank"]).parent
    assert sorted(path.name for path in whole.iterdir()) == [
        "bank.csv", "bureau.csv", "payroll.csv", "scenario.toml", "telecom.parquet",
    ]  # fmt: skip
    for path in whole.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    assert sorted(path.name for path in part.iterdir()) == ["bank.csv", "scenario.toml", "telecom.parquet"]
    for name in ("bank.csv", "telecom.parquet"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()
    assert [party.name for party in load_scenario(part / "scenario.toml").parties] == ["bank", "telecom"]


def test_the_scenario_file_is_in_the_users_format(story: Story, folder: Path) -> None:
    scenario = load_scenario(folder / "scenario.toml")
    assert scenario.name == story.name
    assert scenario.active.label == "default"
    for name, value in story.model.items():
        assert getattr(scenario.model, name) == value
    assert (scenario.holdout.fraction, scenario.holdout.seed) == (0.3, 5)
    for part in story.parts:
        party = scenario.party(part.name)
        assert party.features == (tuple(part.features) if part.kept_out else None)
        table = read_table(party.table, party.id, party.label, party.features)
        assert list(table.columns) == part.features


def test_protected_attributes_are_in_the_tables_but_not_in_the_models() -> None:
    assert pos_loan.STORY.parts[2].kept_out == ("marital",)
    assert card_limit.STORY.parts[0].kept_out == ("sex", "marriage")
    assert "in its table, not in the model: sex, marriage" in describe("card-limit")


def test_names_and_mistakes(tmp_path: Path) -> None:
    assert scenario_names() == ["pos-loan", "card-limit", "thin-file", "cheating-partner", "consortium"]
    for name in scenario_names():
        assert name in describe(name)
        assert "bank (holds the label)" in describe(name)
    with pytest.raises(UsageError, match="'pos-laon'") as caught:
        materialise("pos-laon", tmp_path)
    assert "'pos-loan'" in caught.value.remedy
    with pytest.raises(UsageError, match="'telcom'") as caught:
        materialise("pos-loan", tmp_path, ["bank", "telcom"])
    assert "'telecom'" in caught.value.remedy
    for parties in (["telecom"], ["bank"], []):
        with pytest.raises(UsageError, match="'bank', which holds the label") as caught:
            materialise("pos-loan", tmp_path, parties)
        assert "bureau, telecom, payroll" in caught.value.remedy
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written") as caught:
        materialise("pos-loan", tmp_path / "file")
    assert "folder" in caught.value.remedy
