"""The picture of a finished run."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from vfl.present import show_summary
from vfl.summary import Summary

_SVG = """\
<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The tables at the end of a run">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g class="{unique_id}-matrix" transform="translate(10, 18)">
{backgrounds}
{matrix}
</g>
</svg>
"""


def picture(run: Path) -> str:
    """The tables that end a run, as an SVG image without fonts or links of its own."""
    body = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    console = Console(record=True, width=88, file=StringIO(), force_terminal=True, legacy_windows=False)
    show_summary(Summary(body), Path("runs/demo"), console)
    image = console.export_svg(code_format=_SVG, unique_id="demo")
    return "\n".join(line.rstrip() for line in image.splitlines()) + "\n"
