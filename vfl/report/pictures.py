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
from vfl.retention import ROWS, SALTS, notes
from vfl.scores import FILE, MODELS, Scores
from vfl.seat import RunFile, read_seed
from vfl.settle.account import Account
from vfl.wording import Wording

REMEDY = "pip install 'tallystick[plots]'"


def drawn(directory: Path, evidence: Evidence, language: str, account: Account | None = None) -> dict[str, str]:
    """Every picture there is data for, by name; none without matplotlib, no curve of scores that were purged.

    Raises UsageError if scores.csv is not the one on record.
    """
    if find_spec("matplotlib") is None:
        return {}
    from vfl.plots import draw  # noqa: PLC0415 - matplotlib is an extra
    from vfl.plots.style import styled  # noqa: PLC0415

    words, found = spoken(language), dict[str, str]()
    active = RunFile.read(directory, needs=()).agreement.active.name
    gone = {kind for note in notes(directory / active) for kind in note["what"]}
    if evidence.has(EVALUATION) and not gone & {ROWS, SALTS}:
        _require_on_record(directory, active, evidence)
        body = {"active": active, "scenario": evidence.artefact(SUMMARY)["scenario"], **evidence.artefact(EVALUATION)}
        of = draw.Drawing.of(body, Scores.read(directory).only(MODELS), words)
        with styled(words):
            for name, made in {
                "roc": draw.roc,
                "ks": draw.ks,
                "calibration": draw.calibration,
                "bands": draw.bands,
            }.items():
                found[name] = _uri(made(of))
    steps = evidence.artefact(EXPLANATION)["convergence"] if evidence.has(EXPLANATION) else []
    if len(steps) > 1:
        with styled(words):
            found["convergence"] = _uri(_convergence(steps, words))
    if account is not None:
        from vfl.plots import settlement  # noqa: PLC0415

        with styled(words):
            found |= {name: _uri(made) for name, made in settlement.pictures(account, words).items()}
    return found


def spoken(language: str) -> str:
    """The language of the pictures: English where this machine has no font for `language`."""
    from vfl.plots.style import drawable  # noqa: PLC0415

    return drawable(language)


def _require_on_record(directory: Path, active: str, evidence: Evidence) -> None:
    log, seq, digest = evidence.committed(FILE)
    if scores_digest(directory, read_seed(directory / active)).hex() != digest:
        raise UsageError(
            f"{directory / FILE} is not the one that entry {seq} of {log} names",
            remedy="restore it: pictures of other scores would prove nothing",
        )


def _convergence(steps: list[dict[str, Any]], language: str) -> Any:
    from vfl.plots.style import COLOURS, picture  # noqa: PLC0415

    say = Wording("vfl.plots", language)
    first, last = (f"{steps[at]['log_loss']:.3f}" for at in (0, -1))
    title = say("convergence.title", first=first, last=last)
    figure, (axes,) = picture(title, say("convergence.what"), height=3.6)
    axes.plot(
        [one["trees"] for one in steps], [one["log_loss"] for one in steps], color=COLOURS["federated"], linewidth=2.0
    )
    axes.set_xlim(0, steps[-1]["trees"])
    axes.set_xlabel(say("convergence.below"))
    axes.set_ylabel(say("convergence.beside"))
    return figure


def _uri(figure: Any) -> str:
    from vfl.plots.style import save  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        save(figure, Path(folder), "picture")
        data = (Path(folder) / "picture.svg").read_bytes()
    return "data:image/svg+xml;base64," + base64.b64encode(data).decode()
