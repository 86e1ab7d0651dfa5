"""What `tallystick run` does with a scenario that is told in acts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from scenarios import acts
from scenarios.split import Act
from vfl.clock import SystemClock
from vfl.console import say, screen, show, table
from vfl.errors import UsageError
from vfl.loading import loader
from vfl.progress import shown, tell
from vfl.settle.acts import Told, play
from vfl.settle.payments import written


def run_acts(scenario: str, out: Path, seed: str | None, as_json: bool) -> None:
    """Play all acts of a scenario, each in a directory of its own below `out`. Raises UsageError."""
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")
    out.mkdir(parents=True)
    told, began = [], time.monotonic()
    for number, act in enumerate(acts(scenario), 1):
        tell(sys.stderr, f"\nAct {number}, {act.name}: {act.title}\n")
        told.append(_play(scenario, act, out, seed))
    seconds = time.monotonic() - began
    balanced = all(one.balanced for one in told)
    body = {"acts": [one.to_json() for one in told], "seconds": round(seconds, 1), "balanced": balanced}
    (out / "acts.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    if as_json:
        tell(sys.stdout, json.dumps(body, indent=2) + "\n")
    else:
        _show(told, out, seconds)


def _play(scenario: str, act: Act, out: Path, seed: str | None) -> Told:
    _, load = loader(scenario, list(act.parties))
    fixed = sha256(f"{seed}/{act.name}".encode()).digest() if seed is not None else None

    def line(text: str) -> None:
        tell(sys.stderr, f"  {text}\n")

    with shown() as progress:
        return play(act, load, out / act.name, SystemClock(), progress, line, fixed)


def _show(told: Sequence[Told], out: Path, seconds: float) -> None:
    for number, one in enumerate(told, 1):
        made = table("", "share of value", "95 % interval", "earned", "stake left")
        for party in one.act.parties[1:]:
            player = _player(one.shares, party)
            low, value, high = (100 * float(player["share"][place]) for place in (1, 0, 2))
            made.add_row(
                party if player["name"] == party else f"{party} ({player['name']})", f"{value:.1f} %",
                f"{low:.1f} to {high:.1f}", written(one.earned.get(party, 0), one.currency),
                written(one.stakes[party], one.currency),
            )  # fmt: skip
        made.add_row("noise of the bank's own (null)", *_null(one.shares), "never paid", "")
        payer = one.act.parties[0]
        made.add_row(f"{payer}, who pays", "", "", "", written(one.stakes[payer], one.currency))
        show(screen(), f"Act {number}: {one.act.title}, {one.currency}", made)
        credits, stakes = sum(one.credits.values()), sum(one.stakes.values())
        sums = [written(amount, one.currency) for amount in (one.booked, credits, stakes, one.paid)]
        lost = [f" {party} lost its stake of {written(amount, one.currency)}." for party, amount in one.slashed.items()]
        say(
            screen(),
            f"{one.decisions:,} decisions for {written(one.amount, one.currency)}.{''.join(lost)}",
            "{} came in {} {} credit + {} at stake + {} paid out".format(
                sums[0], "=" if one.balanced else "BUT", *sums[1:]
            ),
        )
    first = told[0].directory
    say(
        screen(),
        f"{len(told)} acts in {seconds:.0f} s, each a run in {out}/. Check one, alone and offline:",
        f"tallystick settle check {first}/settlement/settlement.bundle --policy {first}/policy.txt",
    )


def _player(shares: Mapping[str, Any], party: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in shares["players"] if party in one["parties"])
    return found


def _null(shares: Mapping[str, Any]) -> tuple[str, str]:
    value, low, high = (100 * float(text) for text in shares["null"]["share"])
    return f"{value:.1f} %", f"{low:.1f} to {high:.1f}"
