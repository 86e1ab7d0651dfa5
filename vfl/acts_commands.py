"""What `tallystick run` does with a scenario that is told in acts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from scenarios import acts
from scenarios.split import Act
from vfl.clock import Clock, SystemClock
from vfl.console import say, screen, show, table
from vfl.errors import UsageError
from vfl.loading import loader
from vfl.progress import shown, tell
from vfl.settle.acts import Told, play
from vfl.settle.engines.engine import require_chain
from vfl.settle.payments import written


def run_acts(scenario: str, out: Path, seed: str | None, as_json: bool) -> None:
    """Play all acts of a scenario, each in a directory of its own below `out`. Raises UsageError."""
    require_chain()
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")
    out.mkdir(parents=True)
    clock, told = SystemClock(), list[Told]()
    began = clock.monotonic_ns()
    for number, act in enumerate(acts(scenario), 1):
        tell(sys.stderr, f"\nAct {number}, {act.name}: {act.title}\n")
        told.append(_play(scenario, act, out, clock, seed))
    seconds = (clock.monotonic_ns() - began) / 1e9
    balanced = all(one.balanced for one in told)
    body = {"acts": [one.to_json() for one in told], "seconds": round(seconds, 1), "balanced": balanced}
    (out / "acts.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    if as_json:
        tell(sys.stdout, json.dumps(body, indent=2) + "\n")
    else:
        _show(told, out, seconds)


def _play(scenario: str, act: Act, out: Path, clock: Clock, seed: str | None) -> Told:
    _, load = loader(scenario, list(act.parties))
    fixed = sha256(f"{seed}/{act.name}".encode()).digest() if seed is not None else None

    def line(text: str) -> None:
        tell(sys.stderr, f"  {text}\n")

    with shown() as progress:
        return play(act, load, out / act.name, clock, progress, line, fixed)


def _show(told: Sequence[Told], out: Path, seconds: float) -> None:
    for number, one in enumerate(told, 1):
        payer, *partners = one.act.parties
        made = table("", "share", "95 % interval", "earned", "stake left")
        for party in partners:
            player = _player(one.shares, party)
            others = [other for other in player["parties"] if other != party]
            made.add_row(
                f"{party} (one with {' and '.join(others)})" if others else party, *_share(player),
                _money(one, one.earned.get(party, 0)), _money(one, one.stakes[party]),
            )  # fmt: skip
        made.add_row("noise, for comparison", *_share(one.shares["null"]), "never paid", "")
        made.add_row(f"{payer}, who pays", "", "", "", _money(one, one.stakes[payer]))
        show(screen(), f"Act {number}: {one.act.title}, {one.currency}", made)
        lost = [f" {party} lost its stake of {_money(one, amount)}." for party, amount in one.slashed.items()]
        sums = [_money(one, each) for each in (sum(one.credits.values()), sum(one.stakes.values()), one.paid)]
        say(
            screen(),
            f"{one.decisions:,} decisions for {_money(one, one.amount)}.{''.join(lost)}",
            f"{_money(one, one.booked)} came in {'=' if one.balanced else 'BUT'} {sums[0]} credit"
            f" + {sums[1]} at stake + {sums[2]} paid out",
        )
    first = told[0].directory
    say(
        screen(),
        f"{len(told)} acts in {seconds:.0f} s, each a run in {out}/. Check one, alone and offline:",
        f"tallystick settle check {first}/settlement/settlement.bundle --policy {first}/policy.txt",
    )


def _money(one: Told, amount: int) -> str:
    return written(amount, one.currency)


def _share(player: Mapping[str, Any]) -> tuple[str, str]:
    value, low, high = (100 * float(text) for text in player["share"])
    return f"{value:.1f} %", f"{low:.1f} to {high:.1f}"


def _player(shares: Mapping[str, Any], party: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in shares["players"] if party in one["parties"])
    return found
