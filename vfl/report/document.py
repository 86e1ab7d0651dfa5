"""The whole report: sections 0 to 17 in order, the first page, and the crosswalk that both draw on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vfl.audit.result import AuditResult
from vfl.report import auditing, building, governing, opening
from vfl.report.about import PARTIES, About
from vfl.report.blocks import Section
from vfl.report.crosswalk import Clause, Regime, chosen, read_regime, shown_by, status
from vfl.report.evidence import Evidence
from vfl.report.material import Material
from vfl.report.texts import Texts
from vfl.settle.account import Account

_BEFORE = (
    opening.verification, opening.identity, opening.parties, opening.data, opening.privacy,
    building.development, building.performance, building.explainability,
    governing.fairness, governing.validation, governing.oversight, governing.operation, governing.changes,
    auditing.transcript, governing.revenue, auditing.subject,
)  # fmt: skip
OPEN = ("partly", "not_met")


@dataclass(frozen=True)
class Report:
    """A report before it has a form. `dated`: the day given with --date, or nothing."""

    material: Material
    cover: opening.Cover
    sections: Sequence[Section]
    crosswalk: Sequence[tuple[Regime, Sequence[tuple[Clause, str]]]]
    dated: str


def make(
    evidence: Evidence,
    texts: Texts,
    about: About,
    regime: str,
    pictures: Mapping[str, str],
    dated: str,
    audits: Sequence[tuple[str, AuditResult]] = (),
    account: Account | None = None,
) -> Report:
    """Write the report. Raises UsageError where a figure cannot be traced, or for an unknown regime."""
    m = Material(evidence, texts, about, chosen(regime), dict(pictures), audits, account)
    crosswalk = [(found, _judged(m, found)) for found in map(read_regime, m.regimes)]
    sections = [write(m) for write in _BEFORE]
    sections += [auditing.regimes(m, crosswalk), auditing.limits(m)]
    missing = sum(key not in about.said for key in m.all_keys())
    still = sum(state in OPEN for _, clauses in crosswalk for _, state in clauses)
    return Report(m, opening.cover(m, missing, still), sections, crosswalk, dated)


def _judged(m: Material, regime: Regime) -> list[tuple[Clause, str]]:
    run, stated = shown_by(m.evidence), set(m.about.said)
    names = {key.split(".")[2] for key in m.texts.keys(f"about.{PARTIES}")}
    # What is asked about all parties is stated when it is stated about each.
    stated |= {f"{PARTIES}.{name}" for name in names if all(f"{PARTIES}.{p}.{name}" in stated for p in m.parties)}
    return [(clause, status(clause, run, stated)) for clause in regime.clauses]


def about_of(path: Path | None, evidence: Evidence, texts: Texts) -> About:
    """The institution's statements about this run's parties."""
    members = evidence.artefact("agreement.json")["members"]
    return About.read(path, texts, [member["name"] for member in members])
