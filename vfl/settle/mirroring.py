"""The same contract on a real chain: every call of the ledgers sent to a node, and what came of it compared.

The contract's addresses follow from the job, so signatures made for the replicas fit there as well, if the chain
has the agreed id. Events and balances are compared; a chain's blocks have times of their own, so moments
in events are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vfl.errors import UsageError
from vfl.settle.calling import Contract, Reverted
from vfl.settle.contract.artefact import CONTRACTS, load
from vfl.settle.engines.engine import Engine
from vfl.settle.keys import ChainKey
from vfl.settle.replica import Ordered, Replica, deployed, plain

_MOMENTS = frozenset({"until", "due", "deadline"})


@dataclass(frozen=True)
class Mirrored:
    """address: of the contract there.   calls: how many were sent.   differences: in words; none is as it should be."""

    address: str
    calls: int
    gas: int
    differences: Sequence[str]


def mirror(replica: Replica, calls: Sequence[Ordered], engine: Engine, key: Callable[[str], ChainKey]) -> Mirrored:
    """Send the calls that `replica` played, in their order. `key`: of a party on the chain.

    Raises UsageError where the chain is another than the agreed one, or the contract cannot be deployed there.
    """
    genesis = replica.genesis
    if engine.chain_id != genesis.chain_id:
        raise UsageError(
            f"the chain has the id {engine.chain_id}, signatures are for {genesis.chain_id}",
            remedy=f"tallystick settle open RUN --chain-id {engine.chain_id} begins a contract for it",
        )
    contract = deployed(genesis, engine, {name: load(name) for name in CONTRACTS})
    if contract.address.lower() != replica.contract.address.lower():
        raise UsageError(
            f"the contract came to {contract.address}, not to {replica.contract.address}",
            remedy="somebody used the deployer's key there before: begin a contract for another run",
        )
    differences, gas, sent = list[str](), 0, 0
    for number, (one, played) in enumerate(zip(calls, replica.played, strict=True)):
        data = replica.data_of(one.call)
        if data is None:
            continue  # it came to no machine
        ok, reason, events, sent = True, "", list[Any](), sent + 1
        try:
            receipt = contract.transact(key(one.call.actor), played.function, data, played.time)
            events, gas = [(each.name, _timeless(each.values)) for each in receipt.events], gas + receipt.gas
        except Reverted as error:
            ok, reason = False, error.reason
        here = played.ok, played.reason, [(each.name, _timeless(each.values)) for each in played.events]
        if (ok, reason, events) != here:
            what = f"call {number}, {played.function} of {played.party}"
            differences.append(f"{what}: here {here}, there {ok, reason, events}")
    differences += _balances(replica, contract)
    return Mirrored(contract.address, sent, gas, differences)


def _balances(replica: Replica, contract: Contract) -> list[str]:
    job, found = bytes.fromhex(replica.genesis.job), []
    for party, address in replica.genesis.addresses.items():
        for what, ask in (("credit", (address,)), ("seats", (job, address))):
            here, there = (plain(where.read(what, *ask)) for where in (replica.contract, contract))
            if here != there:
                found.append(f"{what} of {party}: here {here}, there {there}")
    return found


def _timeless(values: Mapping[str, Any]) -> Any:
    return plain({name: value for name, value in values.items() if name not in _MOMENTS})
