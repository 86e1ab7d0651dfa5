"""The loopback port of a service, and what a command says when it was interrupted."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from vfl.errors import UsageError
from vfl.interruption import INTERRUPTED, interrupted
from vfl.party.metrics import Metrics, metrics_text


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_and_counts(tmp_path: Path) -> None:
    ready: list[bool] = []
    service = SimpleNamespace(begun=3, refused=1, going_on=lambda: 2, peers=lambda: ("bank",))
    page = Metrics(0, lambda: bool(ready), lambda: metrics_text(service, tmp_path, "telecom"))  # type: ignore[arg-type]
    try:
        assert get(page.port, "/healthz") == (200, "alive\n")
        assert get(page.port, "/readyz") == (503, "not ready\n")
        ready.append(True)
        assert get(page.port, "/readyz") == (200, "ready\n")
        status, text = get(page.port, "/metrics")
        assert status == 200
        assert "tallystick_attempts_total 3\n" in text
        assert "tallystick_attempts_running 2\n" in text
        assert get(page.port, "/elsewhere")[0] == 404
        with pytest.raises(UsageError, match="for metrics is not to be had"):
            Metrics(page.port, lambda: True, lambda: "")
    finally:
        page.stop()


@pytest.mark.parametrize(
    ("kept", "words"), [(None, "nothing is kept"), (Path("runs/x.partial"), "go on with `tallystick run x --resume`")]
)
def test_interruption_says_what_stays(kept: Path | None, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        interrupted(kept, ["run", "x"])
    assert ended.value.code == INTERRUPTED
    assert words in capsys.readouterr().err
