"""Parameters of supervised binning and of feature selection, each default written once."""

from __future__ import annotations

from dataclasses import dataclass

from vfl.learn.options import Options, option

METHODS = ("chimerge", "quantile", "optimal")
TRENDS = ("none", "auto", "ascending", "descending")


@dataclass(frozen=True, kw_only=True)
class BinningParameters(Options):
    """How a feature becomes a few bins with a weight of evidence each."""

    method: str = option(
        "chimerge",
        "how neighbouring pre-bins are merged: by a test of equal bad rates, by population, or for the greatest "
        "information value (extra `binning`)",
        choices=METHODS,
    )
    max_prebins: int = option(
        24, "pre-bins of a feature at most, those of special and missing values included", low=2, high=256
    )
    max_bins: int = option(6, "bins of ordinary values at most", low=2, high=64)
    min_bin_share: float = option(0.05, "share of the training rows in a bin of ordinary values", low=0.0, high=0.5)
    min_class_rows: int = option(
        5, "goods and bads in a bin at least, so that no bin tells the label of everybody in it", low=1, high=1_000_000
    )
    significance: float = option(
        0.05, "`chimerge` keeps neighbours apart whose bad rates differ at this level", low=0.0, above=True, high=1.0
    )
    trend: str = option(
        "auto",
        "direction of the bad rate over the bins of ordinary values; `auto`: the one with more information value",
        choices=TRENDS,
    )
    woe_bits: int = option(12, "weights of evidence are rounded to units of 2**-woe_bits", low=4, high=24)
    share_woe: bool = option(True, "passive parties are told the weights of evidence of their own bins")


@dataclass(frozen=True, kw_only=True)
class SelectionParameters(Options):
    """Which features a scorecard starts from."""

    min_iv: float = option(0.02, "information value of a feature at least", low=0.0)
    max_iv: float = option(
        0.0, "information value of a feature at most, above it looks as if it knew the outcome; 0: no limit", low=0.0
    )
    max_correlation: float = option(
        0.7, "absolute correlation of two features at most; the one with more information stays", low=0.0, high=1.0
    )
    max_vif: float = option(
        10.0, "variance inflation factor of a feature at most; the greatest goes first; 0: no limit", low=0.0
    )
    max_psi: float = option(0.25, "population stability index of a feature at most; 0: no limit", low=0.0)
    min_psi_rows: int = option(
        500,
        "aligned rows outside training that a stability index needs: with fewer it is noise",
        low=1,
        high=1_000_000_000,
    )
    share_psi: bool = option(True, "passive parties tell the stability of their features")
    share_correlation: bool = option(True, "passive parties tell the correlations among their own features")
    partner_correlations: bool = option(
        False, "correlations between two passive parties: one of them learns its columns' means in the other's bins"
    )
