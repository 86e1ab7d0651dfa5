"""serving.toml: each value out of place is refused by file, table, key and value; and every key is told to people."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from vfl.errors import UsageError
from vfl.scoring import policy
from vfl.scoring.grading import Grades, best_cut_off, points_of
from vfl.scoring.policy import DecisionRules, ModelRules, PartnerRules, RecordRules, ServingPolicy

ALL = """\
[decision]
cut_off = 0.25
refer_from = 0.2
pdo = 40
base_score = 500.0
base_odds = 20.0
bands = 5
[partners]
deadline_ms = 250
absent = "refuse"
unknown = "refuse"
breaker_failures = 3
breaker_seconds = 2
scores_per_day = 1000
masked = true
[record]
volume_entries = 100
checkpoint_seconds = 9
[models]
shadow = true
shadow_waiting = 7
"""
TABLES = {"decision": DecisionRules, "partners": PartnerRules, "record": RecordRules, "models": ModelRules}
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "serving.md"


def read(folder: Path, text: str) -> ServingPolicy:
    (folder / "serving.toml").write_text(text)
    return ServingPolicy.read(folder / "serving.toml")


def test_every_key_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, ALL) == ServingPolicy(
        DecisionRules(0.25, 0.2, 40.0, 500.0, 20.0, 5),
        PartnerRules(250, "refuse", "refuse", 3, 2, 1000, True),
        RecordRules(100, 9),
        ModelRules(True, 7),
    )
    told = {(name, field.name) for name, kind in TABLES.items() for field in fields(kind)}
    written = {(table, key) for table, body in sections(ALL) for key in re.findall(r"^(\w+) =", body, re.MULTILINE)}
    assert written == told


def sections(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^\s*\[(\w+)\]\n(.*?)(?=^\s*\[|\Z)", text, re.DOTALL | re.MULTILINE)


def test_what_is_not_there_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, "") == ServingPolicy()


@pytest.mark.parametrize("place", ["the module", "the guide"])
def test_every_key_is_in_the_text_with_its_default(place: str) -> None:
    text = str(policy.__doc__) if place == "the module" else GUIDE.read_text(encoding="utf-8")
    for table, kind in TABLES.items():
        assert f"[{table}]" in text
        for field in fields(kind):
            found = re.search(rf'^\s*#?\s*{field.name} = ("[^"]*"|\S+)', text, re.MULTILINE)
            assert found, field.name
            default = getattr(kind(), field.name)
            shown = found[1].strip('"').replace("true", "True").replace("false", "False")
            assert default is None or type(default)(eval(shown) if not isinstance(default, str) else shown) == default


WRONG = {
    "decision": {
        "cut_off": ['"0.2"', "true", "-0.1", "1.5", "nan", "inf", "[0.2]"],
        "refer_from": ['"0.2"', "true", "-0.1", "1.5", "nan"],
        "pdo": ['"20"', "false", "0", "-20", "inf", "nan"],
        "base_score": ['"600"', "true", "1e9", "nan"],
        "base_odds": ['"50"', "true", "0", "-1", "inf"],
        "bands": ['"10"', "true", "0", "27", "2.5"],
    },
    "partners": {
        "deadline_ms": ['"500"', "true", "0", "-1", "60001", "0.5"],
        "absent": ["true", "1", '"standin"', '""'],
        "unknown": ["true", "1", '"guess"', '""'],
        "breaker_failures": ['"5"', "true", "0", "1001", "1.5"],
        "breaker_seconds": ['"5"', "true", "0", "3601", "1.5"],
        "scores_per_day": ['"5"', "true", "-1", "1.5"],
        "masked": ["1", '"true"', "[]"],
    },
    "record": {
        "volume_entries": ['"10"', "true", "9", "1000001", "50.0"],
        "checkpoint_seconds": ['"5"', "true", "0", "3601", "1.5"],
    },
    "models": {
        "shadow": ["1", '"true"', "[]"],
        "shadow_waiting": ['"5"', "true", "0", "1000001", "1.5"],
    },
}
CASES = [(table, key, value) for table, keys in WRONG.items() for key, values in keys.items() for value in values]


def test_every_key_has_wrong_values_here() -> None:
    assert {(table, key) for table, key, _ in CASES} == {
        (t, f.name) for t, kind in TABLES.items() for f in fields(kind)
    }


@pytest.mark.parametrize(("table", "key", "value"), CASES, ids=[f"{t}.{k}={v}" for t, k, v in CASES])
def test_a_value_out_of_place_is_refused(tmp_path: Path, table: str, key: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"[{table}]\n{key} = {value}\n")
    said = str(caught.value)
    assert "serving.toml" in said
    assert f"[{table}] {key} is" in said
    assert shown_value(value) in said
    assert caught.value.remedy


def shown_value(value: str) -> str:
    return f"{tomllib.loads(f'x = {value}')['x']}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[partner]\n", "unknown table 'partner'"),
        ("[partners]\ndeadline = 5\n", "unknown key 'deadline'"),
        ("[decision]\nrefer_from = 0.3\ncut_off = 0.2\n", r"\[decision\] refer_from is 0.3, above cut_off = 0.2"),
        ("partners = 5\n", "partners is a whole number, not a table"),
        ("[partners\n", "is not TOML"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        ServingPolicy.read(tmp_path / "serving.toml")
    (tmp_path / "serving.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        ServingPolicy.read(tmp_path / "serving.toml")


# -- grades -----------------------------------------------------------------------------------------------------------

PD = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.9])
BAD = np.array([0, 0, 0, 0, 0, 1, 0, 1, 1, 1])


def grades(**rules: float) -> Grades:
    return Grades.of(DecisionRules(**rules), PD, None, BAD)  # type: ignore[arg-type]


def test_points_follow_the_odds() -> None:
    """So many points double the odds; base_score stands at base_odds."""
    scaling = grades().scaling
    assert points_of(scaling, np.array([1 / 51, 1 / 101, 1 / 26])).tolist() == [600, 620, 580]
    assert np.isfinite(points_of(scaling, np.array([0.0, 1.0]))).all()


def test_the_cut_off_is_where_ks_is_greatest() -> None:
    assert best_cut_off(BAD, PD) == 0.2
    assert grades().cut_off == 0.2
    assert best_cut_off(np.zeros(10), PD) == best_cut_off(BAD[:0], PD[:0]) == best_cut_off(BAD, np.full(10, 0.3)) == 0.5


def test_at_the_cut_off_nobody_is_declined_and_between_the_two_a_person_looks() -> None:
    found = grades(cut_off=0.3, refer_from=0.2)
    outcomes = [found.outcome(pd) for pd in (0.1, 0.2, 0.3, 0.3000001)]
    assert outcomes == ["approve", "refer", "refer", "decline"]
    assert [grades(cut_off=0.3).outcome(pd) for pd in (0.3, 0.31)] == ["approve", "decline"]


def test_bands_have_equal_shares_and_a_is_the_safest() -> None:
    found = grades(bands=5)
    bands = [found.band(points) for points in points_of(found.scaling, PD).tolist()]
    assert "".join(bands) == "AABBCCDDEE"
    assert (found.band(10_000), found.band(-10_000)) == ("A", "E")
    assert grades(bands=1).band(0) == "A"


def test_a_referral_above_the_cut_off_of_the_hold_out_is_refused() -> None:
    with pytest.raises(UsageError, match=r"refer_from = 0.4 .* above the cut-off of the hold-out"):
        grades(refer_from=0.4)
