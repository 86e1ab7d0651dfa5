"""An account under a signed head with every message of the conversation that it counts, so that what lacks shows.

    {"account":ENTRY,"heard":[STATEMENT,..],"said":[STATEMENT,..]}

Both lists begin with the first message; each leads from the empty digest to the one in the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.account import Account, account_of
from ledger.canonical import Json
from ledger.envelope import Envelope
from ledger.errors import BadProof
from ledger.evidence.entries import Held, held
from ledger.evidence.proven import fields, items
from ledger.policy import Policy


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a party's account says in full; made by `conversation`, so it is checked."""

    place: Held
    peer: str
    said: Sequence[Envelope]
    heard: Sequence[Envelope]


def conversation_proof(account: Json, said: Sequence[Envelope], heard: Sequence[Envelope]) -> dict[str, Json]:
    """The object for an account's `entry_proof` and all its messages, in order."""
    return {"account": account, "said": [m.to_json() for m in said], "heard": [m.to_json() for m in heard]}


def conversation(value: Json, policy: Policy) -> Conversation:
    """Check what `conversation_proof` gives; raises a LedgerError unless the messages give the account's digests."""
    parts = fields(value, "account", "heard", "said")
    place, told = account_held(parts["account"], policy)
    said, heard = ([Envelope.from_json(one) for one in items(parts[name], f"`{name}`")] for name in ("said", "heard"))
    found = Account(told.peer)
    for message in (*said, *heard):
        ends = {message.sender, message.receiver}
        if ends != {place.entry.actor, told.peer} or message.run != place.entry.job:
            raise BadProof(f"the message {message.slot} is not of the conversation that the account is about")
        found = found.with_messages([message])
    if found != told or any(m.sender != place.entry.actor for m in said):
        raise BadProof(f"the messages do not give the account in {place}")
    return Conversation(place, told.peer, said, heard)


def account_held(value: Json, policy: Policy) -> tuple[Held, Account]:
    """An account under a signed head; raises a LedgerError for every other entry."""
    place = held(value, policy)
    told = account_of(place.entry)
    if told is None:
        raise BadProof(f"{place} is no account")
    return place, told
