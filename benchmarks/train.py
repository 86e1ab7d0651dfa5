"""CPU time of joint training: one process a party over sockets, real protocol, keys, transcripts and ledgers.

Beside it, in the same run: LightGBM on the pooled columns (same trees, plaintext, one thread), and the AUC of the
plaintext integer trainer at full gradient width.

    python -m benchmarks train --rows 100000 --depth 5 --json
    python -m benchmarks train --parties 3 --level disclosed --json

cpu_seconds            of the training phase; `passive` is the sum of all passive parties
hint_cpu_seconds       once per run, all parties: bins of all columns, and what the scheme prepares from them
steps_cpu_seconds      the training phase taken apart: calls of the scheme, ledger, rest
overhead_fraction      of the training phase: see `benchmarks.measure`
wall_seconds           from the first message to the scores of all rows; starting processes is left out
bytes                  of all messages of the run
peak_mb                memory of the active party's process, and of the largest passive party's
auc, auc_plaintext     on the training rows; the latter by the plaintext integer trainer, for 200,000 rows at most
lightgbm_ratio         CPU of all parties by LightGBM's for the same number of equally large trees, both from raw
                       columns to the last tree: bins, hint and training by bins and training
lightgbm_trees_ratio   the same for training alone, with bins made before. LightGBM's times are the best of three
"""

from __future__ import annotations

import argparse
import time
import warnings
from argparse import Namespace
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.measure import Timed
from benchmarks.options import add_shape, figures, new_parser, rounded, settle_scheme, whole
from benchmarks.parties import ACTIVE, RUN, Party, run_parties
from vfl.crypto.schemes import SchemeTerms
from vfl.learn.columns import Columns
from vfl.learn.metrics import auc
from vfl.learn.objective import sigmoid
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference
from vfl.learn.rounds import Parts, Target
from vfl.protocols import boost, score

MIN_BIN = 1
PLAINTEXT_ROWS = 200_000  # the plain trainer is not built for more
REPEATS = 3


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("train", __doc__)
    add_shape(found, rows=10_000, depth=3)
    found.add_argument("--parties", type=whole(1, 16), default=1, help="passive parties")
    found.add_argument("--no-plaintext", action="store_true", help="leave out the plaintext integer trainer")
    return found


def run(given: Namespace) -> dict[str, Any]:
    """All parties' processes, then the plaintext trainers in this one."""
    settle_scheme(parser(), given)
    active, *passives = run_parties(_active, _passive, given.parties, given)
    everybody = [active, *passives]
    steps = {"active": _steps([active]), "passive": _steps(passives)}
    cpu = {side: sum(found.values()) for side, found in steps.items()}
    work = sum(seconds for found in everybody for seconds in found["scheme"].values())
    sent = {"active_to_passive": active["sent"], "passive_to_active": _added([one["sent"] for one in passives])}
    total, trees = sum(cpu.values()), given.trees
    hint = sum(one["cpu"]["bins"] for one in everybody)
    found = {
        "cpu_seconds": rounded(cpu),
        "cpu_seconds_per_tree": round(total / trees, 4),
        "hint_cpu_seconds": round(hint, 3),
        "wall_seconds": round(sum(active["wall"][phase] for phase in ("bins", "train", "score")), 2),
        "bytes": {way: sum(phases.values()) for way, phases in sent.items()},
        "peak_mb": {"active": active["peak_mb"], "passive": max(one["peak_mb"] for one in passives)},
        "overhead_fraction": round(1 - work / total, 4),
        "auc": round(active["auc"], 6),
        **_plaintext(given, total, hint),
        "steps_cpu_seconds": {side: rounded(seconds) for side, seconds in steps.items()},
        "wall_seconds_per_tree": round(active["wall"]["train"] / trees, 3),
        "bytes_per_tree": round(sum(phases["train"] for phases in sent.values()) / trees),
        "hint_bytes": sum(phases["bins"] for phases in sent.values()),
        "gradient_bits": active["bits"],
    }
    return figures("train", given, found)


def _steps(parties: list[dict[str, Any]]) -> dict[str, float]:
    """CPU-seconds of the training phase by step, of these parties together."""
    steps = _added([{**one["scheme"], "ledger": one["ledger"]["train"]} for one in parties], {})
    total = sum(one["cpu"]["train"] for one in parties)
    return {**steps, "rest": total - sum(steps.values())}


