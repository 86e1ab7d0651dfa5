from __future__ import annotations

from pathlib import Path

import pytest
from run_kit import TOML, Runs
from scoring_kit import CARD, copied


@pytest.fixture(scope="session")
def trees_made(finished: Runs) -> Path:
    return finished(TOML).out


@pytest.fixture(scope="session")
def card_made(finished: Runs) -> Path:
    return finished(CARD).out


@pytest.fixture
def trees(trees_made: Path, tmp_path: Path) -> Path:
    """A run of boosted trees to score with."""
    return copied(trees_made, tmp_path / "trees")


@pytest.fixture
def card(card_made: Path, tmp_path: Path) -> Path:
    """A run of a scorecard to score with."""
    return copied(card_made, tmp_path / "card")
