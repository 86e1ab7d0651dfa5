"""What a partner that lies about its bins reads in the fit of a scorecard, as SECURITY.md says."""

from __future__ import annotations

import numpy as np
import pytest
from clear_shares import ClearShares
from protocols.fitting import fit, partner, regression

from vfl.errors import BrokenPromise
from vfl.protocols.logistic import Owner


def lie(named: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Whoever is alone in a bin: as residuals add up to 0, the sum is that of one customer. Residuals and labels."""
    case = regression(300, (2, 2), aside=0.0)
    shares, victims, heard = ClearShares(named), (17, 42), list[np.ndarray]()
    values, weights = np.empty((300, 2)), np.empty(2)
    for place, feature in enumerate(case.features.fitted(1)):
        inside = [case.features.of(1)[feature.codes(case.features.of(1)[:, place]) == one, place][0] for one in (0, 1)]
        assert feature.woe is not None
        values[:, place], weights[place] = inside[1], feature.woe[0] - feature.woe[1]
        values[victims[place], place] = inside[0]
    improve = Owner.improve

    def listening(owner: Owner, gradient: np.ndarray, curvature: float) -> object:
        heard.append(gradient)
        return improve(owner, gradient, curvature)

    monkeypatch.setattr(Owner, "improve", listening)
    fit(case, shares, telecom=partner(case, 1, shares, values=values))
    return heard[0] / weights, case.features.labels[list(victims)]


def test_where_rows_are_named_a_lying_partner_reads_a_label_for_each_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    residuals, labels = lie(True, monkeypatch)
    assert ((residuals < 0) == (labels == 1)).all()
    assert (np.abs(residuals) < 1.0).all()


def test_where_the_hint_fixes_bins_it_is_caught_before_it_hears_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokenPromise, match="bins have the goods and bads that were counted before") as caught:
        lie(False, monkeypatch)
    assert caught.value.peer == "telecom"
