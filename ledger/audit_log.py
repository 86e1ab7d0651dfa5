"""Steps (3) to (9) of a verification: one log by itself. `verify.py` lists all steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from ledger.bundle import LogFiles
from ledger.checkpoint import Checkpoint, SignedCheckpoint, cosigners, open_checkpoint
from ledger.entry import Entry
from ledger.errors import BadNote, BadSignature, LedgerError
from ledger.findings import Code, Finding
from ledger.key_history import KeyHistory
from ledger.keys import Certificate, VerifyingKey
from ledger.merkle import ZERO_HASH, Tree, leaf_hash
from ledger.policy import Policy

ROUNDS_A_CHECKPOINT = 5  # rounds of one phase at most that one may cover


@dataclass(slots=True)
class LogAudit:
    """One party's log while it is checked. `entries[i]` is None where position i holds no readable entry.

    `proven` entries lie under a head that the party signed and that fits them: what contradicts those is its own doing.
    """

    party: str
    run: str
    policy: Policy
    bodies: list[bytes]
    checkpoints: dict[int, bytes]
    entries: list[Entry | None] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)
    heads: list[SignedCheckpoint] = field(default_factory=list)
    cosigned: dict[int, list[VerifyingKey]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    proven: int = 0
    certificate: Certificate | None = None
    history: KeyHistory | None = None

    @classmethod
    def of(cls, party: str, run: str, policy: Policy, files: LogFiles) -> LogAudit:
        """Cut a log's file into entries; nothing is checked yet."""
        bodies = files.entries.split(b"\n")
        tail = bodies.pop()
        audit = cls(party, run, policy, bodies + ([tail] if tail else []), dict(sorted(files.checkpoints.items())))
        if tail:
            audit.fault(3, "the last entry does not end in a newline", seq=len(bodies))
        return audit

    @property
    def key(self) -> VerifyingKey | None:
        """The party's identity key, from the verifier's policy."""
        return self.policy.log_key(self.party)

    def found(self) -> Iterator[tuple[int, Entry]]:
        """The readable entries with their positions."""
        return ((seq, entry) for seq, entry in enumerate(self.entries) if entry is not None)

    def add(self, code: Code, step: int, text: str, seq: int | None = None) -> None:
        """Add a finding about this log, with the slot of the entry at `seq`."""
        entry = self.entries[seq] if seq is not None and seq < len(self.entries) else None
        self.findings.append(Finding(code, step, text, self.party, entry.slot if entry else "", seq))

    def fault(self, step: int, text: str, seq: int | None = None) -> None:
        """Add an INVALID finding."""
        self.add(Code.INVALID, step, text, seq)


def audit_log(log: LogAudit, agreement: str) -> None:
    """Run steps (3) to (9) on one log; findings and state are left in `log`."""
    _read_entries(log, agreement)
    _follow_chain(log)
    _check_certificate(log)
    _check_validity(log)
    _check_heads(log)
    _check_cosignatures(log)
    _check_coverage(log)
    _check_order(log)


def _read_entries(log: LogAudit, agreement: str) -> None:
    # (3) Canonical bytes and fields; each entry belongs to this log, run and agreement.
    for seq, body in enumerate(log.bodies):
        entry: Entry | None = None
        try:
            entry = Entry.from_bytes(body)
        except LedgerError as error:
            log.entries.append(None)
            log.fault(3, f"entry {seq} cannot be read: {error}", seq)
            continue
        log.entries.append(entry)
        if (entry.actor, entry.job) != (log.party, log.run):
            log.fault(3, f"entry {seq} belongs to the log {entry.log}, not {log.party}/{log.run}", seq)
        if entry.agreement != agreement:
            log.fault(
                3, f"entry {seq} is under agreement {entry.agreement:.16}.., the run under {agreement:.16}..", seq
            )


def _follow_chain(log: LogAudit) -> None:
    # (4) Positions without gaps, each entry naming the leaf before it; the leaves build the tree.
    previous = ZERO_HASH
    for seq, (body, entry) in enumerate(zip(log.bodies, log.entries, strict=True)):
        if entry is not None and entry.seq != seq:
            log.fault(4, f"position {seq} holds entry {entry.seq}: entries were removed, added or moved", seq)
        if entry is not None and entry.prev != previous.hex():
            log.fault(4, f"entry {entry.seq} does not continue the entry before it", seq)
        previous = leaf_hash(body)
        log.tree.append(previous)


