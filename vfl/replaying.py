"""Re-execution of one party of a finished run from its own folder: data, seed, received messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.entry import Entry, slot_name
from ledger.errors import LedgerError
from vfl.channel import Record, lockstep
from vfl.commitments import Commitment
from vfl.errors import ProtocolError, UsageError
from vfl.files import NO_RUN
from vfl.predictions import predictions
from vfl.replay import ReplayChannel
from vfl.seat import (
    RunFile,
    blinds_of,
    open_ledger,
    peers_of,
    protocol_randomness,
    read_kept,
    read_own_holding,
    read_party,
    read_seed,
    role,
)
from vfl.terms import ActiveOutcome, Outcome
from vfl.transcripts import read_transcript


@dataclass(frozen=True)
class Replayed:
    """What a replay went through."""

    party: str
    sent: int
    received: int


def replay(directory: Path, party: str) -> Replayed:
    """Run `party` of the run in `directory` again; it must say every recorded byte and end with the same results.

    Raises ProtocolError naming party and step where it does not, UsageError if the directory is not of a finished run.
    """
    file = RunFile.read(directory)
    if party not in file.keys:
        raise UsageError(f"no party {party!r} in this run", remedy=f"name one of {', '.join(file.keys)}")
    folder = directory / party
    stored = () if read_party(folder).ledger else ("ledger.sqlite",)
    for name in ("transcript.bin", *stored, "share.json"):
        if not (folder / name).exists():
            raise UsageError(f"there is no {name} in {folder}", remedy=NO_RUN)
    records = _records(folder, party)
    entries = _entries(folder, party, file.run)
    _require_in_ledger(entries, party, records)
    blind = blinds_of(read_seed(folder))
    channels = {
        member.name: ReplayChannel(party, member.name, [r for r in records if r.peer == member.name], blind)
        for member in peers_of(file.agreement, party)
    }

    def commit(step: str, commitments: Sequence[Commitment]) -> None:
        slot = slot_name("commit", 0, step, party, party)
        made = [entry for entry in entries.values() if (entry.phase, entry.step) == ("commit", step)]
        recorded = {item["kind"]: dict(item) for entry in made for item in entry.commit}
        for one in commitments:
            if recorded.get(one.kind) != one.to_json():
                raise ProtocolError(f"did not commit to this: {one.kind}", peer=party, step=slot)

    mine = read_own_holding(folder, file.agreement)
    kept = read_kept(folder, active=file.agreement.active.name == party, keep=False)
    part = role(mine, file.terms, channels, protocol_randomness(read_seed(folder)), commit, kept)
    outcome = lockstep({party: part})[party]
    if left := sum(channel.left for channel in channels.values()) + sum(r.peer not in channels for r in records):
        raise ProtocolError(f"ended with {left} recorded messages left", peer=party, step="freeze")
    for name, content in _results(outcome, mine.ids).items():
        if not (folder / name).exists() or (folder / name).read_bytes() != content:
            raise ProtocolError(f"ends with another content of {name}", peer=party, step="freeze")
    sent = sum(record.sent for record in records)
    return Replayed(party, sent, len(records) - sent)


def _results(outcome: Outcome, ids: Sequence[str]) -> dict[str, bytes]:
    """What the party kept at the end, by file."""
    found = {"share.json": outcome.share, **outcome.files}
    if isinstance(outcome, ActiveOutcome):
        found["predictions.csv"] = predictions(ids, outcome)
    return found


def _records(folder: Path, party: str) -> list[Record]:
    """The transcript; damage in it is a broken record of the party, not a wrong command."""
    records: list[Record] = []
    try:
        for record in read_transcript(folder / "transcript.bin"):
            records.append(record)
    except UsageError as error:
        last = f"after {records[-1].slot}" if records else "start"
        raise ProtocolError(str(error), peer=party, step=last, remedy=error.remedy) from None
    return records


def _entries(folder: Path, party: str, run: str) -> dict[str, Entry]:
    """The party's ledger by slot."""
    store = open_ledger(folder, run)
    try:
        return {entry.slot: entry for entry in (Entry.from_bytes(row.body) for row in store.rows())}
    except LedgerError as error:
        raise ProtocolError(f"keeps a damaged ledger: {error}", peer=party, remedy=error.remedy) from None
    finally:
        store.close()


def _require_in_ledger(entries: Mapping[str, Entry], party: str, records: list[Record]) -> None:
    """Every message of the transcript stands in the party's ledger with the same digest."""
    for record in records:
        entry = entries.get(record.slot)
        if entry is None or entry.payload is None or entry.payload.digest != record.digest.hex():
            raise ProtocolError("the transcript and the ledger name different messages", peer=party, step=record.slot)
