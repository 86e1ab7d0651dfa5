"""What an evidence file comes to, and its bytes: canonical JSON of at most 64 MiB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.canonical import Json, decode, encode
from ledger.errors import BadEntry

MAX_EVIDENCE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Proven:
    """What is proven: `party` signed in `run`, at `slot` where there is one, what cannot be true.

    `text` is one sentence without its subject; `first` and `second` are the two contradicting objects in words.
    """

    party: str
    run: str
    text: str
    slot: str = ""
    kind: str = ""
    first: str = ""
    second: str = ""

    def __str__(self) -> str:
        slot = f"slot   {self.slot}\n" if self.slot else ""
        return (
            f"party  {self.party}\nrun    {self.run}\n{slot}kind   {self.kind}\n"
            f"first  {self.first}\nsecond {self.second}\n\nPROVEN: {self.party} {self.text} (exit code 4)"
        )

    def to_json(self) -> dict[str, Json]:
        """The same for programs."""
        return {
            "party": self.party,
            "run": self.run,
            "slot": self.slot or None,
            "kind": self.kind,
            "text": self.text,
            "first": self.first,
            "second": self.second,
        }


def write(kind: str, fields: Mapping[str, object]) -> bytes:
    """The bytes of an evidence file; raises NotCanonical."""
    return encode({**fields, "kind": kind}, limit=MAX_EVIDENCE)


def read(data: bytes) -> dict[str, Json]:
    """The object of an evidence file; raises NotCanonical, or BadEntry for what is no object with a `kind`."""
    value = decode(data, limit=MAX_EVIDENCE)
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise BadEntry("evidence is an object with a `kind`")
    return value


def fields(value: Json, *names: str, optional: tuple[str, ...] = ()) -> dict[str, Json]:
    """The object `value`, which has exactly these fields; raises BadEntry."""
    if not isinstance(value, dict):
        raise BadEntry(f"evidence holds {value!r:.60} where an object with the fields {', '.join(names)} belongs")
    if not set(names) <= value.keys() <= {*names, *optional}:
        wrong = ", ".join(sorted(value.keys() ^ set(names)))
        raise BadEntry(f"evidence lacks or should not have: {wrong:.200}")
    return value


def items(value: Json, what: str) -> list[Json]:
    """The list `value`; raises BadEntry."""
    if not isinstance(value, list):
        raise BadEntry(f"{what} must be a list, not {value!r:.60}")
    return value


def text(value: Json, what: str) -> str:
    """The text `value`; raises BadEntry."""
    if not isinstance(value, str):
        raise BadEntry(f"{what} must be a text, not {value!r:.60}")
    return value
