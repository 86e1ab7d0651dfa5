"""A contract on an engine, as tests speak of it: functions by name, time set by hand, refusals by their reason."""

from __future__ import annotations

import re
from typing import Any

from vfl.errors import UsageError
from vfl.settle import calling
from vfl.settle.calling import reason_of
from vfl.settle.contract.artefact import Artefact
from vfl.settle.engines.embedded import Embedded
from vfl.settle.engines.engine import Engine
from vfl.settle.keys import ChainKey

NOBODY = "0x" + "0" * 40


class Reverted(Exception):
    """The contract refused; the text is its reason."""


class Metered:
    """An engine that remembers what a deployment cost."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.gas = engine, 0

    def deploy(self, sender: ChainKey, code: bytes, time: int) -> tuple[str, int]:
        address, self.gas = self.engine.deploy(sender, code, time)
        return address, self.gas

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


class Chain:
    """The engine of the product; `now` is the time of the next call. Its gas is a little less than a transaction's.

    For revm in one process remembers across calls what it has read.
    """

    deployer = ChainKey(b"\1" * 32)

    def __init__(self, chain_id: int = 2026, now: int = 1_800_000_000) -> None:
        self.engine: Engine = Embedded(chain_id)
        self.chain_id, self.now = chain_id, now

    def at(self, now: int) -> None:
        self.now = now

    def sender(self, address: str) -> ChainKey | str:
        return address

    def deploy(self, artefact: Artefact, *arguments: Any) -> Contract:
        code = bytes.fromhex(artefact.bytecode[2:])
        metered = Metered(self.engine)
        try:
            made = calling.Contract.deploy(metered, self.deployer, artefact.abi, code, self.now, *arguments)
        except UsageError as error:
            found = re.search(r"output: 0x([0-9a-f]*)", str(error))
            raise Reverted(reason_of(bytes.fromhex(found[1])) if found else str(error)) from None
        return Contract(self, made, artefact, metered.gas)


class Transactions(Chain):
    """The same where calls are signed transactions, with their gas; a second passes with every one."""

    def __init__(self, engine: Engine, *senders: ChainKey) -> None:
        super().__init__()
        self.engine, self.chain_id = engine, engine.chain_id
        self.keys = {one.address: one for one in (self.deployer, *senders)}

    def deploy(self, artefact: Artefact, *arguments: Any) -> Contract:
        self.now += 1
        return super().deploy(artefact, *arguments)

    def sender(self, address: str) -> ChainKey:
        self.now += 1
        return self.keys.get(address, self.deployer)


class Contract:
    """`contract.name(arguments, sender=..)` asks or sends; `gas` and `events` are those of the last one sent."""

    def __init__(self, chain: Chain, made: calling.Contract, artefact: Artefact, gas: int) -> None:
        self.chain, self.address, self.gas = chain, made.address, gas
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._made = made
        functions = [part for part in artefact.abi if part["type"] == "function"]
        self._views = {part["name"] for part in functions if part["stateMutability"] in ("view", "pure")}

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, sender: str = NOBODY) -> Any:
            try:
                if name in self._views:
                    return self._made.read(name, *arguments)
                self._keep(self._made.send(self.chain.sender(sender), name, *arguments, time=self.chain.now))
            except calling.Reverted as error:
                raise Reverted(error.reason) from None

        return call

    def _keep(self, receipt: calling.Receipt) -> None:
        self.gas = receipt.gas
        self.events = [(event.name, dict(event.values)) for event in receipt.events]
