"""What a run cannot know, from the institution's own file: `--about FILE`, a TOML file of texts.

    [model]
    intended_use = "Pre-approval of point-of-sale loans up to EUR 5,000"
    [parties.telecom]
    legal_basis = "Consent, GDPR Art. 6(1)(a), text version 3"

Everything in it is shown as stated, never as proven; what is not in it is shown as not stated. `tallystick report
template` prints the file with every key and what belongs there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vfl.errors import UsageError
from vfl.report.figures import Stated, Words
from vfl.report.texts import Texts
from vfl.table import closest

PARTIES = "parties"
MAX_TEXT = 4000  # characters


@dataclass(frozen=True)
class About:
    """Statements by key: `model.owner`, `parties.telecom.contract`."""

    said: Mapping[str, Stated] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, texts: Texts, parties: Sequence[str]) -> About:
        """Read the file; none: nothing is stated. Raises UsageError naming what is wrong with it."""
        if path is None:
            return cls()
        try:
            body = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}", remedy="see `tallystick report template`") from None
        known = [key for table in tables(texts) for key in keys(texts, table, parties)]
        said = {}
        for key, value in _flat(body):
            if key not in known:
                raise UsageError(f"{path}: there is no statement {key!r}", remedy=closest(key, known))
            if not isinstance(value, str) or len(value) > MAX_TEXT:
                raise UsageError(f"{path}: {key} must be a text of at most {MAX_TEXT} characters")
            if value.strip():
                said[key] = Stated(value.strip())
        return cls(said)

    def get(self, key: str) -> Stated | None:
        """What is stated under `key`."""
        return self.said.get(key)


def tables(texts: Texts) -> list[str]:
    """The tables of the file."""
    return list(dict.fromkeys(key.split(".")[1] for key in texts.keys("about")))


def keys(texts: Texts, table: str, parties: Sequence[str]) -> list[str]:
    """All keys of a table; those of `parties` for each party."""
    names = [key.split(".")[2] for key in texts.keys(f"about.{table}")]
    if table == PARTIES:
        return [f"{table}.{party}.{name}" for party in parties for name in names]
    return [f"{table}.{name}" for name in names]


def label(texts: Texts, key: str) -> Words:
    """What a key is called for readers."""
    table, *_, name = key.split(".")
    return texts.word(f"about.{table}.{name}")


def template(texts: Texts, parties: Sequence[str]) -> str:
    """The file with every key, each with its explanation, all commented out."""
    lines = [f"# {texts.word('template.head')}", ""]
    for table in tables(texts):
        for party in parties if table == PARTIES else [""]:
            lines.append(f"[{table}.{party}]" if party else f"[{table}]")
            for key in keys(texts, table, [party]):
                lines += [f"# {label(texts, key)}", f'# {key.rsplit(".", 1)[1]} = ""']
            lines.append("")
    return "\n".join(lines)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
