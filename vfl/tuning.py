"""Search for model parameters with the real joint training, in one process, and never a look at the hold-out.

The customers are aligned once. Of those that may train, a seeded share is kept aside and judges every trial. Trials are
in a journal on disk: a search that was killed goes on with `--resume`, where a trial that was under way is run again
with the same parameters.

Optuna proposes parameters (tree-structured Parzen estimator: Bergstra et al., NIPS 2011). Extra `tune`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import Trial, TrialState

from vfl import in_process
from vfl.agreement import Agreement, Scalar
from vfl.config import Scenario
from vfl.errors import UsageError
from vfl.holding import Holding
from vfl.learn.metrics import auc, ks
from vfl.learn.objective import validation_rows
from vfl.simulation import agree, model_clauses
from vfl.tuning_space import DEFAULTS, Among, Between, Space

Int64s = npt.NDArray[np.int64]
METRICS: Mapping[str, Callable[[Any, Any], float]] = {"auc": auc, "ks": ks}
JOURNAL = "trials.journal"
MOST_FAILED = 10
SHARE = 0.25
"""Of the customers that may train, those that judge."""
_SEED = 11
_STUDY = "tune"
_STALE = 3  # seconds
Told = Callable[[int, int, float, float], None]
"""Trials done, trials wanted, the value of the last, the best."""


@dataclass(frozen=True, eq=False)
class Search:
    """Aligned customers without the hold-out, and what is agreed about them."""

    scenario: Scenario
    agreement: Agreement
    holdings: Mapping[str, Holding]
    rows: Mapping[str, Int64s]
    metric: str

    @classmethod
    def prepare(cls, scenario: Scenario, metric: str) -> Search:
        """Read the tables and align once. Raises UsageError for bad input, and for labels that are not 0 and 1."""
        if metric not in METRICS:
            raise UsageError(f"--metric is {metric!r}", remedy=f"Name one of {', '.join(METRICS)}.")
        holdings: dict[str, Holding] = {}
        scenario = replace(scenario, psi=replace(scenario.psi, decoys=0.0))  # one process has nobody to hide rows from
        agreement = agree(scenario, lambda holding: holdings.update({holding.name: holding}))
        if agreement.model.get("objective", "binary") != "binary":
            raise UsageError("a search is judged by AUC or KS", remedy='Tune a model with objective = "binary".')
        found = in_process.align(holdings, agreement, None)
        active = holdings[agreement.active.name]
        assert active.holdout is not None
        # The order of an intersection is drawn: in that of the active party's table, a resumed search has the same
        # customers to train with and the same to judge.
        order = np.argsort(found[active.name])
        usable = order[~active.holdout[found[active.name][order]]]
        rows = {name: own[usable] for name, own in found.items()}
        judges = np.zeros(len(active.tokens), np.bool_)
        judges[rows[active.name][validation_rows(len(usable), SHARE, _SEED)]] = True
        holdings[active.name] = replace(active, holdout=judges)
        return cls(scenario, agreement, holdings, rows, metric)

    @property
    def space(self) -> Space:
        """What is looked through."""
        return self.scenario.tune or DEFAULTS[self.scenario.kind]

    def value(self, parameters: Mapping[str, Scalar]) -> float:
        """Train with these parameters; the metric of the customers that judge."""
        scenario = with_parameters(self.scenario, parameters)
        agreement = replace(self.agreement, model=model_clauses(scenario))
        outcome = in_process.train(self.holdings, agreement, None, self.rows).outcomes[agreement.active.name]
        return METRICS[self.metric](outcome.labels[outcome.holdout], outcome.pd)


def with_parameters(scenario: Scenario, parameters: Mapping[str, Scalar]) -> Scenario:
    """The scenario with these parameters of its model."""
    given = scenario.model.as_dict() | dict(parameters)
    return replace(scenario, model=type(scenario.model).from_mapping(given))


def search(found: Search, folder: Path, trials: int, told: Told) -> optuna.Study:
    """Run trials until so many are done; the journal in `folder` has them all.

    Raises UsageError where that is of another search, or where nothing can be trained.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study(
        storage=_journal(folder),
        study_name=_STUDY,
        direction="maximize",
        load_if_exists=True,
    )
    _require_same(study, found)
    # A resumed search must not propose again what it did at first.
    study.sampler = optuna.samplers.TPESampler(seed=_SEED + len(study.get_trials(deepcopy=False)))
    for cut_off in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.enqueue_trial(cut_off.params)
        study.tell(cut_off.number, state=TrialState.FAIL)
    failed = 0
    while (done := len(finished(study))) < trials:
        trial = study.ask()
        try:
            value = found.value(_proposed(trial, found.space))
        except UsageError:  # parameters with which there is nothing to train, such as too strict a selection
            study.tell(trial, state=TrialState.FAIL)
            failed += 1
            if failed > MOST_FAILED:
                raise
            continue
        study.tell(trial, value)
        told(done + 1, trials, value, study.best_value)
    return study


def _require_same(study: optuna.Study, found: Search) -> None:
    """Values of a search compare: a resumed one has the same agreement, space and metric. Raises UsageError."""
    space = repr(sorted(found.space.items()))
    due = {"scenario": found.agreement.digest, "space": space, "metric": found.metric}
    begun = study.user_attrs
    for key, value in due.items():
        if begun.get(key, value) != value:
            raise UsageError(
                f"the search was begun with another {key}", remedy="Restore it, or begin another under another --out."
            )
        study.set_user_attr(key, value)


def _journal(folder: Path) -> JournalStorage:
    """One search at a time writes it: a lock that is older than seconds is of one that was killed."""
    path = str(folder / JOURNAL)
    return JournalStorage(JournalFileBackend(path, JournalFileSymlinkLock(path, grace_period=_STALE)))


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that have a value, in their order."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _proposed(trial: Trial, space: Space) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, one in space.items():
        match one:
            case Among(values):
                chosen = trial.suggest_categorical(name, values)
                assert chosen is not None
                found[name] = chosen
            case Between(low, high, log) if one.whole:
                found[name] = trial.suggest_int(name, int(low), int(high), log=log)
            case Between(low, high, log):
                found[name] = trial.suggest_float(name, low, high, log=log)
    return found
