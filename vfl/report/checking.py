"""A report or an extract again, from the bundle and the verifier's own policy: nothing in it is believed.

(1) the bundle verifies: all that is read from it lies under heads that the policy's keys signed
(2) the shape of the file; every cell is a figure, fixed words, a statement or a finding; every figure has a trace
(3) each trace is the one that the bundle gives to the figure's place
(4) each proof: the bundle's entry, under a checkpoint that the policy's key signed
(5) each value is what its pointer leads to, and what is shown is a way to write that value
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.checkpoint import open_checkpoint
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.merkle import leaf_hash, proof_from_hex, verify_inclusion
from ledger.policy import Policy
from vfl import decisions
from vfl.errors import UsageError
from vfl.report.evidence import Evidence
from vfl.report.figures import is_written
from vfl.report.received import Proof, ReceivedExtract, ReceivedFigure, ReceivedReport, read, shaped
from vfl.report.subject import FORMAT as SUBJECT
from vfl.valid import read_policy, read_valid

_KINDS = {"figure", "text", "stated", "checked"}


def check_file(file: Path, policy: Path, bundle: Path | None) -> dict[str, Any]:
    """Check a report or an extract in JSON. Raises UsageError naming the first thing that does not hold."""
    try:
        body = read(file.read_bytes())
        if body.get("format") == SUBJECT:
            check_extract(body, read_policy(policy))
            return {"result": "valid", "what": "decision", "checked": 1}
        if bundle is None:
            raise UsageError("a report is checked against its bundle", remedy="name it with --bundle")
        checked = check_report(body, Evidence(*read_valid(bundle, policy)))
        return {"result": "valid", "what": "figures", "checked": checked}
    except OSError as error:
        raise UsageError(f"{file} cannot be checked: {error.strerror}") from None
    except UsageError as error:
        raise UsageError(f"{file} cannot be checked: {error}", remedy=error.remedy) from None


def check_report(body: Mapping[str, Any], evidence: Evidence) -> int:
    """How many figures hold, which is all of them. Raises UsageError naming the first that does not.

    `evidence`: of a bundle that verifies.
    """
    report = shaped(body, ReceivedReport)
    for used in untraced(body):
        raise UsageError(f"this has no trace: {used:.200}")
    for number, times in Counter(figure.id for figure in report.figures).items():
        if times > 1:
            raise UsageError(f"figure {number} stands twice in the report")
    for figure in report.figures:
        try:
            _check_figure(figure, report.proofs[figure.proof], evidence)
        except (LedgerError, UsageError, ValueError) as error:
            raise UsageError(f"figure {figure.id} ({figure.shown:.40}): {error}") from None
    return len(report.figures)


def untraced(body: Mapping[str, Any]) -> list[str]:
    """Whatever in the report is neither words nor a traced figure."""
    fields = set(ReceivedFigure.__struct_fields__)
    known = {one.get("id") for one in body["figures"] if one.keys() == fields and one["proof"] in body["proofs"]}
    used = [cell for part in ("cover", "sections") for cell in _cells(body[part])]
    return [str(one) for one in body["figures"] if one.get("id") not in known] + [
        str(cell) for cell in used if not _fine(cell, known)
    ]


def _fine(cell: Any, known: set[Any]) -> bool:
    if not isinstance(cell, dict) or len(cell) != 1 or not cell.keys() <= _KINDS:
        return False
    [(kind, content)] = cell.items()
    return content in known if kind == "figure" and type(content) is int else isinstance(content, str)


def _cells(value: Any) -> list[Any]:
    """Every cell below a value: the leaves of lines."""
    if isinstance(value, dict):
        if value.keys() & _KINDS or len(value) == 0:
            return [value]
        return [cell for item in value.values() for cell in _cells(item)]
    if isinstance(value, list):
        return [cell for item in value for cell in _cells(item)]
    return [value] if isinstance(value, float) else []


def _check_figure(figure: ReceivedFigure, proof: Proof, evidence: Evidence) -> None:
    trace = evidence.trace_again(figure.artefact, figure.pointer)
    if trace != figure.trace:
        raise ValueError(f"it leads to entry {trace.seq} of {trace.log} under the checkpoint of {trace.size} entries")
    prove_entry(proof, trace.log, trace.seq, trace.size, evidence.policy)
    there = evidence.logs[trace.log].proof(trace.seq, trace.size)
    if (proof.entry, proof.path) != (there["entry"], there["path"]):
        raise ValueError("its proof is about another entry than the bundle's")
    value = evidence.value(trace)
    if type(value) is not type(figure.value) or value != figure.value:
        raise ValueError(f"{trace.pointer} of {trace.artefact} is {value!s:.200}")
    if not is_written(figure.shown, value, trace.pointer):
        raise ValueError(f"what is shown is no way to write {value!s:.200}")


def check_extract(body: Mapping[str, Any], policy: Policy) -> None:
    """Raise UsageError unless everything in the extract follows from a checkpoint that the policy's key signed."""
    extract = shaped(body, ReceivedExtract)
    try:
        entry = prove_entry(extract.proof, extract.log, extract.seq, extract.size, policy)
        root = bytes.fromhex(next(str(item["digest"]) for item in entry.commit if item["kind"] == "decisions"))
        path, record = tuple(proof_from_hex(extract.path)), extract.record.encode()
        if extract.count != entry.params.get("count"):
            raise UsageError("the extract names another number of decisions than the ledger")
        decisions.Shown(record, bytes.fromhex(extract.salt), extract.place, extract.count, path).verify(root)
        if decisions.read_record(record)["model"] != sha256(extract.model.encode()).hexdigest():
            raise UsageError("the model in the extract is not the one that the record names")
    except (LedgerError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise UsageError(f"the extract proves nothing: {error}", remedy="ask for a new one") from None


def prove_entry(proof: Proof, log: str, seq: int, size: int, policy: Policy) -> Entry:
    """The entry of a proof, once it is shown to lie under a checkpoint signed by the key of `log`'s party.

    Raises LedgerError or ValueError.
    """
    key = policy.log_key(log)
    if key is None:
        raise ValueError(f"the policy has no key of {log}")
    head = open_checkpoint(proof.checkpoint, key).head
    entry = Entry.from_bytes(proof.entry.encode())
    if head.size != size or entry.seq != seq or entry.log != head.origin or entry.actor != log:
        raise ValueError("entry, checkpoint and claim are about different places")
    verify_inclusion(leaf_hash(proof.entry.encode()), seq, size, proof_from_hex(proof.path), head.root)
    return entry
