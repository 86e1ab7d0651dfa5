"""Runs in memory, without encryption unless a test asks for real keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from memory_run import Told, World, clear_schemes, play
from run_worlds import WORLD, WORLDS, encrypted_run


@pytest.fixture
def encrypted() -> None:
    """For tests that run with real keys."""


@pytest.fixture(autouse=True)
def _scheme(request: pytest.FixtureRequest) -> Iterator[None]:
    if {"encrypted", "real", "paillier"} & set(request.fixturenames):
        yield
        return
    with clear_schemes():
        yield


@pytest.fixture(scope="session")
def told() -> Told:
    """A run without encryption; not to be changed."""
    with clear_schemes():
        return play(WORLD)


@pytest.fixture(scope="session")
def paillier() -> Told:
    return encrypted_run("paillier")


@pytest.fixture(params=list(WORLDS))
def real(request: pytest.FixtureRequest) -> tuple[World, Told]:
    """A run with real keys, under each scheme."""
    return WORLDS[request.param], encrypted_run(request.param)
