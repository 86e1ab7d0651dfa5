"""A party from its backup, in a new folder: checked to the last byte, and never made to contradict itself.

    1  unpack    into a folder within; only plain files, each name once
    2  keys      the passphrase opens them
    3  note      signed by those keys, and every file is as listed
    4  ledgers   every entry and head once more
    5  runs      those that were going on are marked (`vfl.party.setback`): peers may hold later heads of their ledgers,
                 so they are kept as a record and never go on; with new names new runs can begin
    6  place     settings and state get their names

A run that was begun after the backup is not in it. Its peers hold heads of its ledger, and show them when they offer
it again: `require_remembered` refuses it then.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path, PurePosixPath

from ledger.errors import LedgerError
from ledger.merkle import Tree
from ledger.note import Note
from ledger.reopening import stored_entries, stored_heads
from ledger.store import SQLiteStore
from vfl.errors import UsageError
from vfl.files import refusals
from vfl.own_ledger import own_ledger
from vfl.party.backup import LEDGER, NOTE, STATE, SUMS, note_of
from vfl.party.config import NAME, PartyFile, read_party_file
from vfl.party.keystore import Keys, unlock
from vfl.party.runs import DONE, FAILED, OVER, RunFolder, all_runs
from vfl.party.state import card_of, make
from vfl.scoring.session import FOLDER as SCORING
from vfl.scoring.volumes import RESTORED, VOLUMES
from vfl.seat import read_party

_ALTERED = "take another backup: this one was damaged or altered"


@dataclass(frozen=True)
class RestoredRun:
    """A run as it came back. `entries` of its ledger, None if that is in a database. `ended`: it does not go on."""

    run: str
    state: str
    entries: int | None
    ended: bool


@dataclass(frozen=True)
class Restored:
    """A party as it came back. `made`: when the backup was."""

    name: str
    fingerprint: str
    made: str
    runs: tuple[RestoredRun, ...]


def restore(file: Path, folder: Path, passphrase: str, now: datetime) -> Restored:
    """Make the party of the backup `file` in `folder`. Raises UsageError, and leaves nothing, if anything is wrong."""
    for path in (folder / NAME, folder / STATE):
        if path.exists():
            raise UsageError(
                f"{path} exists already",
                remedy="name another folder; what is there may be newer than the backup: never put that in its place",
            )
    with refusals(folder, "name another folder"), _unpacked_in(folder) as beside:
        sums = _unpack(file, beside)
        make(beside / STATE)  # folders that were empty are in no archive
        keys = unlock(beside / STATE, passphrase)
        made = _require_signed(beside, keys, sums)
        party = read_party_file(beside)
        if party.state.resolve() != (beside / STATE).resolve():
            raise UsageError(
                f"{NAME} in {file} has its state in {party.state}", remedy='restore by hand, or write state = "state"'
            )
        card = card_of(party)
        runs = tuple(_restored(one, party, keys, made, now) for one in all_runs(party.runs))
        (beside / STATE).rename(folder / STATE)
        (beside / NAME).rename(folder / NAME)
    return Restored(party.name, card.fingerprint, made, runs)


def _unpack(file: Path, folder: Path) -> Mapping[str, str]:
    """Unpack; SHA-256 by name."""
    sums: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                path = _place(member, folder, sums)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                there = archive.extractfile(member)
                assert there is not None
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                with there, os.fdopen(descriptor, "w+b") as here:
                    shutil.copyfileobj(there, here)
                    here.flush()
                    os.fsync(here.fileno())
                    here.seek(0)
                    sums[member.name] = file_digest(here, "sha256").hexdigest()
    except FileNotFoundError:
        raise UsageError(f"there is no {file}", remedy="name a file of `tallystick party backup`") from None
    except tarfile.TarError as error:
        raise UsageError(f"{file} is no backup, or not whole: {error}", remedy=_ALTERED) from None
    return sums


def _place(member: tarfile.TarInfo, folder: Path, seen: Mapping[str, str]) -> Path:
    """Where a member goes. Raises UsageError for anything but a plain file below the folder."""
    name = PurePosixPath(member.name)
    below = member.name in (NAME, SUMS, NOTE) or (len(name.parts) > 1 and name.parts[0] == STATE)
    plain = member.isreg() and not member.issparse() and str(name) == member.name
    if not below or not plain or ".." in name.parts or member.name in seen:
        raise UsageError(f"a backup holds no {member.name[:100]!r}", remedy=_ALTERED)
    return folder / name


def _require_signed(folder: Path, keys: Keys, found: Mapping[str, str]) -> str:
    """When the backup was made. Raises UsageError unless the party signed the list of these very files."""
    try:
        sums, note = (folder / SUMS).read_bytes(), Note.parse((folder / NOTE).read_bytes())
        _, _, made, software, _ = note.text.splitlines()
        made, software = made.removeprefix("made "), software.removeprefix("software ")
        signed = note.verified([keys.identity.identity.verifying])
    except (OSError, LedgerError, ValueError):
        raise UsageError(f"the backup has no {NOTE} and {SUMS} that its party signed", remedy=_ALTERED) from None
    if not signed or note.text != note_of(keys.name, made, software, sums):
        raise UsageError(f"the list of files is not the one that {keys.name} signed", remedy=_ALTERED)
    listed = dict(line.split("  ", 1)[::-1] for line in sums.decode().splitlines())
    for name in sorted(listed.keys() | found.keys() - {SUMS, NOTE}):
        if listed.get(name) != found.get(name):
            raise UsageError(f"{name} is not as {keys.name} backed it up", remedy=_ALTERED)
    return made


def _restored(folder: RunFolder, party: PartyFile, keys: Keys, made: str, now: datetime) -> RestoredRun:
    seat, before = folder.path / party.name, folder.status()
    entries = None if read_party(seat).ledger else _checked(seat / LEDGER, f"{party.name}/{folder.run}", keys)
    volumes = seat / SCORING / VOLUMES
    if volumes.is_dir():
        (volumes / RESTORED).touch(mode=0o600)
    going_on = before.state not in (DONE, *OVER)
    if going_on:
        why = f"it was restored from the backup of {made}, and its peers may hold later heads of its ledger"
        folder.set_back(why)
        folder.move(FAILED, now.astimezone(UTC).isoformat(timespec="seconds"), reason=why)
    return RestoredRun(folder.run, before.state, entries, going_on)


def _checked(path: Path, origin: str, keys: Keys) -> int:
    """The number of entries of a ledger, each checked again. Raises UsageError if one does not fit."""
    if not path.exists():
        return 0
    with own_ledger():
        store = SQLiteStore(path)
        try:
            tree = Tree(row.leaf for _, row in stored_entries(store, origin))
            stored_heads(store, origin, keys.identity.identity.verifying, tree)
        finally:
            store.close()
    return len(tree)


@contextmanager
def _unpacked_in(folder: Path) -> Iterator[Path]:
    """A folder to unpack into, within `folder`, so that it is on the same disk; a failure leaves nothing."""
    fresh, beside = not folder.exists(), folder / ".restoring"
    if beside.exists():
        raise UsageError(f"{beside} is left of another restore", remedy="remove it, then restore again")
    try:
        beside.mkdir(mode=0o700, parents=True)
        yield beside
    except BaseException:
        shutil.rmtree(folder if fresh else beside, ignore_errors=True)
        raise
    shutil.rmtree(beside)
