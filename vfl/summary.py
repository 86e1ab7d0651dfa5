"""The end of a simulated run: comparisons, `summary.json`, the policy and the audit bundle.

Pooling the parties' columns exists only here, where one machine holds them all, and is labelled as a simulation.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.bundle import write_bundle
from ledger.keys import Identity
from ledger.policy import Policy
from ledger.store import Store
from vfl import __version__, attacking, closing, evaluating
from vfl.card_scores import card_scores, card_summary
from vfl.clock import Clock
from vfl.comparison import figures, lightgbm_scores
from vfl.files import read_json, write_whole
from vfl.holding import Holding
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.learn.rounds import Parts
from vfl.models import read_ensemble, read_records
from vfl.notary import LedgerNotary
from vfl.own_ledger import own_ledger
from vfl.predictions import run_scores
from vfl.progress import Progress
from vfl.scores import MODELS, Scores, joint_scores
from vfl.seat import RunFile, identity_of, open_ledger, peers_of, read_own_holding, read_seed
from vfl.stopwatch import Stopwatch
from vfl.terms import BINARY, GBDT, INIT_MODEL, SCORECARD

LIBRARIES = ("numpy", "pandas", "lightgbm", "phe", "gmpy2", "cryptography", "msgspec")
_PUBLIC = ("scenario", "run", "model", "objective", "rows", "metrics", "intervals", "attacks", "privacy", "versions")
_HELD_OUT = 2
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """What `summary.json` says; `body` is JSON-ready."""

    body: Mapping[str, Any]


def conclude(folder: Path, file: RunFile, clock: Clock, progress: Progress) -> Summary:
    """Compare, sum up and bundle the run in `folder`, in which every party has finished."""
    watch = Stopwatch()
    watch.switch("compare")
    watch.start()
    progress.enter("compare", 0)
    active = file.agreement.active.name
    _expose_predictions(folder, active)
    scores = _scores(folder, file)
    scores.write(folder)
    metrics, two = _metrics(scores, file.terms.objective), file.terms.objective == BINARY
    intervals = evaluating.intervals(scores) if two else {}
    evaluation = evaluating.judge(scores.only(MODELS), EvaluationParameters()) if two else {}
    attacks = attacking.measure(folder, file) if file.terms.kind == GBDT and two else {}
    watch.switch("audit")
    progress.enter("audit", 0)
    identities = [identity_of(m.name, read_seed(folder / m.name)) for m in file.agreement.members]
    policy = Policy.of(identities, quorum="any")
    (folder / "policy.txt").write_text(str(policy), encoding="utf-8")
    body = {**_summary(folder, file, metrics, intervals), "attacks": attacks}
    stores = {who.name: open_ledger(folder / who.name, file.run) for who in identities}
    try:
        digest = file.agreement.digest
        notaries = {who.name: _notary(stores[who.name], who, file, digest, clock) for who in identities}
        explained, explanation = closing.explanation_of(folder, file)
        bodies = {
            "summary.json": {name: body[name] for name in _PUBLIC},
            "evaluation.json": evaluation,
            closing.EXPLANATION: explanation,
            closing.MODEL: closing.model_of(notaries[active], file, explained),
        }
        artefacts = {"agreement.json": file.agreement.encode()}
        artefacts |= {name: _json_bytes(content) for name, content in bodies.items() if content}
        closing.close(folder, file, notaries, artefacts, explained)
        logs = [notary.log for notary in notaries.values()]
        body["ledger"] |= {
            "entries": sum(len(log) for log in logs),
            "checkpoints": sum(len(log.checkpoints()) for log in logs),
        }
        bundle = folder / "audit.bundle"
        with own_ledger():
            write_bundle(bundle, logs, file.run, artefacts=artefacts, identities=identities, policy=policy)
    finally:
        for store in stores.values():
            store.close()
    watch.stop()
    body["seconds"].update({phase: round(seconds, 3) for phase, seconds in watch.wall.items()})
    body["seconds"]["total"] = round(sum(body["seconds"].values()), 3)
    body["ledger"]["share_of_run"] = round(body["ledger"]["seconds"] / max(body["seconds"]["total"], 1e-9), 5)
    write_whole(folder / "summary.json", body)
    return Summary(body)


def _notary(store: Store, who: Identity, file: RunFile, agreement: str, clock: Clock) -> LedgerNotary:
    """A party's notary, opened again once its run is over."""
    peers = {member.name: file.keys[member.name] for member in peers_of(file.agreement, who.name)}
    return LedgerNotary(store, who, file.run, agreement, peers, clock, ended=True)


def _expose_predictions(folder: Path, active: str) -> None:
    """The active party's predictions, also at the top: the same file under a second name where the disk allows it."""
    kept, shown = folder / active / "predictions.csv", folder / "predictions.csv"
    shown.unlink(missing_ok=True)  # of an earlier attempt to conclude
    try:
        os.link(kept, shown)
    except OSError:
        shutil.copyfile(kept, shown)


