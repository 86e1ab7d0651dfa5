"""Parameters of the scorecard, each default written once."""

from __future__ import annotations

from dataclasses import dataclass

from vfl.learn.options import Options, option

SIGNS = ("free", "positive")


@dataclass(frozen=True, kw_only=True)
class ScorecardParameters(Options):
    """How weights of evidence become coefficients, and coefficients points."""

    pdo: float = option(20.0, "points that double the odds of good to bad", low=0.0, above=True, high=1e6)
    base_score: float = option(600.0, "points of a customer with the base odds", low=-1e6, high=1e6)
    base_odds: float = option(50.0, "good customers for each bad one at the base score", low=0.0, above=True, high=1e9)
    l1: float = option(0.0, "L1 penalty on coefficients, beside the sum of log-losses", low=0.0, high=1e9)
    l2: float = option(0.0, "half of it is the penalty on squared coefficients, beside the sum", low=0.0, high=1e9)
    signs: str = option(
        "free", "`positive`: no coefficient below 0, so that a riskier bin never gets more points", choices=SIGNS
    )
    iterations: int = option(16, "numbers a partner tells of each training row at most", low=3, high=1000)
    tolerance: float = option(1e-5, "coefficients have settled below this step", low=1e-9, high=0.1)
    predictor_bits: int = option(20, "those numbers are rounded to units of 2**-predictor_bits", low=8, high=20)
    residual_bits: int = option(
        22,
        "residuals are integers in units of 2**-residual_bits; fewer where encryption affords no more",
        low=8,
        high=32,
    )
    standard_errors: bool = option(
        True, "standard errors and p-values, for which partners tell as many numbers of each row as they have features"
    )

    @property
    def bounded(self) -> bool:
        """Whether coefficients may be held at 0."""
        return self.l1 > 0.0 or self.signs == "positive"
