"""A small world of parties that exchange messages, and tools to let one of them cheat."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from ledger import Code, Entry, Identity, Log, MemoryStore, Payload, Policy, Result, Witness, slot_name, verify_bytes
from ledger.archive import pack
from ledger.bundle import MANIFEST, SUMS, SUMS_NOTE, parse_bundle, sums, sums_text, write_bundle
from ledger.canonical import decode, encode
from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.envelope import verify_envelope
from ledger.merkle import ZERO_HASH, Tree, leaf_hash
from ledger.note import sign_note

START = datetime(2026, 1, 31, 10, 0, 0, tzinfo=UTC)
AGREEMENT = sha256(b"agreement").hexdigest()
RUN = "run-7"


class TickClock:
    """Advances one millisecond per reading."""

    def __init__(self) -> None:
        self.ticks = 0

    def now(self) -> datetime:
        self.ticks += 1
        return START + timedelta(milliseconds=self.ticks)

    def monotonic_ns(self) -> int:
        self.ticks += 1
        return self.ticks * 1_000_000


@lru_cache
def identity(name: str) -> Identity:
    return Identity(name, sha256(name.encode()).digest())


def open_log(name: str, store, clock=None, run: str = RUN, *, sign_messages: bool = True) -> Log:
    who = identity(name)
    certificate = who.certify(run, START - timedelta(days=1), START + timedelta(days=1))
    return Log(
        store,
        who,
        name,
        run,
        clock or TickClock(),
        entry_key=who.entry_key(run),
        certificate=certificate,
        agreement=AGREEMENT,
        sign_messages=sign_messages,
    )


class World:
    """Parties with logs and witnesses in memory."""

    def __init__(self, names: Sequence[str] = ("bank", "telecom")) -> None:
        self.clock = TickClock()
        self.people = {name: identity(name) for name in names}
        self.logs = {name: open_log(name, MemoryStore(), self.clock) for name in names}
        self.witnesses = {name: Witness(self.people[name], MemoryStore(), self.clock) for name in names}
        self.policy = Policy.of(self.people.values())

    def say(self, sender: str, receiver: str, step: str, data: bytes, round: int = 0, phase: str = "train") -> None:
        slot, payload = slot_name(phase, round, step, sender, receiver), Payload.of(data, step.title())
        place = {"phase": phase, "round": round, "step": step, "slot": slot, "payload": payload}
        sent = self.logs[sender].append(dir="send", peer=receiver, **place)
        self.logs[sender].commit()
        assert sent.env is not None
        verify_envelope(self.people[sender].entry_key(RUN).public, sent.envelope(), sent.env)
        self.logs[receiver].append(dir="recv", peer=sender, env=sent.env, **place)

    def end_round(self, cosigning: Iterable[str] | None = None) -> None:
        cosigning = self.people if cosigning is None else cosigning
        for name, log in self.logs.items():
            note = log.checkpoint()
            for other in cosigning:
                if other != name:
                    witness = self.witnesses[other]
                    proof = log.consistency_proof(witness.size(log.origin), len(log))
                    log.add_cosignatures(len(log), [witness.cosign(note, proof, log.key)], [witness.key])

    def write(self, path: Path, artefacts: Mapping[str, bytes] | None = None) -> Path:
        write_bundle(
            path,
            list(self.logs.values()),
            RUN,
            artefacts={"model.json": b"{}"} if artefacts is None else artefacts,
            identities=list(self.people.values()),
            policy=self.policy,
        )
        return path

    def members(self, path: Path, artefacts: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
        bundle = parse_bundle(self.write(path, artefacts).read_bytes())
        assert not bundle.faults
        return dict(bundle.members)

    def seal(self, members: dict[str, bytes], signers: Iterable[str] | None = None) -> bytes:
        """Sums, signatures and zip anew, so that only the edit itself can be found."""
        members[SUMS] = sums(members)
        keys = [self.people[name].identity for name in (self.people if signers is None else signers)]
        members[SUMS_NOTE] = str(sign_note(sums_text(RUN, members[SUMS]), keys)).encode()
        return pack(members)

    def verify(self, members: dict[str, bytes], signers: Iterable[str] | None = None) -> Result:
        return verify_bytes(self.seal(members, signers), self.policy)

    def forge(
        self, members: dict[str, bytes], party: str, edit: Callable[[list[Entry]], list[Entry]], sign: bool = True
    ) -> None:
        """Let `party` rewrite its log with its own keys, its witnesses colluding, so that only `edit` can be found.

        There is a new checkpoint wherever a round ends.
        """
        folder = f"logs/{party}"
        entries = edit([Entry.from_bytes(body) for body in members[f"{folder}/entries.jsonl"].split(b"\n")[:-1]])
        bodies, previous, tree = [], ZERO_HASH, Tree()
        for seq, entry in enumerate(entries):
            bodies.append(replace(entry, seq=seq, prev=previous.hex()).to_bytes())
            previous = leaf_hash(bodies[-1])
            tree.append(previous)
        ends = [seq for seq in range(2, len(entries)) if entries[seq].round != entries[seq - 1].round]
        members[f"{folder}/entries.jsonl"] = b"".join(body + b"\n" for body in bodies)
        for name in [name for name in members if name.startswith(f"{folder}/checkpoints/")]:
            del members[name]
        for size in {*ends, len(tree)}:
            members[f"{folder}/checkpoints/{size}.note"] = self.head(party, size, tree.root(size)).encode()
        self.recount(members)

    def head(self, party: str, size: int, root: bytes, cosigning: Iterable[str] | None = None) -> str:
        head = Checkpoint(f"{party}/{RUN}", size, root)
        others = [n for n in self.people if n != party] if cosigning is None else cosigning
        lines = [cosign(head, self.people[name].witness, START) for name in others]
        return str(sign_checkpoint(head, self.people[party].identity).with_lines(lines))

    def recount(self, members: dict[str, bytes]) -> None:
        manifest = decode(members[MANIFEST])
        for part in manifest["logs"]:
            folder = f"logs/{part['party']}/"
            part["entries"] = members[f"{folder}entries.jsonl"].count(b"\n")
            part["checkpoints"] = sum(name.startswith(f"{folder}checkpoints/") for name in members)
        members[MANIFEST] = encode(manifest)


def two_party_world(rounds: int = 2, apart: int = 1) -> World:
    world = World()
    for number in range(0, rounds * apart, apart):
        world.say("bank", "telecom", "gradients", b"g%d" % number, number)
        world.say("telecom", "bank", "histogram", b"h%d" % number, number)
        world.end_round()
    return world


def found(result: Result, code: Code, **place: object) -> list[str]:
    """The findings of a code at a place, as texts."""
    return [
        str(finding)
        for finding in result.findings
        if finding.code is code and all(getattr(finding, name) == value for name, value in place.items())
    ]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pretty(result: Result) -> str:
    return json.dumps(result.as_json(), indent=1)
