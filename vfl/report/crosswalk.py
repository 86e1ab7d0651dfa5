"""Clause -> section -> evidence -> status, from dated data files: regimes/<name>.toml.

    as_of = "2026-11-27"
    [[clause]]
    id = "Annex IV(2)(g)"    title.en = ".."    title.zh = ".."    in_force = "2027-12-02"    source = ".."
    seen = [".."]
    sections = [6]           needs = ["run:evaluation", "about:validation.tests"]    bank.en = ".."    bank.zh = ".."

`needs` is evidence: `run:` what this run has (`EVIDENCE`), `about:` what the institution states. All of it there:
met; some: partly; none: not met. `applies` names evidence without which the clause is not applicable. A status says
that the evidence a clause asks for is in this report; whether it is good enough is for people to judge.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ledger.findings import Code
from vfl.decisions import STEP
from vfl.errors import UsageError
from vfl.report.evidence import Evidence

REGIMES = ("eu-ai-act", "us-sr26-2", "cn-jrt")
ALL = "all"
EVIDENCE = (
    "verified", "logs", "agreement", "commitments", "parameters", "versions", "rows", "privacy", "attacks",
    "benchmark", "evaluation", "explanation", "reasons", "decisions", "timeline", "limits",
)  # fmt: skip
"""What a run may have to show; `run:NAME` in a clause's needs."""


@dataclass(frozen=True)
class Clause:
    """One clause: `title` and `bank` (what the institution must add) by language.

    `in_force` is as exact as `seen`, the pages on which date or clause was read, allow: a day, a month or nothing.
    """

    id: str
    title: Mapping[str, str]
    source: str
    seen: Sequence[str]
    sections: Sequence[int]
    needs: Sequence[str]
    bank: Mapping[str, str]
    in_force: str
    applies: str


@dataclass(frozen=True)
class Regime:
    """The clauses of one regime as they stood at `as_of`."""

    name: str
    title: Mapping[str, str]
    as_of: str
    note: Mapping[str, str]
    clauses: Sequence[Clause]


def chosen(name: str) -> tuple[str, ...]:
    """The regimes asked for. Raises UsageError for a name there is none of."""
    if name == ALL:
        return REGIMES
    if name not in REGIMES:
        raise UsageError(f"--regime is {name!r}", remedy=f"This version has {', '.join(REGIMES)} and {ALL}.")
    return (name,)


@cache
def read_regime(name: str) -> Regime:
    """The data file of a regime."""
    body = tomllib.loads(files("vfl.report").joinpath(f"regimes/{name}.toml").read_text(encoding="utf-8"))
    clauses = tuple(_clause(one) for one in body["clause"])
    return Regime(name, body["title"], body["as_of"], body["note"], clauses)


def _clause(body: Mapping[str, Any]) -> Clause:
    return Clause(
        body["id"], body["title"], body["source"], tuple(body["seen"]), tuple(body["sections"]), tuple(body["needs"]),
        body.get("bank", {}), body.get("in_force", ""), body.get("applies", ""),
    )  # fmt: skip


def shown_by(evidence: Evidence) -> set[str]:
    """Which of `EVIDENCE` the bundle has."""
    summary, found = evidence.artefact("summary.json"), {"agreement", "parameters", "versions", "rows", "privacy"}
    found |= {"timeline", "limits", "benchmark"}
    entries = [entry for log in evidence.logs.values() for entry in log.entries]
    agreed = {member["name"] for member in evidence.artefact("agreement.json")["members"]}
    verified = evidence.result is not None and evidence.result.code is Code.VALID
    facts = {
        "verified": verified,
        "logs": evidence.logs.keys() >= agreed,
        "commitments": {entry.actor for entry in entries if entry.phase == "commit"} >= agreed,
        "attacks": any(summary.get("attacks", {}).get("node_sets", {}).values()),
        "evaluation": evidence.has("evaluation.json"),
        "explanation": evidence.has("explanation.json"),
        "reasons": evidence.has("explanation.json"),
        "decisions": any(entry.step == STEP for entry in entries),
    }
    return found | {name for name, fact in facts.items() if fact}


def status(clause: Clause, run: set[str], stated: set[str]) -> str:
    """met, partly, not_met or not_applicable. `run`: as `shown_by` says; `stated`: keys of the --about file."""
    have = {f"run:{name}" for name in run} | {f"about:{key}" for key in stated}
    if clause.applies and clause.applies not in have:
        return "not_applicable"
    there = sum(need in have for need in clause.needs)
    return "met" if there == len(clause.needs) else "partly" if there else "not_met"
