"""Drawn blocks of encrypted rows again, from what was opened; every opening is first held against the ledger.

targets, columns   fit the roots that the party committed to before training, the seeds of trees likewise
share              fits what the party froze towards every partner
which rows train   follow from the hold-out committed to, and fit what the party told every partner
partners' splits   fit the digests in the log
cell               the gradients of the committed labels, at the scores of the frozen trees before, encrypted again with
                   the tree's seed; compared by SHA-256 with what the party sent
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import NoReturn

import msgspec
import numpy as np

from ledger.errors import LedgerError
from vfl.audit.frozen_trees import FrozenTrees, OpenedSplits
from vfl.audit.label_openings import LabelOpenings
from vfl.audit.label_record import LabelRecord, SentRows
from vfl.audit.reexecute import Verdict
from vfl.bits import Mask, unpack_bits
from vfl.channel import digest_of
from vfl.crypto.lattice import LatticeKeyHolder
from vfl.crypto.paillier_again import RowsAgain
from vfl.decoys import Shown
from vfl.errors import BrokenPromise, ProtocolError, UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import Labels
from vfl.learn.rounds import Gradients, Rounds, Target
from vfl.models import read_ensemble, require_share
from vfl.protocols.boost import NodeQuery, QueryBlock, TrainingRows, TreeBlock
from vfl.protocols.freeze import ModelShare, committed
from vfl.randomness import Randomness
from vfl.run import parts_of
from vfl.wire import Message, pack, unpack

_WIDTHS = {"binary": 1, "multiclass": 2, "regression": 8}  # bytes of a label


def relabel(record: LabelRecord, openings: LabelOpenings, cells: Sequence[SentRows]) -> list[Verdict]:
    """What the party told of its rows, then each of `cells` whose tree the frozen model has.

    Raises BrokenPromise naming the party where something opened is not what was committed to, sent or received.
    """
    try:
        return list(_LabelsAgain(record, openings).verdicts(cells))
    except (LedgerError, UsageError, KeyError, IndexError, ValueError) as error:
        raise BrokenPromise(f"opens something else: {error}", peer=record.party, step="audit") from error
    except ProtocolError as error:
        if error.peer:
            raise
        raise BrokenPromise(f"opens something else: {error}", peer=record.party, step="audit") from error


class _LabelsAgain:
    """The active party's part, from its openings."""

    def __init__(self, record: LabelRecord, openings: LabelOpenings) -> None:
        self._record, self._openings, self._terms = record, openings, record.terms
        self._require_targets()
        self._labels, holdout = self._opened_labels(), self._opened_holdout()
        self._parts = parts_of(self._labels, holdout, self._terms)
        self._told = self._same_for_all()
        self._shown = self._shown_rows()

    def verdicts(self, cells: Sequence[SentRows]) -> Iterator[Verdict]:
        drawn = [cell for cell in cells if self._openings.earlier + cell.round < len(self._model.trees)]
        for number, now, trees in self._grown(max((cell.round for cell in drawn), default=-1)):
            here = [cell for cell in drawn if cell.round == number]
            seed = self._seed(here[0]) if here else None
            for cell in here:
                assert seed is not None
                message = self._said(cell, now, trees, seed)
                yield Verdict(cell.slot, cell.digest, self._digest(message, cell.slot))

    def _grown(self, last: int) -> Iterator[tuple[int, Gradients, FrozenTrees]]:
        """Every tree up to number `last` with what it is grown from."""
        parameters = replace(
            self._terms.parameters, gradient_bits=self._terms.scheme.bits(int(self._shown.train.sum()))
        )
        trees, outputs = self._trees(), parameters.outputs
        weights = None
        if "weights" in self._openings.targets:
            weights = np.frombuffer(self._target("weights", 8), "<f8").astype(np.float64)
        start = trees.start(self._openings.earlier) if self._terms.goes_on else None
        rounds = Rounds(Target(self._labels, weights, start), self._parts, parameters)
        for number in range(last + 1):
            if number % outputs == 0:
                rounds.open()
            yield number, rounds.gradients(number % outputs), trees
            trees.add(self._openings.earlier + number, rounds.scores[:, number % outputs])
            if (number + 1) % outputs == 0:
                rounds.close()

    def _said(self, cell: SentRows, now: Gradients, trees: FrozenTrees, seed: Randomness) -> Message:
        g, h = (self._shown.spread(values)[self._shown.train] for values in (now.g, now.h))
        encryption = self._encryption
        if isinstance(encryption, RowsAgain):
            rows, is_last = encryption.block(g, h, seed.child("rows"), cell.block)
            return TreeBlock(cell.block, is_last, rows)
        encryption.open_tree(g, h, seed.child("rows"))
        asked = self._openings.asked[cell.round]
        nodes, first = asked[cell.query], sum(map(len, asked[: cell.query]))
        members = [trees.rows(self._openings.earlier + cell.round, node) & now.sample for node in nodes]
        spread = np.stack([self._shown.spread(rows)[self._shown.train] for rows in members])
        block = next(islice(encryption.query(spread, seed.child(f"query/{first}")), cell.block, None), b"")
        return QueryBlock(cell.block, block) if cell.block else NodeQuery(first, len(nodes), [], block)

    def _digest(self, message: Message, slot: str) -> str:
        return digest_of(pack(message, self._openings.blinds.get(slot, b""))).hex()

    @cached_property
    def _encryption(self) -> RowsAgain | LatticeKeyHolder:
        rows = int(self._shown.train.sum())
        return self._terms.scheme.rows_again(self._told.key, rows, self._openings.base)

    @cached_property
    def _model(self) -> Ensemble:
        """The frozen share: the same towards every partner."""
        record, openings = self._record, self._openings
        for peer in record.peers:
            entry = record.to(peer, "freeze", "ModelShare")
            digest = committed(openings.share, openings.salts.get(peer, b""))
            if self._digest(ModelShare(digest), entry.slot) != record.digest(entry.slot):
                self._refuse("the share of the model that it froze", entry.slot)
        require_share(openings.share, self._terms.agreement, record.party)
        return read_ensemble(openings.share)

    def _trees(self) -> FrozenTrees:
        record, openings = self._record, self._openings
        before = 1 + max(openings.trees, default=-1)
        columns = {}
        for kind, opened in openings.columns.items():
            opened.verify(record.commitment(kind), 8)
            columns[kind.removeprefix("column/")] = np.frombuffer(opened.content, "<f8").astype(np.float64)
        splits = OpenedSplits(
            self._parts.fit,
            self._shown,
            columns,
            record.names,
            [[self._message(slot) for slot in record.decided(peer, before)] for peer in record.peers],
            [self._message(record.earlier(peer)) for peer in record.peers] if self._terms.goes_on else [],
            named=self._terms.scheme.names_rows,
        )
        return FrozenTrees(self._model, splits)

    def _same_for_all(self) -> TrainingRows:
        """Which rows train, and the key: what the party told every partner."""
        slots = [self._record.to(peer, "bins", "TrainingRows").slot for peer in self._record.peers]
        told = [unpack(TrainingRows, self._message(slot)) for slot in slots]
        if len({pack(msgspec.structs.replace(one, blind=b"")) for one in told}) != 1:
            self._refuse("one message to all partners about which rows train", slots[-1])
        return told[0]

    def _shown_rows(self) -> Shown:
        told, own = self._told, self._parts
        train, validation = (unpack_bits(bits, told.count) for bits in (told.train, told.validation))
        places = np.arange(len(own.train))
        if self._terms.psi.decoys:
            places = np.frombuffer(self._target("places", 8), "<i8").astype(np.int64)
        distinct = len(np.unique(places)) == len(places) and places.min() >= 0 and places.max() < told.count
        if not distinct or (not self._terms.psi.decoys and told.count != len(places)):
            self._refuse("the places of its rows", "audit")
        if (train[places] != own.train).any() or (validation[places] != own.validation).any():
            self._refuse("the rows that train by the hold-out that it committed to", "audit")
        return Shown(places, train, validation, ~(train | validation))

    def _require_targets(self) -> None:
        wanted = {"labels", "holdout"} | ({"places"} if self._terms.psi.decoys else set())
        wanted |= {"weights"} if self._record.has_committed("weights") else set()
        if set(self._openings.targets) != wanted:
            self._refuse(", ".join(sorted(wanted)), "audit")
        if self._openings.earlier < 0 or (self._openings.earlier and not self._terms.goes_on):
            self._refuse("a model of this run's trees alone", "audit")

    def _opened_labels(self) -> Labels:
        objective = self._terms.objective
        content = self._target("labels", _WIDTHS[objective])
        if objective == "multiclass":
            return np.frombuffer(content, "<i2").astype(np.int16)
        if objective == "regression":
            return np.frombuffer(content, "<f8").astype(np.float64)
        return np.frombuffer(content, np.int8)

    def _opened_holdout(self) -> Mask:
        bits = np.frombuffer(self._target("holdout", 1), np.uint8)
        return bits.astype(np.bool_)

    def _target(self, kind: str, width: int) -> bytes:
        opened = self._openings.targets[kind]
        opened.verify(self._record.commitment(kind), width)
        return opened.content

    def _message(self, slot: str) -> bytes:
        body = self._openings.messages.get(slot, b"")
        if digest_of(body).hex() != self._record.digest(slot):
            self._refuse("the message that the ledger has", slot)
        return body

    def _seed(self, cell: SentRows) -> Randomness:
        opened = self._openings.trees.get(cell.round)
        if opened is None or opened.number != cell.round:
            self._refuse("the seed of the tree", cell.slot)
        return opened.verify(self._record.commitment("seeds/rounds"))

    def _refuse(self, what: str, step: str) -> NoReturn:
        raise BrokenPromise(f"does not open {what}", peer=self._record.party, step=step)
