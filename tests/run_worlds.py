"""Small worlds under each scheme, their runs, and the pooled model that a run must come to."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
from memory_run import ACTIVE, Told, World, play

from vfl.learn.objective import sigmoid
from vfl.learn.reference import train_reference
from vfl.protocols.boost import TrainingRows
from vfl.wire import unpack

PARTNERS = ("telecom", "retailer")
WORLDS = {scheme: World.of(PARTNERS, scheme=scheme) for scheme in ("lattice", "paillier")}
WORLD = WORLDS["lattice"]
PAILLIER = WORLDS["paillier"]


@cache
def encrypted_run(scheme: str) -> Told:
    told = play(WORLDS[scheme])
    keys = {unpack(TrainingRows, body).scheme for slot, body in told.said if "/TrainingRows/" in slot}
    assert keys == {scheme}, "a test with real keys asks for the fixture `encrypted`"
    return told


def customers(world: World, told: Told, name: str) -> list[str]:
    return [world.holdings[name].tokens[row] for row in told.outcomes[name].rows]


def pooled(world: World, told: Told) -> np.ndarray:
    order = [ACTIVE, *world.partners]
    return np.column_stack([world.holdings[name].values[told.outcomes[name].rows] for name in order])


def assert_pooled_model(world: World, told: Told) -> None:
    bank, values = told.outcomes[ACTIVE], pooled(world, told)
    train, watched = bank.parts.train, bank.parts.validation
    valid = (values[watched], bank.labels[watched]) if watched.any() else None
    bins = [m for name in (ACTIVE, *world.partners) for m in told.outcomes[name].columns.mappers]
    bits = world.terms.scheme.bits(int(train.sum()))
    parameters = dataclasses.replace(world.terms.parameters, gradient_bits=bits)
    oracle = train_reference(values[train], bank.labels[train], parameters, valid=valid, mappers=bins)
    assert oracle.trees
    np.testing.assert_array_equal(bank.pd, sigmoid(oracle.predict_raw(values[bank.holdout])))
