"""A party's own copy of the contract: calls from the settlement ledgers, in the order that all cosigned, one by one.

Nobody runs a chain. Each party deploys the shipped bytecode in its own machine, plays the same calls and puts the
digest of what came of them on record; a contract's state follows from its calls, so equal digests are equal balances.

    digest of no call  = SHA-256(genesis parameters, canonical JSON)
    digest of n calls  = SHA-256(digest of n - 1 || canonical JSON of {sender, data, time, ok, reason, events})

A call's sender is the address of the party in whose ledger it stands: the ledger's signature is the transaction's. Its
time is that of its entry, in whole seconds, or of the call before it, whichever is later. A call that the contract
refuses is played and on record like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

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

    def play(self, entry: Entry) -> Played:
        """Run the call of an entry. Raises UsageError for an entry that has none."""
        party, time = entry.actor, max(self._time, int(parse_time(entry.ts).timestamp()))
        try:
            function, data = str(entry.params["function"]), bytes.fromhex(str(entry.params["data"]))
            sender = self.genesis.addresses[party]
        except (KeyError, ValueError) as error:
            raise UsageError(f"{entry.log}: entry {entry.seq} has no call that can be played: {error}") from None
        self._time, ok, reason, gas = time, True, "", 0
        events: tuple[Event, ...] = ()
        try:
            receipt = self.contract.transact(sender, function, data, time)
            events, gas = receipt.events, receipt.gas
        except Reverted as error:
            ok, reason = False, error.reason
        told = {
            "sender": sender, "data": data.hex(), "time": time, "ok": ok, "reason": reason,
            "events": [{"name": one.name, **plain(one.values)} for one in events],
        }  # fmt: skip
        self._digest = sha256(self._digest + encode(told)).digest()
        self.played.append(Played(party, function, ok, reason, events, gas, time))
        return self.played[-1]

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
