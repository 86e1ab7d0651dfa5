"""`thin-file`: young people only, and partners who know part of them since lately."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scenarios import materialise, thin_file
from scenarios.split import party_rows, read_source
from vfl.config import load_scenario
from vfl.table import read_table

STORY = thin_file.STORY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materialise("thin-file", tmp_path_factory.mktemp("thin")).parent


def test_only_young_people() -> None:
    source = read_source(STORY)
    ages = [float(age) for age in source["AGE"]]
    assert len(ages) == 3871
    assert max(ages) == 25
    assert {len(cells) for cells in source.values()} == {3871}


@pytest.mark.parametrize("name", ["wallet", "bureau"])
def test_partners_know_part_of_them_and_of_many_only_the_last_months(folder: Path, name: str) -> None:
    part = next(part for part in STORY.parts if part.name == name)
    party = load_scenario(folder / "scenario.toml").party(name)
    table = read_table(party.table, party.id)
    missing = np.isnan(np.column_stack([table.columns[column] for column in part.columns]))
    assert not missing[:, 0].any()
    # Once a month is missing, all before it are: columns go back in time.
    assert np.array_equal(missing, np.maximum.accumulate(missing, axis=1))
    known = round(part.coverage * 3871)
    assert abs(missing.any(axis=1).sum() / known - part.thin) < 0.05
    assert len(table.ids) == known + round(part.others * 3871)


def test_the_same_rows_every_time() -> None:
    source = read_source(STORY)
    assert party_rows(STORY, STORY.parts[1], source) == party_rows(STORY, STORY.parts[1], read_source(STORY))
