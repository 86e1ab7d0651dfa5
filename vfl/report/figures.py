"""Values from the run, each with its trace. Whatever a report says of a run is one of these.

The kinds of text in a report, so that no number can slip in unmarked:

    Figure     a value of the run, traced to its ledger entry
    Words      fixed text of this program, from its data files
    Stated     what the institution says in its --about file: no proof of ours
    Checked    what this program found while it made the report: the verifier's result, counts of what is missing
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vfl.report.evidence import Evidence, Trace


class Words(str):
    """Fixed text from a data file of this program."""

    __slots__ = ()


class Stated(str):
    """Text from the --about file."""

    __slots__ = ()


class Checked(str):
    """Text that this program worked out while it made the report."""

    __slots__ = ()


@dataclass(frozen=True)
class Figure:
    """A value of the run: `shown` is how it is written, `value` what the trace leads to."""

    number: int
    value: Any
    shown: str
    trace: Trace


Cell = Figure | Words | Stated | Checked


class Figures:
    """All figures of a report, numbered in the order in which they were asked for."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.all: list[Figure] = []
        self._known: dict[tuple[Trace, str], Figure] = {}

    def of(self, artefact: str, *path: str | int, form: Callable[[Any], str] | None = None) -> Figure:
        """The value at `path` of a JSON artefact."""
        pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
        return self._figure(self.evidence.trace(artefact, pointer), form)

    def entry(self, party: str, seq: int, pointer: str, form: Callable[[Any], str] | None = None) -> Figure:
        """Something in an entry."""
        return self._figure(self.evidence.trace_entry(party, seq, pointer), form)

    def count(
        self, party: str, what: str, phase: str | None = None, form: Callable[[Any], str] | None = None
    ) -> Figure:
        """Something counted over a party's entries."""
        return self._figure(self.evidence.trace_count(party, what, phase), form)

    def _figure(self, trace: Trace, form: Callable[[Any], str] | None) -> Figure:
        value = self.evidence.value(trace)
        shown = (form or plain)(value)
        key = (trace, shown)
        if key not in self._known:
            self._known[key] = Figure(len(self.all) + 1, value, shown, trace)
            self.all.append(self._known[key])
        return self._known[key]


def plain(value: Any) -> str:
    """Texts as they are, whole numbers in groups of three, others to four places."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if isinstance(value, float) else str(value)


def three(value: Any) -> str:
    """Three places; `-` where there is nothing."""
    return "-" if value is None else f"{value:,.3f}"


def signed(value: Any) -> str:
    """Three places with a sign."""
    return f"{value:+,.3f}"


def percent(value: Any) -> str:
    """A share as a percentage."""
    return "-" if value is None else f"{value:.1%}"


def exact(value: Any) -> str:
    """A parameter as it was agreed, to the last digit."""
    return {True: "true", False: "false", None: "-"}[value] if isinstance(value, bool) or value is None else str(value)


def megabytes(value: Any) -> str:
    """Bytes as megabytes."""
    return f"{value / 1e6:,.2f} MB"


def moment(value: Any) -> str:
    """A time stamp to the second."""
    return f"{value[:10]} {value[11:19]} UTC"


def clock(value: Any) -> str:
    """The time of day of a time stamp."""
    return f"{value[11:19]}"


def short(value: Any) -> str:
    """The first digits of a digest."""
    return f"{value[:16]}.."


def p_value(value: Any) -> str:
    """A p-value."""
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def seconds_of(stamp: str) -> float:
    """A ledger time stamp as POSIX seconds."""
    return datetime.fromisoformat(stamp).timestamp()


def share(value: Any) -> str:
    """A share as a whole percentage."""
    return f"{value:.0%}"


def advantage(value: Any) -> str:
    """What an attack gains."""
    return f"{value:+.3f} AUC"


def direction(value: Any) -> str:
    """+1 or -1."""
    return f"{value:+d}"


def together(value: Any) -> str:
    """A list of texts with commas between; a text as it is."""
    return value if isinstance(value, str) else ", ".join(value)


def named(name: str) -> Callable[[Any], str]:
    """The name of a place instead of the value there, in tables of names and values."""
    return lambda value: name


FORMS = (
    plain,
    three,
    signed,
    percent,
    share,
    exact,
    advantage,
    direction,
    megabytes,
    moment,
    clock,
    short,
    p_value,
    together,
)


def is_written(shown: str, value: Any, pointer: str) -> bool:
    """Whether `shown` is one of the ways to write `value`, or the name of its place."""
    place = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    return shown == place or any(_written(form, value) == shown for form in FORMS)


def _written(form: Callable[[Any], str], value: Any) -> str | None:
    try:
        return form(value)
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
