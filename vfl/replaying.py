"""Re-execution of one party of a finished run from its own folder: data, seed, received messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger.entry import Entry
from ledger.store import SQLiteStore
from vfl.channel import Record, lockstep
from vfl.errors import ProtocolError, UsageError
from vfl.replay import ReplayChannel
from vfl.seat import RunFile, peers_of, protocol_randomness, read_own_holding, read_seed, role
from vfl.transcripts import read_transcript


@dataclass(frozen=True)
class Replayed:
    """What a replay went through."""

    party: str
    sent: int
    received: int


def replay(directory: Path, party: str) -> Replayed:
    """Run `party` of the run in `directory` again; it must say every recorded byte and end with the same share.

    Raises ProtocolError naming party and step where it does not, UsageError if the directory is not of a finished run.
    """
    file = RunFile.read(directory)
    if party not in file.keys:
        raise UsageError(f"no party {party!r} in this run", remedy=f"name one of {', '.join(file.keys)}")
    folder = directory / party
    records = list(read_transcript(folder / "transcript.bin"))
    _require_in_ledger(folder, party, records)
    channels = {
        member.name: ReplayChannel(party, member.name, [record for record in records if record.peer == member.name])
        for member in peers_of(file.agreement, party)
    }
    mine = read_own_holding(folder, file.agreement)
    part = role(mine, file.terms, channels, protocol_randomness(read_seed(folder)), _keep_nothing)
    outcome = lockstep({party: part})[party]
    for channel in channels.values():
        if channel.left:
            raise ProtocolError(f"ended with {channel.left} recorded messages left", peer=party, step=channel.peer)
    if outcome.share != (folder / "share.json").read_bytes():
        raise ProtocolError("ends with another model share than share.json", peer=party, step="freeze")
    sent = sum(record.sent for record in records)
    return Replayed(party, sent, len(records) - sent)


def _keep_nothing(step: str, digests: Mapping[str, bytes]) -> None:
    """Commitments are on record already."""


def _require_in_ledger(folder: Path, party: str, records: list[Record]) -> None:
    """Every message of the transcript stands in the party's ledger with the same digest."""
    if not (folder / "ledger.sqlite").exists():
        raise UsageError(f"there is no ledger in {folder}")
    store = SQLiteStore(folder / "ledger.sqlite")
    try:
        entries = [Entry.from_bytes(row.body) for row in store.rows()]
    finally:
        store.close()
    digests = {entry.slot: entry.payload.digest for entry in entries if entry.payload is not None}
    for record in records:
        if digests.get(record.slot) != record.digest.hex():
            raise ProtocolError("the transcript and the ledger name different messages", peer=party, step=record.slot)
