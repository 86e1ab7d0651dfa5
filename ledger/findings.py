"""What a verification says: findings, the most severe first, and one exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from ledger.canonical import Json


class Code(IntEnum):
    """The exit codes of a verification."""

    VALID = 0
    INVALID = 1
    INCOMPLETE = 2
    POLICY = 3
    MISBEHAVIOUR = 4


# A proof against a party outweighs damage; damage outweighs a missing signature; that outweighs a missing part.
_SEVERITY = (Code.MISBEHAVIOUR, Code.INVALID, Code.POLICY, Code.INCOMPLETE)
_WORDS = {
    Code.VALID: "valid",
    Code.INVALID: "invalid",
    Code.INCOMPLETE: "incomplete",
    Code.POLICY: "policy not met",
    Code.MISBEHAVIOUR: "misbehaviour proven",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: `step` is the verification step that found it; party, slot and seq name the place where they apply."""

    code: Code
    step: int
    text: str
    party: str = ""
    slot: str = ""
    seq: int | None = None

    def __str__(self) -> str:
        place = [self.party] if self.party else []
        place += [f"seq {self.seq}"] if self.seq is not None else []
        place += [f"slot {self.slot}"] if self.slot else []
        return (
            f"{' '.join([*place[:1], *(f'{p},' for p in place[1:])]).rstrip(',')}: {self.text}" if place else self.text
        )

    def to_json(self) -> dict[str, Json]:
        """The finding as an object."""
        return {
            "code": int(self.code),
            "kind": _WORDS[self.code],
            "step": self.step,
            "party": self.party or None,
            "slot": self.slot or None,
            "seq": self.seq,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What was read of one log."""

    party: str
    entries: int
    checkpoints: int
    root: str


@dataclass(frozen=True, slots=True)
class Stamped:
    """A time stamp of the head of `size` entries of a log; `time` is None where no authority was named to check it."""

    party: str
    size: int
    time: str | None

    def __str__(self) -> str:
        said = f"there at {self.time}" if self.time else "not checked (name the authority with --tsa)"
        return f"stamp  {self.party}: {self.size} entries, {said}"

    def to_json(self) -> dict[str, Json]:
        """The stamp as an object."""
        return {"party": self.party, "size": self.size, "time": self.time}


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome: `findings` are sorted, most severe first; `run` and `digest` name the bundle.

    `unchecked` says what a bundle of this `form` (full or selective) leaves open whatever its findings.
    """

    run: str
    digest: str
    logs: Sequence[LogSummary] = field(default=())
    findings: Sequence[Finding] = field(default=())
    unchecked: Sequence[str] = field(default=())
    form: str = "full"
    stamps: Sequence[Stamped] = field(default=())

    @property
    def code(self) -> Code:
        """The code of the most severe finding; VALID without findings."""
        return self.findings[0].code if self.findings else Code.VALID

    def as_text(self) -> str:
        """A page for people."""
        lines = [f"bundle {self.digest}", f"run    {self.run or 'unknown'}"]
        lines += [f"log    {log.party}: {log.entries} entries, {log.checkpoints} checkpoints" for log in self.logs]
        lines += map(str, self.stamps)
        for code in _SEVERITY:
            found = [finding for finding in self.findings if finding.code is code]
            lines += ["", f"{_WORDS[code]} ({len(found)}):"] if found else []
            lines += [f"  ({finding.step}) {finding}" for finding in found]
        lines += ["", "not checkable in a selective bundle:"] if self.unchecked else []
        lines += [f"  {text}" for text in self.unchecked]
        lines += ["", f"RESULT: {_WORDS[self.code]} (exit code {int(self.code)})"]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Json]:
        """The same for programs."""
        logs: list[Json] = [
            {"party": log.party, "entries": log.entries, "checkpoints": log.checkpoints, "root": log.root}
            for log in self.logs
        ]
        unchecked: list[Json] = list(self.unchecked)
        return {
            "code": int(self.code),
            "result": _WORDS[self.code],
            "run": self.run or None,
            "bundle": self.digest,
            "form": self.form,
            "logs": logs,
            "timestamps": [stamp.to_json() for stamp in self.stamps],
            "findings": [finding.to_json() for finding in self.findings],
            "unchecked": unchecked,
        }


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Most severe first; then by step, party and position."""
    return sorted(
        dict.fromkeys(findings),
        key=lambda f: (_SEVERITY.index(f.code), f.step, f.party, -1 if f.seq is None else f.seq),
    )
