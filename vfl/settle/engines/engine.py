"""The seam: an engine holds code and state, runs calls one after the other, and says what came of each.

Accounts hold no coin. A block is one call; its time is given, for in a replica it is that of a ledger entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from vfl.errors import UsageError
from vfl.settle.keys import ChainKey

GAS = 25_000_000
"""The most that a call may use. Blocks of the node must allow as much."""
FORK = "London"
CHAIN_ID = 7_825_277
"""Of no public chain: that of contracts that are in replicas alone."""
REMEDY = "pip install 'tallystick[chain]'"
_PACKAGES = ("pyrevm", "eth_account", "eth_abi")


@dataclass(frozen=True)
class Log:
    """What a contract logged: topics of 32 bytes each, and data."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Raw:
    """What came of a call. output: data of its revert; if it changed nothing, what it returned.   gas: units used."""

    ok: bool
    gas: int
    output: bytes
    logs: Sequence[Log]


class Engine(Protocol):
    """An EVM of the fork FORK or a later one."""

    @property
    def chain_id(self) -> int:
        """What signatures are bound to."""
        ...

    def deploy(self, sender: ChainKey, code: bytes, time: int) -> tuple[str, int]:
        """Address of the new contract and gas used. `code`: with the arguments of its constructor.

        Raises UsageError where the constructor refuses.
        """
        ...

    def send(self, sender: ChainKey | str, to: str, data: bytes, time: int) -> Raw:
        """Run a call that changes state. `sender`: of an engine in this process the address is enough.

        time: seconds since 1970, never less than before.
        """
        ...

    def call(self, to: str, data: bytes) -> Raw:
        """Run a call and forget what it changed."""
        ...


def require_chain() -> None:
    """Raise UsageError where the extra is not installed."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UsageError(f"a contract needs what is not installed: {', '.join(missing)}", remedy=REMEDY)
