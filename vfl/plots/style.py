"""How all pictures look: one font, few lines, colours that colour-blind readers tell apart, titles that say
what was found.

Colours are those of M. Okabe and K. Ito, Color Universal Design, 2008. The pooled model is a broad grey line below the
others, since the joint model's often lies exactly on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

INK, FAINT = "#222222", "#767676"
GOOD, BAD = "#009E73", "#D55E00"
COLOURS = {"federated": "#0072B2", "bank_only": "#D55E00", "pooled_lightgbm": "#BBBBBB"}
LINES: dict[str, dict[str, Any]] = {
    "federated": {"color": COLOURS["federated"], "linewidth": 2.0, "zorder": 4},
    "bank_only": {"color": COLOURS["bank_only"], "linewidth": 2.0, "zorder": 3},
    "pooled_lightgbm": {"color": COLOURS["pooled_lightgbm"], "linewidth": 6.0, "zorder": 2},
}
"""How each model's line is drawn."""
Corner = Literal["upper left", "upper right", "lower left", "lower right"]
FORMATS = ("png", "svg")
_NO_METADATA = {"png": ("Software",), "svg": ("Date", "Creator")}  # of time and version, which change without reason
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that pictures are alike everywhere
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # names of parties are text, dollars and all
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "tallystick",
    "svg.fonttype": "path",
}
PERCENT = PercentFormatter(1.0, decimals=0)


CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Droid Sans Fallback",
)  # fmt: skip


def drawable(language: str) -> str:
    """`language` where this machine has a font for it, else English."""
    return language if language != "zh" or _chinese() else "en"


def _chinese() -> list[str]:
    known = set(get_font_names())
    return [name for name in CHINESE_FONTS if name in known][:1]


@contextmanager
def styled(language: str = "en") -> Iterator[None]:
    """Everything drawn inside looks like this module says; nothing outside changes."""
    family = {"font.family": ["DejaVu Sans", *_chinese()]} if language == "zh" else {}
    with matplotlib.rc_context(dict(matplotlib.rcParamsDefault) | _STYLE | family):
        yield


def picture(
    finding: str, what: str, panels: int = 1, *, width: float = 7.2, height: float = 5.0
) -> tuple[Figure, list[Axes]]:
    """An empty picture of inches `width` x `height` with its finding as title, and below it what is shown."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    edges = {"left": 0.85 / width, "right": 1.0 - 0.35 / width, "top": 1.0 - 1.0 / height, "bottom": 0.85 / height}
    figure.subplots_adjust(**edges, wspace=0.14)
    _line(figure, finding, 0.22, size=12.5, weight="bold")
    _line(figure, what, 0.52, size=9.5, color=FAINT)
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)
    return figure, list(axes[0])


def _line(figure: Figure, words: str, below: float, **look: Any) -> None:
    """A line of text `below` inches from the top, smaller where it would not fit: names of parties may be long."""
    width, height = figure.get_size_inches()
    text = figure.text(0.25 / width, 1.0 - below / height, words, va="top", **look)
    taken = text.get_window_extent().width / (figure.dpi * (width - 0.5))
    text.set_fontsize(text.get_fontsize() / max(1.0, taken))


def note(figure: Figure, words: str) -> None:
    """A line at the foot of the picture."""
    width, height = figure.get_size_inches()
    figure.text(0.25 / width, 0.15 / height, words, size=8, color=FAINT, va="bottom")


def key(axes: Axes, labels: Mapping[str, str], place: Corner) -> None:
    """Says which line is which model's, each in its colour, at `place` inside the picture."""
    handles = [Line2D([], [], **LINES[model]) for model in labels]
    legend = axes.legend(handles, list(labels.values()), loc=place, frameon=False, handlelength=1.6, labelspacing=0.6)
    for text, model in zip(legend.get_texts(), labels, strict=True):
        text.set_color(FAINT if model == "pooled_lightgbm" else COLOURS[model])


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the picture as `folder`/`name`.png and .svg; the same picture gives the same bytes."""
    written = []
    for form in FORMATS:
        target = folder / f"{name}.{form}"
        figure.savefig(target, dpi=160, metadata=dict.fromkeys(_NO_METADATA[form]))
        written.append(target)
    return written


def thin(count: int, most: int = 600) -> Sequence[int]:
    """At most about `most` of the numbers 0..count-1, both ends among them: enough points for a line."""
    step = max(1, count // most)
    found = list(range(0, count, step))
    return found if found[-1] == count - 1 else [*found, count - 1]
