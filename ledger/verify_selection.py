"""Verification of a selective bundle: every entry in it proves itself; what is not in it proves nothing.

The steps have the numbers of `verify.py`:

(2)  sums           every member is listed and fits; the artefacts are on the list that the run's parties signed
(3)  entries        canonical bytes, this log, run and agreement
(5)  certificate    policy key -> certificate in entry 0, within the validity
(6)  checkpoints    signed; consistent with each other; each entry included in one
(7)  cosignatures   quorum of the newest head that others cosigned
(10) envelopes      the sender's signature on messages that carry one, where the sender's certificate is in the bundle
(12) contradictions two statements about one slot that exclude each other
(13) time stamps    as of a full bundle

What needs all entries cannot be checked and is named in `Result.unchecked`: gaps, coverage, order, both ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise

from ledger.authority import Authority
from ledger.bundle import MANIFEST, POLICY, SUMS, SUMS_NOTE, Bundle, stamp_member, sums, sums_text
from ledger.canonical import Json, decode
from ledger.checkpoint import SignedCheckpoint, cosigners, open_checkpoint
from ledger.entry import Entry
from ledger.envelope import verify_envelope
from ledger.errors import BadProof, LedgerError
from ledger.findings import Code, Finding, LogSummary, Result, sort_findings
from ledger.keys import Certificate, VerifyingKey
from ledger.merkle import leaf_hash, proof_from_hex, verify_consistency, verify_inclusion
from ledger.note import Note
from ledger.policy import Policy
from ledger.selection import SELECTION, SELECTION_VERSION
from ledger.stamping import check_stamps

_SEQ = "0|[1-9][0-9]{0,15}"
_PLACE = re.compile(rf"(entries|proofs|heads)/([^/]+)/({_SEQ})(?:-({_SEQ}))?\.(json|note)", re.ASCII)
_FIELDS = {"format", "v", "run", "agreement", "source", "logs", "artefacts"}
UNCHECKED = (
    "completeness: entries that were not chosen may say anything, and nothing shows which there are (steps 4, 8)",
    "order: one statement per slot, references and clocks hold for the chosen entries only (step 9)",
    "both ends: a message is compared with the peer's log only where both entries were chosen (step 11)",
)


def is_selection(bundle: Bundle) -> bool:
    """Whether a bundle says of itself that it is selective."""
    try:
        manifest = decode(bundle.members.get(MANIFEST, b""))
    except LedgerError:
        return False
    return isinstance(manifest, dict) and manifest.get("format") == SELECTION


def verify_selection(bundle: Bundle, policy: Policy, findings: list[Finding], tsa: Authority | None = None) -> Result:
    """Run all steps after (1); `findings` holds those of (0). `tsa`: whose time stamps count."""
    return _SelectionAudit(bundle, policy, findings).result(tsa)


class _Part:
    """What a selective bundle holds of one log."""

    def __init__(self) -> None:
        self.bodies: dict[int, bytes] = {}
        self.proofs: dict[int, bytes] = {}
        self.notes: dict[int, bytes] = {}
        self.joins: dict[tuple[int, int], bytes] = {}
        self.entries: dict[int, Entry] = {}
        self.heads: dict[int, SignedCheckpoint] = {}
        self.certificate: Certificate | None = None


class _SelectionAudit:
    def __init__(self, bundle: Bundle, policy: Policy, findings: list[Finding]) -> None:
        self._bundle, self._policy, self._findings = bundle, policy, findings
        self._parts: dict[str, _Part] = {}
        self._unsigned = 0
        # (sender, slot) -> signed statement -> (log, seq) where it is recorded.
        self._statements: dict[tuple[str, str], dict[bytes, tuple[str, int]]] = {}
        manifest = decode(bundle.members[MANIFEST])
        assert isinstance(manifest, dict)
        self._manifest: Mapping[str, Json] = manifest
        run, agreement = manifest.get("run"), manifest.get("agreement")
        self._run, self._agreement = (value if isinstance(value, str) else "" for value in (run, agreement))

    def result(self, tsa: Authority | None) -> Result:
        self._sort_members()
        self._check_manifest()
        self._check_sums()
        self._check_source()
        for party, part in sorted(self._parts.items()):
            self._read_entries(party, part)
            self._check_certificate(party, part)
            self._check_heads(party, part)
            self._check_inclusion(party, part)
        for party, part in sorted(self._parts.items()):
            self._check_envelopes(party, part)
        self._compare_statements()
        heads = {party: {n: one.note for n, one in part.heads.items()} for party, part in self._parts.items()}
        entries = {party: sorted(part.entries.items()) for party, part in self._parts.items()}
        stamps, wrong = check_stamps(self._bundle, heads, entries, tsa)
        self._findings += wrong
        logs = [
            LogSummary(party, len(part.bodies), len(part.notes), part.heads[max(part.heads)].head.root.hex())
            for party, part in sorted(self._parts.items())
            if part.heads
        ]
        more = [f"envelopes: {self._unsigned} received messages stand on the word of the log that holds them (step 10)"]
        unchecked = [*UNCHECKED, *(more if self._unsigned else [])]
        found = sort_findings(self._findings)
        return Result(self._run, self._bundle.digest, logs, found, unchecked, "selective", stamps)

    def _fault(self, step: int, text: str, party: str = "", seq: int | None = None, code: Code = Code.INVALID) -> None:
        part = self._parts.get(party)
        entry = part.entries.get(seq) if part and seq is not None else None
        self._findings.append(Finding(code, step, text, party, entry.slot if entry else "", seq))

    def _sort_members(self) -> None:
        # (0) Every member has a place in the format.
        known = {SUMS, MANIFEST, POLICY, f"source/{SUMS}", f"source/{SUMS_NOTE}"}
        known |= {stamp_member(*place) for place in self._bundle.stamps()}
        for name, data in self._bundle.members.items():
            match = _PLACE.fullmatch(name)
            if match is None or (match[1] == "heads") != (match[5] == "note") or (match[4] and match[1] != "proofs"):
                if name not in known and not name.startswith("artefacts/"):
                    self._fault(0, f"member {name} has no place in a selective bundle")
                continue
            part, number = self._parts.setdefault(match[2], _Part()), int(match[3])
            if match[4]:
                part.joins[number, int(match[4])] = data
            else:
                {"entries": part.bodies, "proofs": part.proofs, "heads": part.notes}[match[1]][number] = data

    def _check_manifest(self) -> None:
        # (2) The manifest tells what is there.
        if self._manifest.keys() != _FIELDS or self._manifest["v"] != SELECTION_VERSION:
            self._fault(2, f"{MANIFEST} is not that of a {SELECTION} version {SELECTION_VERSION}")
            return
        held: list[Json] = [{"party": party, "entries": len(p.bodies)} for party, p in sorted(self._parts.items())]
        if self._manifest["logs"] != held or not held:
            self._fault(2, f"the bundle holds other entries than {MANIFEST} says", code=Code.INCOMPLETE)
        if self._manifest["artefacts"] != sum(name.startswith("artefacts/") for name in self._bundle.members):
            self._fault(2, f"the bundle holds other artefacts than {MANIFEST} says", code=Code.INCOMPLETE)

    def _check_sums(self) -> None:
        # (2) The bundle's own list: against damage only, for nobody signs it.
        members = {name: data for name, data in self._bundle.members.items() if name != SUMS}
        if self._bundle.members.get(SUMS) != sums(members):
            self._fault(2, f"{SUMS} does not list the members as they are: the bundle is damaged or was changed")

    def _check_source(self) -> None:
        # (2) The full bundle's list, signed by the parties, names each artefact with its digest.
        listed = self._bundle.members.get(f"source/{SUMS}", b"")
        try:
            note = Note.parse(self._bundle.members.get(f"source/{SUMS_NOTE}", b""))
            if note.text != sums_text(self._run, listed):
                self._fault(2, f"source/{SUMS_NOTE} is about another run or another {SUMS}")
            signers = {key.name for key in note.verified(self._policy.logs)}
        except LedgerError as error:
            self._fault(2, f"source/{SUMS_NOTE} is not valid: {error}")
            return
        for party in sorted(self._parts.keys() - signers):
            self._fault(2, f"did not sign source/{SUMS_NOTE}", party, code=Code.INCOMPLETE)
        lines = set(listed.decode("ascii", "replace").splitlines())
        for name, data in self._bundle.members.items():
            if name.startswith("artefacts/") and f"{sha256(data).hexdigest()}  {name}" not in lines:
                self._fault(2, f"member {name} is not what the parties signed")

    def _read_entries(self, party: str, part: _Part) -> None:
        # (3) Canonical bytes and fields; each entry belongs to this log, run and agreement, at its position.
        for seq, body in sorted(part.bodies.items()):
            try:
                entry = Entry.from_bytes(body)
            except LedgerError as error:
                self._fault(3, f"entry {seq} cannot be read: {error}", party, seq)
                continue
            part.entries[seq] = entry
            if (entry.actor, entry.job, entry.seq) != (party, self._run, seq):
                self._fault(3, f"entry {seq} is entry {entry.seq} of the log {entry.log}", party, seq)
            if entry.agreement != self._agreement:
                self._fault(3, f"entry {seq} is under another agreement, {entry.agreement:.16}..", party, seq)

    def _check_certificate(self, party: str, part: _Part) -> None:
        # (5) Entry 0 binds the run's entry key to the identity key of the policy; entries are dated within it.
        key = self._policy.log_key(party)
        if key is None:
            self._fault(5, "the policy has no log key, so nothing it signed can be checked", party, code=Code.POLICY)
            return
        opening = part.entries.get(0)
        if opening is None:
            self._fault(5, "entry 0 with the certificate is not in the bundle", party, code=Code.INCOMPLETE)
            return
        try:
            certificate = Certificate.from_json(opening.params.get("certificate"))
            certificate.verify(key)
        except LedgerError as error:
            self._fault(5, f"the certificate of the entry key is not valid: {error}", party, 0)
            return
        if certificate.run != self._run:
            self._fault(5, f"the certificate is for run {certificate.run}", party, 0)
            return
        part.certificate = certificate
        for seq, entry in part.entries.items():
            if not certificate.covers(entry.ts):
                self._fault(5, f"entry {seq} is dated {entry.ts}, outside the certificate's validity", party, seq)

    def _check_heads(self, party: str, part: _Part) -> None:
        # (6) Heads: signed, of this log, each a continuation of the one before. (7) Quorum.
        key = self._policy.log_key(party)
        cosigned: dict[int, list[VerifyingKey]] = {}
        for size, data in sorted(part.notes.items()) if key else ():
            assert key is not None
            try:
                signed = open_checkpoint(data, key)
                cosigned[size] = cosigners(signed.note, self._policy.witnesses.values())
            except LedgerError as error:
                self._fault(6, f"checkpoint {size} is not valid: {error}", party)
                continue
            if (signed.head.origin, signed.head.size) != (f"{party}/{self._run}", size):
                self._fault(6, f"checkpoint {size} is that of another log or size", party)
                continue
            part.heads[size] = signed
        self._check_joins(party, part)
        if key and not any(self._policy.quorum_met(keys, party) for keys in cosigned.values()):
            text = f"no checkpoint in the bundle meets the quorum {self._policy.quorum}"
            self._fault(7, text, party, code=Code.POLICY)

    def _check_joins(self, party: str, part: _Part) -> None:
        sizes = sorted(part.heads)
        wanted = set(pairwise(sizes))
        for old, new in sorted(wanted - part.joins.keys()):
            self._fault(6, f"no proof joins checkpoint {old} to checkpoint {new}", party, code=Code.INCOMPLETE)
        for (old, new), data in sorted(part.joins.items()):
            if (old, new) not in wanted:
                self._fault(6, f"the proof from {old} to {new} joins no checkpoints of the bundle", party)
                continue
            try:
                path = _path(data, set())[0]
                verify_consistency(old, new, part.heads[old].head.root, part.heads[new].head.root, path)
            except LedgerError as error:
                self._fault(6, f"checkpoint {new} does not continue checkpoint {old}: {error}", party)

    def _check_inclusion(self, party: str, part: _Part) -> None:
        # (6) Each entry lies under a signed head: that makes it the party's own word.
        for seq in sorted(part.bodies.keys() | part.proofs.keys()):
            if seq not in part.proofs or seq not in part.bodies:
                what = "proof" if seq in part.bodies else "entry"
                self._fault(6, f"the {what} of position {seq} is missing", party, code=Code.INCOMPLETE)
                continue
            try:
                path, fields = _path(part.proofs[seq], {"seq", "size"})
                size = fields["size"]
                if fields["seq"] != seq or type(size) is not int:
                    raise BadProof(f"it is a proof of entry {fields['seq']!r:.20}")
                if size not in part.heads:
                    raise BadProof(f"the bundle holds no valid head of size {size}")
                verify_inclusion(leaf_hash(part.bodies[seq]), seq, size, path, part.heads[size].head.root)
            except LedgerError as error:
                self._fault(6, f"entry {seq} is not proven: {error}", party, seq)

    def _check_envelopes(self, party: str, part: _Part) -> None:
        # (10) The sender's envelope, where the entry carries one and the sender's certificate is there.
        for seq, entry in sorted(part.entries.items()):
            if entry.peer is None:
                continue
            sender = self._parts.get(entry.envelope().sender)
            if entry.env is None or sender is None or sender.certificate is None:
                self._unsigned += entry.dir == "recv"
                continue
            try:
                verify_envelope(sender.certificate.key, entry.envelope(), entry.env)
            except LedgerError as error:
                self._fault(10, f"the envelope in entry {seq} does not fit: {error}", party, seq)
                continue
            held = self._statements.setdefault((entry.envelope().sender, entry.slot), {})
            held.setdefault(entry.envelope().message(), (party, seq))

    def _compare_statements(self) -> None:
        # (12) Both ends of a message, and one log about one slot, say the same wherever both were chosen.
        for (sender, slot), statements in self._statements.items():
            if len(statements) > 1:
                where = " and ".join(f"entry {seq} of {party}" for party, seq in statements.values())
                text = f"signed {len(statements)} different envelopes for one slot, recorded in {where}"
                self._findings.append(Finding(Code.MISBEHAVIOUR, 12, text, sender, slot))
        ends: dict[str, dict[str, tuple[int, Entry]]] = {}
        for party, part in sorted(self._parts.items()):
            for seq, entry in sorted(part.entries.items()):
                held = ends.setdefault(entry.slot, {})
                if party in held:
                    self._fault(9, f"the slot is used by entry {held[party][0]} and entry {seq}", party, seq)
                held.setdefault(party, (seq, entry))
        for held in ends.values():
            (seq, entry), *others = held.values()
            for other, told in others:
                if entry.peer and told.peer and entry.payload != told.payload:
                    text = f"entry {seq} and entry {other} of {told.actor} tell different messages"
                    self._fault(12, text, entry.actor, seq)


def _path(data: bytes, more: set[str]) -> tuple[list[bytes], Mapping[str, Json]]:
    """A proof's hashes and its further fields; raises LedgerError."""
    fields = decode(data)
    if not isinstance(fields, dict) or fields.keys() != {"path", *more}:
        raise BadProof("the proof has other fields")
    return proof_from_hex(fields["path"]), fields
