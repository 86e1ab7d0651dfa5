"""Step (10) of a verification: what in a log the peers confirmed, and envelopes of what they did not.

A peer cosigns a head only where the account in it is its own. So the messages in the last account under a head that
the peer cosigned need no signature each; the envelopes of later ones are checked one by one.
"""

from __future__ import annotations

from ledger.account import Account, account_of
from ledger.audit_log import LogAudit
from ledger.entry import Entry
from ledger.errors import LedgerError


def confirmed_messages(log: LogAudit) -> set[int]:
    """Positions of messages that the peer confirmed; faults for accounts that do not add up."""
    confirmed: set[int] = set()
    waiting: dict[str, list[int]] = {}  # messages since the last confirmed account, by peer
    running: dict[str, Account] = {}
    cosigned = _cosigned_sizes(log)
    for seq, entry in log.found():
        if entry.peer is not None:
            _add_message(log, seq, entry, running)
            waiting.setdefault(entry.peer, []).append(seq)
        elif (told := _account(log, seq, entry)) is not None:
            if told != running.get(told.peer, Account(told.peer)):
                log.fault(10, f"entry {seq} tells the messages with {told.peer} otherwise than the entries do", seq)
            elif seq < cosigned.get(told.peer, 0):
                confirmed.update(waiting.pop(told.peer, ()))
    return confirmed


def _cosigned_sizes(log: LogAudit) -> dict[str, int]:
    """The largest fitting head that each peer cosigned."""
    sizes: dict[str, int] = {}
    for peer in {entry.peer for _, entry in log.found() if entry.peer}:
        witness = log.policy.witness_of(peer)
        signed = [size for size, keys in log.cosigned.items() if witness in keys and size <= log.proven]
        sizes[peer] = max(signed, default=0)
    return sizes


def _add_message(log: LogAudit, seq: int, entry: Entry, running: dict[str, Account]) -> None:
    assert entry.peer is not None
    try:
        running[entry.peer] = running.get(entry.peer, Account(entry.peer)).with_messages([entry.envelope()])
    except LedgerError as error:
        log.fault(10, f"entry {seq} makes no statement: {error}", seq)


def _account(log: LogAudit, seq: int, entry: Entry) -> Account | None:
    try:
        return account_of(entry)
    except LedgerError as error:
        log.fault(10, f"entry {seq} is no account: {error}", seq)
        return None
