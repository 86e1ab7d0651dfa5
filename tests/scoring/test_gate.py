"""A partner's process in a simulation answers questions about scores, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vfl.errors import AgreementError
from vfl.net.tls import Known
from vfl.scoring.host import ScoringGate

BANK = Known("bank", "", (), frozenset({"pin"}))
GATE = ScoringGate(SimpleNamespace(who=SimpleNamespace(run="first", name="telecom")), BANK)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: GATE.offer("bank", b""),
        lambda: GATE.attend("bank", "first", 1),
        lambda: GATE.withdrawn("bank", "first", "why"),
        lambda: GATE.log("bank", "first"),
        lambda: GATE.attest("bank", "first", b""),
        lambda: GATE.keep("bank", "first", b""),
    ],
)
def test_everything_else_is_refused(ask: Callable[[], Any]) -> None:
    with pytest.raises(AgreementError, match="answers questions about scores only"):
        ask()


def test_it_knows_its_bank_and_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert GATE.peers() == (BANK,)
    assert b"telecom" in GATE.health("bank")
    with pytest.raises(AgreementError, match="there is no such run here"):
        list(GATE.score("bank", "second", "job", iter(())))
    GATE.failed(ValueError("a value of somebody"))
    assert "somebody" not in capsys.readouterr().err
