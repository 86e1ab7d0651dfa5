"""A settlement checked by anyone, offline, from its bundle: the ledgers, the shares, the sums, the contract.

1  the bundle verifies under the policy               chains, signatures, cosignatures (`python -m ledger verify`);
                                                      no order is dated after others had cosigned it
2  the clause of settlement is that of the agreement whose digest stands in all ledgers
3  contribution.json and shares.json are those that the label owner put on record
4  the seed is the hash of a head of the run's ledger, and of nothing that somebody chose
5  the shares follow from the outcome patterns
6  each period's amount is decisions times the agreed price
7  the contract is of this run, with the agreed stakes and windows; the calls give the states that every party put on
   record, and distribute those amounts by those shares
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ledger.bundle import Bundle, parse_bundle
from ledger.checkpoint import open_checkpoint, verify_cosignature
from ledger.clock import parse_time
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.evidence.entries import CLOCK_ERROR
from ledger.note import Note
from ledger.policy import Policy
from ledger.verify import verify_bytes
from vfl.agreement import Agreement
from vfl.errors import AgreementError, UsageError
from vfl.settle.book import GENESIS, ORDER, PHASE, USAGE, VALUE, job_of
from vfl.settle.contract.artefact import CONTRACTS, Artefact
from vfl.settle.contribution import FILE, SHARES, Contribution, digest_of, result_of
from vfl.settle.engines.engine import require_chain
from vfl.settle.history import genesis_of, replay, waiting
from vfl.settle.replica import Genesis, Replica
from vfl.settle.usage import PERIODS
from vfl.settlement import Settlement

HEAD, AGREEMENT = "head.note", "agreement.json"
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
        self._agreed: Agreement | None = None
        self._leader = next((party for party, own in self._entries.items() if _leads(own)), "")

    def run(self) -> Found:
        steps: Sequence[tuple[str, Callable[[], str | None]]] = (
            ("ledgers", self._ledgers), ("agreement", self._agreement), ("record", self._record), ("seed", self._seed),
            ("shares", self._shares), ("usage", self._usage), ("contract", self._contract),
        )  # fmt: skip
        for name, step in steps:
            try:
                said = step()
            except (UsageError, AgreementError, LedgerError, KeyError, ValueError, TypeError) as error:
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
        self._dated(self._policy)
        return f"{len(self._entries)} ledgers verify"

    def _dated(self, policy: Policy) -> None:
        """No order, and no contract, is dated clearly after somebody had cosigned it: calls would happen too late."""
        heads = self._bundle.logs()[self._leader].checkpoints if self._leader else {}
        for entry in (*self._all(GENESIS), *self._all(ORDER)):
            size = min((size for size in heads if size > entry.seq), default=0)
            for name, moment in _cosigned(heads.get(size, b""), policy).items():
                if parse_time(entry.ts) > moment + CLOCK_ERROR:
                    raise UsageError(f"entry {entry.seq} of {entry.log} is dated {entry.ts}; {name} saw it before")

    def _agreement(self) -> str:
        agreed = Agreement.decode(self._artefact(AGREEMENT))
        for party, entries in self._entries.items():
            if any(entry.agreement != agreed.digest for entry in entries):
                raise UsageError(f"the ledger of {party} is under another agreement than {AGREEMENT}")
        names = [member.name for member in (agreed.active, *agreed.passives)]
        if set(names) != set(self._entries):
            raise UsageError(f"its parties are {', '.join(names)}; ledgers are there of {', '.join(self._entries)}")
        if agreed.settlement is None:
            raise UsageError("it has no clause of settlement")
        if self._leader not in ("", agreed.active.name):
            raise UsageError(f"{self._leader} values or begins a contract, and is not the label owner")
        self._agreed = agreed
        if self._last(VALUE) is not None:
            found = self._contribution()
            said, meant = (found.agreement, found.clause), (agreed.digest, agreed.settlement)
            if said != meant or list(found.parties) != names or {job_of(found.run)} != self._jobs():
                raise UsageError(f"{FILE} is of other parties, of another run or under another clause")
        return f"of {agreed.scenario}; all ledgers are under it"

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
        periods, seen = self._all(USAGE), set[str]()
        self._read.usage = [entry.params for entry in periods]
        for entry in periods:
            params, where = dict[str, Any](entry.params), f"entry {entry.seq} of {entry.log}"
            if params["amount"] != (params["decisions"] - params["degraded"]) * params["price"]:
                raise UsageError(f"{where}: the amount is not decisions times price")
            clause, period = self._clause(), str(params["period"])
            if (params["price"], params["currency"]) != (clause.price, clause.currency):
                raise UsageError(f"{where}: {params['price']} {params['currency']} a decision is not the agreed price")
            if period in seen or len(period) != PERIODS[clause.period] or period > entry.ts[: len(period)]:
                raise UsageError(f"{where}: {period} was billed before, or is no {clause.period} that has begun")
            seen.add(period)
        return f"{len(periods)} periods add up" if periods else None

    def _contract(self) -> str | None:
        genesis = genesis_of(self._entries, self._leader) if self._leader else None
        if genesis is None:
            return None
        self._begun_as_agreed(genesis)
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
        waits = len(waiting(self._entries, self._leader))
        left = f"; {waits} more wait for an order" if waits else ""
        return f"{len(replica.played)} calls give the states that everybody put on record{left}"

    def _begun_as_agreed(self, genesis: Genesis) -> None:
        clause = self._clause()
        hours = (3600 * clause.respond_hours, 3600 * clause.dispute_hours)
        if (genesis.respond_seconds, genesis.dispute_seconds) != hours:
            raise UsageError("the contract has other windows than the agreement")
        if set(genesis.addresses) != set(self._entries) or sorted(genesis.members) != sorted(
            genesis.addresses.values()
        ):
            raise UsageError("the contract's parties or members are not those of the ledgers")
        if 2 * genesis.threshold <= len(genesis.members) or genesis.operator != genesis.addresses[self._leader]:
            raise UsageError("the contract's threshold is no majority, or its operator is not the label owner")

    def _opened_as_agreed(self, replica: Replica, told: Mapping[str, Any]) -> None:
        job = sha256(f"{self._agreed.digest if self._agreed else ''}/{told['run']}".encode()).digest()
        if told["job"] != job or job.hex() != replica.genesis.job or {job_of(told["run"])} != self._jobs():
            raise UsageError(f"the job that was opened is not of {told['run']} under this agreement")
        if (told["stake"], replica.party(told["payer"])) != (self._clause().stake, self._leader):
            raise UsageError(
                f"the job was opened with {told['stake']} at stake: not as agreed, or not paid by the owner"
            )

    def _paid_as_agreed(self, replica: Replica) -> None:
        """What was distributed is what was used, by the shares on record before."""
        amounts = {int(str(one.params["period"]).replace("-", "")): one.params["amount"] for one in self._all(USAGE)}
        on_record: list[Any] = [entry.params["ppm"] for entry in self._all(VALUE)]
        names: list[str] = []
        for event in (event for one in replica.played for event in one.events):
            told = event.values
            if event.name == "JobOpened":
                self._opened_as_agreed(replica, told)
                names = [replica.party(address) for address in told["parties"]]
            if event.name == "SharesFinal" and dict(zip(names, told["ppm"], strict=True)) not in on_record:
                raise UsageError(f"the shares of {told['period']} are not those on record")
            if event.name == "Distributed" and amounts.get(told["period"]) != told["amount"]:
                raise UsageError(f"{told['amount']} were distributed for {told['period']}: not what its usage comes to")

    def _clause(self) -> Settlement:
        if self._agreed is None or self._agreed.settlement is None:
            raise UsageError("nobody can say what was agreed: see above")
        return self._agreed.settlement

    def _jobs(self) -> set[str]:
        return {entry.job for entries in self._entries.values() for entry in entries}

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


def _cosigned(note: bytes, policy: Policy) -> dict[str, datetime]:
    """When each known witness cosigned a head. Raises LedgerError for a line that is wrong."""
    if not note:
        return {}
    parsed = Note.parse(note)
    lines = [(line, key) for line in parsed.signatures for key in policy.witnesses.values() if line.by(key)]
    return {key.name: datetime.fromtimestamp(verify_cosignature(parsed.text, line, key), UTC) for line, key in lines}
