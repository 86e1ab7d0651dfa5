"""One run from a party's seat: the order of the protocols, the same for every way of driving them.

    handshake    the same agreement at both ends
    psi, align   common customers, in one agreed order                             with each passive party
    commit       salted digests of aligned columns, labels and hold-out go on record, before anything is learned of them
    bins, train  boosted trees on encrypted histograms
    score        the hold-out is scored jointly
    freeze       each party names its share of the model

`active` and `passive` await nothing but their channels, so they run under lockstep, over sockets and in replay alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from vfl import __version__
from vfl.agreement import Agreement
from vfl.bits import Mask
from vfl.channel import Channel
from vfl.crypto.scheme import HintStore, NoHints
from vfl.crypto.schemes import SchemeTerms
from vfl.decoys import Shown
from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Ensemble, Parts
from vfl.learn.objective import sigmoid, validation_rows
from vfl.learn.parameters import GBDTParameters
from vfl.learn.tree import SplitRecord
from vfl.models import active_share, passive_share
from vfl.protocols import boost, freeze, handshake, intersect, score
from vfl.protocols.intersect import PsiTerms
from vfl.randomness import Randomness

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Commit = Callable[[str, Mapping[str, bytes]], None]
"""Puts named digests on the party's own record, outside any message."""


@dataclass(frozen=True)
class Terms:
    """A run's name and agreement, and what they mean in the protocols' own types."""

    run: str
    agreement: Agreement

    @property
    def parameters(self) -> GBDTParameters:
        """Of the model."""
        return GBDTParameters.from_mapping({k: v for k, v in self.agreement.model.items() if k != "kind"})

    @property
    def psi(self) -> PsiTerms:
        """Of the intersection."""
        psi, privacy = self.agreement.psi, self.agreement.privacy
        least = int(privacy["min_intersection"])
        rule, decoys = str(psi["id_rule"]), float(psi.get("decoys", 0.0))
        return PsiTerms(self.run, rule, int(psi["max_set_size"]), least, str(psi["protocol"]), decoys)

    @property
    def scheme(self) -> SchemeTerms:
        """Of the encryption."""
        privacy, parameters = self.agreement.privacy, self.parameters
        widest = max(len(member.features) for member in self.agreement.passives)
        psi = self.agreement.psi
        return SchemeTerms(
            scheme=str(privacy["scheme"]),
            run=str(psi.get("aligned_in", self.run)),
            key_bits=int(privacy["key_bits"]),
            cells=widest * parameters.max_bin,
            trees=parameters.num_iterations,
            # Answers of all trainings on the same hint add up.
            queries=parameters.num_iterations * parameters.num_leaves * int(psi.get("training", 1)),
            fixed_bits=parameters.gradient_bits,
            cell_noise=float(privacy.get("cell_noise", 0.0)),
        )

    @property
    def min_bin_population(self) -> int:
        """Training rows in a bin at least."""
        return int(self.agreement.privacy["min_bin_population"])

    @property
    def min_shown_population(self) -> int:
        """The same at a passive party, whose bins have decoys as well: so many that the rest is enough on average."""
        return self.psi.with_decoys(self.min_bin_population)


@dataclass(frozen=True, eq=False)
class Kept:
    """What a party has on disk from this run or from the one it goes on from.

    hints: hints of tables.   rng: what keys of hints and hints are drawn from.
    rows: the aligned rows of the earlier run, index into the holding's tokens; None where they are to be found.
    """

    hints: HintStore
    rng: Randomness
    rows: Int64s | None = None

    @classmethod
    def nothing(cls, rng: Randomness) -> Kept:
        """For a run of its own that keeps nothing."""
        return cls(NoHints(), rng)


@dataclass(frozen=True, eq=False)
class ActiveOutcome:
    """What the active party holds at the end. Arrays are over common customers unless said otherwise.

    rows: index into the holding's tokens.   shown: where passive parties have these rows, and decoys.
    pd: probability of label 1 for the hold-out rows, float64[n_holdout].   decisions: of each party, what its splits
    say of them, bool[n_records, n_holdout], own first.
    """

    rows: Int64s
    labels: npt.NDArray[np.int8]
    holdout: Mask
    parts: Parts
    columns: Columns
    model: Ensemble
    pd: Reals
    share: bytes
    shown: Shown
    decisions: Sequence[Mask]


@dataclass(frozen=True, eq=False)
class PassiveOutcome:
    """What a passive party holds at the end: its aligned rows, decoys among them, and its share of the model."""

    rows: Int64s
    columns: Columns
    records: list[SplitRecord]
    share: bytes


