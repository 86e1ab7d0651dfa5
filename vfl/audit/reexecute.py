"""The audited answers again, from what was opened; every opening is first held against the ledger.

column, seeds   fit the roots that the party committed to before training
messages        fit the digests in the party's own log
bins            FeatureBins computed again, compared by SHA-256 with what the party said
cell            NodeHistograms likewise
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from ledger.errors import LedgerError
from vfl.audit.openings import Openings
from vfl.audit.record import Cell, PartyRecord
from vfl.channel import Record, digest_of, lockstep
from vfl.errors import BrokenPromise, ProtocolError
from vfl.protocols.boost import (
    Bound,
    NodeHistograms,
    NodeQuery,
    TrainingRows,
    answer_query,
    bind,
    hear_tree,
)
from vfl.randomness import Randomness
from vfl.replay import ReplayChannel
from vfl.wire import Message, pack, unpack

_VALUE = np.dtype("<f8")


@dataclass(frozen=True)
class Verdict:
    """One message computed again. Digests are hex."""

    slot: str
    claimed: str
    recomputed: str

    @property
    def fits(self) -> bool:
        """Whether the party said what its committed data and seeds give."""
        return self.claimed == self.recomputed


def reexecute(record: PartyRecord, openings: Openings, cells: Sequence[Cell]) -> list[Verdict]:
    """The party's bins, then each of `cells`.

    Raises BrokenPromise naming the party where something opened is not what was committed to or received.
    """
    try:
        return _Again(record, openings).verdicts(cells)
    except LedgerError as error:
        raise BrokenPromise(f"opens something else: {error}", peer=record.party, step="audit") from error
    except ProtocolError as error:
        if error.peer:
            raise
        why = f"answered what it had to refuse: {error}"
        raise BrokenPromise(why, peer=record.party, step=error.step or "audit") from error


class _Again:
    """A passive party's part, from its openings."""

    def __init__(self, record: PartyRecord, openings: Openings) -> None:
        self._record, self._openings = record, openings

    def verdicts(self, cells: Sequence[Cell]) -> list[Verdict]:
        record = self._record
        told = unpack(TrainingRows, self._message(record.rows_slot).body)
        bound = self._bind(told)
        found = [Verdict(record.bins.slot, record.digest(record.bins.slot), self._digest(bound.bins, record.bins.slot))]
        for cell in cells:
            answer = lockstep({record.party: self._answer(cell, bound)})[record.party]
            found.append(Verdict(cell.slot, cell.digest, self._digest(answer, cell.slot)))
        return found

    def _digest(self, message: Message, slot: str) -> str:
        return digest_of(pack(message, self._openings.blinds.get(slot, b""))).hex()

    def _bind(self, told: TrainingRows) -> Bound:
        terms, names = self._record.terms, self._record.names
        if set(self._openings.columns) != set(names) or not set(self._openings.categorical) <= set(names):
            self._refuse(f"the features {', '.join(names)}", "columns")
        columns = []
        for name in names:
            opened = self._openings.columns[name]
            opened.verify(self._record.commitment(f"column/{name}"), _VALUE.itemsize)
            columns.append(np.frombuffer(opened.content, _VALUE).astype(np.float64))
        return bind(
            told,
            names,
            np.column_stack(columns),
            terms.parameters,
            terms.min_shown_population,
            terms.scheme.evaluator,
            self._openings.hint.verify(self._record.commitment("seeds/hint")),
            self._openings.categorical,
        )

    async def _answer(self, cell: Cell, bound: Bound) -> NodeHistograms:
        rows = int(bound.parts.train.sum())
        await hear_tree(self._heard(cell, cell.tree), bound.evaluator, rows)
        queries = self._heard(cell, cell.query)
        bound.evaluator.go_on_after(self._before(cell))
        return await answer_query(queries, await queries.recv(NodeQuery), rows, bound.evaluator, self._round(cell))

    def _heard(self, cell: Cell, slots: Sequence[str]) -> ReplayChannel:
        record = self._record
        first = int(slots[0].rpartition("/")[2]) if slots else 0
        channel = ReplayChannel(record.party, record.active, map(self._message, slots), first=first)
        channel.enter("train", cell.round)
        return channel

    def _message(self, slot: str) -> Record:
        body = self._openings.messages.get(slot, b"")
        if digest_of(body).hex() != self._record.digest(slot):
            self._refuse("the message that it received", slot)
        return Record(False, self._record.active, slot, digest_of(body), body)

    def _round(self, cell: Cell) -> Randomness:
        opened = self._openings.rounds.get(cell.round)
        if opened is None or opened.number != cell.round:
            self._refuse("the seed of the round", cell.slot)
        return opened.verify(self._record.commitment("seeds/rounds"))

    def _before(self, cell: Cell) -> int:
        before = self._openings.before.get(cell.slot, -1)
        if not 0 <= before <= self._record.terms.scheme.queries:
            self._refuse("how many nodes came before", cell.slot)
        return before

    def _refuse(self, what: str, step: str) -> NoReturn:
        raise BrokenPromise(f"does not open {what}", peer=self._record.party, step=step)
