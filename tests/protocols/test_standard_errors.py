"""Standard errors of the joint regression: those of the pooled columns for any number of parties, or none for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from clear_shares import ClearShares
from hypothesis import given, settings

from vfl.errors import UsageError, VflError
from vfl.learn.logistic import Inference
from vfl.protocols.standard_errors import Basis, Completion, Covariance
from vfl.wire import Message, unpack

from .fitting import TOLD_APART, Regression, regression, with_errors
from .hostile import Change, Tape, assert_harmless, assert_refused, changed, damage, play

FEW = regression(100, (2, 5), 5, bins=3, aside=0.0, iterations=12, tolerance=1e-2)


def found(case: Regression) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors and p-values of the intercept and all coefficients, as the parties hold them."""
    tapes = with_errors(case, ClearShares(True))
    tests = [tapes[name].result[1] for name in ("bank", *case.partners)]
    return np.concatenate([one.errors for one in tests]), np.concatenate([one.p_values for one in tests])


@pytest.mark.parametrize("owned", [(2, 3), (1, 2, 4), (3, 1, 2, 2)])
def test_those_of_the_pooled_columns(owned: tuple[int, ...]) -> None:
    case = regression(500, owned, 3, iterations=30)
    labels = case.features.labels[case.features.parts.train]
    due = sm.Logit(labels, sm.add_constant(case.pooled)).fit(disp=0)
    errors, p_values = found(case)
    np.testing.assert_allclose(errors, due.bse, rtol=1e-4)
    np.testing.assert_allclose(p_values, due.pvalues, rtol=1e-2, atol=1e-12)


def test_none_where_a_party_may_not_tell_enough() -> None:
    """Six features, but three numbers of a row: nobody has standard errors, and everybody knows."""
    tapes = with_errors(regression(300, (2, 6), 3, iterations=3), ClearShares(True))
    assert tapes["bank"].result[1] is None
    assert tapes["telecom"].result[1] is None
    said = [e for _, e in tapes["bank"].messages() if "/Basis/" in e.slot]
    assert [unpack(Basis, e.body).missing for e in said] == [-1]


def test_none_of_coefficients_that_have_not_settled() -> None:
    case = regression(300, (2, 2), 3, iterations=3, standard_errors=True)
    tapes = with_errors(case, ClearShares(True))
    fitted, tests = tapes["bank"].result
    assert not fitted.converged
    assert tests is None
    assert tapes["telecom"].result[1] is None


def role_of(victim: str, case: Regression = FEW) -> Any:
    from .fitting import bank, partner

    shares = ClearShares(False)
    from vfl.protocols import standard_errors

    async def active(peers: Any) -> Any:
        fitted = await bank(case, shares)(peers)
        if fitted == TOLD_APART:
            return None
        return await standard_errors.active([peers["telecom"]], fitted, case.parameters)

    async def passive(peers: Any) -> Any:
        return await standard_errors.passive(peers["bank"], await partner(case, 1, shares)(peers), case.parameters)

    return active if victim == "bank" else passive


LIES: list[tuple[str, type[Message], Change, str]] = [
    ("bank", Basis, changed(chosen=[0, 0]), "directions are named once"),
    ("bank", Basis, changed(chosen=[1, 0]), "in their order"),
    ("bank", Basis, changed(chosen=[0, 999]), "directions are numbered up to"),
    ("bank", Basis, changed(missing=2), "there are 5 features"),
    ("telecom", Covariance, changed(size=1), "a covariance of"),
    ("telecom", Covariance, lambda m: changed(values=m.values[8:])(m), "a number of 8 bytes for each two"),
    ("telecom", Covariance, lambda m: changed(values=b"\xff" * len(m.values))(m), "covariances are numbers"),
    (
        "telecom",
        Covariance,
        lambda m: changed(values=bytes(8) + m.values[8:16] + bytes(len(m.values) - 16))(m),
        "symmetric",
    ),
]


@pytest.fixture(scope="module")
def hidden() -> dict[str, Tape]:
    return with_errors(FEW, ClearShares(False))


@pytest.mark.parametrize(("victim", "kind", "change", "sentence"), LIES, ids=[f"{v}: {s}" for v, _, _, s in LIES])
def test_lies_are_refused(
    hidden: dict[str, Tape], victim: str, kind: type[Message], change: Change, sentence: str
) -> None:
    assert_refused(hidden[victim], kind, change, role_of(victim), sentence)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(hidden: dict[str, Tape], victim: str) -> None:
    kinds = {kind.__name__: kind for kind in (Basis, Completion, Covariance)}
    tape, role = hidden[victim], role_of(victim)
    assert kinds
    assert_harmless(tape, role)

    @settings(deadline=None, max_examples=8)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        assert fate is None or isinstance(fate, VflError | Inference)
        assert not isinstance(fate, UsageError) or "repeat" in str(fate) or "apart" in str(fate)

    attack()
