"""Shapley values, intervals and millionths: what the axioms say, and nothing that rounding loses."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.settle.game import exact_game, led_by, orders_of, sampled_game, subsets
from vfl.settle.patterns import Patterns, approved, figures
from vfl.settle.shares import MILLION, Player, Worth, largest_remainder, millionths, resamples, worths
from vfl.settlement import Settlement

Values = dict[frozenset[int], Fraction]


@st.composite
def games(draw: st.DrawFn, most: int = 4) -> tuple[int, Values]:
    players = draw(st.integers(1, most))
    worth = st.integers(-50, 50).map(Fraction)
    return players, {each: draw(worth) if each else Fraction(0) for each in subsets(players)}


def shapley(players: int, values: Values) -> list[Fraction]:
    return exact_game(players).exact([values[each] for each in exact_game(players).coalitions])


def by_orders(players: int, values: Values) -> list[Fraction]:
    """The definition: the mean marginal over all orders."""
    orders = list(permutations(range(players)))
    return [
        sum((values[frozenset(o[: o.index(p) + 1])] - values[frozenset(o[: o.index(p)])] for o in orders), Fraction(0))
        / len(orders)
        for p in range(players)
    ]


@given(games())
def test_it_is_the_mean_marginal_and_gives_out_everything(game: tuple[int, Values]) -> None:
    players, values = game
    found = shapley(players, values)
    assert found == by_orders(players, values)
    assert sum(found) == values[frozenset(range(players))]


@given(games(3), games(3))
def test_the_values_of_two_games_add_up(one: tuple[int, Values], other: tuple[int, Values]) -> None:
    players = min(one[0], other[0])
    both = {each: one[1][each] + other[1][each] for each in subsets(players)}
    first, second = (shapley(players, values) for values in (one[1], other[1]))
    assert shapley(players, both) == [a + b for a, b in zip(first, second, strict=True)]


@given(games(3))
def test_who_adds_nothing_gets_nothing_and_who_are_alike_get_the_same(game: tuple[int, Values]) -> None:
    players, values = game
    more = {each: values[each - {players}] for each in subsets(players + 1)}
    assert shapley(players + 1, more) == [*shapley(players, values), 0]
    twins = {each: values[frozenset({0 if p == players else p for p in each})] for each in subsets(players + 1)}
    found = shapley(players + 1, twins)
    assert found[0] == found[players]


@given(games(4), st.binary(min_size=32, max_size=32))
def test_all_orders_give_the_exact_value_and_pairs_are_each_others_reverse(
    game: tuple[int, Values], seed: bytes
) -> None:
    players, values = game
    every = sampled_game(players, list(permutations(range(players))))
    assert every.exact([values[each] for each in every.coalitions]) == shapley(players, values)
    orders = orders_of(players, seed, 5)
    assert all(
        a == b[::-1] and sorted(a) == list(range(players)) for a, b in zip(orders[::2], orders[1::2], strict=True)
    )
    assert orders_of(players, seed, 3) == orders[:6]
    some = sampled_game(players, orders)
    assert some.coalitions[0] == frozenset()
    assert sum(some.exact([values[each] for each in some.coalitions])) == values[frozenset(range(players))]


@given(games(3))
def test_without_its_owner_a_coalition_is_worth_nothing(game: tuple[int, Values]) -> None:
    players, values = game
    owner = players
    led = {each: values[each - {owner}] if owner in each else Fraction(0) for each in subsets(players + 1)}
    found = led_by(exact_game(players + 1), owner)
    assert found.exact([values[each] for each in found.coalitions]) == shapley(players + 1, led)


def test_many_are_valued_as_one() -> None:
    drawn = np.random.default_rng(0).integers(-9, 9, (7, 8))
    game = exact_game(3)
    for row, found in zip(drawn.tolist(), game.many(drawn), strict=True):
        np.testing.assert_allclose(found, [float(one) for one in game.exact([Fraction(v) for v in row])])


# ---- patterns and values ---------------------------------------------------------------------------------------------


def test_who_is_approved() -> None:
    places = np.array([3, 2, 1, 0])
    assert approved(np.array([0.3, 0.1, 0.2, 0.1]), 0.5, places).tolist() == [False, True, False, True]
    assert approved(np.array([0.2, 0.2, 0.2]), 0.4, np.array([2, 0, 1])).tolist() == [False, True, False]
    assert figures(np.array([1, 0, 1]), np.array([True, True, False])) == {"approved": 2, "bads": 1}


CLAUSE = Settlement(profit_good=10, loss_bad=100)


@st.composite
def outcomes(draw: st.DrawFn, coalitions: int = 4) -> tuple[list[int], list[list[bool]]]:
    count = draw(st.integers(1, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    bits = st.lists(st.booleans(), min_size=coalitions, max_size=coalitions)
    return labels, draw(st.lists(bits, min_size=count, max_size=count))


@given(outcomes())
def test_patterns_say_how_much_every_coalition_earns(told: tuple[list[int], list[list[bool]]]) -> None:
    labels, bits = np.array(told[0]), np.array(told[1], np.bool_)
    found = Patterns.of(labels, bits)
    assert found.customers == len(labels)
    profits = [int((10 * (labels[own] == 0) - 100 * (labels[own] == 1)).sum()) for own in bits.T]
    assert found.values(CLAUSE).tolist() == profits
    assert found.exact_values(CLAUSE) == profits
    rate = Settlement(value="bad-rate")
    np.testing.assert_allclose(found.values(rate), [float(one) for one in found.exact_values(rate)])
    assert Patterns.from_json(found.to_json()).to_json() == found.to_json()


def test_the_order_of_customers_is_not_in_them() -> None:
    labels, bits = np.array([0, 1, 0, 1]), np.array([[1, 0], [0, 0], [1, 1], [0, 0]], np.bool_)
    back = Patterns.of(labels[::-1], bits[::-1]).to_json()
    assert back == Patterns.of(labels, bits).to_json() == [[0, "10", 1], [0, "11", 1], [1, "00", 2]]


# ---- shares ----------------------------------------------------------------------------------------------------------


def test_resamples_follow_from_the_seed() -> None:
    patterns = Patterns.from_json([[0, "0", 50], [0, "1", 900], [1, "0", 50]])
    drawn = resamples(patterns, bytes(32))
    assert drawn.shape == (200, 3)
    assert (drawn.sum(axis=1) == 1000).all()
    assert (drawn == resamples(patterns, bytes(32))).all()
    assert not (drawn == resamples(patterns, b"1" * 32)).all()
    np.testing.assert_allclose(drawn.mean(axis=0), [50, 900, 50], atol=3)
    np.testing.assert_allclose(drawn.std(axis=0), [np.sqrt(47.5), np.sqrt(90), np.sqrt(47.5)], rtol=0.2)
    assert drawn[0].tolist() == [51, 897, 52], "frozen: whoever reads the format gets this"


def worth(value: int, low: float = 1.0) -> Worth:
    return Worth(Fraction(value), low, low + 2.0)


A, B, C = (Player(((name, (name,)),)) for name in "abc")


def test_what_is_not_significant_earns_nothing_and_the_rest_is_shared() -> None:
    found = millionths([worth(30), worth(9, -1.0), worth(10)], [A, B, C], ["bank", "a", "b", "c"], CLAUSE)
    assert found == [0, 750_000, 0, 250_000]
    assert millionths([worth(30), worth(-5), worth(0)], [A, B, C], ["bank", "a", "b", "c"], CLAUSE)[1] == MILLION
    assert millionths([worth(3, 0.0)], [A], ["bank", "a"], CLAUSE) == [MILLION, 0], "nobody is paid: the payer keeps it"


def test_a_cluster_is_paid_once_and_an_entity_as_one() -> None:
    cluster = Player((("Original", ("a",)), ("Copy", ("b", "c"))))
    parties = ["bank", "a", "b", "c", "d"]
    of = [worth(60), worth(40)], [cluster, Player((("d", ("d",)),))], parties
    assert millionths(*of, CLAUSE) == [0, 300_000, 150_000, 150_000, 400_000]
    assert millionths(*of, Settlement(in_cluster="first")) == [0, 600_000, 0, 0, 400_000]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=16).filter(any), st.sampled_from([MILLION, 1, 7]))
def test_the_largest_remainders_lose_nothing(parts: list[int], whole: int) -> None:
    quotas = [Fraction(part, sum(parts)) for part in parts]
    found = largest_remainder(quotas, whole)
    assert sum(found) == whole
    assert all(abs(one - quota * whole) < 1 for one, quota in zip(found, quotas, strict=True))
    assert largest_remainder([Fraction(1, 3)] * 3, MILLION) == [333_334, 333_333, 333_333]


@given(outcomes(4))
def test_an_interval_holds_its_value_and_noise_that_changes_nothing_is_worth_nothing(
    told: tuple[list[int], list[list[bool]]],
) -> None:
    labels, bits = np.array(told[0]), np.array(told[1], np.bool_)
    bits[:, 2], bits[:, 3] = bits[:, 0], bits[:, 1]  # the second player changes nothing
    patterns = Patterns.of(labels, bits)
    first, second = worths(exact_game(2), patterns, [0, 1, 2, 3], CLAUSE, resamples(patterns, bytes(32)))
    assert (second.value, second.low, second.high) == (0, 0.0, 0.0)
    assert not second.significant
    assert first.low <= first.high


@pytest.mark.parametrize(
    "rows",
    [[], None, [[0, "01", 0]], [[0, "01", 1], [0, "01", 2]], [[1, "0", 1], [0, "0", 1]], [[0, "2", 1]], [[2, "1", 1]],
     [[0, "0", 1], [1, "01", 1]], [[True, "0", 1]], [[0, "0", 1.0]], [[0, "0"]]],
)  # fmt: skip
def test_damaged_patterns_are_refused(rows: Any) -> None:
    with pytest.raises(UsageError, match="outcome patterns are damaged"):
        Patterns.from_json(rows)
