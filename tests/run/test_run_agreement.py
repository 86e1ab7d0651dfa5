"""Agreements, parts and keys that cannot be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from memory_run import ACTIVE, Told, World, agreement, play
from run_worlds import PARTNERS, WORLD, WORLDS

from vfl.agreement import Agreement
from vfl.errors import AgreementError, BrokenPromise, UsageError
from vfl.holding import Holding
from vfl.protocols.handshake import Hello
from vfl.randomness import Randomness
from vfl.terms import Terms
from vfl.wire import pack, unpack


def one_class(holding: Holding, part: np.ndarray) -> Holding:
    assert holding.labels is not None
    return dataclasses.replace(holding, labels=np.where(part, 1, holding.labels).astype(np.int8))


@pytest.mark.parametrize("part", ["training", "hold-out"])
def test_a_part_with_one_class_is_refused(part: str) -> None:
    bank = WORLD.holdings[ACTIVE]
    assert bank.holdout is not None
    with pytest.raises(UsageError, match=f"the {part} part has .* all with label 1"):
        play(WORLD.with_holding(one_class(bank, bank.holdout if part == "hold-out" else ~bank.holdout)))


@pytest.mark.parametrize(("held", "sentence"), [(False, "no common customer is held out"), (True, "left to train on")])
def test_an_empty_part_is_refused(held: bool, sentence: str) -> None:
    bank = WORLD.holdings[ACTIVE]
    assert bank.holdout is not None
    with pytest.raises(UsageError, match=sentence):
        play(WORLD.with_holding(dataclasses.replace(bank, holdout=np.full_like(bank.holdout, held))))


def test_terms_are_read_from_the_agreement() -> None:
    terms = Terms("run-7", agreement(("telecom",), gradient_bits=20))
    assert terms.parameters.num_leaves == 4
    assert terms.psi.min_intersection == 10
    assert terms.min_bin_population == 1
    assert (terms.scheme.scheme, terms.scheme.run, terms.scheme.key_bits) == ("lattice", "run-7", 2048)
    assert (terms.scheme.lanes(30).g_max, terms.scheme.lanes(30).h_max) == (2**20, 2**18)


def test_the_flood_is_computed_from_the_widest_partner_and_all_trees() -> None:
    terms = Terms("run-7", agreement(PARTNERS, num_iterations=7, num_leaves=5, max_bin=9)).scheme
    assert (terms.cells, terms.queries) == (2 * 9, 7 * 5)


def other_terms(name: str, changed: Agreement) -> Any:
    """A world in which one party holds another agreement."""

    @dataclasses.dataclass(frozen=True)
    class Split(World):
        def role(self, who: str, channels: Any, commits: Any) -> Any:
            if who != name:
                return super().role(who, channels, commits)
            return World(Terms(self.terms.run, changed), self.holdings, self.seeds).role(who, channels, commits)

    return Split(WORLD.terms, WORLD.holdings, WORLD.seeds)


@pytest.mark.parametrize("name", ["bank", "telecom", "retailer"])
def test_another_agreement_at_any_party_ends_the_run_at_once(name: str) -> None:
    changed = agreement(("telecom", "retailer"), num_leaves=5)
    with pytest.raises(AgreementError, match=r"model\.num_leaves: ours [45], theirs [45]"):
        play(other_terms(name, changed))


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize(
    ("agreed", "changes", "offered"),
    [
        ("paillier", {"key_bits": 3072}, "paillier"),
        ("paillier", {}, "other"),
        ("paillier", {}, "lattice"),
        ("lattice", {}, "paillier"),
        ("lattice", {}, "lattice "),
        ("lattice", {"scheme": "paillier"}, "lattice"),
    ],
)
def test_a_key_that_was_not_agreed_on_is_refused(agreed: str, changes: dict[str, Any], offered: str) -> None:
    terms = WORLDS[agreed].terms.scheme
    public = terms.key_holder(28, Randomness(bytes(32))).public()
    assert terms.evaluator(agreed, public, 28)
    with pytest.raises(BrokenPromise, match=r"were agreed|was agreed"):
        dataclasses.replace(terms, **changes).evaluator(offered, public, 28)


@pytest.mark.usefixtures("encrypted")
def test_a_key_of_another_scheme_under_the_agreed_name_is_refused() -> None:
    for agreed, other in (("lattice", "paillier"), ("paillier", "lattice")):
        public = WORLDS[other].terms.scheme.key_holder(28, Randomness(bytes(32))).public()
        with pytest.raises(BrokenPromise):
            WORLDS[agreed].terms.scheme.evaluator(agreed, public, 28)


def test_a_run_says_who_it_is_first(told: Told) -> None:
    slot, body = told.said[0]
    assert slot == "handshake/0/Hello/bank>telecom/0"
    hello = unpack(Hello, body)
    assert pack(hello) == body
    assert hello.agreement == WORLD.terms.agreement.encode()