async def active(
    mine: Holding,
    terms: Terms,
    passives: Mapping[str, Channel],
    rng: Randomness,
    commit: Commit,
    kept: Kept | None = None,
) -> ActiveOutcome:
    """The active party's run. `passives` in the agreement's order."""
    kept = kept or Kept.nothing(rng)
    assert mine.labels is not None
    assert mine.holdout is not None
    for channel in passives.values():
        await handshake.active(channel, terms.run, terms.agreement.encode(), __version__)
    if kept.rows is None:
        left_out = {"excluded": mine.excluded, "duplicates": mine.duplicates}
        rows, _, agreed = await intersect.active(passives, mine.tokens, terms.psi, rng.child("psi"), **left_out)
    else:
        rows = agreed = kept.rows
    labels, holdout, values = mine.labels[rows], mine.holdout[rows], mine.values[rows]
    commit("aligned", _salted({"columns": values, "labels": labels, "holdout": holdout}, rng.child("commit")))
    parts = _parts(labels, holdout, terms)
    shown = Shown.of(rows, agreed, parts, rng.child("decoys"))
    count = int(shown.train.sum())
    parameters = replace(terms.parameters, gradient_bits=terms.scheme.bits(count))
    columns = Columns.fit(mine.names, values, parts.train, parameters, terms.min_bin_population)
    key = terms.scheme.key_holder(count, kept.rng.child("key"), kept.hints)
    channels, features = list(passives.values()), [len(member.features) for member in terms.agreement.passives]
    model = await boost.active(
        channels, features, columns, labels, parts, parameters, key, rng.child("boost"), shown=shown
    )
    decisions = [columns.left_values(model.records)[:, holdout]]
    for channel, records in zip(channels, model.passive_records, strict=True):
        answers = await score.active(channel, shown.holdout, records)
        decisions.append(shown.own(shown.holdout, answers)[:, holdout])
    for channel in channels:
        await channel.checkpoint()
    pd = sigmoid(model.predict_raw(decisions))
    share = active_share(terms.agreement, columns, model)
    for channel in channels:
        await freeze.active(channel, share, rng.child(f"freeze/{channel.peer}"))
    commit("scored", _salted({"pd": pd}, rng.child("commit/pd")))
    for channel in channels:
        await channel.checkpoint()
    return ActiveOutcome(rows, labels, holdout, parts, columns, model, pd, share, shown, decisions)


async def passive(
    mine: Holding, terms: Terms, active: Channel, rng: Randomness, commit: Commit, kept: Kept | None = None
) -> PassiveOutcome:
    """A passive party's run."""
    kept = kept or Kept.nothing(rng)
    await handshake.passive(active, terms.run, terms.agreement.encode(), __version__)
    rows = kept.rows
    if rows is None:
        left_out = {"excluded": mine.excluded, "duplicates": mine.duplicates}
        rows, _ = await intersect.passive(active, mine.tokens, terms.psi, rng.child("psi"), **left_out)
    values = mine.values[rows]
    commit("aligned", _salted({"columns": values}, rng.child("commit")))

    columns, records = await boost.passive(
        active,
        mine.names,
        values,
        terms.parameters,
        terms.min_shown_population,
        partial(terms.scheme.evaluator, hints=kept.hints),
        rng.child("boost"),
        hints=kept.rng.child("boost").child("hint"),
    )
    await score.passive(active, columns.left_values(records))
    await active.checkpoint()
    share = passive_share(terms.agreement, mine.name, columns, records)
    await freeze.passive(active, share, rng.child("freeze"))
    await active.checkpoint()
    return PassiveOutcome(rows, columns, records, share)


def _parts(labels: npt.NDArray[np.int8], holdout: Mask, terms: Terms) -> Parts:
    """Training and validation rows among those not held out. Raises UsageError where a part has one class only."""
    fit = np.flatnonzero(~holdout)
    aside = validation_rows(len(fit), terms.parameters.validation_fraction, terms.parameters.seed)
    train, validation = np.zeros(len(labels), np.bool_), np.zeros(len(labels), np.bool_)
    train[fit[~aside]] = True
    validation[fit[aside]] = True
    for what, part in (("training", train), ("validation", validation), ("hold-out", holdout)):
        found = np.unique(labels[part])
        if part.any() and len(found) < 2:
            raise UsageError(
                f"the {what} part has {int(part.sum())} common customers, all with label {int(found[0])}",
                remedy="both classes are needed in every part: choose another hold-out, or find more common customers",
            )
    if not train.any():
        raise UsageError("no common customer is left to train on", remedy="choose a smaller hold-out")
    if not holdout.any():
        raise UsageError("no common customer is held out", remedy="choose a larger hold-out")
    return Parts(train, validation)


def _salted(arrays: Mapping[str, npt.NDArray[np.generic]], rng: Randomness) -> dict[str, bytes]:
    """A salted digest of each array; the salt can be drawn again from the party's seed to open it."""
    digests = {}
    for name, array in arrays.items():
        header = json.dumps([name, array.dtype.str, array.shape]).encode()
        content = hashlib.sha256(header + b"\n" + np.ascontiguousarray(array).tobytes()).digest()
        digests[name] = freeze.commitment(content, rng.child(name))
    return digests
