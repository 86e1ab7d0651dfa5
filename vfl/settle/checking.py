"""A settlement checked by anyone, offline, from its bundle: the ledgers, the shares, the sums, the contract.

1  the bundle verifies under the policy               chains, signatures, cosignatures (`python -m ledger verify`)
2  contribution.json and shares.json are those that the label owner put on record
3  the seed is the hash of a head of the run's ledger, and of nothing that somebody chose
4  the shares follow from the outcome patterns
5  each period's amount is decisions times price
6  the calls give the states that every party put on record, and distribute those amounts by those shares
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ledger.bundle import Bundle, parse_bundle
from ledger.checkpoint import open_checkpoint
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.policy import Policy
from ledger.verify import verify_bytes
from vfl.errors import UsageError
from vfl.settle.book import PHASE, USAGE, VALUE
from vfl.settle.contract.artefact import CONTRACTS, Artefact
from vfl.settle.contribution import FILE, SHARES, Contribution, digest_of, result_of
from vfl.settle.engines.engine import require_chain
from vfl.settle.history import genesis_of, replay
from vfl.settle.replica import Replica

HEAD = "head.note"
_ARTEFACTS = "artefacts/"


@dataclass
class Checked:
    """passed, faults, skipped: one sentence for each check.   balances: of the contract at the end, by party."""

    passed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    balances: dict[str, int] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """Exit code, as the verifier has them: 0 valid, 1 invalid, 2 incomplete."""
        return 1 if self.faults else 2 if self.skipped else 0


@dataclass
class Found:
    """What a check read on its way; what does not hold may be missing."""

    checked: Checked
    contribution: Contribution | None = None
    shares: Mapping[str, Any] | None = None
    usage: Sequence[Mapping[str, Any]] = ()
    replica: Replica | None = None


def check(data: bytes, policy: Policy | None) -> Checked:
    """Check a bundle. `policy`: whose keys are trusted; None leaves the first check out, and says so."""
    return check_all(data, policy).checked


def check_all(data: bytes, policy: Policy | None) -> Found:
    """The same with what was read."""
    return _Check(data, policy).run()


class _Check:
    def __init__(self, data: bytes, policy: Policy | None) -> None:
        self._data, self._policy, self._found = data, policy, Checked()
        self._read = Found(self._found)
        self._bundle: Bundle = parse_bundle(data)
        self._entries = _entries_of(self._bundle)
        self._leader = next((party for party, own in self._entries.items() if _leads(own)), "")

    def run(self) -> Found:
        steps: Sequence[tuple[str, Callable[[], str | None]]] = (
            ("ledgers", self._ledgers), ("record", self._record), ("seed", self._seed), ("shares", self._shares),
            ("usage", self._usage), ("contract", self._contract),
        )  # fmt: skip
        for name, step in steps:
            try:
                said = step()
            except (UsageError, LedgerError, KeyError, ValueError, TypeError) as error:
                self._found.faults.append(f"{name}: {error}")
                continue
            if said is not None:
                self._found.passed.append(f"{name}: {said}")
        return self._read

    def _ledgers(self) -> str | None:
        if self._bundle.faults:
            raise UsageError(f"the bundle is damaged: {self._bundle.faults[0]}")
        if self._policy is None:
            self._found.skipped.append("ledgers: no policy was given, so nobody's signature was checked")
            return None
        report = verify_bytes(self._data, self._policy)
        if report.code:
            first = next((str(one) for one in report.findings), "")
            raise UsageError(f"the verifier ends with code {int(report.code)}: {first}")
        return f"{len(self._entries)} ledgers verify"

    def _record(self) -> str | None:
        entry = self._last(VALUE)
        if entry is None:
            self._found.skipped.append("record: nothing was valued")
            return None
        for one in entry.commit:
            name = str(one["name"])
            if digest_of(self._artefact(name)) != one["digest"]:
                raise UsageError(f"{name} is not the file that entry {entry.seq} of {entry.log} names")
        return f"{len(entry.commit)} files are those on record"

    def _seed(self) -> str | None:
        entry = self._last(VALUE)
        if entry is None:
            return None
        contribution, note = self._contribution(), self._artefact(HEAD)
        if sha256(note).digest() != contribution.seed or entry.params["seed"] != contribution.seed.hex():
            raise UsageError("the seed is not the hash of the head beside it")
        keys = self._policy.logs if self._policy else ()
        for key in (each for each in keys if each.name == self._leader):
            head = open_checkpoint(note, key).head
            if head.origin != f"{self._leader}/{contribution.run}":
                raise UsageError(f"the seed is of {head.origin}, not of the run's ledger")
        return "follows from a cosigned head of the run's ledger"

    def _shares(self) -> str | None:
        entry = self._last(VALUE)
        if entry is None:
            return None
        contribution = self._contribution()
        result, data = result_of(contribution), self._artefact(FILE)
        again = result.to_json(contribution, digest_of(data))
        self._read.contribution, self._read.shares = contribution, again
        if again != json.loads(self._artefact(SHARES)):
            raise UsageError(f"{SHARES} does not follow from {FILE}")
        if entry.params["ppm"] != dict(result.ppm):
            raise UsageError(f"entry {entry.seq} of {entry.log} names other shares than follow from {FILE}")
        return f"follow from {contribution.patterns.customers:,} customers in {len(contribution.coalitions)} coalitions"

    def _usage(self) -> str | None:
        periods = self._all(USAGE)
        self._read.usage = [entry.params for entry in periods]
        for entry in periods:
            params: Mapping[str, Any] = entry.params
            if params["amount"] != (params["decisions"] - params["degraded"]) * params["price"]:
                raise UsageError(f"entry {entry.seq} of {entry.log}: the amount is not decisions times price")
        return f"{len(periods)} periods add up" if periods else None

    def _contract(self) -> str | None:
        if genesis_of(self._entries, self._leader) is None:
            return None
        try:
            require_chain()
        except UsageError as error:
            self._found.skipped.append(f"contract: {error}; {error.remedy}")
            return None
        replica, faults = replay(self._entries, self._leader, self._code())
        assert replica is not None
        self._read.replica = replica
        if faults:
            raise UsageError("; ".join(faults))
        self._found.balances = replica.credits()
        self._paid_as_agreed(replica)
        return f"{len(replica.played)} calls give the states that everybody put on record"

    def _paid_as_agreed(self, replica: Replica) -> None:
        """What was distributed is what was used, by the shares on record before."""
        amounts = {int(str(one.params["period"]).replace("-", "")): one.params["amount"] for one in self._all(USAGE)}
        on_record: list[Any] = [entry.params["ppm"] for entry in self._all(VALUE)]
        names: list[str] = []
        for event in (event for one in replica.played for event in one.events):
            told = event.values
            if event.name == "JobOpened":
                names = [replica.party(address) for address in told["parties"]]
            if event.name == "SharesFinal" and dict(zip(names, told["ppm"], strict=True)) not in on_record:
                raise UsageError(f"the shares of {told['period']} are not those on record")
            if event.name == "Distributed" and amounts.get(told["period"]) != told["amount"]:
                raise UsageError(f"{told['amount']} were distributed for {told['period']}: not what its usage comes to")

    def _contribution(self) -> Contribution:
        return Contribution.from_json(json.loads(self._artefact(FILE)))

    def _artefact(self, name: str) -> bytes:
        found = self._bundle.members.get(_ARTEFACTS + name)
        if found is None:
            raise UsageError(f"the bundle lacks {name}")
        return found

    def _code(self) -> dict[str, Artefact]:
        return {name: Artefact(**json.loads(self._artefact(f"contract/{name}.json"))) for name in CONTRACTS}

    def _all(self, step: str) -> list[Entry]:
        return [entry for entry in self._entries.get(self._leader, ()) if (entry.phase, entry.step) == (PHASE, step)]

    def _last(self, step: str) -> Entry | None:
        return next(iter(reversed(self._all(step))), None)


def _entries_of(bundle: Bundle) -> dict[str, list[Entry]]:
    """Raises UsageError where a line is no entry."""
    try:
        return {
            party: [Entry.from_bytes(line) for line in files.entries.splitlines()]
            for party, files in bundle.logs().items()
        }
    except LedgerError as error:
        raise UsageError(f"the bundle holds what is no entry: {error}") from None


def _leads(entries: Sequence[Entry]) -> bool:
    return any(entry.phase == PHASE and entry.step in (VALUE, "genesis") for entry in entries)
