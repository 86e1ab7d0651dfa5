"""A settlement from start to end, told in acts: each is a run of its own, from stakes to payments.

stake, train, anchor, [a party lies and is punished,] value, score applicants, pay. At the end everything that was
booked is somewhere: credits + stakes + paid out = booked.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.witness import Witness
from scenarios.split import Act
from vfl.attacks.forking import caught, forked_head, write_evidence
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import csv_bytes, write_data
from vfl.own_ledger import own_ledger
from vfl.progress import Progress
from vfl.scoring.jobs import Job
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.serving import simulated
from vfl.seat import RunFile, identity_of, open_ledger, read_own_holding, read_seed
from vfl.settle import settling
from vfl.settle.coalitions import Measured
from vfl.settle.desk import Desk, at_desk
from vfl.simulation import Load, Options, run_scenario

APPLICANTS = 10_000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Told:
    """What an act came to.

    shares: shares.json.   earned, stakes, credits, slashed: by party, minor units.
    booked: everything that came in.   paid: everything that went out.
    """

    act: Act
    directory: Path
    shares: Mapping[str, Any]
    decisions: int
    amount: int
    earned: Mapping[str, int]
    stakes: Mapping[str, int]
    credits: Mapping[str, int]
    booked: int
    paid: int
    slashed: Mapping[str, int]
    currency: str

    @property
    def balanced(self) -> bool:
        """Whether balances sum to what went in."""
        return sum(self.credits.values()) + sum(self.stakes.values()) + self.paid == self.booked

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        body = {key: value for key, value in vars(self).items() if key not in ("act", "directory")}
        return {"act": self.act.name, "run": str(self.directory), **body, "balanced": self.balanced}


def play(
    act: Act, load: Load, out: Path, clock: Clock, progress: Progress, say: Say, seed: bytes | None = None
) -> Told:
    """One act in the new directory `out`. Raises as `vfl.simulation.run_scenario` does, and UsageError."""

    def stake(folder: Path, file: RunFile) -> None:
        with at_desk(folder, file, clock) as desk:
            settling.stake(desk)
        say("every party has its stake in the contract")

    summary = run_scenario(load, Options(out, seed=seed, begun=stake), progress, clock)
    say(f"trained: AUC {summary.body['metrics']['federated']['auc']:.4f}, {summary.body['rows']['holdout']:,} held out")
    with at_desk(out, RunFile.read(out), clock) as desk:
        settling.anchor(desk)
        slashed = _lie(desk, act.liar, clock, say) if act.liar else {}

        def told(done: int, of: int, one: Measured) -> None:
            if done == of:
                say(f"{of} coalitions valued")

        shares = settling.value_run(desk, told).shares
        decisions = asyncio.run(_score(desk, clock))
        say(f"{decisions:,} applicants scored")
        period = settling.usage_of(desk)[-1].period
        paid = settling.pay(desk, period)
        booked, withdrawn = desk.replica.totals()
        earned = {one.party: one.amount for one in paid.payments}
        return Told(
            act, out, shares, decisions, paid.amount, earned, desk.replica.stakes(desk.job), desk.replica.credits(),
            booked, withdrawn, slashed, desk.clause.currency,
        )  # fmt: skip


def _lie(desk: Desk, liar: str, clock: Clock, say: Say) -> dict[str, int]:
    """The liar shows another history; the label owner, who cosigned the true one, brings the proof to the contract."""
    who = identity_of(liar, read_seed(desk.directory / liar))
    victim = identity_of(desk.payer, read_seed(desk.directory / desk.payer))
    theirs, ours = (open_ledger(desk.directory / name, desk.file.run) for name in (liar, desk.payer))
    try:
        with own_ledger():
            shown = forked_head(theirs, who, entry=2)
        data = caught(Witness(victim, ours, clock), shown, who)
    finally:
        theirs.close()
        ours.close()
    path = write_evidence(desk.directory / desk.payer / "evidence", data)
    say(f"{liar} shows a ledger that it rewrote: proof in {path}")
    played = settling.slash(desk, data, desk.payer)
    found = {
        desk.replica.party(event.values["accused"]): int(event.values["amount"])
        for one in played
        for event in one.events
        if event.name == "Slashed"
    }
    say(f"{liar} loses its stake to the others")
    return found


async def _score(desk: Desk, clock: Clock) -> int:
    """Score customers of the label owner's table, each decision on its ledger; how many there were."""
    mine = read_own_holding(desk.directory / desk.payer, desk.file.agreement)
    if len(mine.ids) < APPLICANTS:
        raise UsageError(f"{desk.payer} has {len(mine.ids)} customers, fewer than {APPLICANTS:,} applicants")
    folder = settling.folder_of(desk)
    applicants, out = folder / "applicants.csv", folder / "decisions.csv"
    write_data(applicants, csv_bytes(["id"], ([one] for one in mine.ids[:APPLICANTS])))
    async with simulated(desk.directory, ServingPolicy()) as opened:
        await opened.service.ready()
        done = await Job(opened.service, applicants, out, clock, resume=False).run(lambda _: None)
    with out.open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == APPLICANTS + 1
    return done.scored
