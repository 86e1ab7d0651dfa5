"""From raw columns to the weights that stay, under real encryption: what the pooled columns give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from protocols.boosting import seed
from protocols.hostile import Role, Tape, play, record

from vfl import features
from vfl.channel import Channel
from vfl.decoys import Shown
from vfl.errors import BrokenPromise, UsageError
from vfl.features import FeatureTerms
from vfl.learn.collinearity import correlations
from vfl.learn.feature_parameters import BinningParameters, SelectionParameters
from vfl.learn.rounds import Parts
from vfl.learn.selection import Candidate, screen, select
from vfl.learn.woe import fit_features, woe_matrix

N = 1500
RNG = np.random.default_rng(8)
BANK, TELECOM, BUREAU = ("income", "age"), ("calls", "copy", "noise"), ("arrears",)
INCOME, AGE, CALLS, ARREARS = RNG.normal(size=(4, N))
VALUES = {
    "bank": np.column_stack([INCOME, AGE]),
    "telecom": np.column_stack([CALLS, INCOME + 0.4 * RNG.normal(size=N), RNG.normal(size=N)]),
    "bureau": np.where(RNG.random(N) < 0.3, -1.0, np.abs(ARREARS).round(1))[:, None],
}
RISK = -INCOME + 0.5 * AGE + 0.7 * CALLS + VALUES["bureau"][:, 0]
LABELS = (RISK + RNG.normal(size=N) > np.quantile(RISK, 0.75)).astype(np.int8)
TRAIN = np.arange(N) % 3 > 0
PARTS = Parts(TRAIN, np.zeros(N, np.bool_))
SPECIAL = {"arrears": [-1.0]}
TERMS = FeatureTerms(
    BinningParameters(), SelectionParameters(), 2, (TELECOM, BUREAU), 20, 20, "run-7", "lattice", key_bits=0
)


def bank(terms: FeatureTerms = TERMS, shown: Shown | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> Any:
        passives = [peers["telecom"], peers["bureau"]]
        return await features.active(passives, BANK, VALUES["bank"], LABELS, PARTS, terms, seed(1), shown=shown)

    return role


def partner(name: str, terms: FeatureTerms = TERMS, values: np.ndarray | None = None) -> Role:
    async def role(peers: Mapping[str, Channel]) -> Any:
        names, mine = {"telecom": TELECOM, "bureau": BUREAU}[name], VALUES[name] if values is None else values
        special = {key: SPECIAL[key] for key in names if key in SPECIAL}
        return await features.passive(peers["bank"], names, mine, terms, seed(2), special=special)

    return role


def run(terms: FeatureTerms = TERMS) -> dict[str, Tape]:
    cast = {"bank": bank(terms), "telecom": partner("telecom", terms), "bureau": partner("bureau", terms)}
    return record(cast, [("bank", "telecom"), ("bank", "bureau")])


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return run()


def test_everybody_has_the_weights_of_the_pooled_columns(tapes: dict[str, Tape]) -> None:
    names, values = BANK + TELECOM + BUREAU, np.column_stack(list(VALUES.values()))
    fitted = fit_features(names, values, LABELS, TRAIN, TERMS.binning, 20, special=SPECIAL)
    matrix = woe_matrix(fitted, values)
    screened = screen([Candidate(0, one.name, one.n_bins, one.iv) for one in fitted], TERMS.selecting)
    stay = [number for number, one in enumerate(screened) if one.kept]
    final = select(screened, correlations(matrix[TRAIN][:, stay]), TERMS.selecting)
    kept = np.array([one.kept for one in final])
    own = {"bank": tapes["bank"].result.own, **{name: tapes[name].result for name in ("telecom", "bureau")}}
    assert np.concatenate([one.kept for one in own.values()]).tolist() == kept.tolist()
    assert kept.tolist() == [True, True, True, False, False, True]
    np.testing.assert_array_equal(np.column_stack([one.matrix for one in own.values()]), matrix[:, kept])


def test_partners_compare_their_features_where_agreed() -> None:
    terms = replace(TERMS, selecting=SelectionParameters(min_iv=0.0, max_correlation=1.0, partner_correlations=True))
    known = run(terms)["bank"].result.selection.matrix
    assert np.isfinite(known).all()
    unknown = run(replace(terms, selecting=replace(terms.selecting, partner_correlations=False)))
    assert terms.others(TELECOM).widths == (1,)
    assert terms.others(BUREAU).widths == (3,)
    matrix = unknown["bank"].result.selection.matrix
    assert np.isnan(matrix[-1, 2:-1]).all()
    np.testing.assert_array_equal(matrix[~np.isnan(matrix)], known[~np.isnan(matrix)])


def test_why_the_others_went(tapes: dict[str, Tape]) -> None:
    verdicts = {one.candidate.name: one for one in tapes["bank"].result.selection.verdicts}
    assert "with 'income' of party 0" in verdicts["copy"].reason
    assert verdicts["noise"].reason.startswith("one bin only")
    tables = tapes["bank"].result.report.partners
    assert [len(of_party) for of_party in tables] == [3, 1]
    assert tables[1][0].table()[-1].bin.startswith("set apart")


def test_replay_says_the_same_again(tapes: dict[str, Tape]) -> None:
    again = play(tapes["telecom"], partner("telecom"))
    np.testing.assert_array_equal(again.matrix, tapes["telecom"].result.matrix)
    assert {name: tape.frames for name, tape in run().items()} == {name: tape.frames for name, tape in tapes.items()}


def test_other_terms_at_one_end_end_the_run(tapes: dict[str, Tape]) -> None:
    fate = play(tapes["telecom"], partner("telecom", replace(TERMS, scheme="paillier", key_bits=2048)))
    assert isinstance(fate, BrokenPromise)
    assert "'paillier' was agreed" in str(fate)


def test_weights_that_are_kept_are_missed_where_they_are_needed() -> None:
    terms = replace(TERMS, binning=BinningParameters(share_woe=False))
    result = run(terms)["bureau"].result
    with pytest.raises(UsageError, match="weights of evidence of 'arrears' were not told"):
        assert result.matrix is not None


def test_decoys_are_not_counted() -> None:
    """A third more rows at the partners, anywhere; the bank's figures are of its own rows."""
    extra = N // 3
    places = np.sort(RNG.permutation(N + extra)[:N])
    train = RNG.random(N + extra) < 0.6
    train[places] = TRAIN
    shown = Shown(places, train, np.zeros_like(train), ~train)
    terms = replace(TERMS, min_shown_population=30)
    mixed = {}
    for name in ("telecom", "bureau"):
        mixed[name] = VALUES[name][RNG.integers(0, N, N + extra)]
        mixed[name][places] = VALUES[name]
    cast = {"bank": bank(terms, shown), **{name: partner(name, terms, mixed[name]) for name in mixed}}
    tapes = record(cast, [("bank", "telecom"), ("bank", "bureau")])
    for tables in tapes["bank"].result.report.partners:
        for table in tables:
            assert table.counts.sum(axis=0).tolist() == [(LABELS[TRAIN] == 0).sum(), LABELS[TRAIN].sum()]
            assert table.counts.sum(axis=1).min() >= 20
    assert tapes["telecom"].result.matrix.shape == (N + extra, 1)
