"""Boosting against peers that lie, break off, or send what was not agreed on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import numpy as np
import pytest
from clear_scheme import change_sums, read_sums
from derivatives import fixed_gradients
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.bits import pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.crypto.scheme import Sealed
from vfl.errors import BrokenPromise, Malformed, ProtocolError, Unexpected
from vfl.protocols.boost import (
    FeatureBins,
    HintBlock,
    NodeHistograms,
    SplitRows,
)
from vfl.wire import Message

from .boosting import (
    MANY_CELLS,
    Case,
    bank,
    cast,
    clear,
    credit,
    lattice,
    paillier,
    partner,
    pooled_mappers,
    train,
)
from .hostile import Role, Tape, assert_harmless, damage, play

SMALL = credit(24, (1, 2), aside=0.2, num_leaves=3, max_bin=4)


FLAVOURS = pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])


# A partner that lies


class Bent:
    """A channel whose messages are changed on their way out; `log` has every message that left, by who sent it."""

    def __init__(self, channel: Channel, me: str, change: Callable[[Message], Message], log: list[tuple[str, str]]):
        self.channel, self.me, self.change, self.log = channel, me, change, log
        self.peer = channel.peer

    def enter(self, phase: str, round: int = 0) -> None:
        self.channel.enter(phase, round)

    async def send(self, message: Message) -> None:
        changed = self.change(message)
        self.log.append((self.me, "a lie" if changed != message else type(message).__name__))
        await self.channel.send(changed)

    async def recv(self, *kinds: type[Any]) -> Any:
        return await self.channel.recv(*kinds)

    async def checkpoint(self) -> None:
        await self.channel.checkpoint()

    def suspect(self, error: ProtocolError) -> None:
        self.channel.suspect(error)

    def meanwhile(self, work: Callable[[], bool]) -> None:
        self.channel.meanwhile(work)


def bent(role: Role, me: str, change: Callable[[Message], Message], log: list[tuple[str, str]]) -> Role:
    return lambda peers: role({name: Bent(channel, me, change, log) for name, channel in peers.items()})


def caught_lying(case: Case, change: Callable[[Message], Message], *, named: bool) -> tuple[ProtocolError, list[str]]:
    """The error that the bank ends in when the telecom changes its messages, and what the bank said after the lie."""
    log: list[tuple[str, str]] = []
    scheme = clear(named)
    liar = bent(partner(case, 1, scheme), "telecom", change, log)
    honest = bent(bank(case, scheme), "bank", lambda message: message, log)
    with pytest.raises(ProtocolError) as caught:
        train(case, scheme, bank=honest, telecom=liar)
    last = max(place for place, (_, what) in enumerate(log) if what == "a lie")
    return caught.value, [what for who, what in log[last:] if who == "bank"]


def of_sums(change: Callable[[np.ndarray], np.ndarray], from_node: int = 0) -> Callable[[Message], Message]:
    """A lie about the sums of every node from one on."""

    def lie(message: Message) -> Message:
        if not isinstance(message, NodeHistograms) or message.node < from_node:
            return message
        return NodeHistograms(message.node, [change_sums(one, change(read_sums(one))) for one in message.sums])

    return lie


def replayed() -> Callable[[Message], Message]:
    """The first histogram of all, again and again."""
    first: list[Sealed] = []

    def lie(message: Message) -> Message:
        if not isinstance(message, NodeHistograms):
            return message
        first.extend(message.sums)
        return NodeHistograms(message.node, [first[0]] * len(message.sums))

    return lie


def added(cells: np.ndarray, *changes: tuple[int, int, int]) -> np.ndarray:
    """Cells with something added: (cell, column, amount)."""
    for cell, which, amount in changes:
        cells[cell, which] += amount
    return cells


def drawn(cells: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, cells.shape)


CLOSURE = "the bins of feature 0 sum to the node's total"
RANGE = "each bin's H is in 0 to that of the parent"
# The first feature of the telecom has no fewer than two cells in this case.
LIES: dict[str, tuple[Callable[[Message], Message], str]] = {
    "shuffled": (of_sums(lambda cells: np.roll(cells, 1, axis=0)), "sum to the node's total"),
    "doubled": (of_sums(lambda cells: 2 * cells), CLOSURE),
    "halved": (of_sums(lambda cells: cells // 2), CLOSURE),
    "negated": (of_sums(lambda cells: cells * [-1, 1]), CLOSURE),
    "zero": (of_sums(np.zeros_like), CLOSURE),
    "drawn": (of_sums(drawn), CLOSURE),
    "replayed": (replayed(), CLOSURE),
    "one G off by one": (of_sums(lambda cells: added(cells, (0, 0, 1))), CLOSURE),
    "one H off by one": (of_sums(lambda cells: added(cells, (0, 1, 1))), CLOSURE),
    "last feature only": (of_sums(lambda cells: added(cells, (-1, 0, 1))), "the bins of feature 1 sum to"),
    "child only": (of_sums(lambda cells: added(cells, (0, 0, 1)), 1), CLOSURE),
    "H below zero": (of_sums(lambda cells: added(cells, (0, 1, 1 - cells[0, 1] - 2), (1, 1, cells[0, 1] + 1))), RANGE),
    "beyond the bounds": (of_sums(lambda cells: cells + 2**62), "no rows within the bounds"),
}


LATER = ("replayed", "child only")  # true of the first node


@FLAVOURS
@pytest.mark.parametrize("name", LIES)
def test_false_sums_are_caught_before_they_are_used(name: str, named: bool) -> None:
    case = credit(60, (1, 2, 1), num_leaves=6, boost_from_average=False)
    lie, sentence = LIES[name]
    error, then = caught_lying(case, lie if name != "replayed" else replayed(), named=named)
    assert isinstance(error, BrokenPromise)
    assert error.peer == "telecom"
    first = f"train/0/NodeHistograms/telecom>bank/{1 if named else 3}"  # bins and hint came before
    assert (error.step == first) == (name not in LATER)
    assert "/NodeHistograms/telecom>bank/" in error.step
    assert sentence in str(error)
    assert then == []


def test_a_child_that_outweighs_its_parent_is_caught() -> None:
    """Its sibling's sums, the difference, would belong to no rows at all."""
    case = credit(60, (1, 2), num_leaves=6)

    def moved(cells: np.ndarray) -> np.ndarray:
        first = pooled_mappers(case)[1].n_bins
        weight = cells[:first, 1].sum()
        cells[:first, 1] = 0
        cells[0, 1] = weight
        return cells

    error, then = caught_lying(case, of_sums(moved, from_node=1), named=True)
    assert RANGE in str(error)
    assert error.peer == "telecom"
    assert then == []


