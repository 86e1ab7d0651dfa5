"""A party's own copy of the contract: calls from the settlement ledgers, in the order that all cosigned, one by one.

Nobody runs a chain. Each party deploys the shipped bytecode in its own machine, plays the same calls and puts the
digest of what came of them on record; a contract's state follows from its calls, so equal digests are equal balances.

    digest of no call  = SHA-256(genesis parameters, canonical JSON)
    digest of n calls  = SHA-256(digest of n - 1 || canonical JSON of {sender, data, time, ok, reason, events})

A call's sender is the address of the party in whose ledger it stands: the ledger's signature is the transaction's. Its
time is that of its entry, in whole seconds, but not after that of the order that names it, for nobody's clock may run
out another's deadline, and not before that of the call before it. A call that the contract refuses is on record like
any other; so is an entry that holds no call of the function it names, and neither holds up anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from ledger.canonical import encode
from ledger.clock import parse_time
from ledger.entry import Entry
from vfl.errors import UsageError
from vfl.randomness import Randomness
from vfl.settle.calling import Calls, Contract, Event, Reverted
from vfl.settle.contract.artefact import CONTRACTS, Artefact, load
from vfl.settle.engines.embedded import Embedded
from vfl.settle.engines.engine import Engine
from vfl.settle.keys import ChainKey


@dataclass(frozen=True)
class Genesis:
    """Parameters of the contract, as the entry has them.

    addresses: by party, the chain key's.   members: who decides for the consortium, ascending; `threshold` of them.
    operator: who books deposits.   code: SHA-256 of each contract's bytecode.   job: digest of agreement and run, hex.
    """

    job: str
    chain_id: int
    time: int
    addresses: Mapping[str, str]
    members: Sequence[str]
    threshold: int
    operator: str
    respond_seconds: int
    dispute_seconds: int
    code: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The parameters of the entry."""
        return {**vars(self), "addresses": dict(self.addresses), "members": list(self.members), "code": dict(self.code)}

    @property
    def deployer(self) -> ChainKey:
        """The key that deploys: everybody's, for contracts have no owner.

        It makes the contract's address the same on every chain, and with it what signatures are bound to.
        """
        return ChainKey.of(Randomness(bytes.fromhex(self.job)))

    @classmethod
    def from_json(cls, params: Mapping[str, Any]) -> Genesis:
        """Read the entry. Raises UsageError."""
        try:
            return cls(**params)
        except TypeError as error:
            raise UsageError(f"the genesis entry is of another form: {error}") from None


@dataclass(frozen=True)
class Played:
    """What came of one call. reason: why the contract refused it."""

    party: str
    function: str
    ok: bool
    reason: str
    events: tuple[Event, ...]
    gas: int
    time: int


NO_CALL = "call: not of the function that it names"
"""Why an entry is refused that never comes to the machine."""
_MOST = 2**24  # bytes that are hashed of one call: more than an entry's data and its events can be


class Ordered(NamedTuple):
    """A call and the order that names it, as entries."""

    call: Entry
    order: Entry


def code_digest(artefact: Artefact) -> str:
    """SHA-256 of the bytecode that deploys, hex."""
    return sha256(bytes.fromhex(artefact.bytecode.removeprefix("0x"))).hexdigest()


def deployed(genesis: Genesis, engine: Engine, artefacts: Mapping[str, Artefact]) -> Contract:
    """The contract on an engine. Raises UsageError where the code at hand is not what the parties agreed on."""
    for name in CONTRACTS:
        if code_digest(artefacts[name]) != genesis.code.get(name):
            raise UsageError(
                f"the bytecode of {name} is not that of the ledger",
                remedy="use the version of the toolkit that made it, or the artefacts in the bundle",
            )
    deployer, (signatures, consortium) = genesis.deployer, (artefacts[name] for name in CONTRACTS)
    checker = Contract.deploy(engine, deployer, signatures.abi, _code(signatures), genesis.time)
    return Contract.deploy(
        engine, deployer, consortium.abi, _code(consortium), genesis.time, genesis.members, genesis.threshold,
        genesis.operator, genesis.respond_seconds, genesis.dispute_seconds, checker.address,
    )  # fmt: skip