def _check_certificate(log: LogAudit) -> None:
    # (5) Entry 0 binds the run's entry key to the identity key of the policy ...
    if log.key is None:
        log.add(Code.POLICY, 5, f"the policy has no log key for {log.party}, so nothing it signed can be checked")
        return
    first = log.entries[0] if log.entries else None
    if first is None:
        log.fault(5, "there is no readable entry 0 with a certificate")
        return
    try:
        certificate = Certificate.from_json(first.params.get("certificate"))
        certificate.verify(log.key)
    except LedgerError as error:
        log.fault(5, f"the certificate of the entry key is not valid: {error}", 0)
        return
    if certificate.run != log.run:
        log.fault(5, f"the certificate is for run {certificate.run}", 0)
        return
    log.certificate = certificate
    log.history = KeyHistory(log.key, log.run)
    for seq, text in log.history.read(log.found()):
        log.fault(5, f"entry {seq} changes no key: {text}", seq)


def _check_validity(log: LogAudit) -> None:
    # (5) ... and each entry is dated within the validity of the certificate in force there.
    for seq, entry in log.found() if log.history else ():
        certificate = log.history.certificate_at(seq) if log.history else None
        if certificate and not certificate.covers(entry.ts):
            validity = f"{certificate.not_before} to {certificate.not_after}"
            log.fault(5, f"entry {seq} is dated {entry.ts}, outside the certificate's validity {validity}", seq)


def _check_heads(log: LogAudit) -> None:
    # (6) Checkpoints: signed by the identity key, and their roots are those of the entries at that size. All heads of
    #     one log are thereby consistent with each other: each is a prefix of the same list of leaves. They are what
    #     makes entries authentic: those up to the largest head that fits are the party's own word.
    for size, data in log.checkpoints.items() if log.key else ():
        try:
            signed = open_checkpoint(data, log.key) if log.key else None
        except (BadNote, BadSignature) as error:
            log.fault(6, f"checkpoint {size} is not valid: {error}")
            continue
        if signed is None or (signed.head.origin, signed.head.size) != (f"{log.party}/{log.run}", size):
            log.fault(6, f"checkpoint {size} is that of another log or size")
            continue
        log.heads.append(signed)
    fitting = [at.size for one in log.heads if (at := one.head).size <= len(log.bodies) and _fits(log, at)]
    log.proven = max(fitting, default=0)
    for signed in log.heads:
        _compare_root(log, signed.head)


def _fits(log: LogAudit, head: Checkpoint) -> bool:
    return head.root == log.tree.root(head.size)


def _compare_root(log: LogAudit, head: Checkpoint) -> None:
    if head.size > len(log.bodies):
        text = f"checkpoint {head.size} covers more entries than the {len(log.bodies)} in the bundle"
        log.add(Code.INCOMPLETE, 6, text)
    elif contradicts(log, head):
        text = f"checkpoint {head.size} and checkpoint {log.proven}, both validly signed, tell two histories: forked"
        log.add(Code.MISBEHAVIOUR, 6, text, head.size - 1)
    elif not _fits(log, head):
        log.fault(
            6, f"checkpoint {head.size} has root {head.root.hex()}, the entries give {log.tree.root(head.size).hex()}"
        )


def contradicts(log: LogAudit, head: Checkpoint) -> bool:
    """Whether a validly signed head has another root than the entries that the party's later head vouches for."""
    return 0 < head.size <= log.proven and not _fits(log, head)


def _check_cosignatures(log: LogAudit) -> None:
    # (7) The newest checkpoint meets the policy's quorum; each round of messages with a peer lies under a checkpoint
    #     that the peer cosigned before another phase or the fifth round after it began. A checkpoint whose cosignature
    #     was lost in a crash is no fault: a later one covers the same entries, and (6) showed that their roots agree.
    cosigned = log.cosigned
    for signed in log.heads:
        size = signed.head.size
        try:
            cosigned[size] = cosigners(signed.note, log.policy.witnesses.values())
        except BadSignature as error:
            log.fault(7, f"checkpoint {size} carries a cosignature that is not valid: {error}")
    if cosigned and not log.policy.quorum_met(seen := cosigned[max(cosigned)], log.party):
        names = ", ".join(key.name for key in seen) or "nobody"
        text = (
            f"checkpoint {max(cosigned)}, the newest, is cosigned by {names}; the quorum {log.policy.quorum} is not met"
        )
        log.add(Code.POLICY, 7, text)
    for peer in sorted({entry.peer for _, entry in log.found() if entry.peer}):
        if log.policy.log_key(peer):
            _check_rounds(log, peer, cosigned)


