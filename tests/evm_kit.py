"""Engines that tests run contracts on: the one of the product, py-evm, and a real node on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vfl.errors import Unreachable, UsageError
from vfl.randomness import Randomness
from vfl.settle.engines.engine import GAS, Log, Raw
from vfl.settle.engines.node import Node
from vfl.settle.keys import ChainKey

ANVIL = "1.7.1"
CHAIN = 31_337
NOW = 1_790_000_000


def key_of(name: str) -> ChainKey:
    """The chain key of a party of tests."""
    return ChainKey.of(Randomness(name.encode().ljust(32, b"-")))


class PyEvm:
    """An `Engine` on py-evm, which is another implementation in another language than the product's."""

    def __init__(self, *senders: ChainKey) -> None:
        """`senders`: who may call; they are given what gas costs."""
        from eth.chains.base import MiningChain
        from eth.consensus.noproof import NoProofConsensus
        from eth.db.atomic import AtomicDB
        from eth.vm.forks.london import LondonVM

        vm = LondonVM.configure(consensus_class=NoProofConsensus)
        kind = MiningChain.configure(__name__="Chain", vm_configuration=((0, vm),), chain_id=CHAIN)
        rich: Any = {
            bytes.fromhex(one.address[2:]): {"balance": 10**30, "nonce": 0, "code": b"", "storage": {}}
            for one in senders
        }  # fmt: skip
        self._chain: Any = kind.from_genesis(
            AtomicDB(), {"difficulty": 1, "gas_limit": 100 * GAS, "timestamp": 1}, rich
        )

    @property
    def chain_id(self) -> int:
        return CHAIN

    def deploy(self, sender: ChainKey, code: bytes, time: int) -> tuple[str, int]:
        from eth_utils.address import to_checksum_address

        computed, gas = self._sent(sender, "", code, time)
        if not computed.is_success:
            raise UsageError(f"the contract was not deployed: {computed.error}")
        return to_checksum_address(computed.msg.storage_address), gas

    def send(self, sender: ChainKey | str, to: str, data: bytes, time: int) -> Raw:
        assert isinstance(sender, ChainKey)
        return _raw(*self._sent(sender, to, data, time))

    def call(self, to: str, data: bytes) -> Raw:
        vm = self._chain.get_vm()
        who, contract = bytes(20), bytes.fromhex(to[2:])
        computed = vm.execute_bytecode(
            origin=who,
            gas_price=0,
            gas=GAS,
            to=contract,
            sender=who,
            value=0,
            data=data,
            code=vm.state.get_code(contract),
        )
        return _raw(computed, 0)

    def _sent(self, sender: ChainKey, to: str, data: bytes, time: int) -> tuple[Any, int]:
        chain = self._chain
        chain.set_header_timestamp(max(time, chain.get_canonical_head().timestamp + 1))
        body = {
            "nonce": chain.get_vm().state.get_nonce(bytes.fromhex(sender.address[2:])), "chainId": CHAIN, "gas": GAS,
            "gasPrice": 10**11, "value": 0, "data": data, **({"to": to} if to else {}),
        }  # fmt: skip
        signed = sender.account.sign_transaction(body)
        builder = chain.get_vm().get_transaction_builder()
        _, receipt, computed = chain.apply_transaction(builder.decode(bytes(signed.raw_transaction)))
        chain.mine_block()
        return computed, int(receipt.gas_used)


def _raw(computed: Any, gas: int) -> Raw:
    from eth_utils.address import to_checksum_address

    logs = [
        Log(to_checksum_address(where), tuple(topic.to_bytes(32, "big") for topic in topics), data)
        for where, topics, data in computed.get_log_entries()
    ]
    return Raw(computed.is_success, gas, computed.output, logs if computed.is_success else [])


@contextmanager
def anvil(*senders: ChainKey) -> Iterator[Node]:
    """A real node on loopback, forgotten afterwards. Skips the test where npm cannot bring it.

    Its blocks have the times of their calls if the caller goes by `at`.
    """
    program = _anvil()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(program), "--host", "127.0.0.1", "--port", str(port), "--hardfork", "london", "--silent",
             "--chain-id", str(CHAIN), "--gas-limit", str(4 * GAS), "--timestamp", "1"]  # fmt: skip
    with subprocess.Popen(words) as process:
        try:
            yield _AtTimes(_reached(f"http://127.0.0.1:{port}"), senders)
        finally:
            process.terminate()


class _AtTimes(Node):
    """A node of tests, whose clock is told."""

    def __init__(self, node: Node, senders: tuple[ChainKey, ...]) -> None:
        self.__dict__ |= node.__dict__
        self._last = 0
        for one in senders:
            self._told("anvil_setBalance", one.address, hex(10**30))

    def deploy(self, sender: ChainKey, code: bytes, time: int) -> tuple[str, int]:
        self._next(time)
        return super().deploy(sender, code, time)

    def send(self, sender: ChainKey | str, to: str, data: bytes, time: int) -> Raw:
        self._next(time)
        return super().send(sender, to, data, time)

    def _next(self, time: int) -> None:
        self._last = max(time, self._last + 1)  # blocks have different times
        self._told("evm_setNextBlockTimestamp", self._last)

    def _told(self, method: str, *words: Any) -> None:
        self._web3.provider.make_request(method, list(words))


def _reached(url: str) -> Node:
    for _ in range(100):
        try:
            return Node(url, CHAIN, 10.0)
        except Unreachable:
            time.sleep(0.05)
    raise TimeoutError(url)


def _anvil() -> Path:
    """The program of a node, brought by npm once."""
    kept = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "tallystick-tests" / f"anvil-{ANVIL}"
    if not (found := sorted(kept.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))):
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no node to test against: install npm, which brings @foundry-rs/anvil")
        kept.mkdir(parents=True, exist_ok=True)
        words = [
            npm,
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(kept),
            f"@foundry-rs/anvil@{ANVIL}",
        ]
        if subprocess.run(words, capture_output=True, check=False, timeout=120).returncode:
            pytest.skip(f"no node to test against: npm cannot install @foundry-rs/anvil {ANVIL}")
        found = sorted(kept.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))
    return found[0]