class Replica:
    """The contract after some calls."""

    def __init__(self, genesis: Genesis, artefacts: Mapping[str, Artefact] | None = None) -> None:
        """`artefacts`: by contract; by default those that are shipped. Raises UsageError."""
        self.genesis, self.played = genesis, list[Played]()
        self._names = {address.lower(): party for party, address in genesis.addresses.items()}
        found = artefacts or {name: load(name) for name in CONTRACTS}
        self.contract = deployed(genesis, Embedded(genesis.chain_id), found)
        self._digest, self._time = sha256(encode(genesis.to_json())).digest(), genesis.time

    @property
    def calls(self) -> Calls:
        """The contract's ABI."""
        return self.contract.calls

    @property
    def digest(self) -> str:
        """Of everything so far, hex."""
        return self._digest.hex()

    def play(self, one: Ordered) -> Played:
        """Run a call. Raises UsageError for one of somebody who has no address in the contract."""
        entry, latest = one.call, one.order.ts
        party, function, data = entry.actor, str(entry.params.get("function")), self.data_of(entry)
        if party not in self.genesis.addresses:
            raise UsageError(f"{one.order.log}: entry {one.order.seq} orders a call of {party}, who has no address")
        time = max(self._time, int(parse_time(min(entry.ts, latest)).timestamp()))
        self._time, ok, reason, gas = time, data is not None, "" if data is not None else NO_CALL, 0
        sender, events = self.genesis.addresses[party], tuple[Event, ...]()
        try:
            if data is not None:
                receipt = self.contract.transact(sender, function, data, time)
                events, gas = receipt.events, receipt.gas
        except Reverted as error:
            ok, reason = False, error.reason
        told = {
            "sender": sender, "data": (data or b"").hex(), "time": time, "ok": ok, "reason": reason,
            "events": [{"name": one.name, **plain(one.values)} for one in events],
        }  # fmt: skip
        self._digest = sha256(self._digest + encode(told, limit=_MOST)).digest()
        self.played.append(Played(party, function, ok, reason, events, gas, time))
        return self.played[-1]

    def data_of(self, entry: Entry) -> bytes | None:
        """What an entry sends to the contract; None where that is no call of the function it names."""
        try:
            data = bytes.fromhex(str(entry.params.get("data")))
        except ValueError:
            return None
        return data if self.calls.begins(str(entry.params.get("function")), data) else None

    def party(self, address: str) -> str:
        """Whose address it is; the address itself of a stranger."""
        return self._names.get(address.lower(), address)

    def credits(self) -> dict[str, int]:
        """What each party may withdraw or stake, in minor units."""
        return {party: int(self.contract.read("credit", address)) for party, address in self.genesis.addresses.items()}

    def stakes(self, job: bytes) -> dict[str, int]:
        """What each party has at stake in a job."""
        return {
            party: int(self.contract.read("seats", job, address)[1])
            for party, address in self.genesis.addresses.items()
        }

    def totals(self) -> tuple[int, int]:
        """Booked in all, and withdrawn in all."""
        return int(self.contract.read("deposited")), int(self.contract.read("withdrawn"))


def plain(values: Any) -> Any:
    """Values of events as canonical JSON has them: bytes in hex, numbers beyond 2^53 as texts."""
    match values:
        case Mapping():
            return {name: plain(value) for name, value in values.items()}
        case bytes():
            return values.hex()
        case list() | tuple():
            return [plain(value) for value in values]
        case int() if not isinstance(values, bool) and abs(values) > 2**53 - 1:
            return str(values)
        case _:
            return values


def _code(artefact: Artefact) -> bytes:
    return bytes.fromhex(artefact.bytecode.removeprefix("0x"))
