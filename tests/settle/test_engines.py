"""The same calls come to the same on every engine: values, events, gas, refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from evm_kit import NOW, PyEvm, anvil, key_of

from vfl.errors import Unreachable, UsageError
from vfl.settle.calling import Calls, Contract, Event, Reverted
from vfl.settle.engines.embedded import Embedded
from vfl.settle.engines.engine import Engine
from vfl.settle.engines.node import Node
from vfl.settle.keys import signer_of

TILL = """
# pragma version ==0.4.3
# pragma evm-version london
event Paid:
    who: indexed(address)
    amount: uint256
    note: String[20]

paid: public(HashMap[address, uint256])
since: public(immutable(uint256))

@deploy
def __init__(least: uint256):
    assert least > 0, "too little"
    since = block.timestamp

@external
def pay(amount: uint256, note: String[20]):
    assert amount > 0, "nothing to pay"
    self.paid[msg.sender] += amount
    log Paid(who=msg.sender, amount=amount, note=note)

@external
@view
def both(who: address) -> (uint256, uint256):
    return self.paid[who], 7

@external
@view
def signer(digest: bytes32, v: uint256, r: uint256, s: uint256) -> address:
    return ecrecover(digest, v, r, s)
"""

BANK, SHOP = key_of("bank"), key_of("shop")


@pytest.fixture(scope="module")
def till() -> tuple[list[dict[str, object]], bytes]:
    vyper = pytest.importorskip("vyper", reason="pip install 'tallystick[chain]'")
    found = vyper.compile_code(TILL, output_formats=["abi", "bytecode"])
    return found["abi"], bytes.fromhex(found["bytecode"][2:])


@pytest.fixture(params=["embedded", "py-evm", "anvil"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ExitStack() as ends:
        if request.param == "anvil":
            yield ends.enter_context(anvil(BANK, SHOP))
        else:
            yield Embedded() if request.param == "embedded" else PyEvm(BANK, SHOP)


def test_values_events_and_refusals(engine: Engine, till: tuple[list[dict[str, object]], bytes]) -> None:
    abi, code = till
    contract = Contract.deploy(engine, BANK, abi, code, NOW, 3)
    assert contract.read("since") == NOW
    receipt = contract.send(SHOP, "pay", 5, "tills", time=NOW + 10)
    assert receipt.events == (Event("Paid", {"who": SHOP.address.lower(), "amount": 5, "note": "tills"}),)
    assert 45_000 < receipt.gas < 70_000
    contract.send(SHOP, "pay", 2, "", time=NOW + 20)
    assert contract.read("paid", SHOP.address) == 7
    assert contract.read("both", SHOP.address) == (7, 7)
    with pytest.raises(Reverted, match="refuses pay: nothing to pay") as refused:
        contract.send(BANK, "pay", 0, "", time=NOW + 30)
    assert refused.value.reason == "nothing to pay"
    assert contract.read("paid", BANK.address) == 0
    with pytest.raises(UsageError, match="was not deployed"):
        Contract.deploy(engine, BANK, abi, code, NOW + 40, 0)


def test_a_signature_is_of_one_statement_chain_and_contract() -> None:
    said = {"job": bytes(32), "slot": "train/0/x/a>b/0", "digest": b"d" * 32}
    here = (7, BANK.address)
    signature = SHOP.sign("Statement", said, *here)
    assert signature[64] in (27, 28)
    assert signer_of("Statement", said, *here, signature) == SHOP.address
    for chain, where in ((8, BANK.address), (7, SHOP.address)):
        assert signer_of("Statement", said, chain, where, signature) != SHOP.address
    assert signer_of("Statement", said | {"digest": b"e" * 32}, *here, signature) != SHOP.address
    with pytest.raises(ValueError, match="not a signature"):
        signer_of("Statement", said, *here, bytes(65))


def test_the_embedded_engine_takes_an_address_and_keeps_nothing_of_what_is_asked(
    till: tuple[list[dict[str, object]], bytes],
) -> None:
    engine = Embedded()
    contract = Contract.deploy(engine, BANK, *till, NOW, 3)
    calls = Calls(till[0])
    assert engine.call(contract.address, calls.encode("pay", 5, "")).ok
    assert contract.read("paid", "0x" + "00" * 20) == 0
    contract.send(SHOP.address, "pay", 5, "", time=NOW)
    assert contract.read("paid", SHOP.address) == 5


def test_a_node_that_is_not_there_or_of_another_chain_is_named() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9 does not answer"):
        Node("http://127.0.0.1:9")
    with anvil(BANK) as node:
        assert node.chain_id
        with pytest.raises(UsageError, match="is of chain 31337, not of 1"):
            Node(node._url, 1)
        with pytest.raises(UsageError, match="takes what its sender signed"):
            node.send(BANK.address, BANK.address, b"", NOW)


@pytest.mark.parametrize("what", ["key.address", "Node('http://127.0.0.1:9')"])
def test_the_interpreter_stays_as_it_was(what: str) -> None:
    """Else a text that is nested deep would end the process instead of being refused."""
    words = f"""
import sys
from contextlib import suppress
from vfl.errors import Unreachable
from vfl.settle.engines.node import Node
from vfl.settle.keys import ChainKey
key, before = ChainKey(b"k" * 32), sys.getrecursionlimit()
with suppress(Unreachable):
    {what}
assert "py_ecc" in sys.modules, "nothing was tested"
assert sys.getrecursionlimit() == before
"""
    subprocess.run([sys.executable, "-c", words], check=True)
