from __future__ import annotations

import shutil
from pathlib import Path

import party_kit
import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return party_kit.make_parties(tmp_path_factory.mktemp("made"))


@pytest.fixture
def parties(made: Path, tmp_path: Path) -> Path:
    """A folder with bank/, telecom/ and pw, which a test may change."""
    return Path(shutil.copytree(made, tmp_path / "parties"))
