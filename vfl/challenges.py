"""A question that was not answered, asked again with a deadline: what both ends' ledgers hold of it.

asker     a local entry `challenge`, params {"answer":SLOT,"deadline":TIME,"peer":NAME,"question":SLOT}
peer      once it was given the challenge by hand (`tallystick challenge hear`): a received message whose digest is that
          of the canonical params, right after the question, and an account with it
resumed   the peer says when a link opens what it heard; the asker then counts it as said, right after the question too

So accounts agree at both ends whether or not the challenge arrived, and neither roles nor transcripts know of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.canonical import Json, encode
from ledger.entry import Entry, Payload, slot_name
from ledger.envelope import Env
from ledger.envelope import Envelope as Statement
from ledger.errors import BadEntry
from ledger.evidence.silence import STEP, belongs
from ledger.log import Log

FIELDS = {"answer", "deadline", "peer", "question"}


@dataclass(frozen=True)
class Challenge:
    """`asker` asks for the message at `answer`, due since `question`. `number`: of this question's challenges."""

    asker: str
    peer: str
    question: str
    answer: str
    deadline: str
    number: int

    @classmethod
    def of(cls, entry: Entry) -> Challenge:
        """The challenge in an entry of the asker, or in that of a peer that heard it. Raises BadEntry for others."""
        params = dict(entry.params)
        asker = entry.peer if entry.dir == "recv" else entry.actor
        if entry.step != STEP or set(params) != FIELDS or asker is None:
            raise BadEntry(f"entry {entry.seq} of {entry.log} is no challenge")
        words = {name: str(value) for name, value in params.items()}
        found = cls(asker, number=int(entry.slot.rpartition("/")[2]), **words)
        if not belongs(found.question, found.answer, found.asker, found.peer):
            raise BadEntry(f"{found.answer} is no answer of {found.peer} to {found.question}")
        return found

    @property
    def params(self) -> dict[str, Json]:
        """What the asker's entry holds."""
        return {"answer": self.answer, "deadline": self.deadline, "peer": self.peer, "question": self.question}

    @property
    def place(self) -> tuple[str, int]:
        """Phase and round of the question."""
        phase, round, *_ = self.question.split("/")
        return phase, int(round)

    def slot(self, *, local: bool) -> str:
        """In the asker's log as its own entry, or as a message to the peer."""
        return slot_name(*self.place, STEP, self.asker, self.asker if local else self.peer, n=self.number)

    def statement(self, run: str) -> Statement:
        """The challenge as a message."""
        payload = Payload.of(encode(self.params), STEP)
        slot = self.slot(local=False)
        return Statement(run, slot, self.asker, self.peer, STEP, payload.digest, payload.size)

    def enter_message(self, log: Log, env: Env | None) -> None:
        """As sent or received, by whose log it is. `env`: the asker's signature, where each message has one."""
        phase, round = self.place
        sent, payload = log.party == self.asker, Payload.of(encode(self.params), STEP)
        log.append(
            phase=phase, round=round, step=STEP, slot=self.slot(local=False), dir="send" if sent else "recv",
            peer=self.peer if sent else self.asker, payload=payload, params=self.params, env=None if sent else env,
        )  # fmt: skip


def issued(log: Log) -> list[Challenge]:
    """What the log's party asked."""
    return [Challenge.of(entry) for entry in log.entries() if (entry.step, entry.dir) == (STEP, "local")]


def heard(log: Log) -> list[tuple[Challenge, Env | None]]:
    """What the log's party heard, each with the asker's signature where it has one."""
    return [(Challenge.of(entry), entry.env) for entry in log.entries() if (entry.step, entry.dir) == (STEP, "recv")]
