"""The words that a package shows to people, as data: PACKAGE/words/<language>.toml."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "zh")


class Wording:
    """The words of one package in one language; `wording("roc.title", joint="0.83")` gives a text with its values."""

    def __init__(self, package: str, language: str = "en") -> None:
        text = files(package).joinpath(f"words/{language}.toml").read_text(encoding="utf-8")
        self.language = language
        self.words: dict[str, str] = {}
        for key, value in tomllib.loads(text).items():
            inner = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
            self.words |= inner

    def __call__(self, key: str, **values: Any) -> str:
        return self.words[key].format(**values)
