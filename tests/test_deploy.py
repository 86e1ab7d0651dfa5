"""The deployment kit: what the image, the compose file and the unit name is there, safe, and starts."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledger.keys import Identity

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "tallystick-party.service").read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_the_image_is_made_by_the_script_that_is_tested() -> None:
    steps = re.findall(r"^RUN (.*)$", DOCKERFILE, re.M)
    assert steps[0] == "deploy/install.sh /opt/tallystick"
    assert "--require-hashes --only-binary :all:" in (DEPLOY / "install.sh").read_text()
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)
    assert not user.startswith("0")
    assert not re.search(r"passphrase|secret|key", " ".join(re.findall(r"^(?:ENV|ARG) (.*)$", DOCKERFILE, re.M)), re.I)
    assert "latest" not in DOCKERFILE


def test_what_the_image_is_made_of_is_let_in() -> None:
    let_in = {line.removeprefix("!") for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()}
    for needed in re.findall(r"^cp -R (.*) \"\$work\"$", (DEPLOY / "install.sh").read_text(), re.M)[0].split():
        assert needed in let_in
    assert {"requirements.lock", "deploy/install.sh", "deploy/healthy.py"} <= let_in


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_services_are_locked_in(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["user"].split(":")[0] not in ("0", "root")
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not any("environment" in key for key in service)
    named = {one if isinstance(one, str) else one["source"] for one in service["secrets"]}
    assert named <= COMPOSE["secrets"].keys()
    volumes = {text.split(":")[0] for text in service["volumes"] if not text.startswith(".")}
    assert volumes <= COMPOSE["volumes"].keys()
    assert set(service["profiles"]) <= {"bank", "telecom", "regulator"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_commands_of_services_are_ours(name: str) -> None:
    words = COMPOSE["services"][name]["command"]
    words = [sys.executable, *(("-m", "vfl.cli") if words[0] == "tallystick" else ()), *words[1:]]
    options = {word for word in words if word.startswith("--")}
    cut = words[: next(place for place, word in enumerate(words) if word.startswith("--"))]
    told = subprocess.run([*cut, "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert all(option in told for option in options), options


def test_the_unit_starts_the_service_and_waits_for_it() -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.M)
    assert start.startswith("/opt/tallystick/bin/tallystick party serve --config /var/lib/tallystick")
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "LoadCredential=passphrase:"):
        assert line in UNIT


def test_the_witness_of_the_compose_file_serves_and_is_healthy(tmp_path: Path) -> None:
    """Its command and its health check as they stand, with folders and address of the test."""
    port, policy, key = free_port(), tmp_path / "policy.txt", tmp_path / "key"
    policy.write_text(f"log {Identity('bank', bytes(32)).identity.verifying.vkey}\nquorum none\n")
    made = [sys.executable, "-m", "ledger", "witness", "new", "regulator", "--out", str(key)]
    subprocess.run(made, check=True, capture_output=True, cwd=ROOT)
    places = {
        "python": sys.executable,
        "/run/secrets/witness-key": str(key),
        "/data/policy.txt": str(policy),
        "/witness/witness.db": str(tmp_path / "heads.db"),
        "0.0.0.0:7400": f"127.0.0.1:{port}",
        "/opt/tallystick/healthy.py": str(DEPLOY / "healthy.py"),
        "http://127.0.0.1:7400/healthz": f"http://127.0.0.1:{port}/healthz",
    }
    service = COMPOSE["services"]["witness"]
    command = [places.get(word, word) for word in service["command"]]
    check = [places.get(word, word) for word in service["healthcheck"]["test"][1:]]
    assert subprocess.run(check, check=False).returncode == 1
    serving = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        subprocess.run([*check, "20"], check=True)
    finally:
        serving.terminate()
        assert serving.wait(10) in (0, -15)


@pytest.mark.slow
def test_the_drill(tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("BANK_PORT", "TELECOM_PORT", "METRICS_PORT")}
    began = time.monotonic()
    ended = subprocess.run(
        [DEPLOY / "drill.sh", tmp_path / "drill", Path(sys.executable).parent],
        capture_output=True, text=True, env={**os.environ, **ports}, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "drill: all steps hold"
    assert ended.stdout.count("RESULT: valid (exit code 0)") == 3
    assert time.monotonic() - began < 280