def _added(parts: list[dict[str, Any]], start: dict[str, Any] | None = None) -> dict[str, Any]:
    """The sums of equal keys."""
    total: dict[str, Any] = start or {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return total


def settings(given: Namespace) -> tuple[GBDTParameters, SchemeTerms]:
    """Model parameters with the gradient bits that the scheme affords, and the terms of the scheme."""
    options = {
        "num_iterations": given.trees, "max_depth": given.depth, "num_leaves": 2**given.depth, "max_bin": given.bins,
    }  # fmt: skip
    parameters = GBDTParameters.from_mapping(options)
    queries, cells = parameters.num_iterations * parameters.num_leaves, given.passive_features * given.bins
    terms = SchemeTerms(given.scheme, RUN, given.key_bits, cells, given.trees, queries, parameters.gradient_bits)
    return replace(parameters, gradient_bits=terms.bits(given.rows)), terms


def _active(party: Party, given: Namespace) -> dict[str, Any]:
    parameters, terms = settings(given)
    values = data.columns(given.rows, range(given.active_features), given.seed)
    y = data.labels(given.rows, given.active_features + given.parties * given.passive_features, given.seed)
    key = Timed(terms.key_holder(given.rows, party.rng.child("key")), "holder")
    channels = list(party.meet().values())

    async def role() -> float:
        party.desk.enter("bins", 0)
        parts = all_train(given.rows)
        names = [f"a{number}" for number in range(values.shape[1])]
        columns = Columns.fit(names, values, parts.train, parameters, MIN_BIN)
        counts = [given.passive_features] * given.parties
        model = await boost.active(channels, counts, columns, Target(y), parts, parameters, key, party.rng)
        theirs = [
            await score.active(channel, parts.train, records)
            for channel, records in zip(channels, model.passive_records, strict=True)
        ]
        return auc(y, sigmoid(model.predict_raw([columns.left_values(model.records), *theirs])))

    found = party.drive(role())
    return {"scheme": key.training(), "auc": found, "bits": parameters.gradient_bits}


def _passive(party: Party, given: Namespace) -> dict[str, Any]:
    parameters, terms = settings(given)
    first = given.active_features + given.passive_features * int(party.me.removeprefix("passive"))
    values = data.columns(given.rows, range(first, first + given.passive_features), given.seed)
    wrapped: list[Timed] = []

    def evaluators(scheme: str, public: bytes, rows: int) -> Any:
        wrapped.append(Timed(terms.evaluator(scheme, public, rows), "evaluator"))
        return wrapped[0]

    channel = party.meet()[ACTIVE]

    async def role() -> None:
        names = [f"{party.me}/{number}" for number in range(values.shape[1])]
        columns, records = await boost.passive(channel, names, values, parameters, MIN_BIN, evaluators, party.rng)
        await score.passive(channel, columns.left_values(records))

    party.drive(role())
    return {"scheme": wrapped[0].training()}


def all_train(rows: int) -> Parts:
    """Every row trains."""
    return Parts(np.ones(rows, np.bool_), np.zeros(rows, np.bool_))


def _plaintext(given: Namespace, training: float, hint: float) -> dict[str, Any]:
    """LightGBM's time and AUC, and the plain trainer's AUC, on the pooled columns."""
    parameters, _ = settings(given)
    features = given.active_features + given.parties * given.passive_features
    values, y = data.columns(given.rows, range(features), given.seed), data.labels(given.rows, features, given.seed)
    seconds, lightgbm_auc = _lightgbm(values, y, parameters)
    found = {
        "auc_plaintext": None,
        "lightgbm_ratio": round((hint + training) / sum(seconds.values()), 1),
        "lightgbm_trees_ratio": round(training / seconds["train"], 1),
        "lightgbm_cpu_seconds": rounded(seconds, 4),
        "auc_lightgbm": round(lightgbm_auc, 6),
    }
    if not given.no_plaintext and given.rows <= PLAINTEXT_ROWS:
        full = train_reference(values, y, replace(parameters, gradient_bits=GBDTParameters().gradient_bits))
        found["auc_plaintext"] = round(auc(y, full.predict(values)), 6)
    return found


def _lightgbm(values: data.Reals, y: Any, parameters: GBDTParameters) -> tuple[dict[str, float], float]:
    """CPU-seconds for bins and for trees, at best, and AUC on the same rows."""
    import lightgbm  # noqa: PLC0415 - so that no party's process holds it: memory and start are measured too

    options, best = parameters.lightgbm_params(), {"bins": float("inf"), "train": float("inf")}
    for _ in range(REPEATS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters that it takes from the data set
            times = [time.process_time()]
            table = lightgbm.Dataset(values, y, params=options).construct()
            times.append(time.process_time())
            booster = lightgbm.train(options, table, num_boost_round=parameters.num_iterations)
            times.append(time.process_time())
        best = {name: min(best[name], end - start) for name, start, end in zip(best, times, times[1:], strict=False)}
    return best, auc(y, np.asarray(booster.predict(values), dtype=np.float64))
