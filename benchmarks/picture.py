"""A picture of growth as plain SVG: one panel for each thing that grows, three points and the fitted line for each
cost. No library: the file is the same bytes wherever it is drawn, so that a test can compare it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, COLUMNS = 300, 220, 3  # of a panel, and panels in a row
LEFT, RIGHT, TOP, BOTTOM = 52, 28, 34, 40  # around the plot within its panel
SERIES: Mapping[str, tuple[str, str, int]] = {
    "cpu_seconds_per_tree": ("CPU-seconds a tree", "#1f5fa8", 4),
    "hint_cpu_seconds": ("CPU-seconds for bins and hint", "#c05000", 0),
}
"""By cost: in words, colour, and how round its marks are."""
_STYLE = "font-family: Helvetica, Arial, sans-serif; font-size: 12px"


def draw(growth: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The picture of a run of `growth`. `titles`: the panels, by axis."""
    panels = [
        _panel(titles[axis], growth["axes"][axis], growth["points"], *divmod(number, COLUMNS)[::-1])
        for number, axis in enumerate(titles)
    ]
    rows = -(-(len(panels) + 1) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="Cost of training by {", ".join(titles.values())}" style="{_STYLE}">'
    )
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    legend = _legend(*divmod(len(panels), COLUMNS)[::-1])
    return "\n".join([head, background, *panels, legend, "</svg>"]) + "\n"


def _panel(title: str, axis: Mapping[str, Any], points: Mapping[str, Any], column: int, row: int) -> str:
    sizes = axis["sizes"]
    costs = {name: [points[command][name] for command in axis["commands"]] for name in SERIES}
    most = max(max(values) for values in costs.values()) or 1.0
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(size: float, cost: float) -> tuple[float, float]:
        """Both axes begin at 0."""
        return LEFT + size / sizes[-1] * (right - LEFT), low - cost / most * (low - TOP)

    lines = [
        f'<g transform="translate({column * WIDTH} {row * HEIGHT})">',
        _text(LEFT, TOP - 14, title, "start", bold=True),
        f'<path d="M{LEFT} {TOP}V{low}H{right}" fill="none" stroke="#555555"/>',
        _text(LEFT - 6, low + 4, "0", "end"),
        _text(LEFT - 6, TOP + 4, f"{most:.3g}", "end"),
    ]
    lines += [_text(place(size, 0)[0], low + 18, f"{size:,}", "middle") for size in sizes]
    for name, (_, colour, round_by) in SERIES.items():
        fit = axis["fits"][name]
        ends = [place(size, max(0.0, fit["a"] + fit["b"] * size)) for size in (sizes[0], sizes[-1])]
        lines.append(_line(ends, colour))
        lines += [_mark(*place(size, cost), colour, round_by) for size, cost in zip(sizes, costs[name], strict=True)]
    return "\n".join([*lines, "</g>"])


def _legend(column: int, row: int) -> str:
    lines = [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">']
    for number, (about, colour, round_by) in enumerate(SERIES.values()):
        high = TOP + 24 * number
        lines += [_mark(LEFT, high, colour, round_by), _text(LEFT + 12, high + 4, about, "start")]
    lines.append(_text(LEFT, TOP + 24 * len(SERIES) + 4, "lines: a + b x by least squares", "start"))
    return "\n".join([*lines, "</g>"])


def _text(x: float, y: float, words: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222"{weight}>{words}</text>'


def _line(ends: Sequence[tuple[float, float]], colour: str) -> str:
    (x1, y1), (x2, y2) = ends
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5"/>'


def _mark(x: float, y: float, colour: str, round_by: int) -> str:
    return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" rx="{round_by}" fill="{colour}"/>'
