"""One table of a TOML file, read key by key: a refusal names file, table, key and value, and says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import Any

from vfl.errors import UsageError
from vfl.table import closest, shown

MAX_WORDS = 200  # characters of a reason
MAX_SPECIAL = 16  # codes of a feature


class TomlTable:
    """One TOML table: typed access by key; every refusal names file, table, key and value."""

    def __init__(self, raw: Mapping[str, Any], file: str, path: str = "") -> None:
        self.raw = raw
        self.file = file
        self.path = path

    def place(self, key: str = "") -> str:
        """Where we are, for an error message."""
        words = [f"[{self.path}]"] * bool(self.path) + [key] * bool(key)
        return f"{self.file}: {' '.join(words)}" if words else self.file

    def table(self, key: str, *, required: bool = False) -> TomlTable:
        """The table under this key; an empty one when it is absent and not required."""
        path = f"{self.path}.{key}" if self.path else key
        value = self.raw.get(key, None if required else {})
        if value is None:
            raise UsageError(f"{self.file}: there is no [{path}] table", remedy=f"Add a [{path}] table.")
        if not isinstance(value, Mapping):
            raise UsageError(f"{self.place(key)} is {_kind(value)}, not a table", remedy=f"Write it as [{path}].")
        return TomlTable(value, self.file, path)

    def only(self, *known: str) -> None:
        """Refuses every key that is not known."""
        for key in self.raw:
            if key not in known:
                what = "key" if self.path else "table"
                raise UsageError(f"{self.place()}: unknown {what} {shown(key)}", remedy=closest(key, known))

    def text(self, key: str, *, required: bool = False, pattern: re.Pattern[str] | None = None) -> Any:
        """A text that is not blank; None when the key is absent and not required."""
        value = self._typed(key, None, required, str, "a text")
        if value is not None and not (pattern.fullmatch(value) if pattern else value.strip()):
            allowed = "letters, digits, '.', '_' and '-', 64 at most" if pattern else "a text that is not blank"
            raise UsageError(f"{self.place(key)} is {shown(value)}", remedy=f"Write {allowed}.")
        return value

    def choice(self, key: str, allowed: Collection[str], *, default: str = "", required: bool = False) -> str:
        """One of the allowed texts."""
        value: str = self._typed(key, default, required, str, "a text")
        if value not in allowed:
            remedy = f"This version has {', '.join(map(repr, allowed))}."
            raise UsageError(f"{self.place(key)} is {shown(value)}", remedy=remedy)
        return value

    def integer(self, key: str, default: int, allowed: range | tuple[int, ...]) -> int:
        """A whole number from `allowed`."""
        value: int = self._typed(key, default, False, int, "a whole number")
        if value not in allowed:
            among = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else " or ".join(map(str, allowed))
            raise UsageError(f"{self.place(key)} is {shown(value)}", remedy=f"Allowed: {among}.")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number within low and high, both allowed."""
        value: float = self._typed(key, default, False, (int, float), "a number")
        if not low <= value <= high:
            raise UsageError(f"{self.place(key)} is {shown(value)}", remedy=f"Allowed: {low} to {high}.")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value: bool = self._typed(key, default, False, bool, "true or false")
        return value

    def day(self, key: str, default: str) -> str:
        """A day of the calendar, as TOML's date or as text; 2031-12-31."""
        value = self._typed(key, default, False, (str, date), "a day, such as 2031-12-31")
        text = value.isoformat() if isinstance(value, date) else value
        try:
            if text and date.fromisoformat(text).isoformat() != text:
                raise ValueError
        except ValueError:
            remedy = "Write a day of the calendar, such as 2031-12-31."
            raise UsageError(f"{self.place(key)} is {shown(text)}", remedy=remedy) from None
        return str(text)

    def words(self, key: str) -> dict[str, str]:
        """A table of sentences for people, by feature; empty when absent."""
        remedy = f"Write a text in one line, {MAX_WORDS} characters at most."
        return self._by_feature(key, "texts", _is_sentence, remedy)

    def numbers_by_name(self, key: str) -> dict[str, tuple[float, ...]]:
        """A table of lists of different finite numbers, by feature; empty when absent."""
        remedy = f"Write a list of up to {MAX_SPECIAL} different numbers, for instance [-1]."
        found = self._by_feature(key, "lists of numbers", _are_codes, remedy)
        return {name: tuple(map(float, numbers)) for name, numbers in found.items()}

    def integers_by_name(self, key: str, allowed: tuple[int, ...]) -> dict[str, int]:
        """A table of whole numbers, by feature, each one of those allowed; empty when absent."""
        remedy = f"Allowed: {' or '.join(map(str, allowed))}."
        return self._by_feature(key, "whole numbers", lambda one: type(one) is int and one in allowed, remedy)

    def choices_by_name(self, key: str, allowed: Collection[str]) -> dict[str, str]:
        """A table of texts, by feature, each one of those allowed; empty when absent."""
        remedy = f"Allowed: {', '.join(map(repr, allowed))}."
        return self._by_feature(key, "texts", lambda one: isinstance(one, str) and one in allowed, remedy)

    def _by_feature(self, key: str, what: str, right: Callable[[Any], bool], remedy: str) -> dict[str, Any]:
        """A table with a value a feature, each of which must be `right`; empty when absent."""
        value = self._typed(key, {}, False, Mapping, f"a table of {what}, one a feature")
        for name, one in value.items():
            if not right(one):
                raise UsageError(f"{self.file}: [{self.path}.{key}] {shown(name)} is {shown(one)}", remedy=remedy)
        return dict(value)

    def names(self, key: str, *, required: bool = False) -> Any:
        """A column name or a list of different ones, as a tuple; None when absent and not required."""
        value = self._typed(key, None, required, (str, list), "a column name or a list of them")
        if value is None:
            return None
        names = [value] if isinstance(value, str) else value
        texts = all(isinstance(name, str) and name.strip() for name in names)
        if not names or not texts or len(set(names)) != len(names):
            raise UsageError(
                f"{self.place(key)} is {shown(value)}", remedy="Write one column name, or a list of different ones."
            )
        return tuple(names)

    def _typed(self, key: str, default: Any, required: bool, kind: type | tuple[type, ...], words: str) -> Any:
        if key not in self.raw:
            if required:
                raise UsageError(f"{self.place()}: key {key!r} is missing", remedy=f"Add {key} = {words}.")
            return default
        value = self.raw[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"{self.place(key)} is {_kind(value)} ({shown(value)})", remedy=f"Write {words}.")
        return value


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable() and len(value) <= MAX_WORDS


def _are_codes(value: object) -> bool:
    """Whether it is a list of some different numbers."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SPECIAL:
        return False
    return all(map(_finite, value)) and len(set(value)) == len(value)


def _finite(value: object) -> bool:
    """Whether it is a number that float64 has."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _kind(value: object) -> str:
    """TOML's word for the value's type."""
    words = {bool: "true/false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    return words.get(type(value), "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}")
