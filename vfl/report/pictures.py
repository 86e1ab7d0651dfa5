"""The pictures of a report, as data URIs: those of `vfl.plots` from the run's scores, and the curve of training.

scores.csv holds customers, so it is in no bundle; its salted digest is on record and compared first.
"""

from __future__ import annotations

import base64
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vfl.closing import scores_digest
from vfl.errors import UsageError
from vfl.report.evidence import Evidence
from vfl.report.material import EVALUATION, EXPLANATION, SUMMARY
from vfl.scores import FILE, MODELS, Scores
from vfl.seat import RunFile, read_seed

REMEDY = "pip install 'tallystick[plots]'"


def drawn(directory: Path, evidence: Evidence) -> dict[str, str]:
    """Every picture there is data for, by name; none without matplotlib.

    Raises UsageError if scores.csv is not the one on record.
    """
    if find_spec("matplotlib") is None:
        return {}
    from vfl.plots import draw  # noqa: PLC0415 - matplotlib is an extra
    from vfl.plots.style import styled  # noqa: PLC0415

    found: dict[str, str] = {}
    if evidence.has(EVALUATION):
        active = RunFile.read(directory).agreement.active.name
        _require_on_record(directory, active, evidence)
        body = {"active": active, "scenario": evidence.artefact(SUMMARY)["scenario"], **evidence.artefact(EVALUATION)}
        of = draw.Drawing.of(body, Scores.read(directory).only(MODELS))
        with styled():
            for name, made in {
                "roc": draw.roc,
                "ks": draw.ks,
                "calibration": draw.calibration,
                "bands": draw.bands,
            }.items():
                found[name] = _uri(made(of))
    steps = evidence.artefact(EXPLANATION)["convergence"] if evidence.has(EXPLANATION) else []
    if len(steps) > 1:
        with styled():
            found["convergence"] = _uri(_convergence(steps))
    return found


def _require_on_record(directory: Path, active: str, evidence: Evidence) -> None:
    log, seq, digest = evidence.committed(FILE)
    if scores_digest(directory, read_seed(directory / active)).hex() != digest:
        raise UsageError(
            f"{directory / FILE} is not the one that entry {seq} of {log} names",
            remedy="restore it: pictures of other scores would prove nothing",
        )


def _convergence(steps: list[dict[str, Any]]) -> Any:
    from vfl.plots.style import COLOURS, picture  # noqa: PLC0415

    first, last = steps[0]["log_loss"], steps[-1]["log_loss"]
    figure, (axes,) = picture(f"Log-loss from {first:.3f} to {last:.3f}", "Hold-out, after each tree", height=3.6)
    axes.plot(
        [one["trees"] for one in steps], [one["log_loss"] for one in steps], color=COLOURS["federated"], linewidth=2.0
    )
    axes.set_xlim(0, steps[-1]["trees"])
    axes.set_xlabel("trees")
    axes.set_ylabel("log-loss")
    return figure


def _uri(figure: Any) -> str:
    from vfl.plots.style import save  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        save(figure, Path(folder), "picture")
        data = (Path(folder) / "picture.svg").read_bytes()
    return "data:image/svg+xml;base64," + base64.b64encode(data).decode()
