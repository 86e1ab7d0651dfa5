"""Errors, named by who must act.

    VflError
      UsageError            yours: fix the input            names the place, the value and the remedy
      AgreementError        not what was agreed             names the clause that differs
      ProtocolError         the peer's fault                names peer, run and step; becomes evidence
        Malformed             bytes that are no message
        Unexpected            a message of another kind, or none where one was due
        BrokenPromise         a `require` that failed
      TransportError        nobody's fault: try again
        Unreachable           no connection
        TimedOut              no answer in time

`str(error)` says what happened; `error.remedy` says what to do next and is printed below it by the command line.
"""

from __future__ import annotations


class VflError(Exception):
    """Base of all errors of this package; never raised itself."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    def diagnostics(self) -> str:
        """What happened and what to do next, as sentences for a person."""
        return f"{self}\n{self.remedy}" if self.remedy else str(self)


class UsageError(VflError):
    """The input must be fixed: the message names the file, column or parameter and the value found."""


class AgreementError(VflError):
    """The parties do not agree, or a step is not allowed by what they signed."""


class RunEnded(AgreementError):
    """A party has ended the run for good, and says why; `by`: which one."""

    def __init__(self, message: str, *, by: str = "", remedy: str = "start a new run when it can go on") -> None:
        super().__init__(message, remedy=remedy)
        self.by = by


class ProtocolError(VflError):
    """The peer did something it must not; `peer` and `step` are filled in by the channel."""

    def __init__(self, message: str, *, peer: str = "", step: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.peer = peer
        self.step = step

    def __str__(self) -> str:
        where = " at ".join(part for part in (self.peer, self.step) if part)
        return f"{where}: {self.args[0]}" if where else str(self.args[0])


class Malformed(ProtocolError):
    """The bytes received are no well-formed message."""


class Unexpected(ProtocolError):
    """A well-formed message of another kind, or silence, where a message was due."""


class BrokenPromise(ProtocolError):
    """A received message states something false or forbidden (a `require` failed)."""


class TransportError(VflError):
    """The network failed; the same bytes may be sent again."""


class Unreachable(TransportError):
    """The peer could not be connected to."""


class TimedOut(TransportError):
    """The peer did not answer in time."""
