"""The shape of a report or an extract that somebody else sent, settled before anything in it is looked at.

Every fault is a UsageError that names the place: `$.figures[3].seq`.
"""

from __future__ import annotations

import json
from typing import Any, Literal, TypeVar

import msgspec

from vfl.errors import UsageError
from vfl.report.evidence import Trace

T = TypeVar("T", bound=msgspec.Struct)
_DEEPEST = 40  # levels; a report has nine


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry with its path to a signed head."""

    entry: str
    path: list[str]
    checkpoint: str


class ReceivedFigure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure with its trace; `proof` names one of the report's proofs."""

    id: int
    value: Any
    shown: str
    artefact: str
    pointer: str
    log: str
    seq: int
    size: int
    proof: str

    @property
    def trace(self) -> Trace:
        """Where the report says that the figure comes from."""
        return Trace(self.artefact, self.pointer, self.log, self.seq, self.size)


class ReceivedReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A report. What the first page and the sections are made of is for `checking` to look through."""

    format: Literal["tallystick-report-v1"]
    language: str
    dated: str | None
    run: str
    verification: dict[str, Any]
    cover: dict[str, Any]
    sections: list[Any]
    crosswalk: list[Any]
    figures: list[ReceivedFigure]
    proofs: dict[str, Proof]


class ReceivedExtract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision alone."""

    format: Literal["tallystick-subject-v1"]
    record: str
    salt: str
    place: int
    count: int
    path: list[str]
    model: str
    review: str | None
    log: str
    seq: int
    size: int
    proof: Proof


def read(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, without doubled keys and not deeper than people write."""
    try:
        body = json.loads(data, object_pairs_hook=_once)
    except RecursionError:
        raise UsageError("it is nested too deep") from None
    except ValueError as error:
        raise UsageError(f"it is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise UsageError("it holds no JSON object")
    _require_shallow(body)
    return body


def shaped(body: Any, kind: type[T]) -> T:
    """`body` as a `kind`."""
    try:
        return msgspec.convert(body, kind, strict=True)
    except (msgspec.ValidationError, ValueError) as error:  # ValueError: texts that are no Unicode
        raise UsageError(str(error)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{doubled!r} stands twice in one object")
    return found


def _require_shallow(body: Any) -> None:
    level, depth = [body], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise UsageError("it is nested too deep")
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level]
        level = [item for one in inner for item in one if isinstance(item, dict | list)]
