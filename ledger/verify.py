"""The offline verifier: reads a bundle and a policy file, writes nothing, asks nobody.

The steps, in order; the code below and in `audit_log.py` and `audit_run.py` carries their numbers.

(0)  archive        sizes, paths, doubles; the file is the one form of its members, byte for byte
(1)  policy         the verifier's own file; all keys come from it, none from the bundle
(2)  sums           every member but stamps is listed and fits; every party of the bundle signed that; manifest agrees
(3)  entries        canonical bytes, fields, this log, run and agreement
(4)  chain          positions without gaps, each entry names the leaf before it
(5)  certificate    policy key -> certificate in entry 0; every entry is dated within its validity
(6)  checkpoints    signed; root recomputed from the entries at every size: that makes the entries the party's word
(7)  cosignatures   quorum; each round of messages with a peer under a checkpoint that the peer cosigned before
                    another phase or the fifth round after began
(8)  coverage       the last checkpoint covers all entries
(9)  order          one statement per slot, references backwards, clock forwards
(10) messages       accounts of conversations recomputed and confirmed by the peer; the sender's signature elsewhere
(11) both ends      each send has its recv with the same digest, and the other way round
(12) contradictions two validly signed statements of one party that exclude each other
(13) time stamps    of heads in the bundle; with a named authority: all are its, one a log, no entry below dated later

A selective bundle (`selection.py`) is checked by `verify_selection.py`, as far as a part of a run can be.

A step that fails does not stop the later ones, as far as they can still be done: the aim is to name the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from ledger.audit_log import LogAudit, audit_log
from ledger.audit_run import RunAudit
from ledger.authority import Authority
from ledger.bundle import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    SUMS,
    SUMS_NOTE,
    Bundle,
    is_listed,
    parse_bundle,
    read_bundle,
    sums,
    sums_text,
)
from ledger.canonical import Json, decode
from ledger.entry import Entry
from ledger.errors import BadBundle, BadNote, BadPolicy, BadSignature, LedgerError, NotCanonical
from ledger.findings import Code, Finding, LogSummary, Result, sort_findings
from ledger.note import Note
from ledger.policy import Policy
from ledger.stamping import check_stamps
from ledger.verify_selection import is_selection, verify_selection


def _untold(line: str) -> None:
    """Nobody listens."""


def verify_bundle(
    path: str | Path, policy: str | bytes | Policy, told: Callable[[str], None] = _untold, tsa: Authority | None = None
) -> Result:
    """Verify a bundle file against the text of a policy; never raises for what the file may hold.

    `told` hears a line before each part of the work. `tsa`: whose time stamps count; without it none is checked.
    """
    try:
        bundle = read_bundle(path)
    except BadBundle as error:
        return Result("", "unreadable", findings=[Finding(Code.INVALID, 0, str(error))])
    return _verify(bundle, policy, told, tsa)


def verify_bytes(data: bytes, policy: str | bytes | Policy, tsa: Authority | None = None) -> Result:
    """The same for a bundle in memory."""
    return _verify(parse_bundle(data), policy, _untold, tsa)


def _verify(bundle: Bundle, policy: str | bytes | Policy, told: Callable[[str], None], tsa: Authority | None) -> Result:
    # (0) Archive.
    findings = [Finding(Code.INVALID, 0, fault) for fault in bundle.faults]
    # (1) Policy.
    try:
        rules = policy if isinstance(policy, Policy) else Policy.parse(policy)
    except BadPolicy as error:
        return Result("", bundle.digest, findings=sort_findings([*findings, Finding(Code.POLICY, 1, str(error))]))
    if is_selection(bundle):
        return verify_selection(bundle, rules, findings, tsa)
    findings += [Finding(Code.INVALID, 0, f"member {name} has no place in a bundle") for name in bundle.strangers()]
    # (2) Sums and manifest.
    told(f"(2) sums of {len(bundle.members)} members")
    manifest = _manifest(bundle, findings)
    run, agreement = _text(manifest, "run"), _text(manifest, "agreement")
    if not manifest:
        run, agreement = _from_entries(bundle)
    _check_sums(bundle, findings)
    _check_sums_note(bundle, rules, run, findings)
    # (3) to (9) Each log by itself.
    logs = {party: LogAudit.of(party, run, rules, files) for party, files in sorted(bundle.logs().items())}
    for log in logs.values():
        audit_log(log, agreement)
    findings += _count_logs(manifest, logs, bundle)
    # (10) to (12) The logs against each other.
    told(f"(10) to (12) {len(logs)} logs against each other")
    both = RunAudit(logs, rules, run)
    both.audit(bundle)
    findings += [*both.findings, *(finding for log in logs.values() for finding in log.findings)]
    # (13) Time stamps.
    heads = {party: {signed.head.size: signed.note for signed in log.heads} for party, log in logs.items()}
    stamps, wrong = check_stamps(bundle, heads, {party: log.found() for party, log in logs.items()}, tsa)
    findings += wrong
    summaries = [LogSummary(p, len(a.bodies), len(a.heads), a.tree.root().hex()) for p, a in logs.items()]
    return Result(run, bundle.digest, summaries, sort_findings(findings), stamps=stamps)


def _manifest(bundle: Bundle, findings: list[Finding]) -> Mapping[str, Json]:
    try:
        value = decode(bundle.members.get(MANIFEST, b""))
    except NotCanonical as error:
        findings.append(Finding(Code.INVALID, 2, f"{MANIFEST} cannot be read: {error}"))
        return {}
    fields = {"format", "v", "run", "agreement", "logs", "artefacts"}
    if (
        not isinstance(value, dict)
        or value.keys() != fields
        or (value["format"], value["v"]) != (FORMAT, FORMAT_VERSION)
    ):
        findings.append(Finding(Code.INVALID, 2, f"{MANIFEST} is not that of a {FORMAT} version {FORMAT_VERSION}"))
        return {}
    return value


def _text(manifest: Mapping[str, Json], name: str) -> str:
    value = manifest.get(name)
    return value if isinstance(value, str) else ""


def _from_entries(bundle: Bundle) -> tuple[str, str]:
    # Without a manifest the bundle is invalid already; any entry's word for run and agreement lets the rest be read.
    for files in bundle.logs().values():
        for body in files.entries.split(b"\n"):
            try:
                entry = Entry.from_bytes(body)
            except LedgerError:
                continue
            return entry.job, entry.agreement
    return "", ""


def _check_sums(bundle: Bundle, findings: list[Finding]) -> None:
    listed = {}
    for line in bundle.members.get(SUMS, b"").decode("ascii", "replace").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    for name in sorted({*filter(is_listed, bundle.members), *listed}):
        if name not in bundle.members:
            findings.append(Finding(Code.INCOMPLETE, 2, f"member {name} is listed in {SUMS} but missing"))
        elif name not in listed:
            findings.append(Finding(Code.INVALID, 2, f"member {name} is not listed in {SUMS}"))
        elif listed[name] != sha256(bundle.members[name]).hexdigest():
            findings.append(
                Finding(Code.INVALID, 2, f"member {name} was changed: it does not fit its digest in {SUMS}")
            )

    if not findings and bundle.members.get(SUMS) != sums(bundle.members):
        findings.append(Finding(Code.INVALID, 2, f"{SUMS} is not in its one form"))


def _check_sums_note(bundle: Bundle, policy: Policy, run: str, findings: list[Finding]) -> None:
    try:
        note = Note.parse(bundle.members.get(SUMS_NOTE, b""))
        if note.text != sums_text(run, bundle.members.get(SUMS, b"")):
            findings.append(Finding(Code.INVALID, 2, f"{SUMS_NOTE} is about another run or another {SUMS}"))
        signers = {key.name for key in note.verified(policy.logs)}
    except (BadNote, BadSignature) as error:
        findings.append(Finding(Code.INVALID, 2, f"{SUMS_NOTE} is not valid: {error}"))
        return
    for party in sorted(bundle.logs().keys() - signers):
        findings.append(Finding(Code.INCOMPLETE, 2, f"did not sign {SUMS_NOTE}", party))


def _count_logs(manifest: Mapping[str, Json], logs: Mapping[str, LogAudit], bundle: Bundle) -> list[Finding]:
    findings = [] if logs else [Finding(Code.INCOMPLETE, 2, "the bundle holds no log")]
    actual = {party: (len(log.bodies), len(log.checkpoints)) for party, log in logs.items()}
    listed = manifest.get("logs")
    stated: dict[str, tuple[Json, Json]] = {}
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and isinstance(party := item.get("party"), str):
            stated[party] = (item.get("entries"), item.get("checkpoints"))
    for party in sorted(stated.keys() - actual.keys()):
        findings.append(
            Finding(Code.INCOMPLETE, 2, "the manifest names its log, but the bundle does not hold it", party)
        )
    for party in sorted(actual):
        if manifest and stated.get(party) != actual[party]:
            entries, checkpoints = actual[party]
            text = f"the bundle holds {entries} entries and {checkpoints} checkpoints, the manifest says otherwise"
            findings.append(Finding(Code.INVALID, 2, text, party))
    artefacts = sum(name.startswith("artefacts/") for name in bundle.members)
    if manifest and manifest["artefacts"] != artefacts:
        findings.append(
            Finding(Code.INVALID, 2, f"the bundle holds {artefacts} artefacts, the manifest says otherwise")
        )
    return findings
