"""A message with its bytes: a party's word for it, and the payload that the word names by digest.

{"payload":"gqR0eXBl..","proof":PROOF}                                      PROOF: see `words`; payload in base64
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256

from ledger.canonical import Json
from ledger.errors import BadProof
from ledger.evidence.proven import fields
from ledger.evidence.words import Word, word
from ledger.evidence.wrong_digest import unpack
from ledger.payloads import Value, read_payload
from ledger.policy import Policy


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that a party vouches for, read; made by `shown`, so it is checked."""

    word: Word
    message: dict[str, Value]

    @property
    def place(self) -> tuple[str, str]:
        """Phase and round."""
        phase, round_, *_ = [*self.word.message.slot.split("/"), ""]
        return phase, round_


def shown_message(proof: Json, payload: bytes) -> dict[str, Json]:
    """The object that shows a message by a proof of `words`."""
    return {"payload": base64.b64encode(payload).decode(), "proof": proof}


def shown(value: Json, policy: Policy, *kinds: str) -> Shown:
    """The message, of one of the classes `kinds`, that `value` shows; raises a LedgerError where it shows none."""
    parts = fields(value, "payload", "proof")
    payload, vouched = unpack(parts["payload"]), word(parts["proof"], policy)
    named = vouched.message
    if named.kind not in kinds or (named.digest, named.size) != (sha256(payload).hexdigest(), len(payload)):
        raise BadProof(f"the payload is not the {' or '.join(kinds)} that {named.slot} names")
    message = read_payload(payload)
    if not isinstance(message, dict) or message.get("type") != named.kind:
        raise BadProof(f"the payload of {named.slot} is no {named.kind}")
    return Shown(vouched, message)


def require_one_conversation(accused: str, peer: str, messages: list[Shown]) -> None:
    """Raise BadProof unless the accused itself vouches for all of these, each between it and `peer`, in one run."""
    for one in messages:
        ends = {one.word.message.sender, one.word.message.receiver}
        if one.word.party != accused or ends != {accused, peer} or one.word.message.run != messages[0].word.message.run:
            raise BadProof("the accused does not vouch for all messages, or they are not of one conversation")
