"""The audit bundle as a report sees it: what a figure is traced to.

A figure is the value at a pointer of an artefact. Two kinds of artefact, two kinds of pointer:

    evaluation.json              /models/federated/auc/value       JSON pointer (RFC 6901)
    logs/bank/entries.jsonl      /12/commit/0/digest               the same, into the list of entries
    logs/bank/entries.jsonl      bytes?phase=train                 counted: entries, messages, bytes, rounds,
                                                                   checkpoints, first, last

The artefact's SHA-256 stands in an entry (`log`, `seq`), which lies under the signed checkpoint of `size` entries.
Entries need no digest: the root in the checkpoint is computed from them. Needs the standard library and `ledger` only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.bundle import Bundle, LogFiles, read_bundle
from ledger.canonical import decode
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.findings import Result
from ledger.merkle import Tree, leaf_hash
from ledger.policy import Policy
from ledger.verify import verify_bundle
from vfl.errors import UsageError

ENTRIES = "entries.jsonl"


@dataclass(frozen=True)
class Trace:
    """Where a figure comes from: `artefact` and `pointer`, the entry that names it, the checkpoint over the entry."""

    artefact: str
    pointer: str
    log: str
    seq: int
    size: int

    @property
    def proof(self) -> str:
        """The name of the proof that the entry is under the checkpoint; figures share proofs."""
        return f"{self.log}/{self.seq}/{self.size}"


class LogEvidence:
    """One party's log: entries, tree and signed heads."""

    def __init__(self, party: str, files: LogFiles) -> None:
        self.party = party
        self.bodies = files.entries.split(b"\n")[:-1]
        self.notes = {size: note.decode("utf-8", "replace") for size, note in sorted(files.checkpoints.items())}

    @cached_property
    def entries(self) -> list[Entry]:
        """All entries. Raises UsageError if one cannot be read."""
        try:
            return [Entry.from_bytes(body) for body in self.bodies]
        except LedgerError as error:
            raise UsageError(
                f"the log of {self.party} in the bundle is damaged: {error}",
                remedy="run `python -m ledger verify` on the bundle",
            ) from None

    def closing(self, step: str) -> Entry | None:
        """The entry `report/0/STEP`, without reading all others."""
        mark = f'"slot":"report/0/{step}/'.encode()
        found = next((body for body in reversed(self.bodies) if mark in body), None)
        return None if found is None else Entry.from_bytes(found)

    @cached_property
    def tree(self) -> Tree:
        """Over all entries."""
        return Tree(map(leaf_hash, self.bodies))

    def size_over(self, seq: int) -> int:
        """The smallest signed head that covers entry `seq`. Raises UsageError if there is none."""
        found = next((size for size in self.notes if size > seq), None)
        if found is None:
            raise UsageError(
                f"no checkpoint covers entry {seq} of {self.party}",
                remedy="run `python -m ledger verify` on the bundle",
            )
        return found

    def proof(self, seq: int, size: int) -> dict[str, Any]:
        """Entry, path and signed head, JSON-ready: what C2SP calls a tlog-proof."""
        return {
            "entry": self.bodies[seq].decode(),
            "path": [node.hex() for node in self.tree.inclusion_proof(seq, size)],
            "checkpoint": self.notes[size],
        }


