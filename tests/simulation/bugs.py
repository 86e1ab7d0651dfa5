"""Bugs planted in the product's code, one at a time: each must break a promise within 500 seeds.

Every bug is the real code with one thing left out or done in another order. `BUGS` has them by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from unittest import mock

from ledger import ending, witness
from ledger import log as ledger_log
from ledger.log import Log
from ledger.store import Head, PeerAdvance
from vfl import desk, notary, transcripts
from vfl.channel import Record
from vfl.desk import Envelope, LiveChannel
from vfl.errors import ProtocolError
from vfl.notary import LedgerNotary
from vfl.transcripts import FileTranscript
from vfl.wire import Message, pack

from . import machine

Bug = Callable[[], AbstractContextManager[Any]]
BUGS: dict[str, Bug] = {}


def planted(bug: Callable[[], Iterator[None]]) -> Bug:
    """Enter a bug in the list."""
    BUGS[bug.__name__] = contextmanager(bug)
    return BUGS[bug.__name__]


class _AnySlot(str):
    """Equals every slot."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)


class _SameKind(str):
    """Equals every slot that differs in the number of the message only."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.rpartition("/")[0] == other.rpartition("/")[0]


def _with_slots(kind: type[str]) -> AbstractContextManager[Any]:
    """Every message that is taken off a stream claims such a slot."""
    real = desk._decode

    def decode(frame: bytes, of: Any) -> Any:
        found = real(frame, of)
        return Envelope(kind(found.slot), found.signature, found.body) if isinstance(found, Envelope) else found

    return mock.patch.object(desk, "_decode", decode)


@planted
def slots_not_checked() -> Iterator[None]:
    """A message is taken for the one that is due, whatever place it says it has."""
    with _with_slots(_AnySlot):
        yield


@planted
def duplicates_accepted() -> Iterator[None]:
    """Place and kind of a message are compared, its number is not."""
    with _with_slots(_SameKind):
        yield


@planted
def signatures_not_verified() -> Iterator[None]:
    """A signature is looked at by nobody."""
    with mock.patch.object(notary, "verify_envelope", return_value=None):
        yield


@planted
def head_shown_before_it_is_kept() -> Iterator[None]:
    """A head leaves first, and is written with what comes next."""
    real, late = Log._write, {}

    def write(self: Log, head: Head | None, peers: Sequence[PeerAdvance] = ()) -> None:
        if self in late:
            real(self, late.pop(self))
        if head is None:
            real(self, None, peers)
        else:
            self._write_out()
            self._store.write((), None, (), peers)
            late[self] = head

    with mock.patch.object(Log, "_write", write), mock.patch.object(Log, "_read_back", return_value=None):
        yield


@planted
def cosigned_head_forgotten() -> Iterator[None]:
    """What was cosigned is not written down."""
    real = Log.checkpoint
    with mock.patch.object(Log, "checkpoint", lambda self, peers=(): real(self)):
        yield


@planted
def consistency_not_checked() -> Iterator[None]:
    """A witness cosigns every head of the right key."""
    real = LedgerNotary._cosign

    def cosign(self: LedgerNotary, peer: str, head: bytes) -> Any:
        line, advance = real(self, peer, head)
        older = advance.expected is not None and advance.head.size < advance.expected.size
        return line, advance._replace(head=advance.expected) if older else advance

    unchecked = mock.patch.object(witness, "_check_continues", return_value=None)
    with unchecked, mock.patch.object(LedgerNotary, "_cosign", cosign):
        yield


@planted
def accounts_not_compared() -> Iterator[None]:
    """The peer's account of the conversation is taken as it is."""
    with mock.patch.object(LedgerNotary, "_require_same_account", return_value=None):
        yield


@planted
def fresh_randomness_on_resume() -> Iterator[None]:
    """A role that starts again draws other numbers."""
    real, started = machine.Machine._sit, {}

    def sit(self: machine.Machine) -> None:
        self.number = started[self] = started.get(self, -1) + 1
        real(self)

    with mock.patch.object(machine.Machine, "_sit", sit), mock.patch.object(desk, "same_again", return_value=None):
        yield


@planted
def fresh_blinds_on_resume() -> Iterator[None]:
    """Messages are blinded with numbers that nobody can draw again."""
    count = iter(range(10**9))

    def say(message: Message, blind: bytes = b"") -> bytes:
        return pack(message, next(count).to_bytes(16, "big") if blind else b"")

    with mock.patch.object(desk, "pack", say), mock.patch.object(desk, "same_again", return_value=None):
        yield


