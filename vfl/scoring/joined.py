"""Drafts of several models about one batch, as if they were of one: for a batch is one answer, and one entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.canonical import Json
from vfl.scoring.answers import Decision, Refused
from vfl.scoring.drafts import Drafts
from vfl.scoring.volumes import Kept


@dataclass(frozen=True, eq=False)
class Joined:
    """parts: of each model its drafts, and the places of their applicants in the batch; the champion's come last."""

    parts: Sequence[tuple[Sequence[int], Drafts]]

    @property
    def first(self) -> Refused | None:
        """Why a single applicant has no decision."""
        return self.parts[0][1].first

    def counts(self) -> dict[str, Json]:
        """Those of all parts. model: the last one's version.   models: what each decided, if several did."""
        counts: list[tuple[str, Any]] = [(drafts.model.version, drafts.counts()) for _, drafts in self.parts]
        version, told = counts[-1]
        if len(counts) == 1:
            return {"model": version, **told}
        parties: dict[str, Counter[str]] = {}
        for _, each in counts:
            for name, states in each["parties"].items():
                parties.setdefault(name, Counter()).update(states)
        return {
            "model": version,
            "models": {name: {key: each[key] for key in ("decisions", "degraded")} for name, each in counts},
            "decisions": sum(each["decisions"] for _, each in counts),
            "degraded": sum(each["degraded"] for _, each in counts),
            "parties": {name: dict(states) for name, states in parties.items()},
        }  # fmt: skip

    def records(self, time: str) -> bytes:
        """Of each applicant a line, in the order of the batch."""
        if len(self.parts) == 1:
            return self.parts[0][1].records(time)
        lines: dict[int, bytes] = {}
        for places, drafts in self.parts:
            lines |= zip(places, drafts.records(time).splitlines(keepends=True), strict=True)
        return b"".join(lines[place] for place in range(len(lines)))

    def decisions(self, kept: Kept, *, batch: bool) -> list[Decision | Refused]:
        """With their ids and receipts, in the order of the batch."""
        if len(self.parts) == 1:
            return self.parts[0][1].decisions(kept, batch=batch)
        found: dict[int, Decision | Refused] = {}
        for places, drafts in self.parts:
            found |= zip(places, drafts.decisions(kept, batch=batch, places=places), strict=True)
        return [found[place] for place in range(len(found))]
