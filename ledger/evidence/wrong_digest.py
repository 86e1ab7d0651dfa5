"""Wrong digest: what a party says about a message is not true of the message.

    {"kind":"wrong-digest","payload":BASE64,"statement":PROOF}                    the payload has another length
    {"delivery":PROOF,"kind":"wrong-digest","payload":BASE64,"statement":PROOF}   its delivery is signed, with another
                                                                                  digest than the statement

Anyone with the policy can check it. Not provable: that bytes which fit no signed statement came from the accused. A
receiver could have made them up, so it has to refuse a message whose digest is wrong before it goes on.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

from ledger.canonical import Json
from ledger.errors import BadEntry, BadProof
from ledger.evidence.proven import Proven, fields, text, write
from ledger.evidence.words import said
from ledger.policy import Policy

KIND = "wrong-digest"


def wrong_digest_evidence(statement: Json, payload: bytes, delivery: Json = None) -> bytes:
    """What a party says (a proof of `words`), the payload, and the party's other word under which it was delivered."""
    more = {"delivery": delivery} if delivery else {}
    return write(KIND, {"statement": statement, "payload": base64.b64encode(payload).decode(), **more})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who said what is not true of its message; raises a LedgerError when the file does not show it."""
    parts = fields(value, "kind", "payload", "statement", optional=("delivery",))
    payload = unpack(parts["payload"])
    statement = said(parts["statement"], policy)
    signed = said(parts["delivery"], policy) if "delivery" in parts else statement
    a, b = statement.message, signed.message
    digest = sha256(payload).hexdigest()
    if b.digest != digest:
        raise BadProof("the payload is not the one that the party signed the delivery of")
    if (a.sender, a.run, a.slot) != (b.sender, b.run, b.slot) or (a.digest, a.size) == (digest, len(payload)):
        raise BadProof("statement and payload do not contradict each other")
    delivered = f"payload of {len(payload)} bytes, SHA-256 {digest}, which it {signed}"
    told = f"states {a.size} bytes with digest {a.digest}; delivered {len(payload)} bytes with digest {digest}"
    return Proven(a.sender, a.run, told, a.slot, KIND, str(statement), delivered)


def unpack(value: Json) -> bytes:
    """A payload from its one form as base64 text; raises BadEntry."""
    try:
        data = base64.b64decode(text(value, "payload"), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode() != value:
        raise BadEntry("a payload is base64 in its one form")
    return data