@planted
def said_again_although_held() -> Iterator[None]:
    """What the peer says it holds is not listened to."""
    real = LiveChannel._held_by_peer

    async def none(self: LiveChannel) -> int:
        await real(self)
        return 0

    with mock.patch.object(LiveChannel, "_held_by_peer", none):
        yield


@planted
def a_record_left_out() -> Iterator[None]:
    """Every ninth record is not written."""
    real, count = FileTranscript.append, iter(range(10**9))

    def append(self: FileTranscript, record: Record) -> None:
        if next(count) % 9:
            real(self, record)

    with mock.patch.object(FileTranscript, "append", append):
        yield


@planted
def torn_record_kept() -> Iterator[None]:
    """What a death left of the last record stays where it is."""
    with mock.patch.object(os, "truncate", return_value=None):
        yield


class _Forgetful(dict):  # type: ignore[type-arg]
    """Never knows what it holds."""

    def get(self, *_: Any) -> None:
        return None


@planted
def slots_entered_again() -> Iterator[None]:
    """A ledger does not look whether it has a message already."""
    real = Log._reload

    def reload(self: Log) -> None:
        real(self)
        self._slots = _Forgetful(self._slots)

    with mock.patch.object(Log, "_reload", reload):
        yield


@planted
def proof_from_the_latest_head_only() -> Iterator[None]:
    """After a restart a peer is shown no proof from the head that it remembers."""
    real = LedgerNotary._show

    def show(self: LedgerNotary, peer: str, *words: Any) -> bytes:
        self._peers[peer].shown = self._peers[peer].shown or 0
        return real(self, peer, *words)

    with mock.patch.object(LedgerNotary, "_show", show):
        yield


@planted
def others_asked_for_too_early() -> Iterator[None]:
    """After a restart a peer is asked at once for what others cosigned before it."""
    real = LedgerNotary._cosign

    def cosign(self: LedgerNotary, peer: str, head: bytes) -> Any:
        before = self._witness.size(f"{peer}/{self._run}")
        found = real(self, peer, head)
        self._peers[peer].seen = before
        return found

    with mock.patch.object(LedgerNotary, "_cosign", cosign):
        yield


@planted
def time_orders_entries() -> Iterator[None]:
    """An entry dated before its predecessor is refused."""
    real = Log.message

    def message(self: Log, *words: Any) -> Any:
        now, latest = self._clock.now(), self.__dict__.get("_latest")
        last = max(entry.ts for entry in self.entries()) if latest is None else latest
        self.__dict__["_latest"] = stamp = ledger_log.format_time(now)
        if stamp < last:
            raise ledger_log.StoreError("the clock ran backwards")
        return real(self, *words)

    with mock.patch.object(Log, "message", message):
        yield


@planted
def any_date_written_down() -> Iterator[None]:
    """An entry has the date of the clock, even one that no verifier will take."""
    with mock.patch.object(Log, "_moment", lambda self: self._clock.now()):
        yield


@planted
def long_tails_cut_off() -> Iterator[None]:
    """A damaged length in the middle of a transcript passes for a torn record."""
    with mock.patch.object(transcripts, "_record_after", return_value=False):
        yield


@planted
def role_begins_after_the_end() -> Iterator[None]:
    """A ledger that says that its run has ended is gone on with."""
    with mock.patch.object(machine, "require_going_on", return_value=None):
        yield


@planted
def end_under_no_head() -> Iterator[None]:
    """The end of a run is written down and vouched for by nobody."""

    def sign_end(log: Log, state: str, **words: Any) -> Any:
        with mock.patch.object(Log, "checkpoint", lambda self, peers=(): self.commit()):
            return ending.sign_end(log, state, **words)

    with mock.patch.object(machine, "sign_end", sign_end):
        yield


@planted
def end_kept_in_memory() -> Iterator[None]:
    """Others are told of the end before it is durable."""

    def sign_end(log: Log, state: str, **words: Any) -> Any:
        with mock.patch.object(Log, "checkpoint", return_value=""):
            return ending.sign_end(log, state, **words)

    with mock.patch.object(machine, "sign_end", sign_end):
        yield


@planted
def messages_after_the_end() -> Iterator[None]:
    """The end is entered before what the transcript has and the ledger has not."""
    real = machine.Machine.give_up

    def give_up(self: machine.Machine, by: str, why: str) -> None:
        with mock.patch.object(LedgerNotary, "catch_up", return_value=None):
            real(self, by, why)
        if self.ended is not None and self.up:
            self._guarded(lambda: late(self))
            self._leave()

    def late(self: machine.Machine) -> None:
        with suppress(ProtocolError):
            self._open().catch_up(self._transcript.records())  # type: ignore[union-attr]
        if self.notary is not None:
            self.notary.finish()

    with mock.patch.object(machine.Machine, "give_up", give_up):
        yield
