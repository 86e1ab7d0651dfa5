"""What a passive party has in its hands after training: the messages it received, and its own columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.bits import Mask, unpack_bits
from vfl.channel import Record
from vfl.errors import UsageError
from vfl.learn.binning import Codes
from vfl.learn.columns import Columns
from vfl.learn.parameters import GBDTParameters
from vfl.learn.split import NodeSum, Split
from vfl.protocols.boost import NodeQuery, SplitsChosen, TrainingRows
from vfl.wire import unpack

Reals = npt.NDArray[np.float64]
_NOTHING = NodeSum(0, 0, 0)


@dataclass(frozen=True, eq=False)
class PassiveView:
    """Over the n rows that it was told train.

    train: bool[aligned].
    codes: bins of own features, [n, features].   n_bins: bins of each.
    shown: bool[sets, n], the node sets that messages named; none where a scheme hides them.
    splits: bool[chosen, n], who goes left at each of the own splits that were chosen.
    """

    train: Mask
    codes: Codes
    n_bins: tuple[int, ...]
    shown: Mask
    splits: Mask

    def of(self, rows: Mask) -> PassiveView:
        """The same for some of the rows only, bool[n]: those that are no decoys."""
        train = self.train.copy()
        train[train] = rows
        return PassiveView(train, self.codes[rows], self.n_bins, self.shown[:, rows], self.splits[:, rows])


def passive_view(
    received: Iterable[Record],
    names: Sequence[str],
    values: Reals,
    parameters: GBDTParameters,
    least: int,
    categorical: Collection[str] = (),
) -> PassiveView:
    """The view of a party with these columns, float64[aligned, features], that received these messages.

    `least`: the agreed minimum population of a bin; `categorical`: columns whose values are categories. Messages of
    other protocols than training are passed over. A split of a named node makes two sets, both of which the party
    knows. The rest of a parent is no set of its own here: it is a difference of two sets shown, which a linear attack
    has anyway.

    Raises UsageError if the rows that train were never named.
    """
    columns: Columns | None = None
    train = np.zeros(len(values), np.bool_)
    sets = _Sets()
    splits: list[Mask] = []
    for record in received:
        kind = record.slot.split("/")[2]
        if kind == TrainingRows.__name__:
            train = unpack_bits(unpack(TrainingRows, record.body).train, len(values))
            columns = Columns.fit(names, values, train, parameters, least, categorical)
        elif kind == NodeQuery.__name__:
            for bits in unpack(NodeQuery, record.body).rows:
                sets.show(bits, int(train.sum()))
        elif kind == SplitsChosen.__name__ and columns is not None:
            for chosen in unpack(SplitsChosen, record.body).splits:
                sides = chosen.bin, chosen.default_left, _NOTHING, _NOTHING, tuple(chosen.subset)
                split = Split(0.0, chosen.feature, *sides)
                left = columns.left_codes(columns.record(split))
                splits.append(left[train])
                sets.divide(chosen.rows, left, train)
    if columns is None:
        raise UsageError("the transcript ends before training")
    return PassiveView(train, columns.codes[train], columns.layout.n_bins, sets.stack(train), _stack(splits, train))


class _Sets:
    """Node sets, each once however often it was shown; the set of all rows says nothing."""

    def __init__(self) -> None:
        self._found: dict[bytes, Mask] = {}

    def show(self, bits: bytes, count: int) -> None:
        """A set of training rows."""
        self._keep(unpack_bits(bits, count))

    def divide(self, bits: bytes, left: Mask, train: Mask) -> None:
        """A set of aligned rows and what an own split makes of it; empty where the scheme hides it."""
        if bits:
            node = unpack_bits(bits, len(train))
            for members in (node, node & left, node & ~left):
                self._keep(members[train])

    def stack(self, train: Mask) -> Mask:
        """All of them."""
        return _stack(self._found.values(), train)

    def _keep(self, members: Mask) -> None:
        if members.any() and not members.all():
            self._found.setdefault(members.tobytes(), members)


def _stack(rows: Iterable[Mask], train: Mask) -> Mask:
    kept = list(rows)
    return np.array(kept, np.bool_) if kept else np.zeros((0, int(train.sum())), np.bool_)