class Evidence:
    """The bundle of a run, verified against a policy."""

    def __init__(self, bundle: Bundle, policy: Policy, result: Result | None = None) -> None:
        """`result`: what the verifier said, where it was asked. Raises UsageError if a log cannot be read."""
        self.bundle, self.policy, self.result = bundle, policy, result
        self._read: dict[str, Any] = {}
        self._named: dict[str, tuple[str, int, str]] = {}
        self.logs = {party: LogEvidence(party, files) for party, files in sorted(bundle.logs().items())}

    @classmethod
    def of(cls, directory: Path, policy: Path | None = None) -> Evidence:
        """Of the run in `directory`, by `policy` or its own policy.txt. Raises UsageError if it is no finished run."""
        path, policy = directory / "audit.bundle", policy or directory / "policy.txt"
        if not path.exists() or not policy.exists():
            raise UsageError(
                f"there is no audit.bundle in {directory} with the policy file {policy}",
                remedy="name the directory of a finished run",
            )
        text = policy.read_bytes()
        try:
            return cls(read_bundle(path), Policy.parse(text), verify_bundle(path, text))
        except LedgerError as error:
            raise UsageError(f"{directory}: {error}") from None

    def has(self, artefact: str) -> bool:
        """Whether the bundle holds this artefact."""
        return f"artefacts/{artefact}" in self.bundle.members

    def artefact(self, name: str) -> Any:
        """An artefact of the bundle, read as JSON. Raises UsageError if it is not there or not JSON."""
        try:
            if name not in self._read:
                self._read[name] = json.loads(self.bundle.members[f"artefacts/{name}"])
            return self._read[name]
        except (KeyError, ValueError, RecursionError):
            raise UsageError(f"the bundle holds no readable {name}", remedy="run again with this version") from None

    def committed(self, name: str) -> tuple[str, int, str]:
        """Which log's which entry names the artefact, and the digest there (hex).

        Raises UsageError if none does: the run is of an earlier version.
        """
        if not self._named:
            for log in self.logs.values():
                for entry in log.entries:
                    for item in entry.commit:
                        if item.get("kind") == "artefact":
                            self._named[str(item.get("name"))] = (log.party, entry.seq, str(item["digest"]))
        if name in self._named:
            return self._named[name]
        raise UsageError(
            f"no entry of the ledger names {name}, so its figures cannot be traced",
            remedy="run again with this version",
        )

    def trace(self, artefact: str, pointer: str) -> Trace:
        """The trace of the value at `pointer` of a JSON artefact.

        Raises UsageError if the artefact is not the one on record.
        """
        log, seq, digest = self.committed(artefact)
        data = self.bundle.members.get(f"artefacts/{artefact}", b"")
        if sha256(data).hexdigest() != digest:
            raise UsageError(
                f"the {artefact} in the bundle is not the one that entry {seq} of {log} names",
                remedy="no report is made of it; run `python -m ledger verify` on the bundle",
            )
        return Trace(artefact, pointer, log, seq, self.logs[log].size_over(seq))

    def trace_entry(self, party: str, seq: int, pointer: str) -> Trace:
        """The trace of something in entry `seq`; `pointer` is relative to the entry."""
        return Trace(f"logs/{party}/{ENTRIES}", f"/{seq}{pointer}", party, seq, self.logs[party].size_over(seq))

    def trace_count(self, party: str, what: str, phase: str | None = None) -> Trace:
        """The trace of something counted over a party's entries, of one phase or all."""
        log = self.logs[party]
        last = max(entry.seq for entry in log.entries if phase in (None, entry.phase))
        pointer = what if phase is None else f"{what}?phase={phase}"
        return Trace(f"logs/{party}/{ENTRIES}", pointer, party, last, log.size_over(last))

    def trace_again(self, artefact: str, pointer: str) -> Trace:
        """The one trace that this bundle gives to a place. Raises UsageError if it gives none."""
        try:
            if not artefact.startswith("logs/"):
                return self.trace(artefact, pointer)
            party = artefact.split("/")[1]
            if not pointer.startswith("/"):
                what, _, phase = pointer.partition("?phase=")
                return self.trace_count(party, what, phase or None)
            seq, slash, rest = pointer[1:].partition("/")
            return self.trace_entry(party, _index(seq), slash + rest)
        except (KeyError, ValueError):
            raise UsageError(f"nothing is at {pointer} of {artefact}") from None

    def value(self, trace: Trace) -> Any:
        """The value that a trace leads to. Raises UsageError if it leads nowhere."""
        try:
            if not trace.artefact.startswith("logs/"):
                return at_pointer(self.artefact(trace.artefact), trace.pointer)
            log = self.logs[trace.artefact.split("/")[1]]
            if trace.pointer.startswith("/"):
                seq, _, rest = trace.pointer[1:].partition("/")
                return at_pointer(decode(log.bodies[_index(seq)]), f"/{rest}" if rest else "")
            return counted(log, trace.pointer)
        except (KeyError, IndexError, ValueError, TypeError, LedgerError):
            raise UsageError(f"nothing is at {trace.pointer} of {trace.artefact}") from None


def at_pointer(body: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901). Raises what looking up raises where there is none."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        body = body[_index(key)] if isinstance(body, list) else body[key]
    return body


def _index(token: str) -> int:
    """A place in a list as RFC 6901 writes it. Raises ValueError for anything else."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,17}", token):
        raise ValueError(f"{token!r} is no place in a list")
    return int(token)


def counted(log: LogEvidence, pointer: str) -> int | str:
    """Something counted over the entries of a log: `WHAT` or `WHAT?phase=NAME`. Raises ValueError for another WHAT."""
    what, _, asked = pointer.partition("?phase=")
    entries = [entry for entry in log.entries if asked in ("", entry.phase)]
    return _counted(log, what, entries)


def _counted(log: LogEvidence, what: str, entries: Sequence[Entry]) -> int | str:
    messages = [entry.payload.size for entry in entries if entry.dir != "local" and entry.payload is not None]
    if what in ("first", "last"):
        return entries[0 if what == "first" else -1].ts
    if what == "checkpoints":
        seqs = {entry.seq for entry in entries}
        return sum(size - 1 in seqs for size in log.notes)
    counts = {
        "entries": len(entries),
        "messages": len(messages),
        "bytes": sum(messages),
        "rounds": len({entry.round for entry in entries}),
    }
    if what not in counts:
        raise ValueError(f"nothing is counted as {what!r}")
    return counts[what]
