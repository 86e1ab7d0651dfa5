"""What settlement ledgers say happened, played again: for a party that goes on, and for whoever checks a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.clock import parse_time
from ledger.entry import Entry
from vfl.errors import UsageError
from vfl.settle.book import CALL, GENESIS, ORDER, PHASE, STATE
from vfl.settle.contract.artefact import Artefact
from vfl.settle.replica import Genesis, Ordered, Replica

Entries = Mapping[str, Sequence[Entry]]
"""Of every party's settlement ledger, all of them."""


def genesis_of(entries: Entries, leader: str) -> Genesis | None:
    """The contract's parameters; None before there are any.

    Raises UsageError where there are two, or where they begin after they were put on record.
    """
    found = [entry for entry in entries[leader] if (entry.phase, entry.step) == (PHASE, GENESIS)]
    if len(found) > 1:
        raise UsageError(f"{found[1].log}: entry {found[1].seq} begins a second contract")
    if not found:
        return None
    genesis = Genesis.from_json(found[0].params)
    if genesis.time > parse_time(found[0].ts).timestamp():
        raise UsageError(f"{found[0].log}: entry {found[0].seq} begins a contract at a time that is yet to come")
    return genesis


def ordered(entries: Entries, leader: str) -> list[Ordered]:
    """The calls in their order. Raises UsageError for an order of what is no call, or of one twice."""
    calls = {
        (party, entry.seq): entry
        for party, own in entries.items()
        for entry in own
        if (entry.phase, entry.step) == (PHASE, CALL)
    }
    found: list[Ordered] = []
    for entry in entries[leader]:
        if (entry.phase, entry.step) != (PHASE, ORDER):
            continue
        for party, seq in _pairs(entry):
            if (party, seq) not in calls:
                raise UsageError(f"{entry.log}: entry {entry.seq} orders {party}'s entry {seq}, no call that waits")
            found.append(Ordered(calls.pop((party, seq)), entry))
    return found


def waiting(entries: Entries, leader: str) -> list[Entry]:
    """Calls that no order names yet, the oldest first."""
    done = {(one.call.actor, one.call.seq) for one in ordered(entries, leader)}
    calls = [
        entry
        for own in entries.values()
        for entry in own
        if (entry.phase, entry.step) == (PHASE, CALL) and (entry.actor, entry.seq) not in done
    ]
    return sorted(calls, key=lambda entry: (entry.ts, entry.actor, entry.seq))


def replay(
    entries: Entries, leader: str, artefacts: Mapping[str, Artefact] | None = None
) -> tuple[Replica | None, list[str]]:
    """Play all calls; the contract then, and who put another digest on record than they give, in words.

    Raises UsageError as `ordered` does, or where the bytecode is not that of the ledger.
    """
    genesis = genesis_of(entries, leader)
    if genesis is None:
        return None, []
    replica = Replica(genesis, artefacts)
    digests = {0: replica.digest}
    for number, one in enumerate(ordered(entries, leader), 1):
        replica.play(one)
        digests[number] = replica.digest
    faults = []
    for party, own in entries.items():
        for entry in own:
            if (entry.phase, entry.step) == (PHASE, STATE):
                after, said = entry.params.get("calls"), entry.params.get("digest")
                if digests.get(after if isinstance(after, int) else -1) != said:
                    faults.append(
                        f"{party} put another state on record than {after} calls give: entry {entry.seq} of {entry.log}"
                    )
    return replica, faults


def _pairs(entry: Entry) -> list[tuple[str, int]]:
    told: Any = entry.params.get("calls")
    try:
        return [(str(party), int(seq)) for party, seq in told]
    except (TypeError, ValueError):
        raise UsageError(f"{entry.log}: entry {entry.seq} is an order of another form") from None
