"""Steps (10) to (12) of a verification: the logs against each other. `verify.py` lists all steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ledger.audit_accounts import confirmed_messages
from ledger.audit_log import LogAudit, certificates, contradicts
from ledger.bundle import EVIDENCE, Bundle
from ledger.ending import end_slot
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.evidence import check_evidence, signed_heads
from ledger.findings import Code, Finding
from ledger.key_history import KeyHistory
from ledger.keys import verify_signature
from ledger.policy import Policy


class RunAudit:
    """The logs of one run, each already checked by itself."""

    def __init__(self, logs: Mapping[str, LogAudit], policy: Policy, run: str) -> None:
        self._logs, self._policy, self._run = logs, policy, run
        self._keys: dict[str, set[str]] = defaultdict(set)
        self._verified: dict[tuple[str, str, bytes], bool] = {}
        # (sender, slot) -> statement bytes -> the entries that record it.
        self._statements: dict[tuple[str, str], dict[bytes, list[tuple[LogAudit, int]]]] = defaultdict(dict)
        self.findings: list[Finding] = []

    def audit(self, bundle: Bundle) -> None:
        """Run steps (10) to (12); findings about one log are left in that log, others in `findings`."""
        for log in self._logs.values():
            for certificate in certificates(log):
                self._keys[certificate.party].add(certificate.key.hex())
        self._histories = self._read_histories()
        self._sent = {(log.party, e.slot): (seq, e.payload) for log, seq, e in self._messages() if e.dir == "send"}
        for log in self._logs.values():
            confirmed = confirmed_messages(log)
            for seq, entry in log.found():
                if entry.peer is not None:
                    self._check_envelope(log, seq, entry, seq in confirmed)
        self._match_messages()
        self._compare_statements()
        self._check_evidence(bundle)

    def _messages(self) -> Iterator[tuple[LogAudit, int, Entry]]:
        return ((log, seq, e) for log in self._logs.values() for seq, e in log.found() if e.peer is not None)

    def _check_envelope(self, log: LogAudit, seq: int, entry: Entry, confirmed: bool) -> None:
        # (10) What the peer confirmed needs no more; else the sender's envelope, by a key that its certificate names.
        sender = entry.envelope().sender
        if sender not in self._keys:
            self._unknown_key(log, seq, sender)
        elif not confirmed and entry.env is None and _ended(log):
            # The run was ended in the middle of a round, whose account the peer had not seen yet.
            log.add(Code.INCOMPLETE, 10, f"the run was ended before the message of entry {seq} was confirmed", seq)
        elif not confirmed and not self._signed(entry):
            stranger = entry.env is not None and entry.env.key not in self._keys[sender]
            text = f"is by a key that {sender} did not certify" if stranger else f"of {sender} does not fit"
            text = "is missing, and no account confirms the message" if entry.env is None else text
            log.fault(10, f"the envelope signature in entry {seq} {text}", seq)
        elif entry.env is not None and (why := self._refusal(log, seq, entry, entry.env.key)):
            log.fault(10, f"the envelope in entry {seq} {why}", seq)
        else:
            self._statements[sender, entry.slot].setdefault(entry.envelope().message(), []).append((log, seq))

    def _signed(self, entry: Entry) -> bool:
        envelope, env = entry.envelope(), entry.env
        if env is None or env.key not in self._keys[envelope.sender]:
            return False
        # The same envelope is recorded at both ends; to check its signature twice would be half of all work.
        asked = (env.key, env.sig, envelope.message())
        if asked not in self._verified:
            self._verified[asked] = verify_signature(bytes.fromhex(env.key), bytes.fromhex(env.sig), asked[2])
        return self._verified[asked]

    def _read_histories(self) -> dict[str, KeyHistory]:
        # Each party's own log first: there position decides. Revocations may also stand in the logs of its peers.
        histories = {log.party: log.history for log in self._logs.values() if log.history}
        for party, history in histories.items():
            for log in self._logs.values():
                if log.party != party:
                    history.read(log.found())
        return histories

    def _refusal(self, log: LogAudit, seq: int, entry: Entry, key: str) -> str:
        sender = entry.envelope().sender
        history = self._histories.get(sender)
        if history is None:
            return ""
        sent = self._sent.get((sender, entry.slot))
        if sent is not None and sent[1] == entry.payload:
            return history.refusal_at(key, sent[0])
        return history.refusal_at(key, seq) if log.party == sender else history.refusal_on(key, entry.ts)

    def _unknown_key(self, log: LogAudit, seq: int, sender: str) -> None:
        if self._policy.log_key(sender) is None:
            self.findings.append(
                Finding(Code.POLICY, 10, "the policy has no log key, so its messages prove nothing", sender)
            )
        else:
            text = "no certificate of its entry key is in the bundle, so its messages cannot be checked"
            self.findings.append(Finding(Code.INCOMPLETE, 10, text, sender))

    def _match_messages(self) -> None:
        # (11) Each send has its recv in the peer's log, with the same digest, and the other way round.
        index = {(log.party, str(e.dir), e.slot): (seq, e) for log, seq, e in self._messages()}
        for log, seq, entry in self._messages():
            peer = entry.peer or ""
            other = "recv" if entry.dir == "send" else "send"
            if peer not in self._logs:
                code = Code.INCOMPLETE if self._policy.log_key(peer) else Code.POLICY
                text = f"exchanged messages with {log.party}, but the bundle does not hold its log"
                self.findings.append(Finding(code, 11, text, peer))
                continue
            match = index.get((peer, other, entry.slot))
            if match is None:
                log.add(Code.INCOMPLETE, 11, f"entry {seq} ({entry.dir}) has no {other} in the log of {peer}", seq)
            elif (match[1].peer, match[1].payload) != (log.party, entry.payload):
                text = f"entry {seq} ({entry.dir}) and entry {match[0]} ({other}) of {peer} tell different messages"
                log.fault(11, text, seq)

    def _compare_statements(self) -> None:
        # (12) Two statements of one sender for one slot: its own word where its envelope or its own signed log says so.
        for (sender, slot), statements in self._statements.items():
            if len(statements) < 2:
                continue
            places = [self._own_word(sender, where) for where in statements.values()]
            proven = [place for place in places if place is not None]
            if len(proven) > 1:
                where = " and ".join(f"entry {seq} of {log.party}" for log, seq in proven)
                text = f"signed {len(proven)} different statements for one slot, recorded in {where}"
                seq = next((seq for log, seq in proven if log.party == sender), None)
                self.findings.append(Finding(Code.MISBEHAVIOUR, 12, text, sender, slot, seq))

    def _own_word(self, sender: str, places: list[tuple[LogAudit, int]]) -> tuple[LogAudit, int] | None:
        """A place where the statement is proven to be the sender's."""
        for log, seq in places:
            entry = log.entries[seq]
            if entry is not None and ((log.party == sender and seq < log.proven) or self._signed(entry)):
                return log, seq
        return None

    def _check_evidence(self, bundle: Bundle) -> None:
        # (12) Evidence files: checked from their own bytes, or against the log they speak of.
        for name, data in bundle.members.items():
            if not name.startswith(EVIDENCE):
                continue
            try:
                proven = check_evidence(data, self._policy)
            except LedgerError as error:
                if not self._contradicted(name, data):
                    self.findings.append(Finding(Code.INVALID, 12, f"{name} proves nothing: {error}"))
                continue
            text = f"{proven.text} ({name}, run {proven.run})"
            self.findings.append(Finding(Code.MISBEHAVIOUR, 12, text, proven.party, proven.slot))

    def _contradicted(self, name: str, data: bytes) -> bool:
        for head in signed_heads(data, self._policy):
            log = self._logs.get(head.origin.partition("/")[0])
            if log and head.origin == f"{log.party}/{self._run}" and contradicts(log, head):
                text = f"signed a head of size {head.size} ({name}) that its own signed entries contradict"
                self.findings.append(Finding(Code.MISBEHAVIOUR, 12, text, log.party, seq=head.size - 1))
                return True
        return False


def _ended(log: LogAudit) -> bool:
    """Whether the last word of a log is that its run has ended without a result."""
    last = log.entries[-1]
    return last is not None and last.slot == end_slot(log.party) and last.dir == "local"
