"""Chains in the test process: contracts deployed under London rules, called by name, time set by hand.

`Chain` is revm, fast, and remembers across calls what it has read, so that its gas is less than a transaction's.
`SlowChain` is py-evm behind eth-tester: whole, signed transactions in blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyrevm
from eth_abi import decode, encode
from eth_utils import keccak

from vfl.settle.contract.artefact import Artefact

NOBODY = "0x" + "0" * 40
GAS = 12_000_000  # less than a block of any chain that we know of


class Reverted(Exception):
    """The contract refused; the text is its reason."""


class Executed(NamedTuple):
    """What a call answered, used and logged (topics and data)."""

    answer: bytes
    gas: int
    logs: list[tuple[list[bytes], bytes]]


def _type(part: dict[str, Any]) -> str:
    if not part["type"].startswith("tuple"):
        return part["type"]
    return f"({','.join(map(_type, part['components']))}){part['type'].removeprefix('tuple')}"


@dataclass
class Chain:
    """One revm instance; `now` is the time of the next block in POSIX seconds."""

    chain_id: int = 20_26
    now: int = 1_800_000_000
    evm: Any = field(init=False)

    def __post_init__(self) -> None:
        config = pyrevm.CfgEnv(chain_id=self.chain_id)
        self.evm = pyrevm.EVM(env=pyrevm.Env(cfg=config), spec_id="LONDON")
        self.at(self.now)

    def at(self, now: int) -> None:
        self.now = now
        self.evm.set_block_env(pyrevm.BlockEnv(number=1, timestamp=now, gas_limit=30_000_000))

    def deploy(self, artefact: Artefact, *arguments: Any) -> Contract:
        inputs = next((part["inputs"] for part in artefact.abi if part["type"] == "constructor"), [])
        code = bytes.fromhex(artefact.bytecode[2:]) + encode([_type(one) for one in inputs], arguments)
        address, gas = self.create(code)
        return Contract(self, address, artefact.abi, gas)

    def create(self, code: bytes) -> tuple[str, int]:
        try:
            address = self.evm.deploy(NOBODY, code)
        except RuntimeError as error:
            raise _reverted(str(error)) from None
        return address, self.evm.result.gas_used

    def execute(self, sender: str, to: str, data: bytes, *, view: bool) -> Executed:
        try:
            answer = self.evm.message_call(sender, to, calldata=data, gas=GAS)
        except RuntimeError as error:
            raise _reverted(str(error)) from None
        result, logs = self.evm.result, []
        for entry in [] if view else result.logs:
            topics = [bytes.fromhex(topic.removeprefix("0x")) for topic in entry.topics]
            logs.append((topics, entry.data if isinstance(entry.data, bytes) else b"".join(entry.data[1:])))
        return Executed(bytes(answer), result.gas_used, logs)


class SlowChain(Chain):
    """The same on py-evm, a second later with every block; whoever sends must be one of `accounts` (private keys)."""

    def __init__(self, accounts: Iterable[bytes], now: int = Chain.now) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages below, about themselves
            from eth.vm.forks.london import LondonVM
            from eth_tester import EthereumTester, PyEVMBackend
        self.backend = PyEVMBackend(vm_configuration=((0, LondonVM),))
        self.tester = EthereumTester(self.backend)
        self.chain_id, self.now = self.backend.chain.chain_id, now
        self.rich = self.tester.get_accounts()[0]
        for key in accounts:
            self.send({"to": self.tester.add_account("0x" + key.hex()), "value": 10**21, "gas": 21_000})
        self.at(now)

    def at(self, now: int) -> None:
        self.tester.time_travel(now)
        self.now = now

    def send(self, transaction: dict[str, Any]) -> dict[str, Any]:
        sent = self.tester.send_transaction({"from": self.rich, "gas_price": 10**10} | transaction)
        return dict(self.tester.get_transaction_receipt(sent))

    def create(self, code: bytes) -> tuple[str, int]:
        receipt = self.send({"to": "", "data": "0x" + code.hex(), "gas": GAS})
        return receipt["contract_address"], receipt["gas_used"]

    def execute(self, sender: str, to: str, data: bytes, *, view: bool) -> Executed:
        from eth_tester.exceptions import TransactionFailed

        call = {"from": self.rich if sender == NOBODY else sender, "to": to, "data": "0x" + data.hex(), "gas": GAS}
        try:
            answer = bytes.fromhex(self.tester.call({"gas_price": 10**10} | call)[2:])
        except TransactionFailed as error:
            raise Reverted(str(error)) from None
        if view:
            return Executed(answer, 0, [])
        receipt = self.send(call)
        assert receipt["status"] == 1
        logs = [
            ([bytes.fromhex(topic[2:]) for topic in entry["topics"]], bytes.fromhex(entry["data"][2:]))
            for entry in receipt["logs"]
        ]
        return Executed(answer, receipt["gas_used"], logs)


class Contract:
    """`contract.name(arguments, sender=..)` returns what the function does, and keeps `gas` and `events`."""

    def __init__(self, chain: Chain, address: str, abi: list[dict[str, Any]], gas: int) -> None:
        self.chain, self.address, self.gas = chain, address, gas
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._functions = {part["name"]: part for part in abi if part["type"] == "function"}
        self._events = {self._topic(part): part for part in abi if part["type"] == "event"}

    @staticmethod
    def _topic(part: dict[str, Any]) -> bytes:
        return keccak(text=f"{part['name']}({','.join(map(_type, part['inputs']))})")

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, sender: str = NOBODY) -> Any:
            return self._call(self._functions[name], arguments, sender)

        return call

    def _call(self, function: dict[str, Any], arguments: tuple[Any, ...], sender: str) -> Any:
        data = self._topic(function)[:4] + encode(list(map(_type, function["inputs"])), arguments)
        view = function["stateMutability"] in ("view", "pure")
        done = self.chain.execute(sender, self.address, data, view=view)
        self.gas = done.gas
        if not view:
            self.events = [self._read(*entry) for entry in done.logs]
        values = decode([_type(one) for one in function["outputs"]], done.answer)
        return values[0] if len(values) == 1 else values

    def _read(self, topics: list[bytes], data: bytes) -> tuple[str, dict[str, Any]]:
        event = self._events[topics[0]]
        indexed = [one for one in event["inputs"] if one["indexed"]]
        plain = [one for one in event["inputs"] if not one["indexed"]]
        found = {one["name"]: decode([one["type"]], topic)[0] for one, topic in zip(indexed, topics[1:], strict=True)}
        values = decode([_type(one) for one in plain], data)
        return event["name"], found | {one["name"]: value for one, value in zip(plain, values, strict=True)}


def _reverted(error: str) -> Reverted:
    at = error.find("08c379a0")  # Error(string)
    if at < 0:
        return Reverted(error[:300])
    data = bytes.fromhex("".join(c for c in error[at + 8 :] if c in "0123456789abcdef"))
    return Reverted(decode(["string"], data)[0])
