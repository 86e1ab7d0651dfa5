"""The promises, each checked wherever it could be broken.

P1  An entry under a head that was shown survives kill and power loss; so does the memory of a cosigned head.
P2  Damage inside what was acknowledged is refused, and a ledger from an old backup is caught by its peers.
P3  Any party may die at any durable step: it starts again, nobody is accused, and the model is the undisturbed one.
P4  Every step is applied exactly once: one record and one entry of every message, at each end, the same at both.
P5  Whatever is said again is said with the same bytes and the same signature.
P6  After faults stop, the run ends: with a model; or refused for a message that was changed on a bare wire; or, where
    a party never comes back, with a signed end in the ledger of everyone who remains, after which nothing is said.
P7  No input ends a process otherwise than by a declared refusal.
P8  A party that comes back with other software is refused before it says anything else.
P9  Clocks order nothing: with any skew and any jump the same entries stand in the same order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.checkpoint import Checkpoint
from ledger.ending import end_slot
from ledger.log import Log
from ledger.merkle import Tree
from ledger.note import Note
from vfl.channel import Record, digest_of
from vfl.desk import Cosignature, Envelope, Frame, Head
from vfl.errors import UsageError
from vfl.transcripts import read_transcript

if TYPE_CHECKING:
    from .machine import Machine

PROMISES = tuple(line.partition("  ")[0] for line in (__doc__ or "").splitlines() if line.startswith("P"))


class Broken(Exception):
    """A promise was not kept."""

    def __init__(self, promise: str, what: str) -> None:
        assert promise in PROMISES
        super().__init__(f"{promise}: {what}")
        self.promise = promise


Said = tuple[str, str, bytes]  # a message as a transcript has it: direction and peer, slot, digest


@dataclass(frozen=True)
class Undisturbed:
    """How a run ends when nothing disturbs it: by party its result and its transcript; every message's bytes."""

    results: dict[str, str]
    records: dict[str, list[Said]]
    entries: dict[str, list[tuple[object, ...]]]

    @cached_property
    def digests(self) -> dict[str, bytes]:
        """By slot."""
        return {slot: digest for records in self.records.values() for _, slot, digest in records}


