"""Parameters of evaluation, each default written once."""

from __future__ import annotations

from dataclasses import dataclass

from vfl.learn.options import Options, option


@dataclass(frozen=True, kw_only=True)
class EvaluationParameters(Options):
    """How predictions are judged; raises UsageError for a value out of range."""

    resamples: int = option(500, "bootstrap resamples of the hold-out behind each interval", low=50, high=100_000)
    confidence: float = option(0.95, "probability that an interval covers", low=0.5, high=0.999)
    groups: int = option(10, "groups of a lift table, score bands and reliability bins", low=2, high=100)
    profit_good: float = option(
        0.10, "earned on a good customer, as a share of the amount lent", low=0.0, above=True, high=1e9
    )
    loss_bad: float = option(
        0.45,
        "lost on a bad customer, as a share of the amount lent; 0.45 is the supervisory loss given default of senior "
        "unsecured claims (Basel II, paragraph 287)",
        low=0.0,
        above=True,
        high=1e9,
    )
