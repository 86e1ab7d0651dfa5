"""Tests of the chain need the extra `chain`; some make their evidence with the kit of the ledger's tests."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyrevm", reason="needs tallystick[chain]")
sys.path.append(str(Path(__file__).parent.parent / "ledger"))
