"""Frames and messages as they travel."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence

import msgspec
from msgspec import inspect as layout

from ledger.envelope import Envelope as Statement
from ledger.envelope import sign_envelope
from ledger.keys import Identity
from vfl import desk, wire
from vfl.channel import Record, Step, digest_of
from vfl.protocols.boost import TreeClosed

from .markdown import table
from .protocol_scripts import scripts


def wire_example() -> str:
    """One message as it travels, cut into its parts; the parts are compared with what the code encodes."""
    identity = Identity("bank", hashlib.sha256(b"bank").digest())
    body = wire.pack(TreeClosed(False, True))
    step = Step("train", 3, "TreeClosed", "bank", "telecom", 41)
    digest = digest_of(body)
    said = Statement("run-7", step.slot, "bank", "telecom", "TreeClosed", digest.hex(), len(body))
    signature = bytes.fromhex(sign_envelope(identity.entry_key("run-7"), said).sig)
    frame = msgspec.msgpack.encode(desk.Envelope(step.slot, signature, body))
    parts = [
        (len(frame).to_bytes(4, "big"), f"sockets only: {len(frame)} bytes follow"),
        (b"\x84", "map of 4"),
        (_text("type") + _text("Envelope"), '"type": "Envelope"'),
        (_text("slot"), '"slot":'),
        (_text(step.slot), f'  "{step.slot}"'),
        (_text("signature") + b"\xc4\x40", '"signature": 64 bytes'),
        (signature, "  Ed25519"),
        (_text("body") + b"\xc4" + bytes([len(body)]), f'"body": {len(body)} bytes'),
        (b"\x83", "  map of 3"),
        (_text("type") + _text("TreeClosed"), '  "type": "TreeClosed"'),
        (_text("last") + b"\xc2", '  "last": false'),
        (_text("boundary") + b"\xc3", '  "boundary": true'),
    ]
    if b"".join(part for part, _ in parts) != parts[0][0] + frame:
        raise ValueError("the example of the wire is not what the code encodes")
    lines = [line for part, words in parts for line in _dump(part, words)]
    return "\n".join(["```text", *lines, "```", "", f"SHA-256 of the body: `{digest.hex()}`"])


def _text(words: str) -> bytes:
    return msgspec.msgpack.encode(words)


def _dump(part: bytes, words: str) -> list[str]:
    width = 24
    rows = [part[start : start + width].hex(" ") for start in range(0, len(part), width)]
    return [f"{rows[0]:<{3 * width}} {words}".rstrip(), *rows[1:]]


def limits() -> str:
    """The sizes that a reader enforces."""
    return table(
        ("what", "at most", "in the code"),
        [
            ("a message", f"{wire.MAX_MESSAGE:,} bytes", "`vfl.wire.MAX_MESSAGE`"),
            ("a frame", f"{desk.MAX_FRAME:,} bytes", "`vfl.desk.MAX_FRAME`"),
        ],
    )


def frames() -> str:
    """The kinds of frames and their fields."""
    kinds = (desk.Opened, desk.Envelope, desk.Head, desk.Cosignature)
    return table(("frame", "fields, in order", "meaning"), [_struct(kind) for kind in kinds])


def messages() -> str:
    """Every message of every protocol."""
    rows = [(script.name, *_struct(kind)) for script in scripts() for kind in script.messages]
    return table(("protocol", "message", "fields, in order", "meaning"), rows)


def transcript_fields() -> str:
    """The fields of a transcript record."""
    return table(("record", "fields, in order", "meaning"), [_struct(Record)])


def _struct(kind: type) -> tuple[str, str, str]:
    fields = ", ".join(f"`{f.name}` {_wire_type(f.type)}" for f in _fields_of(kind))
    return f"`{kind.__name__}`", fields, (inspect.getdoc(kind) or "").replace("\n", " ")


def _fields_of(kind: type) -> Sequence[layout.Field]:
    info = layout.type_info(kind)
    assert isinstance(info, layout.StructType)
    return [field for field in info.fields if field.name != "blind"]  # of every message: said once


def _wire_type(kind: layout.Type) -> str:
    match kind:
        case layout.BoolType():
            return "bool"
        case layout.IntType(ge=low, le=high):
            return f"int {low} to {high:,}" if high is not None else "int"
        case layout.FloatType():
            return "float64"
        case layout.StrType(max_length=most):
            return f"text, {most} at most" if most else "text"
        case layout.BytesType(min_length=least, max_length=most):
            return "bytes" if most is None else f"{most} bytes" if least == most else f"bytes, {most:,} at most"
        case layout.ListType(item_type=item, max_length=most):
            return f"list of {_wire_type(item)}" + (f", {most:,} at most" if most else "")
        case layout.DictType(key_type=key, value_type=value, max_length=most):
            return f"map of {_wire_type(key)} to {_wire_type(value)}" + (f", {most:,} at most" if most else "")
        case layout.StructType(cls=inner):
            fields = ", ".join(f"`{f.name}` {_wire_type(f.type)}" for f in _fields_of(inner))
            return f"maps ({fields})"
    raise ValueError(f"no words for {kind}")