def _scores(folder: Path, file: RunFile) -> Scores:
    """What the joint model, the active party alone and all columns pooled say of every common customer."""
    agreement, members = file.agreement, (file.agreement.active, *file.agreement.passives)
    holdings = [read_own_holding(folder / member.name, agreement) for member in members]
    rows = [_real_rows(folder, file, member.name) for member in members]
    tables = [holding.values[own] for holding, own in zip(holdings, rows, strict=True)]
    assert holdings[0].labels is not None
    labels, code = holdings[0].labels[rows[0]], np.load(folder / agreement.active.name / "parts.npy")
    parts, everybody = Parts(code == 0, code == 1), np.ones(len(code), np.bool_)
    shares = [(folder / member.name / "share.json").read_bytes() for member in members]
    if file.terms.kind == SCORECARD:
        scores = card_scores(file.terms, shares, holdings, tables, labels.astype(np.int8), parts)
    else:
        weights = None if holdings[0].weights is None else holdings[0].weights[rows[0]]

        agreed = file.terms.monotone
        # The comparisons have as many rounds as the joint model, those of the model it goes on from among them.
        rounds = len(read_ensemble(shares[0]).trees) // file.terms.parameters.outputs
        parameters = file.terms.parameters
        if INIT_MODEL in agreement.model:
            parameters = replace(parameters, num_iterations=max(rounds, 1))

        def alike(columns: Reals) -> Reals:
            monotone = None if agreed is None else np.concatenate(agreed)[: columns.shape[1]]
            named = [number for number in _categorical(holdings) if number < columns.shape[1]]
            return lightgbm_scores(columns, labels, parts, everybody, parameters, weights, monotone, named)

        scores = {
            "federated": joint_scores(read_ensemble(shares[0]), [read_records(share) for share in shares], tables),
            "bank_only": alike(tables[0]),
            "pooled_lightgbm": alike(np.hstack(tables)),
        }
    order = np.argsort(rows[0])
    found = Scores([holdings[0].ids[row] for row in rows[0][order]], code[order], labels[order], {})
    scores = {name: score[order] for name, score in scores.items()}
    scores["federated"][found.holdout] = run_scores(folder)
    return replace(found, scores=scores)


def _categorical(holdings: Sequence[Holding]) -> list[int]:
    """Which of all parties' columns, side by side, are categorical."""
    named = [feature in holding.categorical for holding in holdings for feature in holding.names]
    return np.flatnonzero(named).tolist()


def _metrics(scores: Scores, objective: str) -> dict[str, dict[str, float]]:
    """What fits the objective, of each model on the hold-out: AUC, KS and Gini of two classes."""
    rows = scores.holdout
    return {name: figures(scores.labels[rows], score[rows], objective) for name, score in scores.scores.items()}


def _real_rows(folder: Path, file: RunFile, name: str) -> npt.NDArray[np.int64]:
    """A party's rows without decoys, in the order of the active party's."""
    rows, active = np.load(folder / name / "rows.npy"), file.agreement.active.name
    if name == active or not file.terms.psi.decoys:
        return np.asarray(rows)
    return np.asarray(rows[np.load(folder / active / "places.npy")])


def _summary(folder: Path, file: RunFile, metrics: Mapping[str, Any], intervals: Mapping[str, Any]) -> dict[str, Any]:
    names, carded = [member.name for member in file.agreement.members], file.terms.kind == SCORECARD
    reports = {name: read_json(folder / name / "report.json", "a finished run") for name in names}
    times = {name: read_json(folder / name / "times.json", "a finished run") for name in names}
    active = file.agreement.active.name
    code = np.load(folder / active / "parts.npy")
    shown = len(np.load(folder / file.agreement.passives[0].name / "rows.npy"))
    cpu = {name: round(sum(times[name]["cpu"].values()), 3) for name in names}
    ledger = sum(times[name]["ledger"] for name in names)
    return {
        "scenario": file.agreement.scenario,
        "run": file.run,
        "model": file.terms.kind,
        "objective": file.terms.objective,
        "rows": {
            **{name: reports[name]["rows"] for name in names},
            "intersection": len(code),
            "train": int((code == 0).sum()),
            "validation": int((code == 1).sum()),
            "holdout": int((code == _HELD_OUT).sum()),
            "decoys": shown - len(code),
        },
        **_fewer_decoys(file.terms.psi.with_decoys(len(code)), shown),
        "features": {member.name: len(member.features) for member in file.agreement.members},
        **({"scorecard": card_summary((folder / active / "share.json").read_bytes())} if carded else {}),
        "metrics": metrics,
        "intervals": intervals,
        "metrics_note": evaluating.NOTE,
        "seconds": {p: round(s, 3) for p, s in _by_phase(list(times.values())).items()},
        "cpu_seconds": cpu,
        "bytes": _bytes(reports, active),
        "ledger": {
            "entries": sum(reports[name]["entries"] for name in names),
            "checkpoints": sum(reports[name]["checkpoints"] for name in names),
            "overhead_fraction": round(ledger / max(sum(cpu.values()), 1e-9), 5),
            "seconds": round(_together([times[name]["ledger_wall"] for name in names], list(times.values())), 3),
        },
        "privacy": {**file.agreement.privacy, "learns": "docs/learns.md"},
        "versions": {"tallystick": __version__, "python": platform.python_version(), **_versions()},
    }


def _fewer_decoys(wanted: int, shown: int) -> dict[str, str]:
    """A note if there are fewer agreed rows than decoys were agreed on for: a partner has no more customers."""
    if shown == wanted:
        return {}
    return {"decoys_note": f"{wanted - shown} decoys fewer than agreed: a passive party has no more other customers"}


def _by_phase(times: list[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by phase: parties in lockstep take turns, so theirs add up; processes overlap, so the longest counts."""
    phases = {phase: [of["wall"].get(phase, 0.0) for of in times] for each in times for phase in each["wall"]}
    return {phase: _together(walls, times) for phase, walls in phases.items()}


def _together(walls: Sequence[float], times: Sequence[Mapping[str, Any]]) -> float:
    return max(walls) if times[0]["concurrent"] else sum(walls)


def _bytes(reports: Mapping[str, Any], active: str) -> dict[str, int]:
    """Bytes of messages by phase, both directions; every message passes the active party once."""
    counted = reports[active]["bytes"]
    phases = {phase: count["sent"] + count["received"] for phase, count in counted.items()}
    return {**phases, "total": sum(phases.values())}


def _versions() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}


def _json_bytes(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
