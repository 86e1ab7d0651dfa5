"""What `tallystick challenge` does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from ledger.errors import LedgerError
from ledger.keys import VerifyingKey
from ledger.witness_client import WitnessClient
from vfl.challenging import At, accuse, hear, send, show
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.seat import RunFile
from vfl.simulation import partial_of


def send_to(directory: Path, party: str, minutes: int, url: str, key: str, out: Path) -> None:
    """`tallystick challenge send`."""
    _require_new(out)
    with _refusals(directory):
        challenge, data = send(_at(directory, party), timedelta(minutes=minutes), _witness(url, key))
        write_data(out, data)
    _tell(f"{out}: {challenge.peer} owes {challenge.answer} by {challenge.deadline}; give it this file")


def heard(directory: Path, party: str, file: Path, out: Path) -> None:
    """`tallystick challenge hear`."""
    _require_new(out)
    with _refusals(directory):
        challenge, data = hear(_at(directory, party), file)
        write_data(out, data)
    _tell(
        f"{out}: give it to {challenge.asker}, and go on with the run (--resume) before {challenge.deadline}",
        f"if {challenge.asker} does not go on: tallystick challenge show --help",
    )


def shown(directory: Path, party: str, url: str, key: str) -> None:
    """`tallystick challenge show`."""
    with _refusals(directory):
        size = show(_at(directory, party), _witness(url, key))
    _tell(f"the witness has seen {party} with {size} entries")


def accused(directory: Path, party: str, file: Path, url: str, key: str) -> None:
    """`tallystick challenge accuse`."""
    with _refusals(directory):
        path = accuse(_at(directory, party), file, _witness(url, key))
    policy = path.parents[2] / "policy.txt"
    _tell(f"{path}", f"check it: python -m ledger verify-evidence {path} --policy {policy}")


def _at(directory: Path, party: str) -> At:
    partial = partial_of(directory)
    if not partial.exists() and directory.suffix != partial.suffix:
        raise UsageError(
            f"{directory} is no interrupted run: there is no {partial}",
            remedy="name what --out was; a run that is finished owes nothing",
        )
    found = partial if partial.exists() else directory
    keys = RunFile.read(found).keys
    if party not in keys:
        raise UsageError(f"no party {party!r} in this run", remedy=f"name one of {', '.join(keys)}")
    return At(found, party, SystemClock())


def _witness(url: str, key: str) -> WitnessClient:
    return WitnessClient(url, VerifyingKey.parse(key))


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        with refusals(folder, remedy="make the directory writable"):
            yield
    except LedgerError as error:
        raise UsageError(str(error), remedy=error.remedy) from None


def _require_new(out: Path) -> None:
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")


def _tell(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
