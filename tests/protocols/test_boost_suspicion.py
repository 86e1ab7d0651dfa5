"""A false histogram where messages are not signed one by one: the run ends when it has become its sender's word."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ledger.errors import LedgerError
from ledger.keys import Identity
from ledger.store import MemoryStore
from vfl.channel import Channel, lockstep
from vfl.clock import SystemClock
from vfl.crypto.scheme import Sealed
from vfl.desk import Desk, MemoryTranscript, memory_links
from vfl.errors import BrokenPromise
from vfl.notary import LedgerNotary, PeerKeys
from vfl.protocols.boost import NodeHistograms, trees_a_boundary
from vfl.wire import Message, pack

from .boosting import Case, bank, clear, credit, partner
from .test_boost_hostile import added, bent, of_sums

PEOPLE = {name: Identity(name, hashlib.sha256(name.encode()).digest()) for name in ("bank", "telecom", "retailer")}
KEYS = {name: PeerKeys(who.identity.verifying, who.witness.verifying) for name, who in PEOPLE.items()}


class Table:
    """All parties with ledgers, in which a round is signed at its end."""

    def __init__(self, case: Case, **others: Any) -> None:
        scheme = clear(True)
        names = ["bank", *case.partners]
        roles = {"bank": bank(case, scheme)}
        roles |= {name: partner(case, number, scheme) for number, name in enumerate(case.partners, 1)}
        self.roles = roles | others
        self.notaries, self.desks = {}, {}
        for name in names:
            peers = set(case.partners) if name == "bank" else {"bank"}
            rest = set(names) - peers - {name}
            self.notaries[name] = LedgerNotary(
                MemoryStore(), PEOPLE[name], "run-1", "ab" * 32, {peer: KEYS[peer] for peer in sorted(peers)},
                SystemClock(), {other: KEYS[other] for other in rest}, sign_messages=False,
            )  # fmt: skip
            first = name == "bank"
            self.desks[name] = Desk(name, MemoryTranscript(), self.notaries[name], leads=first, at_once=False)

    def run(self) -> None:
        channels: dict[str, dict[str, Channel]] = {name: {} for name in self.desks}
        for name in self.desks.keys() - {"bank"}:
            one, two = memory_links()
            channels["bank"][name] = self.desks["bank"].channel(name, one)
            channels[name]["bank"] = self.desks[name].channel("bank", two)
        lockstep({name: desk.run(self.roles[name](channels[name])) for name, desk in self.desks.items()})


def garbled(message: Message) -> Message:
    return NodeHistograms(message.node, [Sealed(b"?")] * len(message.sums)) if _sums(message) else message


def _sums(message: Message) -> bool:
    return isinstance(message, NodeHistograms)


LIES = {
    "noise in a bin": of_sums(lambda cells: added(cells, (0, 0, 1))),
    "noise in a later node": of_sums(lambda cells: added(cells, (0, 1, 7)), from_node=1),
    "no ciphertexts": garbled,
    "all zero": of_sums(np.zeros_like),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize(("owned", "every"), [((1, 2), 1), ((2, 1, 1), 1), ((2, 1, 1), 3)])
def test_the_liar_is_named_with_its_own_word(owned: tuple[int, ...], every: int, name: str) -> None:
    """Also where a boundary covers several trees: there is one at once."""
    case = replace(credit(60, owned, num_leaves=5, num_iterations=3), every=every)
    log: list[tuple[str, str]] = []
    said: list[bytes] = []

    def lie(message: Message) -> Message:
        changed = LIES[name](message)
        if changed is not message:
            said.append(pack(changed))
        return changed

    table = Table(case, telecom=bent(partner(case, 1, clear(True)), "telecom", lie, log))
    with pytest.raises(BrokenPromise) as caught:
        table.run()
    assert caught.value.peer == "telecom"
    assert caught.value.step.startswith("train/0/NodeHistograms/telecom>bank/")
    proof = table.notaries["bank"].prove("telecom", caught.value.step)
    statement = proof.verify(KEYS["telecom"].identity)
    assert (statement.slot, statement.digest) == (caught.value.step, hashlib.sha256(said[0]).hexdigest())
    with pytest.raises(LedgerError):
        proof.verify(KEYS["bank"].identity)
    # Nobody goes on into the next tree, and what was reached is countersigned.
    for notary in table.notaries.values():
        assert max(entry.round for entry in notary.log.entries() if entry.phase == "train") == 0
    newest = table.notaries["bank"].log.checkpoints()[-1].note
    assert all(f"{name}/witness" in newest for name in case.partners)


def test_honest_parties_end_as_ever() -> None:
    case = credit(60, (2, 1, 1), num_leaves=5, num_iterations=3)
    table = Table(case)
    table.run()
    assert not table.desks["bank"].suspicions
    for notary in table.notaries.values():
        assert max(entry.round for entry in notary.log.entries() if entry.phase == "train") == 2


@pytest.mark.parametrize(("every", "boundaries"), [(1, 7), (2, 4), (3, 3), (9, 1)])
def test_a_boundary_covers_so_many_trees(every: int, boundaries: int) -> None:
    case = replace(credit(60, (2, 1, 1), num_leaves=3, num_iterations=7), every=every)
    table = Table(case)
    table.run()
    for name, notary in table.notaries.items():
        entries = list(notary.log.entries())
        assert max(entry.round for entry in entries if entry.phase == "train") == 6
        heads = notary.log.checkpoints()
        first = next(entry.seq for entry in entries if entry.phase == "train")
        told = [head for head in heads if head.size > first]
        # The active party signs once more when it has countersigned theirs.
        assert len(told) in ((boundaries,) if name != "bank" else (boundaries, boundaries + 1))
        assert [entry.step for entry in entries][-1] == "account"


def test_a_boundary_costs_little_beside_its_trees() -> None:
    assert [trees_a_boundary(rows) for rows in (0, 1, 9_999, 10_000, 17_000, 25_000, 25_001, 10**6)] == [
        5, 5, 5, 5, 2, 2, 1, 1,
    ]  # fmt: skip
    assert trees_a_boundary(60, signed=True) == 1


def test_what_was_not_said_is_not_proven() -> None:
    case = credit(60, (1, 2), num_iterations=1)
    table = Table(case)
    with pytest.raises(LedgerError, match="no account"):
        table.notaries["bank"].prove("telecom", "train/0/NodeHistograms/telecom>bank/0")
    table.run()
    with pytest.raises(LedgerError, match="holds no message"):
        table.notaries["bank"].prove("telecom", "train/9/NodeHistograms/telecom>bank/0")
