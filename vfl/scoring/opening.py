"""From the directory of a finished run to a service of scores, at the active party.

What differs between a simulation and companies is handed in: how partners are dialled, and whose keys sign.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ledger.keys import Identity
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.notary import LedgerNotary
from vfl.predictions import FILE as PREDICTIONS
from vfl.protocols.score_online import OpenScoring
from vfl.randomness import Randomness
from vfl.retention import forgotten
from vfl.scoring.bench import Bench
from vfl.scoring.contender import Contender
from vfl.scoring.grading import Grades, points_of
from vfl.scoring.lineup import Lineup
from vfl.scoring.link import Dial, Line
from vfl.scoring.models import JointModel, partners_of, read_model, stand_in_of
from vfl.scoring.own_table import OwnTable
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.registry import Registry
from vfl.scoring.scorer import Service
from vfl.scoring.session import Speaker
from vfl.scoring.standin import alone, stand_in_share
from vfl.scoring.succession import Open, Succession, opens_no_others
from vfl.scoring.volumes import Volumes
from vfl.seat import RunFile, open_ledger, peers_of, read_own_holding
from vfl.terms import GBDT

Int64s = npt.NDArray[np.int64]
Dialler = Callable[[str], Dial]
"""How to dial the partner of that name."""


@dataclass(frozen=True)
class Opened:
    """A service, and what it is made of: the home run, whose decisions these are, and who succeeds its model."""

    service: Service
    home: Contender
    policy: ServingPolicy
    succession: Succession

    @property
    def file(self) -> RunFile:
        """Of the home run."""
        return self.home.file


def speaker_of(root: Path, name: str, seed: bytes, identity: Identity, file: RunFile, clock: Clock) -> Speaker:
    """A party that scores under a finished run."""
    return Speaker(name, root / name, seed, identity, file.run, file.agreement.digest, file.keys, clock)


def open_service(
    root: Path, who: Speaker, file: RunFile, dial: Dialler, policy: ServingPolicy, others: Open = opens_no_others
) -> Opened:  # fmt: skip
    """The service of the active party; its lines open when `Service.start` is called, in a running event loop.

    `others`: opens the models of other runs that may decide here. Raises UsageError where share, table and ledger do
    not belong together.
    """
    home = ready_model(root, who, file, policy)(dial)
    volumes = Volumes(
        who.folder, file.run, file.agreement.digest, who.identity, Randomness.system().bytes(32), who.clock,
        policy.record.volume_entries, forgotten(who.seat),
    )  # fmt: skip
    model, stand_in = home.bench.model, home.bench.stand_in
    volumes.note("serving", {"model": model.version, "stand_in": stand_in.version, "kind": model.kind})
    lineup = Lineup(home, who.rng("canaries").bytes(32))
    service = Service(lineup, volumes, policy.models, who.clock, float(policy.record.checkpoint_seconds))
    succession = Succession(Registry(who.folder, who.clock), lineup, service.note, others, root)
    return Opened(service, home, policy, succession)


def ready_model(root: Path, who: Speaker, file: RunFile, policy: ServingPolicy) -> Callable[[Dialler], Contender]:
    """Read the model of a run and train its stand-in, which takes seconds the first time.

    What comes back puts it on its bench, in the event loop. Raises UsageError.
    """
    if file.agreement.privacy.get("masked_scores"):
        policy = replace(policy, partners=replace(policy.partners, masked=True))
    seat, rules = who.seat, policy.partners
    if rules.masked and (file.terms.kind == GBDT or len(file.agreement.passives) < 2):
        raise UsageError(
            "[partners] masked is for scorecards with two partners or more",
            remedy="with one partner the sum of all parts is its part; trees are walked by the active party",
        )
    model = joint_model(who, file)
    if rules.masked and len(partners_of(model)) < 2:
        raise UsageError("[partners] masked: fewer than two partners have lines on the scorecard")
    mine = read_own_holding(seat, file.agreement)
    share = stand_in_share(seat, file, mine)
    stand_in = stand_in_of(share, file.run, alone(file.agreement))
    grades, reference = _grades(seat, policy)
    token_key = Randomness.system().bytes(32)

    def on_bench(dial: Dialler) -> Contender:
        lines = [_line(who, name, dial, model, token_key, policy) for name in partners_of(model)]
        if rules.masked:
            _exchange_masks(lines)
        bench = Bench(model, stand_in, lines, token_key, grades, rules)
        return Contender(bench, _own_table(mine, file), file, root, reference)

    return on_bench


def joint_model(who: Speaker, file: RunFile) -> JointModel:
    """The model of a finished run at its active party. Raises UsageError."""
    store = open_ledger(who.seat, file.run)
    try:
        peers = {member.name: file.keys[member.name] for member in peers_of(file.agreement, who.name)}
        log = LedgerNotary(store, who.identity, file.run, who.agreement, peers, who.clock, ended=True).log
        return read_model(who.seat, file, log)
    finally:
        store.close()


def _grades(seat: Path, policy: ServingPolicy) -> tuple[Grades, Int64s]:
    """By the hold-out, as the run left it; and the points of the model there.

    They are the stand-in's grades too: who is declined is one policy, whoever scores.
    """
    with (seat / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([float(row["label"]) for row in rows])
    pd = np.array([float(row["pd"]) for row in rows])
    points = np.array([int(row["points"]) for row in rows], np.int64) if rows and "points" in rows[0] else None
    grades = Grades.of(policy.decision, pd, points, labels)
    return grades, points if points is not None else points_of(grades.scaling, pd)


def _line(who: Speaker, peer: str, dial: Dialler, model: JointModel, token_key: bytes, policy: ServingPolicy) -> Line:
    asked = OpenScoring(who.run, who.agreement, model.frozen[peer], token_key, policy.partners.masked)
    features = len(model.agreement.member(peer).features)
    return Line(
        who, peer, dial(peer), asked, model.splits[peer], features, policy.partners,
        float(policy.record.checkpoint_seconds),
    )  # fmt: skip


def _exchange_masks(lines: list[Line]) -> None:
    """Every partner is told the keys of all others, once they are known."""

    def of(line: Line) -> Callable[[], object]:
        async def keys() -> Mapping[str, str]:
            return {other.peer: await other.mask_key for other in lines if other is not line}

        return keys

    for line in lines:
        line.mask_keys = of(line)  # type: ignore[assignment]


def _own_table(mine: Holding, file: RunFile) -> OwnTable:
    rows = {token: row for row, token in enumerate(mine.tokens)}
    return OwnTable(
        mine.names, str(file.agreement.psi["id_rule"]), rows, mine.values, frozenset(mine.categorical)
    )  # fmt: skip
