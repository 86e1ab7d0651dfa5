"""Fixtures of the ledger tests; the world itself is in ledger_kit.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_kit import World, two_party_world


@pytest.fixture
def world() -> World:
    return two_party_world()


@pytest.fixture
def members(world: World, tmp_path: Path) -> dict[str, bytes]:
    return world.members(tmp_path / "run.bundle")
