"""Without the extra `chain` everything else works, and what needs it says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = ("pyrevm", "eth_account", "eth_abi", "eth_utils", "web3", "vyper")


def without(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process where none of it can be imported."""
    text = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name in {BLOCKED} else find(name, *more)
for name in {BLOCKED}:
    sys.modules[name] = None
from vfl.cli import main
main()
"""
    return subprocess.run([sys.executable, "-c", text, *map(str, words)], capture_output=True, text=True, check=False)


def test_reports_checks_and_valuations_do_without(settled: Path, tmp_path: Path) -> None:
    told = without("report", "make", settled, "--format", "html", "--out", tmp_path / "report")
    assert told.returncode == 0, told.stderr
    assert (
        "contract: a contract needs what is not installed: pyrevm"
        in (tmp_path / "report" / "report.en.html").read_text()
    )
    checked = without(
        "settle", "check", settled / "settlement" / "settlement.bundle", "--policy", settled / "policy.txt"
    )
    assert checked.returncode == 2, checked.stderr
    assert "skipped contract: a contract needs what is not installed: pyrevm" in checked.stdout
    for path in settled.glob("*/settlement/book.sqlite*"):
        path.unlink()
    valued = without("settle", "value", settled)
    assert valued.returncode == 0, valued.stderr
    opened = without("settle", "open", settled)
    assert opened.returncode == 2
    assert "pip install 'tallystick[chain]'" in opened.stderr
    assert "pip install 'tallystick[chain]'" in without("run", "consortium", "--out", tmp_path / "out").stderr
    assert not (tmp_path / "out").exists()
