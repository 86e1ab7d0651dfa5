"""Dropping out and selective abort: a question heard, a witnessed deadline, and no answer.

    {"challenge":ENTRY,"conversation":CONVERSATION,"kind":"selective-abort"}
    {"challenge":ENTRY,"conversation":CONVERSATION,"kind":"dropping-out","tail":[ENTRY,..]}

The challenge is an entry of the asking party, under a head that an independent witness cosigned at least five minutes
before the deadline. It names the slots of question and answer, which belong to one phase and round:

    step "challenge", params {"answer":"..","deadline":"2026-..Z","peer":"..","question":".."}

It is sent as well: a message whose digest is the SHA-256 of the canonical `params`. The accused's account shows that
it heard question and challenge and did not say the answer. What is missing is that it had its time:

selective abort   the accused dates this account after the deadline: it was there, and did not answer
dropping out      an independent witness cosigned the accused's head, as the newest it knew, after the deadline; `tail`
                  holds every entry from the account to that head, none of which is the answer

Anyone with the policy can check it; the tail comes from the accused's log. Not provable: without a witnessed deadline,
anything; whether an answer was due, which only the agreement says; why a party was silent, and whether its answer was
lost on the way to a witness that it could not reach.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from ledger.account import account_of
from ledger.canonical import Json, encode
from ledger.clock import parse_time
from ledger.errors import BadProof
from ledger.evidence.conversation import Conversation, conversation
from ledger.evidence.entries import CLOCK_ERROR, Held, held, seen
from ledger.evidence.proven import Proven, fields, items, text, write
from ledger.policy import Policy

DROPPED, ABORTED = "dropping-out", "selective-abort"
STEP = "challenge"


def dropping_out_evidence(challenge: Json, conversation: Json, tail: list[Json]) -> bytes:
    """The challenge (`entry_proof`), the account in full, and the entries (`entry_proof`) after it under its head."""
    return write(DROPPED, {"challenge": challenge, "conversation": conversation, "tail": tail})


def selective_abort_evidence(challenge: Json, conversation: Json) -> bytes:
    """The challenge (`entry_proof`) and an account in full (`conversation_proof`) dated after the deadline."""
    return write(ABORTED, {"challenge": challenge, "conversation": conversation})


def check_dropped(value: dict[str, Json], policy: Policy) -> Proven:
    """Who fell silent; raises a LedgerError when the file does not show it."""
    parts = fields(value, "challenge", "conversation", "kind", "tail")
    asked, account, answer, deadline = _unanswered(parts, policy)
    head = account.place.signed.head
    late = [moment for moment in seen(account.place.signed, policy) if moment > deadline + CLOCK_ERROR]
    if not late:
        raise BadProof("no independent witness cosigned the account's head clearly after the deadline")
    rest = [held(one, policy) for one in items(parts["tail"], "tail")]
    here = account.place.entry
    if [one.entry.seq for one in rest] != list(range(here.seq + 1, head.size)):
        raise BadProof(f"the tail is not all entries from {here.seq + 1} to {head.size - 1}")
    if any(one.signed.head != head or one.entry.slot == answer or _newer(one, account.peer) for one in rest):
        raise BadProof("the tail is of another head, or holds the answer or a newer account")
    told = f"did not answer by {deadline.isoformat()}; at {late[-1].isoformat()} its newest head was still without it"
    return Proven(
        here.actor, here.job, told, answer, DROPPED, str(asked), f"account without the answer: {account.place}"
    )


def check_aborted(value: dict[str, Json], policy: Policy) -> Proven:
    """Who was there and withheld an answer; raises a LedgerError when the file does not show it."""
    asked, account, answer, deadline = _unanswered(fields(value, "challenge", "conversation", "kind"), policy)
    here = account.place.entry
    if account.place.moment <= deadline + CLOCK_ERROR:
        raise BadProof("the accused does not date the account clearly after the deadline")
    told = f"withheld an answer due by {deadline.isoformat()}; its account of {here.ts} is without it"
    return Proven(
        here.actor, here.job, told, answer, ABORTED, str(asked), f"account without the answer: {account.place}"
    )


def _unanswered(parts: dict[str, Json], policy: Policy) -> tuple[Held, Conversation, str, datetime]:
    asked, account = held(parts["challenge"], policy), conversation(parts["conversation"], policy)
    here, entry = account.place.entry, asked.entry
    params = fields(dict(entry.params), "answer", "deadline", "peer", "question")
    answer, question = text(params["answer"], "answer"), text(params["question"], "question")
    deadline = parse_time(text(params["deadline"], "deadline"))
    if entry.step != STEP or entry.dir != "local":
        raise BadProof(f"{asked} is no challenge")
    if (entry.actor, entry.job, params["peer"]) != (account.peer, here.job, here.actor):
        raise BadProof("challenge and account are not of one conversation")
    if not any(moment + CLOCK_ERROR <= deadline for moment in seen(asked.signed, policy)):
        raise BadProof("no independent witness cosigned the challenge at least five minutes before the deadline")
    if not belongs(question, answer, entry.actor, here.actor):
        raise BadProof(f"{answer} is no answer of {here.actor} to {question}")
    digest = sha256(encode(params)).hexdigest()
    heard = {one.slot for one in account.heard}
    if question not in heard or all(one.digest != digest for one in account.heard):
        raise BadProof("the account does not show that question and challenge were heard")
    if any(one.slot == answer for one in account.said):
        raise BadProof("the account holds the answer")
    return asked, account, answer, deadline


def belongs(question: str, answer: str, asker: str, accused: str) -> bool:
    """Whether both slots are of one phase and round, and the one asks what the other answers."""
    match question.split("/"), answer.split("/"):
        case [phase, round_, _, asking, _], [phase_, round__, _, answering, _]:
            ends = (asking, answering) == (f"{asker}>{accused}", f"{accused}>{asker}")
            return ends and (phase, round_) == (phase_, round__)
    return False


def _newer(one: Held, peer: str) -> bool:
    told = account_of(one.entry)
    return told is not None and told.peer == peer
