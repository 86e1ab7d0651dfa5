"""Entries: what a log holds, one canonical JSON object per protocol position.

{"actor":"bank","agreement":"9f..","commit":[],"dir":"send","env":{"key":"..","sig":".."},"job":"run-7",
 "log":"bank/run-7","mono":812345,"params":{},"payload":{"alg":"sha256","bytes":4096,"digest":"..","schema":"Hists"},
 "peer":"telecom","phase":"train","prev":"..","refs":[3],"round":4,"seq":17,"slot":"train/4/hist/bank>telecom/0",
 "step":"hist","ts":"2026-01-31T10:00:00.000001Z","v":1}

leaf      = SHA-256(0x00 || bytes)

An entry is authentic because it lies under its log's signed head. `env` is the signature of the sender's envelope
(`ledger.envelope`) where every message is signed; where it signs at the end of a round, `env` is null and an account
of the conversation (`ledger.account`) covers the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias, cast, get_args

from ledger.canonical import Json, decode, encode
from ledger.clock import parse_time
from ledger.envelope import Env, Envelope
from ledger.errors import BadEntry, BadKey
from ledger.fields import DIGEST, FIVE_WORDS, HEX32, HEX64, fields_of, matching, number, word
from ledger.keys import check_party
from ledger.merkle import leaf_hash

ENTRY_VERSION = 1

Direction: TypeAlias = Literal["send", "recv", "local"]

_DIRECTIONS = get_args(Direction)


@dataclass(frozen=True, slots=True)
class Payload:
    """What a message was, without the message: digest algorithm, hex digest, size in bytes, schema (message kind)."""

    alg: str
    digest: str
    size: int
    schema: str

    @classmethod
    def of(cls, data: bytes, schema: str) -> Payload:
        """The SHA-256 payload of `data`. For guessable contents give a keyed or salted digest yourself."""
        return cls("sha256", sha256(data).hexdigest(), len(data), schema)

    def to_json(self) -> dict[str, Json]:
        """The object under `payload`."""
        return {"alg": self.alg, "bytes": self.size, "digest": self.digest, "schema": self.schema}

    @classmethod
    def from_json(cls, value: Json) -> Payload:
        """Read the object under `payload`; raises BadEntry."""
        fields = fields_of(value, {"alg", "bytes", "digest", "schema"}, "payload")
        alg, schema = word(fields["alg"], "payload.alg"), word(fields["schema"], "payload.schema")
        digest, size = matching(DIGEST, fields["digest"], "payload.digest"), number(fields["bytes"], "payload.bytes")
        return cls(alg, digest, size, schema)


def slot_name(phase: str, round_: int, step: str, sender: str, receiver: str, *, n: int = 0) -> str:
    """The name of a protocol position: `phase/round/step/from>to/n`."""
    return f"{phase}/{round_}/{step}/{sender}>{receiver}/{n}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `round` is an int, `mono` nanoseconds since the log began, `prev` the leaf hash before it (hex)."""

    log: str
    seq: int
    prev: str
    ts: str
    mono: int
    job: str
    agreement: str
    phase: str
    round: int
    step: str
    slot: str
    actor: str
    peer: str | None
    dir: Direction
    payload: Payload | None
    refs: tuple[int | str, ...]
    commit: tuple[Mapping[str, Json], ...]
    params: Mapping[str, Json]
    env: Env | None
    v: int = ENTRY_VERSION

    def to_bytes(self) -> bytes:
        """The canonical bytes; raises NotCanonical (e.g. floats in `params`, more than 65,536 bytes)."""
        return encode(self.to_json())

    def to_json(self) -> dict[str, Json]:
        """The entry as one JSON object."""
        return {
            "v": self.v,
            "log": self.log,
            "seq": self.seq,
            "prev": self.prev,
            "ts": self.ts,
            "mono": self.mono,
            "job": self.job,
            "agreement": self.agreement,
            "phase": self.phase,
            "round": self.round,
            "step": self.step,
            "slot": self.slot,
            "actor": self.actor,
            "peer": self.peer,
            "dir": self.dir,
            "payload": self.payload.to_json() if self.payload else None,
            "refs": list(self.refs),
            "commit": [dict(item) for item in self.commit],
            "params": dict(self.params),
            "env": self.env.to_json() if self.env else None,
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """Read canonical bytes strictly; raises NotCanonical or BadEntry naming the field."""
        return cls.from_json(decode(data))

    @classmethod
    def from_json(cls, value: Json) -> Entry:
        """Read one JSON object; raises BadEntry naming the field and the value."""
        f = fields_of(value, _ENTRY_FIELDS, "entry")
        if number(f["v"], "v") != ENTRY_VERSION:
            raise BadEntry(f"entry version {f['v']!r:.20} is unknown; this program reads version {ENTRY_VERSION}")
        entry = cls(
            log=word(f["log"], "log"),
            seq=number(f["seq"], "seq"),
            prev=matching(HEX32, f["prev"], "prev"),
            ts=word(f["ts"], "ts"),
            mono=number(f["mono"], "mono"),
            job=word(f["job"], "job"),
            agreement=matching(HEX32, f["agreement"], "agreement"),
            phase=word(f["phase"], "phase"),
            round=number(f["round"], "round"),
            step=word(f["step"], "step"),
            slot=word(f["slot"], "slot"),
            actor=word(f["actor"], "actor"),
            peer=None if f["peer"] is None else word(f["peer"], "peer"),
            dir=_direction(f["dir"]),
            payload=None if f["payload"] is None else Payload.from_json(f["payload"]),
            refs=_refs(f["refs"]),
            commit=_commitments(f["commit"]),
            params=_params(f["params"]),
            env=None if f["env"] is None else Env.from_json(f["env"]),
        )
        entry.check()
        return entry

    def check(self) -> None:
        """Raise BadEntry unless the fields agree with each other: a message has peer, payload and envelope."""
        parse_time(self.ts)
        self._check_shape()

    def _check_shape(self) -> None:
        try:
            check_party(self.actor)
            check_party(self.job, "run")
            if self.peer is not None:
                check_party(self.peer)
        except BadKey as error:
            raise BadEntry(str(error)) from None
        if self.log != f"{self.actor}/{self.job}":
            raise BadEntry(f"slot {self.slot}: log {self.log} is not the log of {self.actor} for {self.job}")
        if self.dir == "local":
            if self.peer is not None or self.env is not None:
                raise BadEntry(f"slot {self.slot}: a local entry has neither peer nor envelope")
        elif self.peer is None or self.payload is None:
            raise BadEntry(f"slot {self.slot}: a {self.dir} entry needs peer and payload")
        elif self.peer == self.actor:
            raise BadEntry(f"slot {self.slot}: {self.actor} exchanges a message with itself; use a local entry")

    def message_bytes(self) -> bytes:
        """The canonical bytes of a `send` or `recv` without refs, commitments and parameters; what `to_bytes` gives.

        Every field is checked but the log's own. Raises BadEntry.
        """
        self._check_shape()
        p, env = self.payload, self.env
        assert p is not None
        if not FIVE_WORDS.fullmatch(f"{self.phase} {self.step} {self.slot} {p.alg} {p.schema}"):
            raise BadEntry(f"slot {self.slot!a:.200}: a word of the wrong form in {self!r:.600}")
        matching(DIGEST, p.digest, "payload.digest")
        _direction(self.dir)
        if env is not None:
            matching(HEX32, env.key, "env.key")
            matching(HEX64, env.sig, "env.sig")
        number(self.round, "round")
        number(p.size, "payload.bytes")
        return message_body(
            actor=self.actor, agreement=self.agreement, alg=p.alg, digest=p.digest, dir=self.dir, env=self.env,
            job=self.job, log=self.log, mono=self.mono, peer=self.peer or "", phase=self.phase, prev=self.prev,
            round=self.round, schema=p.schema, seq=self.seq, size=p.size, slot=self.slot, step=self.step, ts=self.ts,
        )  # fmt: skip

    def leaf(self) -> bytes:
        """SHA-256(0x00 || bytes): the entry's place in the Merkle tree."""
        return leaf_hash(self.to_bytes())

    def content(self) -> str:
        """The hex digest that is unique per slot: see `content_of`."""
        return content_of(self.payload, self.commit, self.params)

    def envelope(self) -> Envelope:
        """The statement the sender signed for this message; raises BadEntry for a local entry."""
        if self.peer is None or self.payload is None:
            raise BadEntry(f"slot {self.slot}: a local entry has no envelope")
        sender, receiver = (self.actor, self.peer) if self.dir == "send" else (self.peer, self.actor)
        p = self.payload
        return Envelope(self.job, self.slot, sender, receiver, p.schema, p.digest, p.size)


def message_body(
    *,
    actor: str,
    agreement: str,
    digest: str,
    dir: Direction,
    env: Env | None,
    job: str,
    log: str,
    mono: int,
    peer: str,
    phase: str,
    prev: str,
    round: int,
    schema: str,
    seq: int,
    size: int,
    slot: str,
    step: str,
    ts: str,
    alg: str = "sha256",
) -> bytes:
    """The canonical bytes of a message's entry, of fields that were checked: none needs escapes.

    Written out, for it is the log's busiest path; the same as `Entry.to_bytes` gives.
    """
    signed = "null" if env is None else f'{{"key":"{env.key}","sig":"{env.sig}"}}'
    return (
        f'{{"actor":"{actor}","agreement":"{agreement}","commit":[],"dir":"{dir}","env":{signed},"job":"{job}",'
        f'"log":"{log}","mono":{mono},"params":{{}},'
        f'"payload":{{"alg":"{alg}","bytes":{size},"digest":"{digest}","schema":"{schema}"}},'
        f'"peer":"{peer}","phase":"{phase}","prev":"{prev}","refs":[],"round":{round},"seq":{seq},'
        f'"slot":"{slot}","step":"{step}","ts":"{ts}","v":{ENTRY_VERSION}}}'
    ).encode("ascii")


def mapping(value: Mapping[str, object], what: str) -> Mapping[str, Json]:
    """`value`, which must be an object; raises BadEntry."""
    if not isinstance(value, Mapping):
        raise BadEntry(f"{what} must be an object, not {value!r:.60}")
    return cast("Mapping[str, Json]", value)


def content_of(payload: Payload | None, commit: Sequence[Mapping[str, object]], params: Mapping[str, object]) -> str:
    """What an entry says, as the hex digest of its payload, or without one that of `commit` and `params`."""
    if payload is not None:
        return payload.digest
    return sha256(encode({"commit": [dict(item) for item in commit], "params": dict(params)})).hexdigest()


_ENTRY_FIELDS = set(Entry.__dataclass_fields__)


def _direction(value: Json) -> Direction:
    if value not in _DIRECTIONS:
        raise BadEntry(f"dir must be send, recv or local, not {value!r:.60}")
    return cast("Direction", value)


def _refs(value: Json) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise BadEntry(f"refs must be a list of sequence numbers and slots, not {value!r:.60}")
    return tuple(word(item, "refs") if isinstance(item, str) else number(item, "refs") for item in value)


def _commitments(value: Json) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(value, list):
        raise BadEntry(f"commit must be a list of commitments, not {value!r:.60}")
    for item in value:
        if not isinstance(item, dict) or not {"kind", "digest"} <= item.keys():
            raise BadEntry(f"a commitment is an object with `kind` and `digest`, not {item!r:.60}")
        word(item["kind"], "commit.kind")
        matching(DIGEST, item["digest"], "commit.digest")
    return tuple(cast("list[dict[str, Json]]", value))


def _params(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise BadEntry(f"params must be an object, not {value!r:.60}")
    return value
