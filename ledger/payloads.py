"""MessagePack, as far as messages need it: for whoever checks what was said without the programs that said it.

Read are maps with text keys, lists, text, bytes, whole numbers of 0 and above, true and false, each in its shortest
form, and nothing else. Nobody can be accused by bytes that mean one thing here and another elsewhere.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from ledger.errors import BadEntry

Value = dict[str, "Value"] | list["Value"] | str | bytes | int | bool
_DEPTH = 8


def read_payload(data: bytes) -> Value:
    """The value that `data` encodes, to its last byte. Raises BadEntry."""
    reader = _Reader(data)
    value = reader.value(_DEPTH)
    if reader.at != len(data):
        raise BadEntry(f"a payload ends with {len(data) - reader.at} bytes too many")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def value(self, depth: int) -> Value:
        if depth == 0:
            raise BadEntry("a payload is nested too deeply")
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first < 0x90:
            return self._map(first & 15, depth)
        if first < 0xA0:
            return self._list(first & 15, depth)
        if first < 0xC0:
            return self._text(first & 31)
        if first in (0xC2, 0xC3):
            return first == 0xC3
        if 0xC4 <= first <= 0xC6:
            return self._take(self._number(first - 0xC4, 0))
        if 0xCC <= first <= 0xCF:
            return self._number(first - 0xCC, 128)
        if 0xD9 <= first <= 0xDB:
            return self._text(self._number(first - 0xD9, 32))
        if first in (0xDC, 0xDD):
            return self._list(self._number(first - 0xDB, 16), depth)
        if first in (0xDE, 0xDF):
            return self._map(self._number(first - 0xDD, 16), depth)
        raise BadEntry(f"a payload has the byte {first:#x}, which no message has, at {self.at - 1}")

    def _number(self, power: int, least: int) -> int:
        """A number of 2**power bytes that fits no shorter form; `least`: what the form before it cannot hold."""
        found = int.from_bytes(self._take(1 << power), "big")
        # Lists and maps have no form of one byte, numbers have: below `least` there is the form inside the first byte.
        shortest = least if power == 0 or (power == 1 and least == 16) else 1 << (8 << (power - 1))
        if found < shortest:
            raise BadEntry(f"a payload has a number that is not in its shortest form, at {self.at}")
        return found

    def _list(self, count: int, depth: int) -> list[Value]:
        return [self.value(depth - 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for _ in range(count):
            key = self.value(1)
            if not isinstance(key, str) or key in found:
                raise BadEntry("a payload has a map whose keys are not distinct texts")
            found[key] = self.value(depth - 1)
        return found

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise BadEntry("a payload has a text that is not UTF-8") from None

    def _take(self, size: int) -> bytes:
        found = self.data[self.at : self.at + size]
        if len(found) != size:
            raise BadEntry("a payload ends inside a value")
        self.at += size
        return found
