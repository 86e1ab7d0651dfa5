"""The calls of a settlement on other machines: the same events and balances, or what differs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from evm_kit import CHAIN, PyEvm, anvil
from run_kit import here
from settling_kit import desk, said

from vfl.errors import UsageError
from vfl.settle import settling
from vfl.settle.book import CALL
from vfl.settle.desk import Desk
from vfl.settle.history import ordered
from vfl.settle.keys import ChainKey
from vfl.settle.mirroring import mirror


def keys(mine: Desk) -> list[ChainKey]:
    return [*map(mine.key, mine.parties), mine.replica.genesis.deployer]


@pytest.fixture
def on_a_chain(settled: Path) -> Path:
    """The run with a contract for the chain of tests, in place of the one that it had."""
    for path in settled.glob("*/settlement/book.sqlite*"):
        path.unlink()
    with desk(settled) as mine:
        settling.value_run(mine, lambda *_: None)
        settling.stake(mine, CHAIN)
        settling.anchor(mine)
        settling.pay(mine, settling.usage_of(mine)[-1].period)
        mine.withdraw("telecom", 10**9)  # refused: so it must be there
        strange = mine.replica.calls.encode("challenge", mine.job, "XXXX", mine.replica.genesis.addresses["payroll"])
        strange = strange.replace(b"XXXX", b"\xff\xfe\x00a")
        mine.books["telecom"].note(CALL, {"function": "challenge", "data": strange.hex()})
        mine.books["telecom"].note(CALL, {"function": "withdraw", "data": "no call"})  # comes to no machine
        assert [one.ok for one in mine.turn()] == [False, True, False]
    return settled


@pytest.mark.parametrize("machine", ["py-evm", "anvil"])
def test_the_same_comes_of_the_same_calls(on_a_chain: Path, machine: str) -> None:
    with desk(on_a_chain) as mine, ExitStack() as ends:
        calls = ordered(mine.entries(), mine.payer)
        engine = PyEvm(*keys(mine)) if machine == "py-evm" else ends.enter_context(anvil(*keys(mine)))
        found = mirror(mine.replica, calls, engine, mine.key)
        assert (found.differences, found.calls) == ([], len(calls) - 1)
        assert found.address.lower() == mine.replica.contract.address.lower()
        assert found.gas > 2_000_000


def test_what_differs_is_told(on_a_chain: Path) -> None:
    with desk(on_a_chain) as mine:
        calls = ordered(mine.entries(), mine.payer)
        calls[-2] = calls[0]
        found = mirror(mine.replica, calls, PyEvm(*keys(mine)), mine.key)
        assert any(f"call {len(calls) - 2}" in one for one in found.differences)


def test_another_chain_or_a_used_key_is_refused(settled: Path) -> None:
    with desk(settled) as mine:
        calls = ordered(mine.entries(), mine.payer)
        with pytest.raises(UsageError, match="the chain has the id 31337, signatures are for 7825277"):
            mirror(mine.replica, calls, PyEvm(), mine.key)


def test_the_command(on_a_chain: Path) -> None:
    with desk(on_a_chain) as mine, anvil(*keys(mine)) as node:
        told = said("mirror", on_a_chain, "--node", node._url)
        assert told["differences"] == []
        again = here("settle", "mirror", on_a_chain, "--node", node._url)
        assert again.returncode == 2
        assert "somebody used the deployer's key there before" in again.stderr
    assert "does not answer" in here("settle", "mirror", on_a_chain, "--node", "http://127.0.0.1:9").stderr
