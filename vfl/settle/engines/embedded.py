"""The engine in this process: a virtual machine without network or disk, whose state follows from its calls.

Source: the Ethereum Yellow Paper, fork London; the machine is revm through pyrevm.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vfl.errors import UsageError
from vfl.settle.engines.engine import CHAIN_ID, FORK, GAS, Log, Raw, require_chain
from vfl.settle.keys import ChainKey

_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)")
_NOBODY = "0x" + "00" * 20

if TYPE_CHECKING:
    from pyrevm import ExecutionResult


class Embedded:
    """An `Engine`: starts empty."""

    def __init__(self, chain_id: int = CHAIN_ID) -> None:
        """Raises UsageError without the extra `chain`."""
        require_chain()
        from pyrevm import EVM, BlockEnv, CfgEnv, Env  # noqa: PLC0415 - of the extra

        self._chain_id, self._number, self._block_of = chain_id, 0, BlockEnv
        self._evm = EVM(spec_id=FORK.upper(), env=Env(cfg=CfgEnv(chain_id=chain_id)))

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def deploy(self, sender: ChainKey, code: bytes, time: int) -> tuple[str, int]:
        self._block(time)
        try:
            address = self._evm.deploy(sender.address, code, gas=GAS)
        except RuntimeError as error:
            raise UsageError(f"the contract was not deployed: {error}") from None
        return address, self._result().gas_used

    def send(self, sender: ChainKey | str, to: str, data: bytes, time: int) -> Raw:
        self._block(time)
        return self._run(sender if isinstance(sender, str) else sender.address, to, data)

    def call(self, to: str, data: bytes) -> Raw:
        before = self._evm.snapshot()
        try:
            return self._run(_NOBODY, to, data)
        finally:
            self._evm.revert(before)

    def _run(self, sender: str, to: str, data: bytes) -> Raw:
        try:
            output = self._evm.message_call(sender, to, calldata=data, gas=GAS)
        except RuntimeError as error:
            # The machine tells what a revert returned in its message alone.
            found = _OUTPUT.search(str(error))
            return Raw(False, self._result().gas_used, bytes.fromhex(found[1]) if found else b"", ())
        result = self._result()
        logs = [Log(one.address, tuple(one.data[0]), one.data[1]) for one in result.logs]
        return Raw(True, result.gas_used, output, logs)

    def _result(self) -> ExecutionResult:
        found = self._evm.result
        assert found is not None  # there is one after every call
        return found

    def _block(self, time: int) -> None:
        self._number += 1
        self._evm.set_block_env(self._block_of(number=self._number, timestamp=time, gas_limit=GAS))