def test_the_partner_that_lied_is_named_not_the_last_one_heard() -> None:
    case = credit(60, (1, 2, 1, 1), num_leaves=6)
    for party, name in enumerate(case.partners, 1):
        liar = bent(partner(case, party, clear(True)), name, LIES["one G off by one"][0], [])
        with pytest.raises(BrokenPromise, match=rf"^{name} at train/0/NodeHistograms/{name}>bank/1: not so"):
            train(case, clear(True), **{name: liar})


def test_sums_of_another_node_are_refused() -> None:
    def lie(message: Message) -> Message:
        return NodeHistograms(message.node + 1, message.sums) if isinstance(message, NodeHistograms) else message

    error, then = caught_lying(credit(), lie, named=True)
    assert "the histograms are of node 0" in str(error)
    assert then == []


@FLAVOURS
def test_sums_moved_between_bins_are_caught_by_the_split_they_win(named: bool) -> None:
    case = credit(60, (1, 2), num_leaves=6)

    def tempting(cells: np.ndarray) -> np.ndarray:
        return added(cells, (0, 0, 10 * case.parameters.scale), (1, 0, -10 * case.parameters.scale))

    error, then = caught_lying(case, of_sums(tempting), named=named)
    assert isinstance(error, BrokenPromise)
    assert "the rows sent left have the sums of the bins on the left" in str(error)
    assert "/SplitRows/telecom>bank/" in error.step
    assert then == ["SplitsChosen"]


@FLAVOURS
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_false_split_is_caught_whenever_its_sums_are_false(named: bool, data: st.DataObject) -> None:
    # All |g| and all h are equal here, so that many lies have the true G and another H.
    case = credit(60, (1, 2), num_leaves=3, num_iterations=1, boost_from_average=False)
    g, h = fixed_gradients(np.zeros(60), case.labels, case.parameters.gradient_bits)
    flipped = np.zeros(60, np.bool_)
    flipped[data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=60, unique=True))] = True
    seen: list[bool] = []

    def lie(message: Message) -> Message:
        if not isinstance(message, SplitRows) or seen:
            return message
        left = unpack_bits(message.left[0], 60)
        other = left ^ flipped
        seen.append(bool((g[left].sum(), h[left].sum()) != (g[other].sum(), h[other].sum())))
        return SplitRows([pack_bits(other)])

    liar = bent(partner(case, 1, clear(named)), "telecom", lie, [])
    try:
        train(case, clear(named), telecom=liar)
        caught = ""
    except BrokenPromise as error:
        caught = str(error)
    assert len(seen) == 1
    assert seen[0] == ("the rows sent left have the sums of the bins on the left" in caught)


