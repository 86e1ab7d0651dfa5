"""Out of order: a log that speaks of what it cannot have held yet, or accounts of a conversation that shrink.

    {"entry":ENTRY,"kind":"out-of-order"}                    refers to a sequence number that is not before its own
    {"entry":ENTRY,"kind":"out-of-order","later":ENTRY}      refers to a slot that its log holds only later
    {"accounts":[ENTRY,ENTRY],"kind":"out-of-order"}         the later account has fewer messages, or others

Anyone with the policy can check it. Not provable: that a message was sent before another was heard, where no `refs`
say so; and a reference to a slot that the log does not hold at all, without the whole log.
"""

from __future__ import annotations

from ledger.canonical import Json
from ledger.errors import BadProof
from ledger.evidence.conversation import account_held
from ledger.evidence.entries import Held, held
from ledger.evidence.proven import Proven, fields, items, write
from ledger.policy import Policy

KIND = "out-of-order"


def order_evidence(entry: Json, later: Json = None) -> bytes:
    """The `entry_proof` of an entry with an impossible reference, and for a slot that of the entry it names."""
    return write(KIND, {"entry": entry, "later": later} if later else {"entry": entry})


def shrunk_evidence(first: Json, second: Json) -> bytes:
    """The `entry_proof`s of two accounts about one peer; the second is the later one in the log."""
    return write(KIND, {"accounts": [first, second]})


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Whose log is out of order; raises a LedgerError when the file does not show it."""
    if "accounts" in value:
        return _shrunk(items(fields(value, "accounts", "kind")["accounts"], "accounts"), policy)
    parts = fields(value, "entry", "kind", optional=("later",))
    place = held(parts["entry"], policy)
    other = _slot(place, held(parts["later"], policy)) if "later" in parts else _number(place)
    told = f"refers in entry {place.entry.seq} to what its log did not hold yet: {other}"
    return Proven(place.entry.actor, place.entry.job, told, place.entry.slot, KIND, str(place), other)


def _number(place: Held) -> str:
    late = [ref for ref in place.entry.refs if isinstance(ref, int) and ref >= place.entry.seq]
    if not late:
        raise BadProof("the entry's references by number are all to earlier entries")
    return f"sequence number {late[0]}"


def _slot(place: Held, later: Held) -> str:
    a, b = place.entry, later.entry
    if a.log != b.log or a.seq >= b.seq or b.slot not in a.refs:
        raise BadProof("the entry does not refer to the slot of a later entry of its log")
    return str(later)


def _shrunk(both: list[Json], policy: Policy) -> Proven:
    if len(both) != 2:
        raise BadProof(f"accounts that contradict each other are two, not {len(both)}")
    (first, before), (second, after) = (account_held(one, policy) for one in both)
    a, b = first.entry, second.entry
    if a.log != b.log or before.peer != after.peer or a.seq >= b.seq:
        raise BadProof("the two accounts are not of one conversation, the later one second")
    said = after.said < before.said or (after.said == before.said and after.said_digest != before.said_digest)
    heard = after.heard < before.heard or (after.heard == before.heard and after.heard_digest != before.heard_digest)
    if not said and not heard:
        raise BadProof("the later account goes on from the earlier one")
    told = f"takes back part of its account of the conversation with {before.peer}"
    return Proven(a.actor, a.job, told, b.slot, KIND, f"{first}: {before}", f"{second}: {after}")
