"""The live charts: where their bars, lines and words stand. The template `charts.html.j2` draws them as SVG.

A chart is 320 x 116 units. Colours are classes of the style sheet, so that light and dark need no second drawing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vfl.wording import Wording

WIDTH, HEIGHT = 320.0, 116.0
LEFT, RIGHT, TOP, BOTTOM = 34.0, 316.0, 8.0, 98.0
SCORE_BINS = 28


@dataclass
class Chart:
    """headline, beside: the two figures above.   said: what the chart shows, for whoever does not see it.

    bars: x, y, width, height, class.   rules: y, class, across the chart.   lines: x1, y1, x2, y2, class.
    paths: `d`, class.   dots: x, y, class.   words: x, y, anchor, text.   key: class, text.
    """

    name: str
    headline: str
    beside: str
    said: str
    bars: list[tuple[float, float, float, float, str]] = field(default_factory=list)
    rules: list[tuple[float, str]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    dots: list[tuple[float, float, str]] = field(default_factory=list)
    words: list[tuple[float, float, str, str]] = field(default_factory=list)
    key: list[tuple[str, str]] = field(default_factory=list)

    def rule(self, y: float, text: str, look: str = "grid") -> None:
        """A line across the chart with its value to the left."""
        self.rules.append((_round(y), look))
        self.words.append((LEFT - 5, _round(y + 3), "end", text))

    def below(self, *texts: str) -> None:
        """Words below the chart, evenly from its left to its right."""
        last = len(texts) - 1
        for place, text in enumerate(texts):
            anchor = "start" if place == 0 else "end" if place == last else "middle"
            self.words.append((_round(LEFT + (RIGHT - LEFT) * place / last), HEIGHT - 4, anchor, text))


def charts(look: Mapping[str, Any], say: Wording) -> list[Chart]:
    """All four, of what `Observed.look` gives."""
    return [volume(look, say), latency(look, say), scores(look, say), drift(look, say)]


def volume(look: Mapping[str, Any], say: Wording) -> Chart:
    """Decisions of each minute, those of the stand-in marked."""
    minutes, hour = look["minutes"], look["hour"]
    share = hour["degraded"] / hour["count"] if hour["count"] else 0.0
    headline, beside = f"{hour['count']:,}", say("charts.degraded", share=f"{share:.1%}")
    chart = Chart("volume", headline, beside, say("charts.volume_said", count=headline, share=f"{share:.1%}"))
    top = nice(max(1, *(minute["count"] for minute in minutes)))
    chart.rule(BOTTOM, "0", "base")
    chart.rule(TOP, f"{top:,.0f}")
    step = (RIGHT - LEFT) / len(minutes)
    for place, minute in enumerate(minutes):
        x, y = LEFT + step * place, _y(minute["count"], top)
        if minute["count"]:
            chart.bars.append((_round(x), y, _round(step - 0.9), _round(BOTTOM - y), "bar"))
        if minute["degraded"]:
            high = _y(minute["degraded"], top)
            chart.bars.append((_round(x), high, _round(step - 0.9), _round(BOTTOM - high), "bar warn"))
    chart.below(say("charts.ago", minutes=60), say("charts.ago", minutes=30), say("charts.now"))
    chart.key = [("bar", say("charts.joint")), ("bar warn", say("charts.standin"))]
    return chart


def latency(look: Mapping[str, Any], say: Wording) -> Chart:
    """Half and 99 % of the answers of each minute came within so many ms; the scale is logarithmic."""
    minutes, hour = look["minutes"], look["hour"]
    headline, high = _ms(hour["p50_ms"]), _ms(hour["p99_ms"])
    chart = Chart("latency", headline, f"p99 {high}", say("charts.latency_said", half=headline, most=high))
    known = [minute[name] for minute in minutes for name in ("p50_ms", "p99_ms") if minute[name]]
    low, top = math.floor(math.log10(min(known, default=1.0))), math.ceil(math.log10(max(known, default=10.0)))
    top = max(top, low + 1)
    for power in range(low, top + 1):
        chart.rule(_y(power - low, top - low), _ms(10.0**power), "grid" if power > low else "base")
    step = (RIGHT - LEFT) / len(minutes)
    for name, look_of in (("p99_ms", "line second"), ("p50_ms", "line")):
        levels = [minute[name] and math.log10(minute[name]) - low for minute in minutes]
        _line(chart, [LEFT + step * (n + 0.5) for n in range(len(minutes))], levels, top - low, look_of)
    chart.below(say("charts.ago", minutes=60), say("charts.ago", minutes=30), say("charts.now"))
    chart.key = [("line", "p50"), ("line second", "p99")]
    return chart


def scores(look: Mapping[str, Any], say: Wording) -> Chart:
    """How points are spread today, and how they were in the reference."""
    day = {int(points): count for points, count in look["day"]["points"].items()}
    base = {int(points): count for points, count in look["reference"].items()}
    headline = say("charts.points", points=_quantile(day, 0.5)) if day else "-"
    count = f"{look['day']['count']:,}"
    said = say("charts.scores_said", median=headline, count=count)
    chart = Chart("scores", headline, say("charts.of_day", count=count), said)
    chart.rule(BOTTOM, "", "base")
    if not (day or base):
        chart.below(say("charts.nothing"), "")
        return chart
    inner = [_quantile(counts, share) for counts in (day, base) if counts for share in (0.002, 0.998)]
    low, wide = _bins(min(inner), max(inner))
    today, before = _shares(day, low, wide), _shares(base, low, wide)
    top, step = max(*today, *before) * 1.08, (RIGHT - LEFT) / SCORE_BINS
    for place, share in enumerate(today):
        if share:
            y = _y(share, top)
            chart.bars.append((_round(LEFT + step * place), y, _round(step - 1), _round(BOTTOM - y), "bar"))
    if base:
        outline = [f"{'M' if n == 0 else 'V'}{_at(n, step, share, top)}" for n, share in enumerate(before)]
        chart.paths.append(("".join(outline), "line second"))
    chart.below(*(f"{low + wide * SCORE_BINS * quarter // 4:,}" for quarter in range(5)))
    chart.key = [("bar", say("charts.today")), *([("line second", say("charts.reference"))] if base else [])]
    return chart


def drift(look: Mapping[str, Any], say: Wording) -> Chart:
    """The stability index of each day that ended within the last one, with the two bounds in use."""
    found = look["stability"]
    if found is None:
        return Chart("drift", "-", say("charts.no_reference"), say("charts.no_reference"))
    psi, steps = found["psi"], found["steps"]
    if psi is None:
        headline, beside = "-", say("charts.too_few", least=found["least"])
    else:
        headline, beside = f"{psi:.3f}", say(f"charts.{found['band']}")
    chart = Chart("drift", headline, beside, say("charts.drift_said", psi=headline, word=beside))
    top = 1.1 * max(found["unstable"] * 1.1, *(step or 0.0 for step in steps))
    chart.rule(BOTTOM, "0", "base")
    chart.rule(_y(found["shifted"], top), f"{found['shifted']:g}", "bound")
    chart.rule(_y(found["unstable"], top), f"{found['unstable']:g}", "bound bad")
    step = (RIGHT - LEFT - 4) / (len(steps) - 1)
    places = [LEFT + step * n for n in range(len(steps))]
    _line(chart, places, steps, top, "line")
    if psi is not None:
        chart.dots.append((_round(places[-1]), _y(psi, top), "dot"))
    chart.below(say("charts.hours_ago", hours=24), say("charts.hours_ago", hours=12), say("charts.now"))
    return chart


@dataclass(frozen=True)
class BandBar:
    """A band's part of a bar of 600 units. `said`: its name and share; `look`: the class of what is decided."""

    said: str
    look: str
    x: float
    width: float


