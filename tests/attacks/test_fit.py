"""What a partner that lies about its bins reads in the fit of a scorecard, as SECURITY.md says."""

from __future__ import annotations

import numpy as np
import pytest
from clear_shares import ClearShares
from protocols.fitting import fit, partner, regression

from vfl.protocols.logistic import Owner


def test_a_partner_that_lies_about_its_bins_reads_a_label_for_each_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is alone in a bin: as residuals add up to 0, the sum is that of one customer."""
    case = regression(300, (2, 2), aside=0.0)
    shares, victims, heard = ClearShares(False), (17, 42), list[np.ndarray]()
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
    residuals = heard[0] / weights
    assert ((residuals < 0) == (case.features.labels[list(victims)] == 1)).all()
    assert (np.abs(residuals) < 1.0).all()
