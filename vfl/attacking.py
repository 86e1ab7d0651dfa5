"""The attacks of `vfl.attacks` on a finished run in a directory: one machine holds what it takes to judge them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.attacks.metadata import guess, traits
from vfl.attacks.node_sets import KNOWN, Labels, NodeSetFigure, node_sets
from vfl.attacks.views import PassiveView, passive_view
from vfl.bits import unpack_bits
from vfl.crypto.ring import ELEMENT_BYTES
from vfl.crypto.scheme import BLOCK_ROWS
from vfl.errors import UsageError
from vfl.files import read_array
from vfl.protocols.boost import NodeQuery, SplitsChosen, TrainingRows, TreeBlock
from vfl.randomness import Randomness
from vfl.seat import RunFile, read_own_holding
from vfl.terms import GBDT
from vfl.transcripts import pick_received
from vfl.wire import unpack

_SEED = Randomness(hashlib.sha256(b"tallystick attack node-sets").digest())
"""Who is known and who is judged: fixed, so that a figure can be had again from the same run."""
_WORK = 1600
_LEAST_OF_A_CLASS = 40
"""Fewer customers of a class give no figure from metadata."""
_LEAST_DRAWS = 8
"""Draws times known labels: keeps the noise of either setting about alike, and a small run below a second."""


def attack_node_sets(folder: Path, file: RunFile, party: str, known: int, times: int = 1) -> NodeSetFigure:
    """What the passive `party` of the run learned of labels. `times`: so many times the draws, for less noise.

    Raises UsageError if there is no such party, or too few customers for a figure.
    """
    return _attack(*_view(folder, file, party, _truth(folder, file)), party, known, times)


def measure(folder: Path, file: RunFile, times: int = 1) -> dict[str, Any]:
    """For a summary: the figures of every attack that a run's own files allow, by attack and party.

    A run too small for a figure has none.
    """
    truth = _truth(folder, file)
    found: dict[str, list[dict[str, float | int]]] = {}
    metadata: dict[str, float] = {}
    for member in file.agreement.passives:
        guessed = _metadata(folder, file, member.name, truth)
        if guessed is not None:
            metadata[member.name] = round(guessed, 4)
        view, labels = _view(folder, file, member.name, truth)
        figures = found[member.name] = []
        for known in KNOWN:
            with suppress(UsageError):
                figures.append(_attack(view, labels, member.name, known, times).as_dict())
    return {"node_sets": found, "metadata": metadata}


def _metadata(folder: Path, file: RunFile, party: str, truth: Labels) -> float | None:
    """AUC of guessing labels from what the ciphertexts of the first encrypted rows show without a key."""
    kinds = [kind.__name__ for kind in (TrainingRows, TreeBlock, NodeQuery)]
    train: npt.NDArray[np.bool_] | None = None
    for record in pick_received(folder / party / "transcript.bin", kinds):
        kind = record.slot.split("/")[2]
        if kind == TrainingRows.__name__:
            train = unpack_bits(unpack(TrainingRows, record.body).train, len(truth))
        elif train is not None:
            count = min(int(train.sum()), BLOCK_ROWS)
            if kind == NodeQuery.__name__:
                rows, width = unpack(NodeQuery, record.body).block, 2 * ELEMENT_BYTES
            else:
                rows = unpack(TreeBlock, record.body).rows
                width = len(rows) // count
            labels = truth[train][:count]
            seen = [rows[width * row : width * row + width] for row in range(count)]
            known = labels >= 0
            if min(np.bincount(labels[known], minlength=2)) < _LEAST_OF_A_CLASS:
                return None
            return guess(traits([one for one, kept in zip(seen, known, strict=True) if kept]), labels[known])
    return None


def _attack(view: PassiveView, labels: Labels, party: str, known: int, times: int) -> NodeSetFigure:
    draws = times * max(_LEAST_DRAWS, _WORK // known)
    return node_sets(view, labels, known, _SEED.child(f"{party}/{known}"), draws)


def _truth(folder: Path, file: RunFile) -> Labels:
    """What judges the guesses: the label of every row that passive parties were shown, -1 where none trained.

    Raises UsageError for a run without tree nodes.
    """
    if file.terms.kind != GBDT:
        raise UsageError("this run made a scorecard, which has no tree nodes", remedy="name a run of boosted trees")
    file.terms.require_two_classes("labels are guessed", "name a run with labels 0 and 1")
    active = folder / file.agreement.active.name
    holding = read_own_holding(active, file.agreement)
    assert holding.labels is not None
    parts, rows = read_array(active / "parts.npy"), read_array(active / "rows.npy")
    places = read_array(active / "places.npy") if file.terms.psi.decoys else np.arange(len(rows))
    shown = len(read_array(folder / file.agreement.passives[0].name / "rows.npy"))
    truth: Labels = np.full(shown, -1, np.int8)
    truth[places] = np.where(parts == 0, holding.labels[rows], -1)
    return truth


def _view(folder: Path, file: RunFile, party: str, truth: Labels) -> tuple[PassiveView, Labels]:
    """What a passive party saw of the customers that trained, and their labels."""
    names = [member.name for member in file.agreement.passives]
    if party not in names:
        raise UsageError(f"no passive party {party!r} in this run", remedy=f"name one of {', '.join(names)}")
    mine = read_own_holding(folder / party, file.agreement)
    values = mine.values[read_array(folder / party / "rows.npy")]
    kinds = (kind.__name__ for kind in (TrainingRows, NodeQuery, SplitsChosen))
    received = pick_received(folder / party / "transcript.bin", kinds)
    view = passive_view(
        received, mine.names, values, file.terms.parameters, file.terms.min_shown_population, mine.categorical
    )
    labels = truth[view.train]
    return view.of(labels >= 0), labels[labels >= 0]
