"""What a party shows of itself for some drawn cells, and nothing beyond.

columns      every feature over the aligned rows, with its salts: bins come of all training rows. No customer's id.
hint         the seed of what was drawn once for the bins
rounds       the seeds of the drawn cells' trees; no other tree's, and neither the party's own seed
messages     which rows train, and the encrypted rows and queries of the drawn cells, as they were received
categorical  features whose values are categories
before       how many nodes of the run were answered before each drawn query
blinds       what the party blinded its bins and the drawn answers with: its key to all others stays
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from vfl.audit.log_record import LogRecord
from vfl.audit.record import Cell, PartyRecord
from vfl.channel import Record
from vfl.commitments import Column, OpenedColumn, OpenedSeed, commit_column, open_column, open_seed
from vfl.errors import Malformed, UsageError
from vfl.protocols.boost import NodeQuery
from vfl.randomness import Randomness
from vfl.run_gbdt import hint_seed, round_seed
from vfl.seat import blinds_of, protocol_randomness, read_kept, read_own_holding, read_seed
from vfl.transcripts import pick_received
from vfl.wire import unpack


class Openings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of openings; see above."""

    columns: dict[str, OpenedColumn]
    hint: OpenedSeed
    rounds: dict[int, OpenedSeed]
    messages: dict[str, bytes]  # by slot
    categorical: list[str]
    before: dict[str, int]  # by the cell's slot
    blinds: dict[str, bytes]  # by slot

    def encode(self) -> bytes:
        """MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, party: str) -> Openings:
        """Raises Malformed, which blames `party`."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
            raise Malformed(f"no well-formed openings: {error}", peer=party, step="audit") from None


def open_cells(folder: Path, record: PartyRecord, cells: Sequence[Cell]) -> Openings:
    """What the party whose folder this is shows for `cells`.

    Raises UsageError where its table or its folder is not what it was at the run.
    """
    holding = read_own_holding(folder, record.terms.agreement)
    values = holding.values[np.load(folder / "rows.npy")]
    seed = read_seed(folder)
    rng, blind, kept = protocol_randomness(seed), blinds_of(seed), read_kept(folder, active=False, keep=False)
    columns = {}
    for name, column in zip(holding.names, values.T, strict=True):
        kind = f"column/{name}"
        columns[name] = opened_column(record, kind, column, rng.child("commit").child(kind))
    seeds = [round_seed(rng, number) for number in range(record.commitment("seeds/rounds").count)]
    messages, before = _received(folder, record, cells)
    return Openings(
        columns=columns,
        hint=open_seed([hint_seed(kept)], 0),
        rounds={cell.round: open_seed(seeds, cell.round) for cell in cells},
        messages=messages,
        categorical=sorted(holding.categorical),
        before=before,
        blinds={slot: blind(slot) for slot in (record.bins.slot, *(cell.slot for cell in cells))},
    )


def opened_column(record: LogRecord, kind: str, values: Column, salts: Randomness) -> OpenedColumn:
    """All of a column. Raises UsageError where it is not what the party of `record` committed to as `kind`."""
    if commit_column(kind, values, salts) != record.commitment(kind):
        raise UsageError(
            f"{kind} of {record.party} is not what was committed to",
            remedy="restore table and seed as they were at the run",
        )
    return open_column(values, salts)


def _received(folder: Path, record: PartyRecord, cells: Sequence[Cell]) -> tuple[dict[str, bytes], dict[str, int]]:
    wanted = {record.rows_slot, *(slot for cell in cells for slot in (*cell.tree, *cell.query))}
    found, before, answered = {}, {}, 0
    by_query = {cell.query[0]: cell.slot for cell in cells}
    for message in _messages(folder):
        if message.slot in wanted:
            found[message.slot] = message.body
        if message.slot in by_query:
            before[by_query[message.slot]] = answered
        if message.slot.split("/")[2] == NodeQuery.__name__:
            answered += unpack(NodeQuery, message.body).count
    if missing := wanted - found.keys():
        raise UsageError(f"{folder / 'transcript.bin'} lacks {min(missing)}", remedy="restore the file from a backup")
    return found, before


def _messages(folder: Path) -> Iterator[Record]:
    return pick_received(folder / "transcript.bin", ("TrainingRows", "TreeBlock", "NodeQuery", "QueryBlock"))
