"""`tallystick serve` and `tallystick score` from start to end, in this process: partners are processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_kit import tallystick
from scoring_kit import predictions

from vfl import serve_commands
from vfl.api.server import HttpServer
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.party.certificates import new_tls_key
from vfl.scoring import host
from vfl.scoring.policy import ServingPolicy
from vfl.served import Served


def ask(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


def test_served_and_scored(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One start, for it takes some seconds: API, console, proof."""
    servers: list[HttpServer] = []

    class Kept(HttpServer):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words)
            servers.append(self)

    monkeypatch.setattr(serve_commands, "HttpServer", Kept)
    told: list[str] = []
    monkeypatch.setattr(serve_commands, "tell", lambda out, line: told.append(line))
    row = predictions(trees)[0]

    async def work() -> tuple[dict[str, Any], dict[str, Any]]:
        served = Served.named(trees, None, None, None)
        serving = asyncio.create_task(serve_commands._serve(served, ServingPolicy(), "127.0.0.1", 0, None))
        while not any("console:" in line for line in told):
            assert not serving.done(), serving
            await asyncio.sleep(0.05)
        url = servers[0].url
        made = json.loads(await asyncio.to_thread(ask, f"{url}/v1/score", json.dumps({"id": row["id"]}).encode()))
        shown = json.loads(await asyncio.to_thread(ask, f"{url}/v1/decisions/{made['decision_id']}"))
        for page in ("/", "/board/model", "/board/ledger", f"/board/decisions/{made['decision_id']}", "/readyz"):
            assert await asyncio.to_thread(ask, url + page)
        servers[0].stop()
        await serving
        return made, shown

    made, shown = asyncio.run(work())
    assert repr(made["pd"]) == row["pd"]
    assert not made["degraded"]
    assert shown["decision"] == made
    assert any("AUTHENTICATION IS OFF" in line for line in told)


def test_a_file_is_scored(trees: Path, tmp_path: Path, capfd: Any) -> None:
    rows = predictions(trees)[:3]
    source, out = tmp_path / "applicants.csv", tmp_path / "out.csv"
    source.write_text("id\n" + "".join(f"{row['id']}\n" for row in rows) + "+34600000000\n")
    ended = tallystick(capfd, "score", source, "--run", trees, "--out", out, "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told.pop("seconds") > 0
    assert told == {"out": str(out), "scored": 3, "refused": 1, "blocks": 1}
    assert "4 of 4 applicants" in ended.err
    assert [line.split(",")[1] for line in out.read_text().splitlines()[1:4]] == [row["pd"] for row in rows]


def test_what_is_asked_for_wrongly(trees: Path, tmp_path: Path, capfd: Any) -> None:
    source = tmp_path / "applicants.csv"
    for words in (
        ("score", source, "--out", tmp_path / "o"),
        ("serve", "--run", trees, "--config", trees),
        ("serve", "--run", trees, "--tls-certificate", source),
    ):
        assert tallystick(capfd, *words).code == 2
    ended = tallystick(capfd, "serve", "--run", tmp_path)
    assert (ended.code, "run.json" in ended.err or "no run directory" in ended.err) == (2, True)


def test_the_process_of_a_partner(trees: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """It says where it listens, and ends when nobody supervises it any more; or it says why it cannot."""
    key = new_tls_key("telecom", SystemClock().now(), 1)
    given = {"key": key.key.decode(), "certificate": key.certificate.decode(), "active": "bank", "port": 0,
             "admitted": key.certificate.decode(), "per_day": 5}  # fmt: skip

    def start(party: str) -> int:
        reading, writing = os.pipe()
        os.write(writing, json.dumps(given).encode() + b"\n")
        threading.Timer(1.0, os.close, (writing,)).start()
        with os.fdopen(reading, "rb") as stdin:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
            return host.main([str(trees), party])

    assert start("telecom") == 0
    assert json.loads(capsys.readouterr().out)["port"] > 0
    (trees / "telecom" / "share.json").write_text("{}")
    assert start("telecom") == 2
    assert json.loads(capsys.readouterr().out)["error"] == UsageError.__name__
