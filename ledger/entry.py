"""Entries: what a log holds, one canonical JSON object per protocol position; and the envelopes parties exchange.

{"actor":"bank","agreement":"9f..","commit":[],"dir":"send","env":{"key":"..","sig":".."},"job":"run-7",
 "log":"bank/run-7","mono":812345,"params":{},"payload":{"alg":"sha256","bytes":4096,"digest":"..","schema":"Hists"},
 "peer":"telecom","phase":"train","prev":"..","refs":[3],"round":4,"seq":17,"slot":"train/4/hist/bank>telecom/0",
 "step":"hist","ts":"2026-01-31T10:00:00.000001Z","v":1}

leaf      = SHA-256(0x00 || bytes)
envelope  = Ed25519(entry key, "tallystick-envelope-v1" || 0x0A || canonical {run, slot, from, to, kind, digest, bytes})

An entry is authentic because it lies under its log's signed head. `env` is the sender's envelope where it signs every
message; where it signs at the end of a round, `env` is null and an account of the conversation (`ledger.account`)
covers the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias, cast, get_args

from ledger.canonical import MAX_INT, Json, decode, encode
from ledger.clock import parse_time
from ledger.errors import BadEntry, BadKey, BadSignature
from ledger.keys import SigningKey, check_party, verify_signature
from ledger.merkle import leaf_hash

ENTRY_VERSION = 1
ENVELOPE_LABEL = b"tallystick-envelope-v1\n"

Direction: TypeAlias = Literal["send", "recv", "local"]

_DIRECTIONS = get_args(Direction)
_HEX32 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX64 = re.compile(r"[0-9a-f]{128}", re.ASCII)
_DIGEST = re.compile(r"(?:[0-9a-f]{2}){16,64}", re.ASCII)
_WORD_CLASS = r"[!#-\[\]-~]{1,200}"  # printable, without space and without what JSON would have to escape
_WORD = re.compile(_WORD_CLASS, re.ASCII)
_FIVE_WORDS = re.compile(" ".join([_WORD_CLASS] * 5), re.ASCII)


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
        fields = _fields(value, {"alg", "bytes", "digest", "schema"}, "payload")
        alg, schema = _word(fields["alg"], "payload.alg"), _word(fields["schema"], "payload.schema")
        digest, size = _match(_DIGEST, fields["digest"], "payload.digest"), _number(fields["bytes"], "payload.bytes")
        return cls(alg, digest, size, schema)


@dataclass(frozen=True, slots=True)
class Env:
    """A sender's envelope signature and the entry key it was made with, both lowercase hex."""

    key: str
    sig: str

    def to_json(self) -> dict[str, Json]:
        """The object under `env`."""
        return {"key": self.key, "sig": self.sig}

    @classmethod
    def from_json(cls, value: Json) -> Env:
        """Read the object under `env`; raises BadEntry. Proves nothing."""
        fields = _fields(value, {"key", "sig"}, "env")
        return cls(_match(_HEX32, fields["key"], "env.key"), _match(_HEX64, fields["sig"], "env.sig"))


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a sender signs for each message: `digest` (hex) and `size` (bytes) of a message `kind` at one `slot`."""

    run: str
    slot: str
    sender: str
    receiver: str
    kind: str
    digest: str
    size: int

    def to_json(self) -> dict[str, Json]:
        """The statement as an object."""
        return {
            "run": self.run,
            "slot": self.slot,
            "from": self.sender,
            "to": self.receiver,
            "kind": self.kind,
            "digest": self.digest,
            "bytes": self.size,
        }

    @classmethod
    def from_json(cls, value: Json) -> Envelope:
        """Read the statement; raises BadEntry."""
        fields = _fields(value, {"run", "slot", "from", "to", "kind", "digest", "bytes"}, "envelope")
        return cls(
            run=_word(fields["run"], "run"),
            slot=_word(fields["slot"], "slot"),
            sender=_word(fields["from"], "from"),
            receiver=_word(fields["to"], "to"),
            kind=_word(fields["kind"], "kind"),
            digest=_match(_DIGEST, fields["digest"], "digest"),
            size=_number(fields["bytes"], "bytes"),
        )

    def message(self) -> bytes:
        """The bytes that are signed. Raises BadEntry for a field that no reader would take."""
        if not _FIVE_WORDS.fullmatch(f"{self.run} {self.slot} {self.sender} {self.receiver} {self.kind}"):
            raise BadEntry(f"an envelope holds a word of the wrong form: {self!r:.300}")
        _match(_DIGEST, self.digest, "digest")
        # Written out, for this is made three times a message; words need no escapes, so it is what `encode` gives.
        text = (
            f'{{"bytes":{self.size},"digest":"{self.digest}","from":"{self.sender}","kind":"{self.kind}",'
            f'"run":"{self.run}","slot":"{self.slot}","to":"{self.receiver}"}}'
        )
        return ENVELOPE_LABEL + text.encode("ascii")


def sign_envelope(key: SigningKey, envelope: Envelope) -> Env:
    """Sign a statement with the sender's entry key. Ask the log first: it refuses a second digest for one slot."""
    return Env(key.public.hex(), key.sign(envelope.message()).hex())


