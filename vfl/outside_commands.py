"""What `tallystick countersign` does, and what a run asks of outsiders when it is complete: witnesses, and the time."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.authority import Authority
from ledger.errors import LedgerError
from ledger.stamp_commands import read_authority
from ledger.stamping import stamp_bundle
from vfl.clock import SystemClock
from vfl.countersigning import Outsider, named_in
from vfl.countersigning import countersign as ask
from vfl.errors import TransportError, UsageError, VflError
from vfl.local_logs import BUNDLE
from vfl.progress import tell


@dataclass(frozen=True)
class Outsiders:
    """Whom to ask: witnesses, and the address and certificates of a time-stamping authority."""

    witnesses: Sequence[Outsider] = ()
    stamps: str | None = None
    tsa: Sequence[Path] = ()
    authority: Authority | None = None

    @classmethod
    def of(cls, witnesses: Sequence[str], stamps: str | None, tsa: Sequence[Path]) -> Outsiders:
        """From the words of a command line; raises UsageError before anything is computed."""
        if (stamps is None) != (not tsa):
            raise UsageError("--timestamp and --tsa need each other", remedy="give the address and the certificates")
        try:
            authority = read_authority(list(tsa)) if tsa else None
        except LedgerError as error:
            raise UsageError(str(error), remedy=error.remedy) from None
        return cls([Outsider.parse(text) for text in witnesses], stamps, tsa, authority)

    def attest(self, directory: Path) -> list[str]:
        """Ask all about the finished run in `directory`; what they did, in words. Raises the first refusal of all."""
        said: list[str] = []
        refused: list[VflError] = []
        steps: list[tuple[bool, Callable[[], list[str]]]] = [
            (bool(self.witnesses), lambda: _words(ask(directory, self.witnesses, SystemClock()))),
            (self.authority is not None, lambda: self._stamp(directory / BUNDLE)),
        ]
        for wanted, step in steps:
            try:
                said += step() if wanted else []
            except VflError as error:
                refused.append(error)
        for line in said if refused else ():
            tell(sys.stderr, f"{line}\n")
        if refused:
            remedy = "; ".join(error.remedy for error in refused)
            raise type(refused[0])("; ".join(map(str, refused)), remedy=remedy)
        return said

    def _stamp(self, bundle: Path) -> list[str]:
        assert self.stamps is not None
        assert self.authority is not None
        try:
            return [str(one) for one in stamp_bundle(bundle, bundle, self.stamps, self.authority)]
        except LedgerError as error:
            options = [word for path in self.tsa for word in ("--tsa", str(path))]
            again = shlex.join(["python", "-m", "ledger", "timestamp", str(bundle), self.stamps, *options])
            raise TransportError(f"no time stamp: {error}", remedy=f"later: `{again}`; the run is complete") from error


def countersign(directory: Path, witnesses: Sequence[str], as_json: bool) -> None:
    """`tallystick countersign`: the witnesses named, or those of the run's policy."""
    outsiders = [Outsider.parse(text) for text in witnesses] or named_in(directory)
    if not outsiders:
        raise UsageError(
            f"the policy of {directory} names no witness outside the run", remedy="name one: --witness URL#VKEY"
        )
    told = ask(directory, outsiders, SystemClock())
    tell(sys.stdout, json.dumps({"witnesses": told}) + "\n" if as_json else "".join(f"{w}\n" for w in _words(told)))


def again(directory: Path) -> list[str]:
    """After a purge: the witnesses of the run's policy countersign the new heads, or words on what is left to do."""
    outsiders = named_in(directory)
    try:
        return _words(ask(directory, outsiders, SystemClock())) if outsiders else []
    except VflError as error:
        return [str(error), f"  to do: {error.remedy}"]


def _words(told: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"{witness} countersigned the heads of " + ", ".join(f"{party} ({size} entries)" for party, size in by.items())
        for witness, by in told.items()
    ]
