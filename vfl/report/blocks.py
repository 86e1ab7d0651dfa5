"""What a section is made of. Every piece of text is a `Cell`, so that its origin is known (`vfl.report.figures`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vfl.report.figures import Cell, Words

Line = tuple[Cell, ...]
"""Text that runs on: words with figures between."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `tone`: plain, note or warn."""

    line: Line
    tone: str = "plain"


@dataclass(frozen=True)
class Facts:
    """Labelled values, one below the other."""

    rows: Sequence[tuple[Words, Line]]


@dataclass(frozen=True)
class Table:
    """A table; the first `words` columns are text, the others numbers."""

    head: Sequence[Cell]
    rows: Sequence[Sequence[Line]]
    words: int = 1
    title: Words | None = None


@dataclass(frozen=True)
class Bars:
    """Horizontal bars: label, value, length from 0 to 1 and where it begins, tone (a number of a colour)."""

    rows: Sequence[tuple[Line, Line, float, float, int]]
    title: Words | None = None


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with what it shows in words; `wide`: of several panels."""

    name: str
    uri: str
    caption: Line
    wide: bool = False


@dataclass(frozen=True)
class Gaps:
    """What only the institution can say and has not said: the labels, and the key in the --about file.

    `short`: fewer lines for readers, where the same is missing for several parties.
    """

    missing: Sequence[tuple[Words, Words]]
    short: Sequence[tuple[Words, Words]] = ()


Block = Paragraph | Facts | Table | Bars | Picture | Gaps


@dataclass
class Section:
    """A numbered section."""

    number: int
    title: Words
    blocks: list[Block] = field(default_factory=list)
