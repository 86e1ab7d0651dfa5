"""Denial: a party's signed account of a conversation lacks a message that the party itself vouches for.

    {"conversation":CONVERSATION,"kind":"denial","statement":PROOF}
    {"conversation":CONVERSATION,"kind":"denial","later":ENTRY,"statement":PROOF}
    {"conversation":CONVERSATION,"kind":"denial","later":ENTRY,"seen":ENTRY,"statement":PROOF}

`statement` proves what the accused said or heard. It must have come before what the account ends with:

* where an earlier account proves it, accounts being entered in order, nothing more is needed;
* where an entry of the accused's own log proves it, `later` is an entry after that, a message in the account;
* where an envelope proves it, `later` is a message in the account which the accused dates clearly (five minutes) after
  an independent witness cosigned a head over `seen`, an entry of any log that records the statement.

Anyone with the policy can check it. Not provable: the denial of a message since the last account, for an account may
end before it. Then a challenge is needed, see selective abort.
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.errors import BadProof
from ledger.evidence.conversation import Conversation, conversation
from ledger.evidence.entries import CLOCK_ERROR, Held, held, seen
from ledger.evidence.proven import Proven, fields, write
from ledger.evidence.words import Word, word
from ledger.policy import Policy

KIND = "denial"


def denial_evidence(statement: Json, conversation: Json, *, later: Json = None, seen: Json = None) -> bytes:
    """A proof of `words`, a `conversation_proof`, and the `entry_proof`s that show what came first."""
    more = {name: proof for name, proof in (("later", later), ("seen", seen)) if proof}
    return write(KIND, {"statement": statement, "conversation": conversation, **more})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who denies a message; raises a LedgerError when the file does not show it."""
    parts = fields(value, "conversation", "kind", "statement", optional=("later", "seen"))
    statement, account = word(parts["statement"], policy), conversation(parts["conversation"], policy)
    message, entry = statement.message, account.place.entry
    if (statement.party, message.run) != (entry.actor, entry.job):
        raise BadProof("statement and account are not of one party and run")
    if account.peer not in (message.sender, message.receiver):
        raise BadProof("the statement is not of the conversation that the account is about")
    if message in (*account.said, *account.heard):
        raise BadProof("the account holds the message")
    later = held(parts["later"], policy) if "later" in parts else None
    if not _in_order(statement, account, later, held(parts["seen"], policy) if "seen" in parts else None, policy):
        raise BadProof("nothing shows that the message came before what the account ends with")
    told = f"denies the message in its account of the conversation with {account.peer}"
    return Proven(
        entry.actor, entry.job, told, message.slot, KIND, str(statement), f"account without it: {account.place}"
    )


def _in_order(statement: Word, account: Conversation, later: Held | None, record: Held | None, policy: Policy) -> bool:
    if statement.by_account and statement.seq is not None:
        return statement.seq < account.place.entry.seq
    if later is None or later.entry.log != account.place.entry.log:
        return False
    # Of the same direction: a party says, and hears, in one order, which does not hold across the two.
    alike = account.said if statement.said else account.heard
    if later.entry.envelope() not in alike:
        return False
    if statement.seq is not None:
        return statement.seq < later.entry.seq
    moments = seen(record.signed, policy) if record is not None and record.entry.envelope() == statement.message else []
    return bool(moments) and later.moment > moments[0] + CLOCK_ERROR
