"""Every trace of a report again, from the report, the bundle and the verifier's own policy: nothing is believed.

(1) every cell is a figure, fixed words, a statement or a finding; every figure has a trace
(2) each proof: the entry lies under a checkpoint that the policy's key signed
(3) each artefact: its digest is the one in the entry; for logs, the root over the bundle's entries is the signed one
(4) each value is what its pointer leads to
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.bundle import read_bundle
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import LedgerError
from ledger.policy import Policy
from vfl.errors import UsageError
from vfl.report.evidence import Evidence, Trace
from vfl.report.subject import FORMAT as SUBJECT
from vfl.report.subject import check_extract, prove_entry

_KINDS = {"figure", "text", "stated", "checked"}
_FIELDS = {"id", "value", "shown", "artefact", "pointer", "log", "seq", "size", "proof"}


def check_file(file: Path, policy: Path, bundle: Path | None) -> dict[str, Any]:
    """Check a report or an extract in JSON. Raises UsageError naming the first thing that does not hold."""
    try:
        body, rules = json.loads(file.read_bytes()), Policy.parse(policy.read_bytes())
        if not isinstance(body, dict):
            raise ValueError("no JSON object")
        if body.get("format") == SUBJECT:
            check_extract(body, rules)
            return {"result": "valid", "what": "decision", "checked": 1}
        if bundle is None:
            raise UsageError("a report is checked against its bundle", remedy="name it with --bundle")
        checked = check_report(body, Evidence(read_bundle(bundle), rules))
        return {"result": "valid", "what": "figures", "checked": checked}
    except (OSError, ValueError, LedgerError) as error:
        raise UsageError(f"{file} cannot be checked: {error}") from None


def check_report(body: dict[str, Any], evidence: Evidence) -> int:
    """How many figures hold, which is all of them. Raises UsageError naming the first that does not."""
    figures = {one["id"]: one for one in body["figures"]}
    for used in untraced(body):
        raise UsageError(f"this has no trace: {used}")
    roots: set[tuple[str, int]] = set()
    for figure in figures.values():
        try:
            _check_figure(figure, body["proofs"], evidence, roots)
        except (LedgerError, UsageError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"figure {figure['id']} ({figure['shown']}): {error}") from None
    return len(figures)


def untraced(body: dict[str, Any]) -> list[str]:
    """Whatever in the report is neither words nor a traced figure."""
    known = {one.get("id") for one in body["figures"] if one.keys() == _FIELDS and one["proof"] in body["proofs"]}
    return [
        str(cell) for cell in _cells({"cover": body["cover"], "sections": body["sections"]}) if not _fine(cell, known)
    ]


def _fine(cell: Any, known: set[Any]) -> bool:
    if not isinstance(cell, dict) or len(cell) != 1 or not cell.keys() <= _KINDS:
        return False
    return "figure" not in cell or cell["figure"] in known


def _cells(value: Any) -> list[Any]:
    """Every cell below a value: the leaves of lines."""
    if isinstance(value, dict):
        if value.keys() & _KINDS or len(value) == 0:
            return [value]
        return [cell for key, item in value.items() for cell in _cells(item)]
    if isinstance(value, list):
        return [cell for item in value for cell in _cells(item)]
    return [value] if isinstance(value, float) else []


def _check_figure(
    figure: dict[str, Any], proofs: dict[str, Any], evidence: Evidence, roots: set[tuple[str, int]]
) -> None:
    trace = Trace(figure["artefact"], figure["pointer"], figure["log"], figure["seq"], figure["size"])
    proof = proofs[figure["proof"]]
    entry = prove_entry(proof, trace.log, trace.seq, trace.size, evidence.policy)
    if trace.artefact.startswith("logs/"):
        log = evidence.logs[trace.artefact.split("/")[1]]
        key = evidence.policy.log_key(log.party)
        if log.party != trace.log or key is None:
            raise ValueError("the figure is traced to another log than it was counted in")
        if (log.party, trace.size) not in roots:
            head = open_checkpoint(proof["checkpoint"], key).head
            if head != Checkpoint(head.origin, trace.size, log.tree.root(trace.size)):
                raise ValueError("the entries of the bundle do not give the signed root")
            roots.add((log.party, trace.size))
    else:
        named = {item.get("name"): item["digest"] for item in entry.commit}
        data = evidence.bundle.members.get(f"artefacts/{trace.artefact}", b"")
        if named.get(trace.artefact) != sha256(data).hexdigest():
            raise ValueError(f"{trace.artefact} is not the one that the entry names")
    if evidence.value(trace) != figure["value"]:
        raise ValueError(f"{trace.pointer} of {trace.artefact} is {evidence.value(trace)!r}")
