"""A finished run and a regulator that audits it by the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_kit import tallystick

from vfl.audit.record import PartyRecord
from vfl.audit.sealing_to import AuditorKey

NONCE = bytes(range(32))
ALL = 100


@dataclass(frozen=True)
class Ran:
    """A finished run and a regulator's key."""

    run: Path
    key: Path
    public: str

    @classmethod
    def of(cls, run: Path) -> Ran:
        """With a new key beside the run."""
        file = run.parent / "regulator.key"
        return cls(run, file, AuditorKey.make(file, "regulator").public)

    def opened(self, capfd: Any, out: Path, **options: object) -> Path:
        """Openings of the telecom's answers, or of another party's cells."""
        told = {"party": "telecom", "to": self.public, "nonce": NONCE.hex(), "cells": ALL, "out": out, **options}
        ended = tallystick(capfd, "audit", "open", self.run, *words(told))
        assert ended.code == 0, ended.err
        return out

    def checked(self, capfd: Any, file: Path, *more: object, **options: object) -> Any:
        told = {"key": self.key, "policy": self.run / "policy.txt", "nonce": NONCE.hex(), "cells": ALL, **options}
        return tallystick(capfd, "audit", "check", self.run, file, *words(told), *more)

    @property
    def record(self) -> PartyRecord:
        return PartyRecord.read(self.run, "telecom")


def words(options: dict[str, object]) -> Iterator[object]:
    for name, value in options.items():
        yield f"--{name}"
        yield value
