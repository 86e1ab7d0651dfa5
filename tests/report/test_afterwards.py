"""What became of a run after it ended: audits whose results a report shows, and purges that it survives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from run_kit import tallystick, verify

from vfl import purging
from vfl.audit.result import AuditResult, Compared, read_result
from vfl.audit.sealing_to import AuditorKey
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.report.about import About
from vfl.report.checking import check_report
from vfl.report.document import make
from vfl.report.evidence import Evidence
from vfl.report.render import as_html, body_of
from vfl.report.texts import Texts
from vfl.valid import read_policy

NONCE = "77" * 16


@pytest.fixture(scope="module")
def auditor(out: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditorKey, Path]:
    """A key, and a policy that has its log line."""
    folder = tmp_path_factory.mktemp("auditor")
    key = AuditorKey.make(folder / "key", "regulator")
    (folder / "policy.txt").write_text((out / "policy.txt").read_text() + f"log {key.signer.verifying.vkey}\n")
    return key, folder


def test_the_result_of_an_audit_stands_in_the_report(
    out: Path, auditor: tuple[AuditorKey, Path], capfd: Any, tmp_path: Path
) -> None:
    key, folder = auditor
    words = ("--nonce", NONCE, "--cells", 2)
    opened = ("audit", "open", out, "--party", "telecom", "--to", key.public, "--out", tmp_path / "o", *words)
    assert tallystick(capfd, *opened).code == 0
    check = ("audit", "check", out, tmp_path / "o", "--key", folder / "key", "--policy", folder / "policy.txt")
    assert tallystick(capfd, *check, *words, "--out", tmp_path / "result").code == 0
    made = ("report", out, "--format", "html,json", "--out", tmp_path, "--audit", tmp_path / "result")
    assert tallystick(capfd, *made, "--policy", folder / "policy.txt").code == 0
    html = (tmp_path / "report.en.html").read_text()
    assert "Every message came out as the ledger has it." in html
    assert "No data were opened to an auditor" not in html
    words = ("--policy", out / "policy.txt", "--bundle", out / "audit.bundle")
    assert tallystick(capfd, "report", "check", tmp_path / "report.en.json", *words).code == 0
    refused = tallystick(capfd, *made)  # by the producer's policy, which does not know the auditor
    assert refused.code == 2
    assert "no audit result that an auditor of the policy signed" in refused.err


def _result(evidence: Evidence, *, fits: bool = True, **changes: Any) -> AuditResult:
    entry = next(one for one in evidence.logs["telecom"].entries if one.step == "NodeHistograms")
    assert entry.payload is not None
    digest = entry.payload.digest
    verdict = Compared(entry.slot, digest, digest if fits else "00" * 32, fits)
    one = {"party": "telecom", "cells": 1, "answers": 9, "openings": "11" * 32}
    body = {"run": entry.job, "nonce": NONCE, "parties": [{**one, "verdicts": [msgspec.to_builtins(verdict)]}]}
    return msgspec.convert({**body, **changes}, AuditResult)


def test_a_message_that_came_out_otherwise_is_told(evidence: Evidence) -> None:
    for language, words in (("en", "DIFFERS"), ("zh", "不一致")):
        found = [("regulator", _result(evidence, fits=False))]
        told = make(evidence, Texts(language), About(), "all", {}, "", found)
        assert words in as_html(told, body_of(told))
    honest = make(evidence, Texts("en"), About(), "all", {}, "", [("regulator", _result(evidence))])
    assert "DIFFERS" not in as_html(honest, body_of(honest))
    check_report(json.loads(json.dumps(body_of(honest))), evidence)


@pytest.mark.parametrize("what", ["run", "party", "slot", "digest"])
def test_an_audit_of_something_else_makes_no_report(evidence: Evidence, what: str) -> None:
    body = msgspec.to_builtins(_result(evidence))
    one = body["parties"][0]
    match what:
        case "run":
            body["run"] = "another"
        case "party":
            one["party"] = "nobody"
        case "slot":
            one["verdicts"][0]["slot"] = "train/9/NodeHistograms/telecom>bank/1"
        case "digest":
            one["verdicts"][0]["claimed"] = "22" * 32
    with pytest.raises(UsageError, match="the audit of regulator"):
        make(evidence, Texts("en"), About(), "all", {}, "", [("regulator", msgspec.convert(body, AuditResult))])


def test_an_altered_result_is_refused(evidence: Evidence, auditor: tuple[AuditorKey, Path], tmp_path: Path) -> None:
    key, folder = auditor
    policy, data = read_policy(folder / "policy.txt"), _result(evidence).signed(key.signer)
    file = tmp_path / "result"
    file.write_bytes(data)
    assert read_result(file, policy) == ("regulator", _result(evidence))
    for place in range(0, len(data), 9):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(UsageError, match="audit result"):
            read_result(file, policy)


def test_a_purged_run_is_still_reported(out: Path, tmp_path: Path, capfd: Any) -> None:
    run = Path(shutil.copytree(out, tmp_path / "run", copy_function=shutil.copyfile))
    customer = json.loads((run / "bank/decisions.jsonl").read_text().splitlines()[0])["id"]
    purging.purge(run, ("bank", "telecom"), ("salts", "rows"), "period ended", SystemClock())
    assert verify(run).returncode == 0
    told = tallystick(capfd, "report", run, "--json")
    assert told.code == 0, told.err
    html = (run / "report/report.en.html").read_text()
    for words in (
        "Removed after the run",
        "period ended",
        "rows, salts",
        "The curves are missing",
        "can no longer be shown",
    ):
        assert words in html, words
    bundle = ("--policy", run / "policy.txt", "--bundle", run / "audit.bundle")
    assert tallystick(capfd, "report", "check", run / "report/report.en.json", *bundle).code == 0
    assert tallystick(capfd, "report", "template", "--run", run).code == 0
    refused = tallystick(capfd, "report", "subject", run, "--id", customer)
    assert refused.code == 2
    assert "was purged on" in refused.err
    assert "(reason: period ended)" in refused.err
    kept = make(Evidence.of(out), Texts("en"), About(), "all", {}, "")  # the honest twin
    assert "Removed after the run" not in as_html(kept, body_of(kept))
