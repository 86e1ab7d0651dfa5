"""The benchmarks page is what the figures say, every figure has its command, and every command exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import page, picture, suite
from benchmarks.__main__ import main, parser_of

ROOT = Path(__file__).resolve().parent.parent
FIGURES: dict[str, Any] = json.loads((ROOT / suite.FILE).read_text("utf-8"))
PAGE = (ROOT / page.PAGE).read_text("utf-8")
PICTURE = (ROOT / page.PICTURE).read_text("utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def commands(text: str) -> list[str]:
    return re.findall(r"python -m benchmarks [^`\n]*", text)


def parses(command: str) -> bool:
    words = shlex.split(command)[3:]
    return words[0] in ("all", "page") or bool(parser_of(words[0]).parse_args(words[1:]))


# ---- the page in the repository --------------------------------------------------------------------------------------


def test_page_and_picture_are_what_the_figures_say() -> None:
    assert page.page(FIGURES) == PAGE, "run `python -m benchmarks page`"
    assert page.picture(FIGURES) == PICTURE, "run `python -m benchmarks page`"


def test_every_command_on_the_page_exists_and_has_its_figures() -> None:
    found = commands(PAGE)
    growth = next(run for run in FIGURES["runs"] if run["name"] == "growth")
    assert set(found) == {*(run["command"] for run in FIGURES["runs"]), *growth["points"]}
    assert len(growth["points"]) == 11
    for command in found:
        assert parses(command), command
        assert command.endswith(" --json")


def test_every_row_of_our_own_figures_ends_with_a_command_that_gave_them() -> None:
    tables = PAGE[: PAGE.index("## Other systems")]
    rows = [line for line in tables.splitlines() if line.startswith("| ") and "---" not in line]
    headless = [line for line in rows if not line.endswith(" command |")]
    fits = [line for line in headless if line.count("|") == 6 and "`" not in line]
    assert fits[0] == "| what grows | cost | at these sizes | a + b x | exponent |"
    assert len(fits) == 1 + len(page.AXES) * len(page.COSTS), "which are all by the command named above them"
    for line in headless:
        assert line in fits or re.search(r"\| `python -m benchmarks [^`]+` \|$", line), line


def test_the_figures_are_those_of_the_suite_in_its_order() -> None:
    scale = next(run["options"]["scale"] for run in FIGURES["runs"] if run["name"] == "growth")
    assert [run["command"] for run in FIGURES["runs"]] == [suite.command(case, scale) for case in suite.CASES]
    for run in FIGURES["runs"]:
        given = vars(parser_of(run["name"]).parse_args(shlex.split(run["command"])[4:]))
        assert all(run["options"][key] == value for key, value in given.items() if key != "json" and value is not None)


def test_another_figure_is_another_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = json.loads(json.dumps(FIGURES))
    run = next(run for run in changed["runs"] if run["name"] == "train")
    run["cpu_seconds_per_tree"] = 123.4
    (tmp_path / "figures.json").write_text(json.dumps(changed), encoding="utf-8")
    words = ["page", "--figures", str(tmp_path / "figures.json"), "--out", str(tmp_path)]
    assert main([*words, "--check"]) == 1
    assert not (tmp_path / page.PAGE).exists()
    assert main(words) == 0
    written = (tmp_path / page.PAGE).read_text("utf-8")
    assert "| 123 |" in written
    assert written != PAGE
    assert (tmp_path / page.PICTURE).read_text("utf-8") == PICTURE
    assert main([*words, "--check"]) == 0
    assert capsys.readouterr().out.count("stale") == 2
    assert main(["page", "--figures", str(ROOT / suite.FILE), "--out", str(ROOT), "--check"]) == 0


def test_a_benchmark_without_a_table_of_its_own_shows_its_figures() -> None:
    run = {"name": "sorting", "command": "python -m benchmarks sorting --json", "options": {"rows": 5}, "auc": None,
           "cpu_seconds": {"active": 1.5, "passive": None}, "rows_per_second": 1234, "within_limits": True}  # fmt: skip
    shown = page.page({**FIGURES, "runs": [run]})
    section = shown[shown.index("## Sorting") : shown.index("## Other systems")]
    assert section.splitlines()[4:6] == [
        "| cpu seconds active | 1.5 | `python -m benchmarks sorting --json` |",
        "| rows per second | 1,234 | `python -m benchmarks sorting --json` |",
    ]
    assert "5" not in section.replace("1.5", "")


def test_no_growth_no_picture() -> None:
    with pytest.raises(ValueError, match="no run of `growth`"):
        page.picture({**FIGURES, "runs": []})


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (12345.6, "12,346"), (99.96, "100"), (0.012345, "0.0123"), (1e-6, "1.00e-06")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert page._number(value) == shown


def test_a_falling_line_has_a_minus() -> None:
    assert page._line(2.0, -0.5) == "2 - 0.5 x"
    assert page._line(0.0, 0.5) == "0 + 0.5 x"


def test_several_passive_parties_are_counted() -> None:
    options = {"rows": 1000, "active_features": 3, "passive_features": 4, "bins": 8, "depth": 2, "trees": 1}
    assert page.workload({**options, "parties": 2}) == "1,000 rows, 3 + 2 x 4 features, 8 bins, depth 2, 1 tree"


# ---- the picture -----------------------------------------------------------------------------------------------------


def test_the_picture_has_every_point_within_its_panel() -> None:
    root = ElementTree.fromstring(PICTURE)
    panels = root.findall(f"{SVG}g")
    assert len(panels) == len(page.AXES) + 1
    for panel in panels[:-1]:
        marks = [(float(mark.get("x", 0)) + 4, float(mark.get("y", 0)) + 4) for mark in panel.findall(f"{SVG}rect")]
        assert len(marks) == 3 * len(picture.SERIES)
        assert len(panel.findall(f"{SVG}line")) == len(picture.SERIES)
        for x, y in marks:
            assert picture.LEFT < x <= picture.WIDTH - picture.RIGHT
            assert picture.TOP <= y <= picture.HEIGHT - picture.BOTTOM
        assert min(y for _, y in marks) == picture.TOP, "the highest point is at the top"
    assert re.findall(r"https?://[^\s\"]+", PICTURE) == ["http://www.w3.org/2000/svg"]


def test_points_are_where_the_figures_are() -> None:
    growth = {
        "points": {str(n): {"cpu_seconds_per_tree": n, "hint_cpu_seconds": 8 - n} for n in (1, 2, 4)},
        "axes": {"rows": {"sizes": [1, 2, 4], "commands": ["1", "2", "4"],
                          "fits": {key: {"a": 0.0, "b": 1.0} for key in picture.SERIES}}},
    }  # fmt: skip
    found = ElementTree.fromstring(picture.draw(growth, {"rows": "rows"})).find(f"{SVG}g")
    assert found is not None
    marks = [(float(mark.get("x", 0)) + 4, float(mark.get("y", 0)) + 4) for mark in found.findall(f"{SVG}rect")]
    wide = picture.WIDTH - picture.LEFT - picture.RIGHT
    high = picture.HEIGHT - picture.TOP - picture.BOTTOM
    places = [((x - picture.LEFT) / wide * 4, (picture.HEIGHT - picture.BOTTOM - y) / high * 7) for x, y in marks]
    for place, wanted in zip(places, [(1, 1), (2, 2), (4, 4), (1, 7), (2, 6), (4, 4)], strict=True):
        assert place == pytest.approx(wanted, abs=0.01)


# ---- the suite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that the suite runs; none is."""
    found: list[str] = []

    def measured(command: str) -> dict[str, Any] | None:
        found.append(command)
        if "ledger" in command:
            return None
        return {"name": command.split()[3], "number": len(found), "within_limits": "kkrt" not in command}

    monkeypatch.setattr(suite, "measured", measured)
    return found


