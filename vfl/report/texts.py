"""All words of a report, as data: texts/<language>.toml. Keys are `table.name`; `{name}` marks the place of a value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from vfl.errors import UsageError
from vfl.report.blocks import Line
from vfl.report.figures import Cell, Words

LANGUAGES = ("en", "zh")
_PLACE = re.compile(r"\{([a-z_]+)\}")


class Texts:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        """Raises UsageError for a language there is none of."""
        if language not in LANGUAGES:
            raise UsageError(f"--lang is {language!r}", remedy=f"This version has {', '.join(LANGUAGES)}.")
        self.language = language
        self._words = dict(_flat(_load(language)))

    def __contains__(self, key: str) -> bool:
        return key in self._words

    def keys(self, table: str) -> list[str]:
        """All keys of a table, in the order of the file."""
        return [key for key in self._words if key.startswith(f"{table}.")]

    def word(self, key: str) -> Words:
        """The text under `key`."""
        return Words(self._words[key])

    def line(self, key: str, **values: Cell | Line) -> Line:
        """The text under `key` with values in their places."""
        parts = _PLACE.split(self._words[key])
        line: list[Cell] = []
        for number, part in enumerate(parts):
            if number % 2 == 0:
                line += [Words(part)] if part else []
            else:
                value = values[part]
                line += value if isinstance(value, tuple) else (value,)
        return tuple(line)

    def pieces(self) -> set[str]:
        """Every piece of text that may appear on its own."""
        return {piece for text in self._words.values() for piece in _PLACE.split(text)[::2] if piece}


@cache
def _load(language: str) -> Mapping[str, Any]:
    return tomllib.loads(files("vfl.report").joinpath(f"texts/{language}.toml").read_text(encoding="utf-8"))


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value)
