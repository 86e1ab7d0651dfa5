"""Decoy rows: rows of the passive parties without a customer of the active's, so that being aligned says less.

The active asks every passive party for its real rows and, mixed with them, for random others of its stream; it gives
the others a gradient of zero under encryption, so that sums and model stay what they are. The passive parties see the
mixture only: with a share of decoys of 1, being in it means being common with probability 1/2, if whoever guesses has
nothing else to go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask
from vfl.errors import UsageError
from vfl.learn.rounds import Parts
from vfl.randomness import Randomness

DECOY = -1  # the own index of a decoy row
MOST = 4.0  # decoys for each common customer: beyond that rows cost more than they hide
Rows = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Shown:
    """The agreed rows as passive parties are shown them: our rows at `places`, decoys at all other places.

    places: of our rows, int64[n].   train, validation, holdout: bool over the agreed rows, decoys among them.
    """

    places: Rows
    train: Mask
    validation: Mask
    holdout: Mask

    @classmethod
    def of(cls, rows: Rows, agreed: Rows, parts: Parts, rng: Randomness) -> Shown:
        """`rows`: our indices in the order of `parts`; `agreed`: from `with_decoys`, or `rows` again.

        Decoys get their parts as real rows have them, one by one in the same shares: the part a row is in says nothing
        of membership, and neither does the order, as both are drawn.
        """
        decoys, places = np.flatnonzero(agreed == DECOY), places_of(rows, agreed)
        own = np.where(parts.train, 0, np.where(parts.validation, 1, 2)).astype(np.int8)
        part = np.empty(len(agreed), np.int8)
        part[places] = own
        drawn = np.resize(own[rng.child("share").permutation(len(own))], len(decoys))
        # Many decoys repeat the parts of the real rows; the order of the repeats must not show.
        part[decoys] = drawn[rng.child("order").permutation(len(decoys))]
        return cls(places, part == 0, part == 1, part == 2)

    @classmethod
    def plain(cls, parts: Parts) -> Shown:
        """The agreed rows are our rows: no decoys."""
        return cls(np.arange(len(parts.train)), parts.train, parts.validation, ~parts.fit)

    @property
    def decoys(self) -> int:
        """How many of the agreed rows are decoys."""
        return len(self.train) - len(self.places)

    @property
    def fit(self) -> Mask:
        """Agreed rows that train or validate."""
        return self.train | self.validation

    @cached_property
    def same(self) -> bool:
        """Whether the agreed rows are ours, in our order."""
        return np.array_equal(self.places, np.arange(len(self.train)))

    def spread(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Values of our rows over the agreed rows: 0 or False at decoys."""
        if self.same:
            return values
        found = np.zeros(len(self.train), values.dtype)
        found[self.places] = values
        return found

    def own(self, asked: Mask, answers: Mask) -> Mask:
        """The answers for our rows, bool[..., n], of those for the agreed rows `asked`; False where none was asked."""
        if self.same and asked.all():
            return answers
        found = np.zeros((*answers.shape[:-1], len(asked)), np.bool_)
        found[..., asked] = answers
        return found if self.same else np.asarray(found[..., self.places], np.bool_)


def places_of(rows: Rows, agreed: Rows) -> Rows:
    """Where among the `agreed` rows ours stand, int64[n]; arguments as of `Shown.of`."""
    real = np.flatnonzero(agreed != DECOY)
    place = np.empty(agreed.max() + 1, np.int64)
    place[agreed[real]] = real
    return place[rows]


def with_decoys(
    rows: Rows, positions: Mapping[str, Rows], stream_sizes: Mapping[str, int], share: float, rng: Randomness
) -> tuple[Rows, dict[str, Rows]]:
    """Mix ceil(share * len(rows)) decoys among the common customers, in a new random order.

    `rows`, `positions`: from `intersect.common`. `stream_sizes`: ids of each partner. Returns the own index of each
    row, DECOY for a decoy, and the positions in each partner's stream, all different. There are fewer decoys if a
    partner has not as many other ids; then its whole stream takes part, and no row of it says more than another.
    """
    if not 0 <= share < float("inf"):
        raise UsageError(f"the share of decoys is 0 or more, not {share}")
    spare = [stream_sizes[name] - len(rows) for name in positions]
    count = min([ceil(share * len(rows)), *spare])
    order = rng.child("order").permutation(len(rows) + count)
    mixed = {}
    for name, real in positions.items():
        member = np.zeros(stream_sizes[name], np.bool_)
        member[real] = True
        others = np.flatnonzero(~member)
        drawn = others[rng.child(f"decoys/{name}").permutation(len(others))[:count]]
        mixed[name] = np.concatenate([real, drawn])[order]
    return np.concatenate([rows, np.full(count, DECOY, np.int64)])[order], mixed
