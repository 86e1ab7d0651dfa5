"""Resemblance of columns: copies are near 1 whatever was done to them, and no peer can bend the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given

from vfl.channel import Channel
from vfl.crypto.scheme import Evaluator, Lanes
from vfl.crypto.schemes import SchemeTerms
from vfl.errors import BrokenPromise, VflError
from vfl.protocols import resemble
from vfl.protocols.correlate_partners import PartnerMeans
from vfl.protocols.resemble import BinRows, Resembling
from vfl.wire import Message

from .boosting import Scheme, clear, seed
from .hostile import Change, Role, Tape, assert_harmless, assert_refused, changed, damage, play, record

ROWS, BINS = 80, 4
NAMES = ("retailer", "telecom", "copycat")


def tables(rows: int = ROWS) -> dict[str, np.ndarray]:
    """The copycat has the first column of the telecom, bent, and one of its own with gaps."""
    rng = np.random.default_rng(5)
    retailer, telecom = rng.normal(size=(rows, 1)), rng.normal(size=(rows, 2))
    own = rng.normal(size=rows)
    own[::7] = np.nan
    return dict(zip(NAMES, (retailer, telecom, np.column_stack([np.exp(telecom[:, 0]), own])), strict=True))


def side(name: str, scheme: Scheme, data: Mapping[str, np.ndarray]) -> Resembling:
    lanes = Lanes(len(data[name]), g_max=1 << 20, h_max=1 << 18)

    def evaluators(kind: str, public: bytes, rows: int) -> Evaluator:
        if kind != scheme.holder(lanes).name:
            raise BrokenPromise("another scheme was agreed on")
        return scheme.evaluator(public, lanes)

    order = np.argsort(np.argsort(np.nan_to_num(data[name], nan=-9.0), axis=0), axis=0)
    codes = np.asfortranarray((order * BINS // len(order)).astype(np.uint8))
    return Resembling(
        data[name], codes, (BINS,) * codes.shape[1], NAMES.index(name), tuple(data[one].shape[1] for one in NAMES),
        lambda rows, rng: scheme.holder(lanes), evaluators,
    )  # fmt: skip


def bank() -> Role:
    async def role(peers: Mapping[str, Channel]) -> dict[tuple[str, str], np.ndarray]:
        return await resemble.active({name: peers[name] for name in NAMES}, (1, 2, 2), ROWS)

    return role


def partner(name: str, scheme: Scheme) -> Role:
    async def role(peers: Mapping[str, Channel]) -> None:
        await resemble.passive(peers["bank"], side(name, scheme, tables()), seed(NAMES.index(name)))

    return role


def run(scheme: Scheme) -> dict[str, Tape]:
    cast = {"bank": bank(), **{name: partner(name, scheme) for name in NAMES}}
    return record(cast, [("bank", name) for name in NAMES])


@pytest.fixture(scope="module")
def hidden() -> dict[str, Tape]:
    return run(clear(False))


def plain(first: str, second: str) -> np.ndarray:
    """The ratio as whoever has both tables finds it."""
    own, theirs = tables()[first], side(second, clear(False), tables()).codes
    found = []
    for column in own.T:
        filled = np.where(np.isnan(column), -np.inf, column)
        ranks = np.array([(filled < one).sum() + ((filled == one).sum() + 1) / 2 for one in filled])
        ratios = []
        for codes in theirs.T:
            means = np.array([ranks[codes == code].mean() for code in range(BINS)])
            ratios.append(((means[codes] - ranks.mean()) ** 2).mean() / ranks.var())
        found.append(max(ratios))
    return np.array(found)


def test_it_is_the_correlation_ratio_of_ranks(hidden: dict[str, Tape]) -> None:
    found = hidden["bank"].result
    assert len(found) == 6
    for (first, second), ratios in found.items():
        np.testing.assert_allclose(ratios, plain(first, second), atol=1e-4)
    assert found["copycat", "telecom"][0] > 1.0 - 1.1 / BINS**2, "a copy, as well as four bins can tell"
    assert found["telecom", "copycat"][0] > 1.0 - 1.1 / BINS**2
    assert found["telecom", "copycat"][1] < 0.2
    assert found["telecom", "retailer"].max() < 0.2


def test_the_same_under_both_flavours_and_under_real_encryption(hidden: dict[str, Tape]) -> None:
    terms = SchemeTerms("lattice", "run", key_bits=0, cells=2 * BINS, trees=2, queries=2, fixed_bits=20)
    real = Scheme(
        lambda lanes: terms.key_holder(lanes.rows, seed(9)),
        lambda public, lanes: terms.evaluator("lattice", public, lanes.rows),
    )
    for scheme in (clear(True), real):
        for pair, ratios in run(scheme)["bank"].result.items():
            np.testing.assert_allclose(ratios, hidden["bank"].result[pair], atol=1e-4)


LIES: list[tuple[str, type[Message], Change, str]] = [
    ("bank", BinRows, changed(rows=[[ROWS], [ROWS]]), "1 features have bins"),
    ("bank", BinRows, changed(rows=[[ROWS - 1]]), f"the bins of a feature hold all {ROWS} rows"),
    ("bank", PartnerMeans, changed(means=b""), "a mean has 4 bytes"),
]


@pytest.mark.parametrize(("victim", "kind", "change", "sentence"), LIES, ids=[s for *_, s in LIES])
def test_lies_are_refused(
    hidden: dict[str, Tape], victim: str, kind: type[Message], change: Change, sentence: str
) -> None:
    assert_refused(hidden[victim], kind, change, bank(), sentence)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(hidden: dict[str, Tape], victim: str) -> None:
    role = bank() if victim == "bank" else partner(victim, clear(False))
    assert_harmless(hidden[victim], role)

    @examples(8, thorough=100)
    @given(damage(hidden[victim]))
    def attack(damaged: Tape) -> None:
        fate: Any = play(damaged, role)
        if not isinstance(fate, VflError) and victim == "bank":
            assert all((ratios >= 0).all() and (ratios <= 1).all() for ratios in fate.values())

    attack()


def test_the_same_seeds_say_the_same_bytes(hidden: dict[str, Tape]) -> None:
    assert {name: tape.frames for name, tape in run(clear(False)).items()} == {
        name: tape.frames for name, tape in hidden.items()
    }
