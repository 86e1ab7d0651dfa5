"""A chain in the test process: contracts deployed on revm under London rules, called by name, time set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyrevm
from eth_abi import decode, encode
from eth_utils import keccak

from vfl.settle.contract.artefact import Artefact

NOBODY = "0x" + "0" * 40
GAS = 12_000_000  # less than a block of any chain that we know of


class Reverted(Exception):
    """The contract refused; the text is its reason."""


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
        try:
            address = self.evm.deploy(NOBODY, code)
        except RuntimeError as error:
            raise _reverted(error) from None
        return Contract(self, address, artefact.abi)


class Contract:
    """`contract.name(arguments, sender=..)` sends; it returns what the function returns, and keeps `gas` and `events`."""

    def __init__(self, chain: Chain, address: str, abi: list[dict[str, Any]]) -> None:
        self.chain, self.address = chain, address
        self.gas = 0
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
        try:
            answer = self.chain.evm.message_call(sender, self.address, calldata=data, gas=GAS)
        except RuntimeError as error:
            raise _reverted(error) from None
        result = self.chain.evm.result
        self.gas = result.gas_used
        if not view:
            self.events = [self._read(entry) for entry in result.logs]
        values = decode([_type(one) for one in function["outputs"]], bytes(answer))
        return values[0] if len(values) == 1 else values

    def _read(self, entry: Any) -> tuple[str, dict[str, Any]]:
        topics = [bytes.fromhex(topic.removeprefix("0x")) for topic in entry.topics]
        event = self._events[topics[0]]
        indexed = [one for one in event["inputs"] if one["indexed"]]
        plain = [one for one in event["inputs"] if not one["indexed"]]
        found = {one["name"]: decode([one["type"]], topic)[0] for one, topic in zip(indexed, topics[1:], strict=True)}
        data = entry.data if isinstance(entry.data, bytes) else b"".join(entry.data[1:])
        values = decode([_type(one) for one in plain], data)
        return event["name"], found | {one["name"]: value for one, value in zip(plain, values, strict=True)}


def _reverted(error: RuntimeError) -> Reverted:
    text = str(error)
    at = text.find("08c379a0")
    if at < 0:
        return Reverted(text[:300])
    data = bytes.fromhex("".join(c for c in text[at + 8 :] if c in "0123456789abcdef"))
    return Reverted(decode(["string"], data)[0])
