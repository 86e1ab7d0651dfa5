"""A small run that was settled from its value to its payments, once for all tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from run_kit import TOML, here
from scoring_kit import policy, predictions, run, table

from ledger.archive import pack, unpack
from ledger.policy import Policy
from vfl.clock import SystemClock
from vfl.seat import RunFile
from vfl.settle import settling
from vfl.settle.checking import Checked, check
from vfl.settle.desk import Desk, at_desk

CLAUSE = """
[settlement]
approve = 0.7
profit_good = 100
loss_bad = 300
price = 25
stake = 1001
[settlement.entities]
telecom = "Telecom plc"
"""
SETTLED = TOML + CLAUSE


def desk(root: Path) -> AbstractContextManager[Desk]:
    return at_desk(root, RunFile.read(root), SystemClock())


async def score(root: Path) -> None:
    """A single decision, a batch, and some of a stand-in."""
    names = [row["id"] for row in predictions(root)]
    async with table(root, policy()) as here_:
        await here_.score(names[0])
        await here_.batch(names[:40])
        here_.stages["telecom"].away = True
        here_.stages["telecom"].drop()
        await here_.batch(names[:3])


def settle(root: Path) -> None:
    """Every step but a penalty."""
    with desk(root) as mine:
        settling.value_run(mine, lambda *_: None)
        settling.stake(mine)
        settling.anchor(mine)
    run(score(root))
    with desk(root) as mine:
        settling.pay(mine, settling.usage_of(mine)[-1].period)


def bundle_of(root: Path) -> bytes:
    return (root / "settlement" / "settlement.bundle").read_bytes()


def checked(data: bytes, root: Path | None = None) -> Checked:
    return check(data, Policy.parse((root / "policy.txt").read_bytes()) if root else None)


def changed(data: bytes, member: str, change: Callable[[bytes], bytes]) -> bytes:
    """The bundle with one member changed: whoever does so can make the archive fit, not the signatures."""
    members = dict(unpack(data).members)
    after = change(members[member])
    assert after != members[member], member
    return pack({**members, member: after})


def entry(
    party: str, change: Callable[[dict[str, Any]], object], step: str, which: int = -1
) -> tuple[str, Callable[[bytes], bytes]]:
    """The member with a party's entries, and a change of one of a step, by default the last."""

    def lines(data: bytes) -> bytes:
        found = [json.loads(line) for line in data.splitlines()]
        change([one for one in found if one["step"] == step][which])
        return b"".join(json.dumps(one, sort_keys=True, separators=(",", ":")).encode() + b"\n" for one in found)

    return f"logs/{party}/entries.jsonl", lines


def said(*words: object) -> Any:
    """What a command says as JSON."""
    done = here("settle", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
