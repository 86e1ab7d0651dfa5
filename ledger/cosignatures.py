"""The signature lines of witnesses under the checkpoints of one log."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.keys import VerifyingKey
from ledger.note import SignatureLine


class Cosignatures:
    """Lines by size of the checkpoint, each once, in order of arrival."""

    def __init__(self) -> None:
        self._lines: dict[int, dict[str, None]] = {}
        self._newest: dict[tuple[str, bytes], int] = {}

    def add(self, size: int, lines: Iterable[SignatureLine]) -> list[tuple[int, str]]:
        """Hold lines for the checkpoint of `size`; those that are new, each with the size."""
        held = self._lines.setdefault(size, {})
        fresh: list[tuple[int, str]] = []
        for line in lines:
            if (text := str(line)) not in held:
                held[text] = None
                fresh.append((size, text))
            by = (line.name, line.key_id)
            self._newest[by] = max(size, self._newest.get(by, 0))
        return fresh

    def under(self, size: int) -> str:
        """All lines for the checkpoint of `size`, as they follow its note."""
        return "".join(self._lines.get(size, ()))

    def newest_by(self, key: VerifyingKey) -> int | None:
        """The size of the newest checkpoint with a line by `key`."""
        return self._newest.get((key.name, key.id))
