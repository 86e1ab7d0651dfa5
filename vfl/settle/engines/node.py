"""A node that speaks Ethereum's JSON-RPC: anvil on a desk, Besu, Quorum or another in a consortium.

Calls are signed here, with the sender's chain key; the node sees no secret. No coin is moved: `value` is 0, and so is
the price of gas for an account without any.
"""

from __future__ import annotations

from typing import Any

from vfl.errors import Unreachable, UsageError
from vfl.settle.engines.engine import GAS, REMEDY, Log, Raw
from vfl.settle.keys import ChainKey
from vfl.settle.limits import limits_kept

_SECONDS = 30.0  # until a call is in a block
_POLL = 0.02


class Node:
    """An `Engine` elsewhere. Its blocks have their own times: those given are not used."""

    def __init__(self, url: str, chain_id: int | None = None, seconds: float = _SECONDS) -> None:
        """`chain_id`: the one that is expected; by default whatever the node says.   seconds: until a call is given up.

        Raises UsageError, Unreachable.
        """
        try:
            with limits_kept():
                from web3 import HTTPProvider, Web3  # noqa: PLC0415 - of the extra `chain`
        except ImportError:
            raise UsageError("a node needs web3, which is not installed", remedy=REMEDY) from None
        self._url, self._seconds = url, seconds
        self._web3: Any = Web3(HTTPProvider(url, request_kwargs={"timeout": seconds}))
        self._chain_id = int(self._asked(lambda: self._web3.eth.chain_id))
        if chain_id not in (None, self._chain_id):
            raise UsageError(
                f"{url} is of chain {self._chain_id}, not of {chain_id}", remedy="name a node of the agreed chain"
            )

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def deploy(self, sender: ChainKey, code: bytes, time: int) -> tuple[str, int]:
        receipt = self._sent(sender, {"data": code})
        if not receipt["status"]:
            raise UsageError("the contract was not deployed: its constructor refuses")
        return str(receipt["contractAddress"]), int(receipt["gasUsed"])

    def send(self, sender: ChainKey | str, to: str, data: bytes, time: int) -> Raw:
        if isinstance(sender, str):
            raise UsageError("a node takes what its sender signed alone", remedy="call with the sender's chain key")
        receipt = self._sent(sender, {"to": to, "data": data})
        logs = [
            Log(str(one["address"]), tuple(bytes(topic) for topic in one["topics"]), bytes(one["data"]))
            for one in receipt["logs"]
        ]
        ok, output = bool(receipt["status"]), b""
        if not ok:  # a receipt has no reason: the call is tried where it was refused
            again = {"from": sender.address, "to": to, "data": data, "gas": GAS}
            output = self._tried(again, int(receipt["blockNumber"])).output
        return Raw(ok, int(receipt["gasUsed"]), output, logs)

    def call(self, to: str, data: bytes) -> Raw:
        return self._tried({"to": to, "data": data})

    def _tried(self, call: dict[str, Any], block: int | str = "latest") -> Raw:
        from web3.exceptions import ContractLogicError  # noqa: PLC0415

        try:
            return Raw(True, 0, bytes(self._asked(lambda: self._web3.eth.call(call, block))), ())
        except ContractLogicError as error:
            data = error.data if isinstance(error.data, str) else ""
            return Raw(False, 0, bytes.fromhex(data.removeprefix("0x")), ())

    def _sent(self, sender: ChainKey, call: dict[str, Any]) -> Any:
        from web3.exceptions import TimeExhausted  # noqa: PLC0415

        eth = self._web3.eth
        price = self._asked(lambda: eth.gas_price) if self._asked(lambda: eth.get_balance(sender.address)) else 0
        body = {
            "nonce": self._asked(lambda: eth.get_transaction_count(sender.address, "pending")),
            "chainId": self._chain_id, "gas": GAS, "gasPrice": price, "value": 0, **call,
        }  # fmt: skip
        signed = sender.account.sign_transaction(body)
        try:
            name = self._asked(lambda: eth.send_raw_transaction(signed.raw_transaction))
            return self._asked(lambda: eth.wait_for_transaction_receipt(name, self._seconds, _POLL))
        except TimeExhausted:
            raise Unreachable(f"{self._url} has put a call into no block for {self._seconds:g} s") from None

    def _asked(self, ask: Any) -> Any:
        from requests.exceptions import RequestException  # noqa: PLC0415
        from web3.exceptions import ContractLogicError, TimeExhausted, Web3Exception  # noqa: PLC0415

        try:
            return ask()
        except (ContractLogicError, TimeExhausted):
            raise
        except RequestException as error:
            raise Unreachable(f"{self._url} does not answer: {type(error).__name__}") from None
        except Web3Exception as error:
            remedy = "the sender's account must pay for gas there: fund it, or let the node take a price of 0"
            raise UsageError(f"{self._url} refuses: {error!s:.300}", remedy=remedy) from None