def test_a_false_split_with_the_true_sum_of_g_is_caught_by_that_of_h() -> None:
    case = credit(60, (1, 2), num_leaves=3, num_iterations=1, boost_from_average=False)

    def lie(message: Message) -> Message:
        if not isinstance(message, SplitRows):
            return message
        left = unpack_bits(message.left[0], 60)
        one_of_each = [np.flatnonzero(~left & (case.labels == label))[0] for label in (0, 1)]
        left[one_of_each] = True
        return SplitRows([pack_bits(left)])

    error, then = caught_lying(case, lie, named=True)
    assert "the rows sent left have the sums of the bins on the left" in str(error)
    assert then == []


def test_the_opposite_of_every_answer_is_caught() -> None:
    def lie(message: Message) -> Message:
        if not isinstance(message, SplitRows):
            return message
        return SplitRows([pack_bits(~unpack_bits(bits, 60)) for bits in message.left])

    error, then = caught_lying(credit(60, (1, 2), num_leaves=3), lie, named=False)
    assert "the rows sent left" in str(error)
    assert then == []


BINS: dict[str, tuple[dict[str, Any], str]] = {
    "another feature": ({"bins": [4, 4, 4], "missing": [False] * 3, "zero_rest": [False] * 3}, "the 2 features agreed"),
    "a feature less": ({"bins": [4], "missing": [False], "zero_rest": [False]}, "the 2 features agreed"),
    "no feature": ({"bins": [], "missing": [], "zero_rest": []}, "the 2 features agreed"),
    "flags cut short": ({"missing": [False]}, "the 2 features agreed"),
    "no bins": ({"bins": [4, 0]}, "a feature has 1 to 8 bins"),
    "fewer than none": ({"bins": [4, -1]}, "a feature has 1 to 8 bins"),
    "missing bin alone": ({"bins": [1, 1], "missing": [True, False]}, "a feature has 1 to 8 bins"),
    "more than agreed": ({"bins": [4, 9]}, "a feature has 1 to 8 bins"),
    "flags of categories cut short": ({"categorical": [True]}, "the 2 features agreed"),
    "categories with a missing bin": (
        {"categorical": [True, False], "missing": [True, False]},
        "categories have no bin of missing values apart",
    ),
    "far more": ({"bins": [4, 2**40]}, "a feature has 1 to 8 bins"),
}


@pytest.mark.parametrize("name", BINS)
def test_bins_that_were_not_agreed_on_are_refused(name: str) -> None:
    changes, sentence = BINS[name]

    def lie(message: Message) -> Message:
        if not isinstance(message, FeatureBins):
            return message
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        return FeatureBins(**(fields | changes))

    error, then = caught_lying(credit(60, (1, 2)), lie, named=True)
    assert isinstance(error, BrokenPromise)
    assert error.peer == "telecom"
    assert sentence in str(error)
    assert then == []


@FLAVOURS
def test_a_hint_that_no_layout_has_is_refused(named: bool) -> None:
    """More blocks than are due stand where the checkpoint is due."""

    class Talkative(Bent):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if isinstance(message, HintBlock if not named else FeatureBins) and (named or message.index == 1):
                await super().send(HintBlock(0 if named else 2, b"?"))

    case, scheme = credit(60, (1, 2)), clear(named)

    def liar(peers: Mapping[str, Channel]) -> Coroutine[int, None, Any]:
        return partner(case, 1, scheme)({"bank": Talkative(peers["bank"], "telecom", lambda message: message, [])})

    with pytest.raises(Unexpected) as caught:
        train(case, scheme, telecom=liar)
    assert (caught.value.peer, caught.value.step) == ("telecom", "bins/0/checkpoint")


