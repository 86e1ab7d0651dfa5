"""A contract behind its ABI: functions by name, events by name, and reverts as the words that the contract says.

Source: the Contract ABI Specification of Solidity, which Vyper keeps to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vfl.errors import UsageError
from vfl.settle.engines.engine import Engine, Log, Raw
from vfl.settle.keys import ChainKey

_ERROR = bytes.fromhex("08c379a0")  # Error(string)
Abi = list[dict[str, Any]]


class Reverted(UsageError):
    """The contract refuses. `reason`: in its own words."""

    def __init__(self, function: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the contract refuses {function}: {reason or 'without a word'}")


@dataclass(frozen=True)
class Event:
    """What a contract said happened."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Receipt:
    """What came of a call that the contract took; what it returned no chain keeps. gas: units used."""

    gas: int
    events: tuple[Event, ...]


class Calls:
    """The text of calls, and of what comes back."""

    def __init__(self, abi: Abi) -> None:
        from eth_utils.crypto import keccak  # noqa: PLC0415 - of the extra `chain`

        self._functions = {each["name"]: each for each in abi if each["type"] == "function"}
        self._events = {keccak(_signature(each).encode()): each for each in abi if each["type"] == "event"}
        self._selectors = {name: keccak(_signature(each).encode())[:4] for name, each in self._functions.items()}
        self._decode = _decoder()

    def encode(self, function: str, *values: Any) -> bytes:
        """Selector and arguments."""
        from eth_abi.abi import encode  # noqa: PLC0415

        return self._selectors[function] + bytes(encode(_types(self._functions[function]["inputs"]), values))

    def begins(self, function: str, data: bytes) -> bool:
        """Whether `data` is a call of `function`, whatever its arguments."""
        return self._selectors.get(function) == data[:4]

    def returned(self, function: str, raw: Raw) -> Any:
        """The value of a call: of several outputs a tuple, of none None. Raises Reverted."""
        if not raw.ok:
            raise Reverted(function, reason_of(raw.output))
        found = self._decode(_types(self._functions[function]["outputs"]), raw.output)
        return found if len(found) > 1 else found[0] if found else None

    def events(self, logs: tuple[Log, ...] | list[Log], address: str) -> tuple[Event, ...]:
        """Those of the contract at an address."""
        return tuple(self._event(one) for one in logs if one.address.lower() == address.lower())

    def _event(self, log: Log) -> Event:
        its = self._events[log.topics[0]]
        indexed = [each for each in its["inputs"] if each["indexed"]]
        plain = [each for each in its["inputs"] if not each["indexed"]]
        values = {
            each["name"]: self._decode([_type(each)], topic)[0]
            for each, topic in zip(indexed, log.topics[1:], strict=True)
        }  # fmt: skip
        values |= zip((each["name"] for each in plain), self._decode(_types(plain), log.data), strict=True)
        return Event(its["name"], {each["name"]: values[each["name"]] for each in its["inputs"]})


@dataclass(frozen=True)
class Contract:
    """A contract on an engine."""

    engine: Engine
    address: str
    calls: Calls

    @classmethod
    def deploy(cls, engine: Engine, sender: ChainKey, abi: Abi, code: bytes, time: int, *values: Any) -> Contract:
        """A new one. `values`: of its constructor."""
        from eth_abi.abi import encode  # noqa: PLC0415

        inputs: list[dict[str, Any]] = next((each["inputs"] for each in abi if each["type"] == "constructor"), [])
        address, _ = engine.deploy(sender, code + bytes(encode(_types(inputs), values)), time)
        return cls(engine, address, Calls(abi))

    def send(self, sender: ChainKey | str, function: str, *values: Any, time: int) -> Receipt:
        """Change the state. Raises Reverted."""
        return self.transact(sender, function, self.calls.encode(function, *values), time)

    def transact(self, sender: ChainKey | str, function: str, data: bytes, time: int) -> Receipt:
        """The same with the call's data at hand. `function`: for an error."""
        raw = self.engine.send(sender, self.address, data, time)
        if not raw.ok:
            raise Reverted(function, reason_of(raw.output))
        return Receipt(raw.gas, self.calls.events(list(raw.logs), self.address))

    def read(self, function: str, *values: Any) -> Any:
        """Ask the state. Raises Reverted."""
        return self.calls.returned(function, self.engine.call(self.address, self.calls.encode(function, *values)))


def reason_of(output: bytes) -> str:
    """What a revert says, "" if nothing."""
    from eth_abi.abi import decode  # noqa: PLC0415
    from eth_abi.exceptions import DecodingError  # noqa: PLC0415

    try:
        return str(decode(["string"], output[4:])[0]) if output.startswith(_ERROR) else ""
    except (DecodingError, UnicodeDecodeError):
        return ""


def _decoder() -> Any:
    r"""Of what a contract says. Whoever calls it may have put bytes there that are no UTF-8: they read as \\xNN."""
    from eth_abi import registry  # noqa: PLC0415
    from eth_abi.codec import ABIDecoder  # noqa: PLC0415
    from eth_abi.decoding import StringDecoder  # noqa: PLC0415

    class Text(StringDecoder):  # type: ignore[misc, unused-ignore]  # of an extra
        def __init__(self) -> None:
            super().__init__("backslashreplace")  # type: ignore[no-untyped-call, unused-ignore]

    of: Any = registry
    own = of.registry.copy()
    own.unregister_decoder("string")
    own.register_decoder(of.BaseEquals("string"), Text, label="string")
    return ABIDecoder(own).decode


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(_types(entry['inputs']))})"


def _types(entries: list[dict[str, Any]]) -> list[str]:
    return [_type(each) for each in entries]


def _type(entry: Mapping[str, Any]) -> str:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_types(entry['components']))}){kind.removeprefix('tuple')}"