def band_bars(look: Mapping[str, Any], bands: Sequence[tuple[str, str]]) -> list[BandBar]:
    """The day's decisions by band, side by side. bands: name and decision of those that are known, the safest first."""
    counts, known = look["day"]["bands"], dict(bands)
    total, x, made = sum(counts.values()), 0.0, []
    for name in [*known, *(other for other in counts if other not in known)]:
        if share := counts.get(name, 0) / total if total else 0.0:
            made.append(BandBar(f"{name} {share:.1%}", known.get(name, "bar"), _round(x), _round(600 * share - 1.2)))
            x += 600 * share
    return made


def nice(value: float) -> float:
    """The first of 1, 2, 5, 10, 20 .. that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _line(chart: Chart, places: Sequence[float], levels: Sequence[float | None], top: float, look: str) -> None:
    """A line through the known levels, broken where one is not known; a lone one is a dot."""
    path: list[str] = []
    for n, (x, level) in enumerate(zip(places, levels, strict=True)):
        if level is None:
            continue
        begins = n == 0 or levels[n - 1] is None
        if begins and (n + 1 == len(levels) or levels[n + 1] is None):
            chart.dots.append((_round(x), _y(level, top), look.replace("line", "dot")))
        path.append(f"{'M' if begins else 'L'}{_round(x)} {_y(level, top)}")
    if path:
        chart.paths.append(("".join(path), look))


def _y(value: float, top: float) -> float:
    return _round(BOTTOM - (BOTTOM - TOP) * value / top)


def _round(value: float) -> float:
    return round(value, 1)


def _at(n: int, step: float, share: float, top: float) -> str:
    """A stair of an outline: up or down at the left of bin n, then along it."""
    y = _y(share, top)
    return f"{_round(LEFT)} {y}H{_round(LEFT + step)}" if n == 0 else f"{y}H{_round(LEFT + step * (n + 1))}"


def _bins(first: int, last: int) -> tuple[int, int]:
    """Lowest point and width of SCORE_BINS bins from `first` to `last`: a round width, centred."""
    wide = 1
    while last >= (low := first // wide * wide) + wide * SCORE_BINS:
        wide = int(nice(wide + 1))
    spare = (low + wide * SCORE_BINS - 1 - last) // wide
    return low - spare // 2 * wide, wide


def _shares(counts: Mapping[int, int], low: int, wide: int) -> list[float]:
    """Of each bin; what lies beyond the bins is counted in the first and the last."""
    found = [0.0] * SCORE_BINS
    total = sum(counts.values())
    for points, count in counts.items():
        found[max(0, min(SCORE_BINS - 1, (points - low) // wide))] += count / total
    return found


def _quantile(counts: Mapping[int, int], share: float) -> int:
    """The first value that `share` of them do not exceed."""
    wanted, seen = share * sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    raise ValueError("nothing was counted")


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
