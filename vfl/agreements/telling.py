"""An agreement in plain words, for whoever signs it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from vfl.agreement import Agreement
from vfl.agreements.leakage import LEAKS
from vfl.agreements.signed import SignedAgreement
from vfl.clauses import Contract
from vfl.learn.parameters import GBDTParameters
from vfl.learn.scorecard_parameters import ScorecardModel
from vfl.terms import SCORECARD

_RULES = {
    "none": "nobody is paid under this agreement",
    "equal": "equal parts",
    "contribution": "by what each party's columns were found to contribute",
}


def summary(signed: SignedAgreement) -> list[str]:
    """What is signed, a clause a line; what others wrote is made harmless for a terminal."""
    agreement, contract = signed.agreement, signed.contract
    by = signed.signed_by()
    lines = [
        f"agreement   {agreement.scenario}, digest {agreement.digest}",
        f"purpose     {agreement.purpose}",
        f"legal basis {contract.legal_basis}",
        f"until       {contract.expires}, the last day (UTC)",
    ]
    for name in contract.parties:
        lines.append(f"party       {name}{_role(agreement, name)}: {'signed' if name in by else 'NOT SIGNED'}")
    for member in agreement.members:
        lines.append(f"columns     {member.name}: {', '.join(member.features)}")
    lines.append(f"model       {_listed(_chosen(agreement.model))}; all else as by default, see --json")
    for title, clauses in (("privacy", agreement.privacy), ("psi", agreement.psi)):
        lines.append(f"{title:<11} {_listed(clauses)}")
    lines.append(f"hold-out    {_listed(agreement.holdout)}")
    lines += [f"may leak    {code}: {LEAKS.get(code, 'not known to this version')}" for code in contract.leakage]
    budgets = ", ".join(f"{most} {name} at most" for name, most in contract.budgets.items())
    lines += [f"budgets     {budgets or 'none'}", f"revenue     {_revenue(contract)}"]
    return ["".join(char if char.isprintable() else "?" for char in line) for line in lines]


def described(signed: SignedAgreement, today: date) -> dict[str, Any]:
    """The same for programs; JSON-ready."""
    by = signed.signed_by()
    return {
        "digest": signed.agreement.digest,
        "signed": list(by),
        "missing": [name for name in signed.parties if name not in by],
        "expired": today > date.fromisoformat(signed.contract.expires),
    }


def _role(agreement: Agreement, name: str) -> str:
    found = [member.role for member in agreement.members if member.name == name]
    return f" ({found[0]})" if found else " (brings no data)"


def _chosen(model: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of model, and parameters that are not as by default."""
    kind = ScorecardModel if model.get("kind") == SCORECARD else GBDTParameters
    default = kind.from_mapping({}).as_dict()
    return {"kind": model.get("kind"), **{name: value for name, value in model.items() if default.get(name) != value}}


def _listed(clauses: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in clauses.items())


def _revenue(contract: Contract) -> str:
    rule = str(contract.revenue["rule"])
    shares = [f"{name} {int(part) / 100:g} %" for name, part in contract.revenue.items() if name != "rule"]
    return ", ".join(shares) or _RULES.get(rule, rule)
