"""One small run with its report, for all tests of reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_kit import TOML, apart, scenario

from vfl.report.about import About
from vfl.report.document import Report, make
from vfl.report.evidence import Evidence
from vfl.report.render import body_of
from vfl.report.texts import Texts


@pytest.fixture(scope="package")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    ended = apart("run", scenario(folder / "own", TOML), "--out", folder / "out", "--seed", "x")
    assert ended.returncode == 0, ended.stderr
    return folder / "out"


@pytest.fixture(scope="package")
def evidence(out: Path) -> Evidence:
    return Evidence.of(out)


@pytest.fixture(scope="package")
def report(evidence: Evidence) -> Report:
    return make(evidence, Texts("en"), About(), "all", {}, "")


@pytest.fixture(scope="package")
def body(report: Report) -> dict[str, Any]:
    return body_of(report)