def _check_rounds(log: LogAudit, peer: str, cosigned: Mapping[int, list[VerifyingKey]]) -> None:
    witness = log.policy.witness_of(peer)
    if witness is None:
        log.add(Code.POLICY, 7, f"{peer} has no witness key in the policy")
        return
    sizes = [size for size, keys in cosigned.items() if witness in keys]
    shared = ((seq, entry) for seq, entry in log.found() if entry.peer == peer)
    rounds = [list(some) for _, some in groupby(shared, lambda one: (one[1].phase, one[1].round))]
    for number, some in enumerate(rounds):
        seq, entry = some[-1]
        later = (one[0] for one in rounds[number + 1 : number + 1 + ROUNDS_A_CHECKPOINT])
        due = next((at for at, one in later if _too_late(entry, one)), None)
        uncovered = due is None and seq >= max(cosigned, default=0)  # no checkpoint at all: step (8) says so
        if not uncovered and not any(seq < size and (due is None or size <= due) for size in sizes):
            before = "" if due is None else f" before entry {due}"
            text = f"{peer} did not cosign a checkpoint over round {entry.phase}/{entry.round}{before}"
            log.add(Code.POLICY, 7, text, seq)


def _too_late(entry: Entry, later: Entry) -> bool:
    """Whether a message is of a round that must not begin before the round of `entry` is cosigned."""
    return later.phase != entry.phase or not 0 < later.round - entry.round < ROUNDS_A_CHECKPOINT


def _check_coverage(log: LogAudit) -> None:
    # (8) The last checkpoint covers all entries.
    covered = max((signed.head.size for signed in log.heads), default=0)
    if log.key and covered < len(log.bodies):
        text = f"entries {covered} to {len(log.bodies) - 1} are not under a checkpoint"
        log.add(Code.INCOMPLETE, 8, text, covered)


def _check_order(log: LogAudit) -> None:
    # (9) One statement per slot; references point backwards; the monotonic clock does not run backwards.
    slots: dict[str, int] = {}
    clock = 0
    for seq, entry in log.found():
        if (before := slots.setdefault(entry.slot, seq)) != seq:
            _double_slot(log, before, seq)
        for ref in entry.refs:
            if not (ref < seq if isinstance(ref, int) else slots.get(ref, seq) < seq):
                log.fault(9, f"entry {seq} refers to {ref}, which is not before it", seq)
        if entry.mono < clock:
            log.fault(
                9,
                f"entry {seq} is at {entry.mono} ns of the log's clock, {clock - entry.mono} ns before its predecessor",
                seq,
            )
        clock = max(clock, entry.mono)


def _double_slot(log: LogAudit, before: int, seq: int) -> None:
    first, second = log.entries[before], log.entries[seq]
    text = f"the slot is used by entry {before} and entry {seq}"
    if first and second and seq < log.proven and first.content() != second.content():
        text += f", both under a validly signed head, with digests {first.content()} and {second.content()}"
        log.add(Code.MISBEHAVIOUR, 9, text, seq)
    else:
        log.fault(9, text, seq)


def certificates(log: LogAudit) -> Iterator[Certificate]:
    """The certificates anywhere in this log that the policy's keys confirm for this run; faults for those they do not.

    A party may record the certificates its peers showed, so that its log can be checked without theirs.
    """
    for seq, entry in log.found():
        if "certificate" not in entry.params:
            continue
        try:
            certificate = Certificate.from_json(entry.params["certificate"])
            identity = log.policy.log_key(certificate.party)
            if identity is None or certificate.run != log.run:
                continue
            certificate.verify(identity)
            yield certificate
        except LedgerError as error:
            if seq:
                log.fault(10, f"entry {seq} carries a certificate that is not valid: {error}", seq)
