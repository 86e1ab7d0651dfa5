"""The arrows of a protocol's docstring, and those of a recorded run, in one form that can be compared.

    Name  fields  -->            the active speaks   (">", "Name")
                  <--  Name      the passive speaks  ("<", "Name")

A message in several blocks is one arrow: equal neighbours collapse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from types import ModuleType

from vfl.channel import Record

Arrow = tuple[str, str]


def written(module: ModuleType) -> list[Arrow]:
    """The arrows of the module docstring, from top to bottom."""
    arrows = []
    for line in (module.__doc__ or "").splitlines():
        if found := re.match(r"\s*([A-Z]\w+).*-->", line):
            arrows.append((">", found[1]))
        elif found := re.search(r"<--\s*([A-Z]\w+)", line):
            arrows.append(("<", found[1]))
    return collapsed(arrows)


def recorded(records: Iterable[Record], peer: str) -> list[Arrow]:
    """The arrows of the active party's transcript with one peer, in the order it sent and received."""
    return collapsed([(">" if r.sent else "<", r.slot.split("/")[2]) for r in records if r.peer == peer])


def collapsed(arrows: Iterable[Arrow]) -> list[Arrow]:
    """Equal neighbours become one."""
    return [arrow for arrow, _ in groupby(arrows)]
