"""What parties of a benchmark play in tests, apart from them: a party's process imports this module and no more."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.parties import Party


def fails(party: Party, given: argparse.Namespace) -> dict[str, Any]:
    raise ValueError(f"{party.me} gives up")


def waits(party: Party, given: argparse.Namespace) -> dict[str, Any]:
    party.meet()
    return {}