@dataclass
class Promises:
    """What was said, shown and cosigned so far, and what must hold of it. `due` is None in the undisturbed run."""

    due: Undisturbed | None
    said: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # slot: digest, signature
    shown: dict[str, dict[int, bytes]] = field(default_factory=dict)  # party: size, root of every head that left
    cosigned: dict[tuple[str, str], list[Checkpoint]] = field(default_factory=dict)  # (witness, log's party): heads
    last_head: dict[tuple[str, str], Checkpoint] = field(default_factory=dict)  # (who took it in, whose it is)
    doctored: bool = False  # an unsigned message was changed on a bare wire, and a desk may have taken it in

    # What leaves and what comes in

    def leaves(self, machine: Machine, peer: str, frame: bytes) -> None:
        """P1 and P5 begin where bytes leave."""
        found: Frame = msgspec.msgpack.decode(frame, type=Frame)
        if isinstance(found, Envelope):
            self._says(machine, found)
        elif isinstance(found, Head) and machine.rolled_back is None:
            head = Checkpoint.parse(Note.parse(json.loads(found.note)["note"]).text)
            self.shown.setdefault(machine.name, {})[head.size] = head.root
        elif isinstance(found, Cosignature) and machine.rolled_back is None:
            head = self.last_head[machine.name, peer]
            kept = machine.disk.store.peer_head(head.origin)
            if kept is None or kept.size < head.size:
                raise Broken("P1", f"{machine.name} cosigns {head.origin} {head.size} and keeps no memory of it")
            self.cosigned.setdefault((machine.name, peer), []).append(head)

    def _says(self, machine: Machine, said: Envelope) -> None:
        digest = digest_of(said.body)
        before = self.said.setdefault(said.slot, (digest, said.signature))
        if before != (digest, said.signature) and not self.doctored:
            raise Broken("P5", f"{machine.name} says {said.slot} again with other bytes")
        if self.due and not self.doctored and self.due.digests.get(said.slot) != digest:
            promise = "P8" if machine.version.endswith("-changed") else "P5"
            raise Broken(promise, f"{machine.name} says {said.slot} with other bytes than undisturbed")

    def taken(self, machine: Machine, peer: str, frame: bytes) -> None:
        """Note which head a party has taken in; it is the one that it cosigns next."""
        try:
            found: Frame = msgspec.msgpack.decode(frame, type=Frame)
            if isinstance(found, Head):
                self.last_head[machine.name, peer] = Checkpoint.parse(Note.parse(json.loads(found.note)["note"]).text)
        except Exception:  # the desk refuses it
            pass

    def opened(self, machine: Machine) -> None:
        """A party has opened its ledger: what was acknowledged must be there."""
        if machine.rolled_back is not None:
            return
        assert machine.notary is not None
        self._require_shown(machine.name, machine.notary.log)
        for (witness, party), heads in self.cosigned.items():
            kept = machine.disk.store.peer_head(heads[-1].origin)
            if witness == machine.name and (kept is None or kept.size < heads[-1].size):
                raise Broken("P1", f"{witness} forgot that it cosigned {party} {heads[-1].size}")

    def _require_shown(self, party: str, log: Log) -> None:
        stored = {head.size: head.root for head in log.checkpoints()}
        for size, root in self.shown.get(party, {}).items():
            if stored.get(size) != root or log.root(size) != root:
                raise Broken("P1", f"{party} showed a head of {size} that its ledger no longer gives")

    # The end

    def finished(self, machine: Machine, result: Any) -> None:
        """A party has played its role to the end."""
        if self.due is None:
            return
        assert machine.notary is not None
        if str(result) != self.due.results[machine.name]:
            raise Broken("P3", f"{machine.name} ends with another model")
        try:
            records = records_of(machine)
        except UsageError as error:
            raise Broken("P4", f"the transcript of {machine.name} cannot be read: {error}") from error
        if records != self.due.records[machine.name]:
            raise Broken("P4", f"the transcript of {machine.name} is not that of an undisturbed run")

    def ended(self, machines: dict[str, Machine]) -> None:
        """Everybody has finished, or was refused for good."""
        for name, machine in machines.items():
            entries = entries_of(machine)
            slots = [entry["slot"] for entry in entries]
            if len(set(slots)) != len(slots):
                raise Broken("P4", f"the ledger of {name} has a slot twice")
            if (readings := [entry["mono"] for entry in entries]) != sorted(readings):
                raise Broken("P9", f"the clock of the ledger of {name} runs backwards")
            if self.due and [essence(entry) for entry in entries] != self.due.entries[name]:
                raise Broken("P9", f"the ledger of {name} has other entries, or in another order, than undisturbed")
            tree = Tree()
            for row in machine.disk.store.rows():
                tree.append(row.leaf)
            for witness, head in self.cosigned_of(name):
                if head.size > len(entries) or tree.root(head.size) != head.root:
                    raise Broken("P2", f"{witness} cosigned a head of {name} that its ledger does not continue")

    def given_up(self, machines: dict[str, Machine]) -> None:
        """Somebody never came back: every other ledger says so, signed, as its last word, and no role begins."""
        for name, machine in machines.items():
            if machine.gone:
                continue
            store = machine.disk.store
            entries, heads = entries_of(machine), list(store.checkpoints())
            if entries[-1]["slot"] != end_slot(name) or entries[-1]["params"]["state"] != "aborted":
                raise Broken("P6", f"the last word of the ledger of {name} is not that the run has ended")
            if not heads or heads[-1].size != len(entries):
                raise Broken("P6", f"the end in the ledger of {name} is under no signed head")
            if machine.begins_again():
                raise Broken("P6", f"{name} begins again after the end")

    def cosigned_of(self, party: str) -> list[tuple[str, Checkpoint]]:
        """Every head of a party's log that was cosigned, and by whom."""
        return [(witness, head) for (witness, of), heads in self.cosigned.items() if of == party for head in heads]


def records_of(machine: Machine) -> list[Said]:
    """A party's transcript without bodies."""
    found: list[Record] = list(read_transcript(machine.disk.path))
    return [(f"{'to' if one.sent else 'from'} {one.peer}", one.slot, one.digest) for one in found]


def entries_of(machine: Machine) -> list[dict[str, Any]]:
    """A party's ledger, each entry as its JSON."""
    return [json.loads(row.body) for row in machine.disk.store.rows()]


def essence(entry: dict[str, Any]) -> tuple[object, ...]:
    """What of an entry depends on no clock and no key's validity."""
    return tuple(entry.get(name) for name in ("slot", "dir", "peer", "payload", "env", "commit"))
