"""Charts stay inside their frame and say in words what they show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from board_kit import Hands, made, points_of

from vfl.board import charts
from vfl.board.charts import HEIGHT, SCORE_BINS, WIDTH, band_bars, nice
from vfl.board.observed import Observed
from vfl.wording import Wording

SAY = Wording("vfl.board", "en")


def look(count: int, reference: bool = True, **fields: object) -> dict[str, object]:
    hands = Hands()
    observed = Observed(hands, [points_of(0.02 + n / 2000) for n in range(500)] if reference else ())
    for n in range(count):
        observed.add(made(0.02 + (n % 500) / 2000, degraded=n % 7 == 0, **fields), 0.001 * (1 + n % 5) ** 3)
        hands.forward(seconds=20)
    return observed.look()


@pytest.mark.parametrize("count", [0, 1, 199, 200, 1000])
@pytest.mark.parametrize("reference", [True, False])
def test_everything_is_inside_the_frame(count: int, reference: bool) -> None:
    for chart in charts.charts(look(count, reference), SAY):
        assert chart.said
        for x, y, width, height, _ in chart.bars:
            assert 0 <= x <= x + width <= WIDTH
            assert 0 <= y <= y + height <= HEIGHT
            assert width > 0
            assert height >= 0
        for d, _ in chart.paths:
            numbers = [float(number) for number in re.findall(r"[\d.]+", d)]
            assert all(0 <= number <= WIDTH for number in numbers)
        for x, y, _, _ in chart.words:
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_bars_are_as_high_as_their_counts() -> None:
    body = look(9)
    chart = charts.volume(body, SAY)
    bars = [bar for bar in chart.bars if bar[4] == "bar"]
    assert [minute["count"] for minute in body["minutes"] if minute["count"]] == [3, 3, 3]
    assert [height for _, _, _, height, _ in bars] == [pytest.approx(90 * 3 / 5)] * 3
    assert chart.headline == "9"
    assert "22.2%" in chart.said


def test_shares_of_scores_sum_to_one_whatever_the_range() -> None:
    for counts in ({600: 5}, {-5000: 1, 5000: 1}, dict.fromkeys(range(400, 800), 1)):
        low, wide = charts._bins(min(counts), max(counts))
        assert low <= min(counts)
        assert max(counts) < low + wide * SCORE_BINS
        assert sum(charts._shares(counts, low, wide)) == pytest.approx(1)


def test_a_gap_in_a_line_is_a_gap_and_a_lone_point_a_dot() -> None:
    chart = charts.Chart("x", "", "", "")
    charts._line(chart, [0, 1, 2, 3, 4], [1.0, None, 1.0, 1.0, None], 1.0, "line")
    assert chart.paths == [("M0 8.0M2 8.0L3 8.0", "line")]
    assert chart.dots == [(0, 8.0, "dot")]


@pytest.mark.parametrize(("value", "wanted"), [(1, 1), (1.1, 2), (3, 5), (5, 5), (51, 100), (0.03, 0.05)])
def test_nice(value: float, wanted: float) -> None:
    assert nice(value) == pytest.approx(wanted)


def test_bands_fill_the_bar_in_the_order_of_the_policy() -> None:
    body = {"day": {"bands": {"B": 1, "A": 2, "Z": 1}}}
    bars = band_bars(body, [("A", "approve"), ("B", "refer"), ("C", "decline")])
    assert [bar.said for bar in bars] == ["A 50.0%", "B 25.0%", "Z 25.0%"]
    assert [bar.look for bar in bars] == ["approve", "refer", "bar"]
    assert [bar.x for bar in bars] == [0, 300, 450]
    assert band_bars({"day": {"bands": {}}}, [("A", "approve")]) == []


def test_the_icon_is_svg() -> None:
    from importlib.resources import files

    ElementTree.fromstring(files("vfl.board").joinpath("static/icon.svg").read_text())