def verify_envelope(public: bytes, envelope: Envelope, env: Env) -> None:
    """Raise BadSignature unless `env` was made over `envelope` by the entry key `public` (32 bytes)."""
    if env.key != public.hex():
        raise BadSignature(f"slot {envelope.slot}: the envelope names key {env.key:.16}.., not {public.hex():.16}..")
    if not verify_signature(public, bytes.fromhex(env.sig), envelope.message()):
        raise BadSignature(f"slot {envelope.slot}: the envelope signature of {envelope.sender} does not fit")


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
        f = _fields(value, _ENTRY_FIELDS, "entry")
        if _number(f["v"], "v") != ENTRY_VERSION:
            raise BadEntry(f"entry version {f['v']!r:.20} is unknown; this program reads version {ENTRY_VERSION}")
        entry = cls(
            log=_word(f["log"], "log"),
            seq=_number(f["seq"], "seq"),
            prev=_match(_HEX32, f["prev"], "prev"),
            ts=_word(f["ts"], "ts"),
            mono=_number(f["mono"], "mono"),
            job=_word(f["job"], "job"),
            agreement=_match(_HEX32, f["agreement"], "agreement"),
            phase=_word(f["phase"], "phase"),
            round=_number(f["round"], "round"),
            step=_word(f["step"], "step"),
            slot=_word(f["slot"], "slot"),
            actor=_word(f["actor"], "actor"),
            peer=None if f["peer"] is None else _word(f["peer"], "peer"),
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

        Written out for the log's busiest path: every field is checked but the log's own, and none needs escapes. Raises
        BadEntry.
        """
        self._check_shape()
        p, env = self.payload, self.env
        assert p is not None
        if not _FIVE_WORDS.fullmatch(f"{self.phase} {self.step} {self.slot} {p.alg} {p.schema}"):
            raise BadEntry(f"slot {self.slot!a:.200}: a word of the wrong form in {self!r:.600}")
        _match(_DIGEST, p.digest, "payload.digest")
        _direction(self.dir)
        signed = "null"
        if env is not None:
            signed = f'{{"key":"{_match(_HEX32, env.key, "env.key")}","sig":"{_match(_HEX64, env.sig, "env.sig")}"}}'
        _number(self.round, "round")
        _number(p.size, "payload.bytes")
        return (
            f'{{"actor":"{self.actor}","agreement":"{self.agreement}","commit":[],"dir":"{self.dir}",'
            f'"env":{signed},"job":"{self.job}","log":"{self.log}","mono":{self.mono},'
            f'"params":{{}},"payload":{{"alg":"{p.alg}","bytes":{p.size},"digest":"{p.digest}","schema":"{p.schema}"}},'
            f'"peer":"{self.peer}","phase":"{self.phase}","prev":"{self.prev}","refs":[],"round":{self.round},'
            f'"seq":{self.seq},"slot":"{self.slot}","step":"{self.step}","ts":"{self.ts}","v":{self.v}}}'
        ).encode("ascii")

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


def _fields(value: Json, names: set[str], what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise BadEntry(f"{what} must be an object, not {value!r:.60}")
    if value.keys() != names:
        wrong = ", ".join(sorted(value.keys() ^ names))
        raise BadEntry(f"{what} lacks or should not have: {wrong:.200}")
    return value


def _match(pattern: re.Pattern[str], value: Json, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadEntry(f"{what} has the wrong form: {value!r:.80}")
    return value


def _word(value: Json, what: str) -> str:
    return _match(_WORD, value, what)


def _number(value: Json, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INT:
        raise BadEntry(f"{what} must be an integer from 0 to 2**53 - 1, not {value!r:.60}")
    return value


def _direction(value: Json) -> Direction:
    if value not in _DIRECTIONS:
        raise BadEntry(f"dir must be send, recv or local, not {value!r:.60}")
    return cast("Direction", value)


def _refs(value: Json) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise BadEntry(f"refs must be a list of sequence numbers and slots, not {value!r:.60}")
    return tuple(_word(item, "refs") if isinstance(item, str) else _number(item, "refs") for item in value)


def _commitments(value: Json) -> tuple[Mapping[str, Json], ...]:
    if not isinstance(value, list):
        raise BadEntry(f"commit must be a list of commitments, not {value!r:.60}")
    for item in value:
        if not isinstance(item, dict) or not {"kind", "digest"} <= item.keys():
            raise BadEntry(f"a commitment is an object with `kind` and `digest`, not {item!r:.60}")
        _word(item["kind"], "commit.kind")
        _match(_DIGEST, item["digest"], "commit.digest")
    return tuple(cast("list[dict[str, Json]]", value))


def _params(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise BadEntry(f"params must be an object, not {value!r:.60}")
    return value
