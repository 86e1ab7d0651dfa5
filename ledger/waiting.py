"""Messages that have their place in a log and whose entries are still to be written out.

A message costs its party a few microseconds while the protocol runs; the bytes, hashes and links of the entries of a
whole round are then made in one go, before the log shows or keeps anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from ledger.clock import format_time
from ledger.entry import Direction, message_body
from ledger.envelope import Env, Envelope
from ledger.store import Row


class _Message(NamedTuple):
    message: Envelope
    phase: str
    round: int
    moment: datetime
    mono: int
    env: Env | None


class Waiting:
    """Those of one party's log of one run. Every message was checked (`ledger.entry.check_message`)."""

    def __init__(self, party: str, run: str, agreement: str) -> None:
        self._party, self._run, self._agreement = party, run, agreement
        self._messages: list[_Message] = []

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Envelope, phase: str, round: int, moment: datetime, mono: int, env: Env | None) -> None:
        """Put a message at the end. `mono`: nanoseconds since the log began."""
        self._messages.append(_Message(message, phase, round, moment, mono, env))

    def way(self, message: Envelope) -> tuple[Direction, str]:
        """Whether it is sent or received, and the peer."""
        return ("send", message.receiver) if message.sender == self._party else ("recv", message.sender)

    def write_out(self, seq: int, previous: bytes) -> Iterator[Row]:
        """All of them as entries from position `seq` on, the first after the leaf `previous`; none waits any more."""
        messages, self._messages = self._messages, []
        log = f"{self._party}/{self._run}"
        for number, (message, phase, round, moment, mono, env) in enumerate(messages, seq):
            dir, peer = self.way(message)
            body = message_body(
                actor=self._party, agreement=self._agreement, digest=message.digest, dir=dir, env=env, job=self._run,
                log=log, mono=mono, peer=peer, phase=phase, prev=previous.hex(), round=round, schema=message.kind,
                seq=number, size=message.size, slot=message.slot, step=message.kind, ts=format_time(moment),
            )  # fmt: skip
            previous = sha256(b"\x00" + body).digest()
            yield Row(number, body, previous)
