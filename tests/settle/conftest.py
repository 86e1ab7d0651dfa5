"""Tests of the chain need the extra `chain`."""

import pytest

pytest.importorskip("pyrevm", reason="needs tallystick[chain]")