def kept(path: Path) -> dict[str, int]:
    return {run["command"]: run["number"] for run in json.loads(path.read_text("utf-8"))["runs"]}


def test_the_suite_keeps_what_it_got(asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    assert main(["all", "--out", str(out)]) == 1, "the ledger gave no figures"
    assert asked == [f"python -m benchmarks {case} --json" for case in suite.CASES]
    first = kept(out)
    assert list(first) == [command for command in asked if "ledger" not in command]
    asked.clear()
    assert main(["all", "--out", str(out), "--only", "kkrt"]) == 0
    assert len(asked) == 1
    assert kept(out) == {**first, asked[0]: 1}
    assert list(kept(out)) == list(first)
    assert main(["all", "--out", str(out), "--only", "nothing like it"]) == 1
    assert "above its limit" in capsys.readouterr().err
    machine = json.loads(out.read_text("utf-8"))["machine"]
    assert machine["cores"] > 0
    assert machine["processor"]


def test_the_suite_in_small(asked: list[str], tmp_path: Path) -> None:
    main(["all", "--out", str(tmp_path / "figures.json"), "--scale", "0.001"])
    assert asked[2].startswith("python -m benchmarks train --rows 1000 --active-features 10 ")
    assert "psi --ids 1049 --engine kkrt" in " ".join(asked)
    assert asked[-1] == "python -m benchmarks growth --scale 0.001 --json"
    assert all(parses(command) for command in asked)


def test_a_command_gives_its_figures_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = suite.measured("python -m benchmarks ledger --entries 5 --batches 5 --json")
    assert found is not None
    assert found["verdict"] == "valid"
    assert suite.measured("python -m benchmarks ledger --entries x") is None
    assert "exit code 2" in capsys.readouterr().err


def test_make_bench_runs_commands_that_exist() -> None:
    recipe = re.search(r"^bench:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert recipe is not None
    found = [line.split("$(BIN)/")[1] for line in recipe[1].splitlines()]
    assert [command.split()[3] for command in found] == ["all", "page"]
    suite.parser().parse_args(shlex.split(found[0])[4:])