HINTS: dict[str, tuple[Callable[[HintBlock], HintBlock], str]] = {
    "not in order": (lambda b: HintBlock(1 - b.index, b.hint), "block 0 of the hint"),
    "below zero": (lambda b: HintBlock(b.index - 1, b.hint), "block 0 of the hint"),
    "the first again": (lambda b: HintBlock(0, b.hint), "block 1 of the hint"),
    "too short": (lambda b: HintBlock(b.index, b.hint[:-1]), "a hint"),
    "too long": (lambda b: HintBlock(b.index, b.hint + b"?"), "a hint"),
    "empty": (lambda b: HintBlock(b.index, b""), "a hint"),
    "last too short": (lambda b: HintBlock(b.index, b.hint[: len(b.hint) - b.index]), "a hint"),
}


@pytest.mark.parametrize("real", [False, True], ids=["clear", "lattice"])
@pytest.mark.parametrize("name", HINTS)
def test_hints_that_do_not_fit_the_bins_are_refused(name: str, real: bool) -> None:
    case, scheme = MANY_CELLS if real else (credit(60, (1, 2)), clear(False))
    change, sentence = HINTS[name]
    log: list[tuple[str, str]] = []
    liar = bent(partner(case, 1, scheme), "telecom", lambda m: change(m) if isinstance(m, HintBlock) else m, log)
    honest = bent(bank(case, scheme), "bank", lambda message: message, log)
    with pytest.raises(BrokenPromise, match=sentence) as caught:
        train(case, scheme, telecom=liar, bank=honest)
    assert caught.value.peer == "telecom"
    assert [what for who, what in log if who == "bank"] == ["TrainingRows", "HintWanted"]


def test_more_cells_than_were_agreed_on_are_refused() -> None:
    """The flood of the answers is computed for so many."""
    case, scheme = lattice(credit(60, (1, 1), num_leaves=2, max_bin=4))
    # The bank takes more bins, so that the scheme is the one to refuse them.
    lax = dataclasses.replace(case, parameters=dataclasses.replace(case.parameters, max_bin=8))

    def lie(message: Message) -> Message:
        return (
            FeatureBins([5], [False], [False], [False], message.hint) if isinstance(message, FeatureBins) else message
        )

    with pytest.raises(BrokenPromise, match="5 cells, more than the 4 agreed") as caught:
        train(case, scheme, bank=bank(lax, scheme), telecom=bent(partner(case, 1, scheme), "telecom", lie, []))
    assert caught.value.peer == "telecom"


# Any peer at all


@pytest.fixture(scope="module", params=[True, False], ids=["named", "hidden"])
def tapes(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"named": request.param, **train(SMALL, clear(request.param))}


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_an_honest_tape_still_plays(tapes: dict[str, Any], victim: str) -> None:
    fate = play(tapes[victim], cast(SMALL, clear(tapes["named"]))[victim])
    assert not isinstance(fate, Exception)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_silence_disorder_and_typed_lies_end_in_known_errors(tapes: dict[str, Any], victim: str) -> None:
    assert_harmless(tapes[victim], cast(SMALL, clear(tapes["named"]))[victim])


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_damaged_frames_end_in_known_errors(tapes: dict[str, Any], victim: str) -> None:
    role = cast(SMALL, clear(tapes["named"]))[victim]

    @examples(80, thorough=250)
    @given(damage(tapes[victim]))
    def attack(damaged: Tape) -> None:
        play(damaged, role)

    attack()


@pytest.mark.parametrize("victim", ["bank", "telecom"])
@pytest.mark.parametrize("hidden", [False, True], ids=["paillier", "lattice"])
def test_damaged_ciphertexts_end_in_known_errors(victim: str, hidden: bool) -> None:
    plain = credit(12, (1, 1), num_leaves=2, num_iterations=1, max_bin=3)
    case, scheme = lattice(plain) if hidden else (plain, paillier(512))
    tape, role = train(case, scheme)[victim], cast(case, scheme)[victim]

    @examples(20, thorough=60)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        play(damaged, role)

    attack()


def test_one_hostile_partner_of_two_ends_in_known_errors() -> None:
    case = credit(24, (1, 1, 1), num_leaves=3, num_iterations=1, max_bin=3)
    assert_harmless(train(case, clear(True))["bank"], bank(case, clear(True)))


def test_no_message_at_all_is_malformed() -> None:
    tape = train(SMALL, clear(True))["bank"]
    fate = play(tape.replace(tape.place("FeatureBins"), b""), bank(SMALL, clear(True)))
    assert isinstance(fate, Malformed)
    assert fate.peer == "telecom"
