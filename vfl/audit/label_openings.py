"""What the active party shows of itself for some drawn blocks of encrypted rows, and nothing beyond.

targets     labels, hold-out, weights if there are, and with decoys the places of its rows, each whole, with salts: the
            gradients of any row depend on the labels of all by start, scale, sample and leaf values. No customer's id.
columns     its features on which trees up to the drawn ones split
share       its share of the model as it was frozen, and the salts of that
trees       the seeds of the drawn trees; no other tree's, and neither the party's own seed
base        what randomness of encrypted rows is a power of (paillier); not the private key
messages    which rows train, as it said it; left or right at the partners' splits up to the drawn trees, as received
asked       which nodes of the drawn trees each query was about
earlier     how many trees of the share are those of a model gone on from
blinds      what it blinded the drawn messages and those of the frozen share with

Learns:  regulator -> label, hold-out and weight of every aligned row, the own share of the model, the own features that
                      it splits on, and left or right at the partners' splits, of trees up to the last drawn one; no
                      partner's values or sums, and who no customer is
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vfl.audit.label_record import LabelRecord, SentRows
from vfl.audit.openings import opened_column
from vfl.commitments import Column, OpenedColumn, OpenedSeed, open_seed
from vfl.decoys import DECOY, Shown
from vfl.errors import Malformed, UsageError
from vfl.files import read_array, read_result
from vfl.holding import Holding
from vfl.learn.ensemble import Ensemble, Place
from vfl.learn.rounds import Parts
from vfl.models import read_ensemble
from vfl.protocols.boost import TrainingRows, training_rows
from vfl.protocols.freeze import salt_of
from vfl.randomness import Randomness
from vfl.run_gbdt import ASKED, round_seed
from vfl.seat import INIT, blinds_of, protocol_randomness, read_kept, read_own_holding, read_seed
from vfl.transcripts import pick_received
from vfl.wire import pack


class LabelOpenings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of openings; see above. By slot: messages, blinds. By tree: trees, asked."""

    targets: dict[str, OpenedColumn]
    columns: dict[str, OpenedColumn]
    share: bytes
    salts: dict[str, bytes]  # by partner
    trees: dict[int, OpenedSeed]
    base: bytes
    messages: dict[str, bytes]
    asked: dict[int, list[list[Place]]]
    earlier: int
    blinds: dict[str, bytes]

    def encode(self) -> bytes:
        """MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, party: str) -> LabelOpenings:
        """Raises Malformed, which blames `party`."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
            raise Malformed(f"no well-formed openings: {error}", peer=party, step="audit") from None


def open_labels(folder: Path, record: LabelRecord, cells: Sequence[SentRows], agreed: int) -> LabelOpenings:
    """What the party whose folder this is shows for `cells`. `agreed`: rows that partners were shown.

    Raises UsageError where its table or its folder is not what it was at the run.
    """
    holding = read_own_holding(folder, record.terms.agreement)
    rows, seed = np.load(folder / "rows.npy"), read_seed(folder)
    rng, blind = protocol_randomness(seed), blinds_of(seed)
    share = read_result(folder / "share.json")
    model, earlier = read_ensemble(share), _earlier(folder)
    drawn = sorted({cell.round for cell in cells if earlier + cell.round < len(model.trees)})
    before = drawn[-1] if drawn else 0
    used = {model.records[at].feature for at in _own_records(model, earlier + before + 1)}
    columns = {f"column/{holding.names[at]}": holding.values[rows, at] for at in used}
    salts = rng.child("commit")
    opened = {
        kind: opened_column(record, kind, values, salts.child(kind))
        for kind, values in {**_targets(folder, holding, rows, record), **columns}.items()
    }
    told, base = _told(folder, record, rows, agreed, rng)
    said = {record.to(peer, "bins", "TrainingRows").slot for peer in record.peers}
    frozen = {record.to(peer, "freeze", "ModelShare").slot for peer in record.peers}
    seeds = [round_seed(rng, number) for number in range(record.commitment("seeds/rounds").count)]
    asked = json.loads(read_result(folder / ASKED))
    return LabelOpenings(
        targets={kind: one for kind, one in opened.items() if kind not in columns},
        columns={kind: opened[kind] for kind in columns},
        share=share,
        salts={peer: salt_of(rng.child(f"freeze/{peer}")) for peer in record.peers},
        trees={number: open_seed(seeds, number) for number in drawn},
        base=base,
        messages={slot: pack(told, blind(slot)) for slot in said} | _received(folder, record, before + 1, earlier),
        asked={number: [[(o, r, s) for o, r, s in nodes] for nodes in asked[number]] for number in drawn},
        earlier=earlier,
        blinds={slot: blind(slot) for slot in frozen | {cell.slot for cell in cells}},
    )


def _earlier(folder: Path) -> int:
    init = folder / INIT
    return len(read_ensemble(init.read_bytes()).trees) if init.exists() else 0


def _own_records(model: Ensemble, trees: int) -> list[int]:
    return [
        int(number)
        for tree in model.trees[:trees]
        for owner, number in zip(tree.owner, tree.record, strict=True)
        if not owner
    ]


def _targets(folder: Path, holding: Holding, rows: np.ndarray[Any, Any], record: LabelRecord) -> Mapping[str, Column]:
    assert holding.labels is not None
    assert holding.holdout is not None
    found: dict[str, Column] = {"labels": holding.labels[rows], "holdout": holding.holdout[rows]}
    if holding.weights is not None:
        found["weights"] = holding.weights[rows]
    if record.terms.psi.decoys:
        found["places"] = read_array(folder / "places.npy")
    return found


def _told(
    folder: Path, record: LabelRecord, rows: np.ndarray[Any, Any], agreed: int, rng: Randomness
) -> tuple[TrainingRows, bytes]:
    """Which rows train, as it was said, and the base of their encryption."""
    parts = read_array(folder / "parts.npy")
    places = read_array(folder / "places.npy") if record.terms.psi.decoys else np.arange(len(rows))
    mixed = np.full(agreed, DECOY, np.int64)
    if len(places) != len(rows) or len(parts) != len(rows) or (len(places) and places.max() >= agreed):
        raise UsageError(f"{folder / 'parts.npy'} is of another run", remedy="restore the folder from a backup")
    mixed[places] = rows
    shown = Shown.of(rows, mixed, Parts(parts == 0, parts == 1), rng.child("decoys"))
    scheme, kept = record.terms.scheme, read_kept(folder, active=True, keep=False)
    key = scheme.key_holder(int(shown.train.sum()), kept.rng.child("key"))
    return training_rows(shown, key), key.expose_base()


def _received(folder: Path, record: LabelRecord, before: int, earlier: int) -> dict[str, bytes]:
    wanted = {slot for peer in record.peers for slot in record.decided(peer, before)}
    if earlier:
        wanted |= {record.earlier(peer) for peer in record.peers}
    heard = pick_received(folder / "transcript.bin", ("SplitRows", "Decisions"))
    found = {message.slot: message.body for message in heard if message.slot in wanted}
    if missing := wanted - found.keys():
        raise UsageError(f"{folder / 'transcript.bin'} lacks {min(missing)}", remedy="restore the file from a backup")
    return found
