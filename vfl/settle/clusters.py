"""Players of the game: legal entities, and clusters of those whose data repeat each other, which are paid once.

Of two parties the share of the columns of the one that the other explains is measured under encryption
(`vfl.protocols.resemble`), in both directions; the greater one counts. So neither a copy among columns of noise nor a
part of somebody's columns goes unnoticed; what does is a part of them among columns of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vfl import in_process
from vfl.channel import Channel
from vfl.crypto.schemes import SchemeTerms
from vfl.learn.columns import Columns
from vfl.learn.parameters import GBDTParameters
from vfl.protocols import resemble
from vfl.protocols.resemble import Resembling
from vfl.randomness import Randomness
from vfl.settle.shares import Player
from vfl.settlement import Settlement
from vfl.terms import Terms

Reals = npt.NDArray[np.float64]
_BINS = GBDTParameters(max_bin=32)
_COLUMN_BITS = 20


def similarities(terms: Terms, columns: Mapping[str, Reals]) -> dict[tuple[str, str], float]:
    """Of every two partners the mean share of variance that one explains of the other's columns, the greater direction.

    `columns`: of each partner over the same customers, float64[n, features].
    """
    names = list(columns)
    if len(names) < 2:
        return {}
    rows, active = len(columns[names[0]]), terms.agreement.active.name
    binned = {name: _binned(name, own, terms) for name, own in columns.items()}
    widths = tuple(len(one.n_bins) for one in binned.values())
    most = max(sum(one.n_bins) for one in binned.values())
    scheme = SchemeTerms(
        str(terms.agreement.privacy["scheme"]), f"{terms.run}/resemble", int(terms.agreement.privacy["key_bits"]), most,
        trees=max(widths), queries=max(widths), fixed_bits=_COLUMN_BITS,
    )  # fmt: skip

    def role(place: int, name: str) -> in_process.Role:
        one = binned[name]
        mine = Resembling(
            columns[name], one.codes, one.n_bins, place, widths, scheme.key_holder, scheme.evaluator
        )  # fmt: skip
        return lambda peers, rng: resemble.passive(peers[active], mine, rng)

    async def ask(peers: Mapping[str, Channel], _: Randomness) -> dict[tuple[str, str], Reals]:
        return await resemble.active({name: peers[name] for name in names}, widths, rows)

    roles = {name: role(place, name) for place, name in enumerate(names)}
    found = in_process.drive({active: ask, **roles}, active)[0][active]
    return {
        (a, b): max(float(found[a, b].mean()), float(found[b, a].mean()))
        for number, a in enumerate(names)
        for b in names[number + 1 :]
    }


def players_of(parties: Sequence[str], similar: Mapping[tuple[str, str], float], clause: Settlement) -> list[Player]:
    """Who plays, in the order of `parties`: those of one legal entity together, and entities that repeat each other."""
    entities: dict[str, list[str]] = {}
    for party in parties:
        entities.setdefault(clause.entity(party), []).append(party)
    head = {name: name for name in entities}  # of each entity the first one of its cluster

    def first(name: str) -> str:
        while head[name] != name:
            name = head[name]
        return name

    order = list(entities)
    for (a, b), share in similar.items():
        if share >= clause.similarity:
            one, other = sorted((first(clause.entity(a)), first(clause.entity(b))), key=order.index)
            head[other] = one
    return [
        Player(tuple((name, tuple(entities[name])) for name in order if first(name) == leader))
        for leader in order
        if first(leader) == leader
    ]


class _Binned:
    """Bins of a party's columns."""

    def __init__(self, columns: Columns) -> None:
        self.codes = columns.codes.astype(np.uint8)
        self.n_bins = tuple(int(mapper.n_bins) for mapper in columns.mappers)


def _binned(name: str, values: Reals, terms: Terms) -> _Binned:
    everybody = np.ones(len(values), np.bool_)
    names = [f"{name}/{number}" for number in range(values.shape[1])]
    return _Binned(Columns.fit(names, values, everybody, _BINS, terms.min_bin_population))
