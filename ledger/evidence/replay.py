"""Replay: a statement of one run or slot, entered as if it had been made in another.

    {"entry":ENTRY,"kind":"replay","statement":PROOF}

`entry` is a message in the accused's own log that carries an envelope signature (`env`). The signature does not fit
that message, for it fits `statement`, which the same sender made in another run or at another slot, and no key that is
taken lets a signature fit two messages (`ledger.keys.verify_signature`). The accused is the keeper of the log: it
passed off an old word as a new one. Envelopes name run and slot, so nobody else can be misled.

Not provable: that a sender says the same bytes twice. Equal digests in two runs or slots are no misbehaviour where
messages follow from seeds or repeat by nature, and the ledger does not know which kinds are fresh. Not provable
without envelopes (`privacy.receipts = "round"`), where a replayed message is simply said anew, by its sender.
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.envelope import Env
from ledger.errors import BadProof
from ledger.evidence.entries import held
from ledger.evidence.proven import Proven, fields, write
from ledger.evidence.words import said
from ledger.policy import Policy

KIND = "replay"


def replay_evidence(entry: Json, statement: Json) -> bytes:
    """The `entry_proof` of the accused and the `envelope_proof` of where the signature in it was made."""
    return write(KIND, {"entry": entry, "statement": statement})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who entered an old statement as a new one; raises a LedgerError when the file does not show it."""
    parts = fields(value, "entry", "kind", "statement")
    place = held(parts["entry"], policy)
    statement = fields(parts["statement"], "certificate", "env", "envelope")
    old, signed = said(statement, policy), Env.from_json(statement["env"])
    env, new = place.entry.env, place.entry.envelope()
    if env is None or env != signed or new.sender != old.party:
        raise BadProof("the entry does not carry the signature of the statement")
    if (new.run, new.slot) == (old.message.run, old.message.slot):
        raise BadProof("the entry is of the same run and slot")
    told = (
        f"entered as said in {new.run} at {new.slot} what {old.party} said in {old.message.run} at {old.message.slot}"
    )
    return Proven(place.entry.actor, new.run, told, new.slot, KIND, str(place), f"{old.party} {old}")
