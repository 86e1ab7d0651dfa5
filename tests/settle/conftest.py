"""Tests of the chain need the extra `chain`; some make their evidence with the kit of the ledger's tests."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyrevm", reason="needs tallystick[chain]")
sys.path += [str(Path(__file__).parent.parent / folder) for folder in ("ledger", "board")]

from vfl.settle.limits import limits_kept

with limits_kept():  # for all other tests of this process
    import web3  # noqa: F401

from run_kit import Runs
from scoring_kit import copied
from settling_kit import SETTLED, settle


@pytest.fixture(scope="session")
def settled_made(finished: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose settlement went from value to payments; shared, so not to be changed."""
    root = copied(finished(SETTLED).out, tmp_path_factory.mktemp("settled"))
    settle(root)
    return root


@pytest.fixture
def settled(settled_made: Path, tmp_path: Path) -> Path:
    """The same, of one's own."""
    return copied(settled_made, tmp_path)
