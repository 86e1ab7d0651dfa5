"""Damage to what a party has stored, and old backups: each must be refused, by the party itself or by its peers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ledger.errors import LedgerError
from ledger.log import Log
from ledger.store import Head, Row
from vfl.errors import UsageError
from vfl.transcripts import read_transcript

from .disk import copy_of
from .machine import AGREEMENT, IDENTITIES, RUN, START, Machine
from .promises import Broken, Promises


@dataclass
class _Clock:
    """Any time will do for reading."""

    def now(self):  # type: ignore[no-untyped-def]
        return START

    def monotonic_ns(self) -> int:
        return 0


def flip_a_bit(machine: Machine, chance: random.Random) -> None:
    """Flip one bit of the ledger or of the transcript, see it refused, and restore what was there from a backup."""
    if chance.random() < 0.5:
        _flip_ledger(machine, chance)
    else:
        _flip_transcript(machine, chance)


def _flip_ledger(machine: Machine, chance: random.Random) -> None:
    whole = machine.disk.store
    damaged = machine.disk.store = copy_of(whole)
    if not damaged._rows:
        machine.disk.store = whole
        return
    if damaged._checkpoints and chance.random() < 0.5:
        size = chance.choice(list(damaged._checkpoints))
        head = damaged._checkpoints[size]
        damaged._checkpoints[size] = Head(head.size, flipped(head.root, chance), head.note)
    else:
        at = chance.randrange(len(damaged._rows))
        row = damaged._rows[at]
        damaged._rows[at] = Row(row.seq, flipped(row.body, chance), row.leaf)
    try:
        who = IDENTITIES[machine.name]
        certificate = who.certify(RUN, START, START.replace(year=START.year + 1))
        Log(damaged, who, machine.name, RUN, _Clock(), entry_key=who.entry_key(RUN), certificate=certificate,
            agreement=AGREEMENT)  # fmt: skip
    except LedgerError:
        machine.world.tell(machine.name, "a bit of its ledger flipped, and it was refused")
    else:
        raise Broken("P2", f"{machine.name} opened a ledger with a flipped bit")
    finally:
        machine.disk.store = whole


def _flip_transcript(machine: Machine, chance: random.Random) -> None:
    """Anywhere but in the last record: damage to that cannot be told from a death in the middle of writing it."""
    path = machine.disk.path
    if not path.exists():
        return
    starts, whole = record_starts(path.read_bytes()), path.read_bytes()
    if len(starts) < 3:
        return
    # Lengths as often as all the rest: a damaged one moves everything behind it.
    at = chance.choice([chance.randrange(starts[-2]), chance.choice(starts[:-2]) + chance.randrange(8)])
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
    try:
        list(read_transcript(path, repair=True))
    except UsageError:
        machine.world.tell(machine.name, "a bit of its transcript flipped, and it was refused")
    else:
        raise Broken("P2", f"{machine.name} opened a transcript with a flipped bit at byte {at}")
    finally:
        path.write_bytes(whole)


def record_starts(data: bytes) -> list[int]:
    """Where the whole records of a transcript start, and where the last one ends."""
    starts, at = [0], 0
    while at + 12 <= len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big") + int.from_bytes(data[at + 4 : at + 8], "big")
        if at > len(data):
            break
        starts.append(at)
    return starts


def flipped(data: bytes, chance: random.Random) -> bytes:
    """One bit of it is another."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def roll_back(machine: Machine, promises: Promises, chance: random.Random) -> bool:
    """Restore an old backup of the ledger, one that a peer has cosigned more than; False if there is none."""
    newest = max((head.size for _, head in promises.cosigned_of(machine.name)), default=0)
    heads = [size for size in machine.disk.store._checkpoints if size < newest]
    if not heads or machine.rolled_back is not None:
        return False
    size = chance.choice(heads)
    old = copy_of(machine.disk.store)
    old._rows = old._rows[:size]
    old._checkpoints = {at: head for at, head in old._checkpoints.items() if at <= size}
    old._lines = {at: lines for at, lines in old._lines.items() if at <= size}
    machine.rolled_back, machine.disk.store = machine.disk.store, old
    machine.world.tell(machine.name, f"an old ledger of {size} entries is restored, {newest} were cosigned")
    return True
