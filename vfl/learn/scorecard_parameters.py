"""Parameters of the scorecard, each default written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vfl.errors import UsageError
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.options import Options, canonical_name, option

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


@dataclass(frozen=True)
class ScorecardModel:
    """All that is agreed about a scorecard: bins, selection, coefficients and points, under one set of names."""

    binning: BinningParameters
    selecting: SelectionParameters
    card: ScorecardParameters

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> ScorecardModel:
        """From names and values. Raises UsageError for an unknown name, and for a value that cannot be."""
        kind_of = {each.name: kind for kind in KINDS for each in fields(kind)}
        owner = {name: kind_of[canonical_name(name, *KINDS)] for name in values}

        def own(kind: type[Options]) -> dict[str, object]:
            return {name: value for name, value in values.items() if owner[name] is kind}

        found = cls(
            BinningParameters.from_mapping(own(BinningParameters)),
            SelectionParameters.from_mapping(own(SelectionParameters)),
            ScorecardParameters.from_mapping(own(ScorecardParameters)),
        )
        if not found.binning.share_woe:
            raise UsageError(
                "parameter 'share_woe' is False, but partners weigh their own bins",
                remedy="Leave share_woe at true for a scorecard.",
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Every parameter by name."""
        return {**self.binning.as_dict(), **self.selecting.as_dict(), **self.card.as_dict()}


KINDS: tuple[type[Options], ...] = (BinningParameters, SelectionParameters, ScorecardParameters)
