"""The example on the features page runs and says what it should."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/guide/features.md"


def test_the_example_runs() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.S | re.M)
    printed: list[str] = []
    names: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    exec(compile(source, PAGE.name, "exec"), names)
    assert printed[-3].startswith("-1 ")
    assert re.fullmatch(r"PSI 0\.0\d\d: stable; kept: True", printed[-1])
    assert len(names["feature"].table()) >= 4
