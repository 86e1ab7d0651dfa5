"""Usage: how many decisions a model made in a period, metered from the ledger of decisions alone.

An answer is one entry (docs/spec/scoring.md), whatever was asked again under its idempotency key; its parameters count
the decisions and those of a stand-in, which used no partner's data and cost nothing. The entries are cosigned by the
partners, and a bundle of them is enough to meter again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.entry import Entry
from vfl.errors import UsageError
from vfl.own_ledger import own_ledger
from vfl.scoring.session import FOLDER
from vfl.scoring.volumes import PHASE, STEP, VOLUMES, VolumeStore

PERIODS: Mapping[str, int] = {"year": 4, "month": 7, "day": 10}
"""How many characters of an entry's time (UTC) name its period."""


@dataclass(frozen=True, order=True)
class Usage:
    """What one model decided in one period.

    period: as 2026-11.   model: its version.   answers: entries.   degraded: of `decisions`, those of the stand-in.
    """

    period: str
    model: str
    answers: int
    decisions: int
    degraded: int

    @property
    def billable(self) -> int:
        """Decisions that partners' data took part in."""
        return self.decisions - self.degraded

    def amount(self, price: int) -> int:
        """What is owed, in minor units. `price`: of one decision."""
        return self.billable * price


def meter(entries: Iterable[Entry], period: str = "month") -> list[Usage]:
    """Usage by period and model, in that order. `period`: one of PERIODS. Other entries count nothing.

    Raises UsageError for an unknown period, or an entry that does not say what it decided.
    """
    if period not in PERIODS:
        raise UsageError(f"period is {period!r:.40}", remedy=f"name one of {', '.join(PERIODS)}")
    found: Counter[tuple[str, str, str]] = Counter()
    for entry in entries:
        if (entry.phase, entry.step) == (PHASE, STEP):
            when = entry.ts[: PERIODS[period]]
            for model, counts in _counts(entry).items():
                for name in ("answers", "decisions", "degraded"):
                    found[when, model, name] += counts[name]
    keys = sorted({(when, model) for when, model, _ in found})
    return [Usage(*key, *(found[(*key, name)] for name in ("answers", "decisions", "degraded"))) for key in keys]


def decided(seat: Path) -> Iterator[Entry]:
    """The entries of all volumes of a party's ledger of decisions, oldest first; read beside a service too.

    `seat`: the party's folder in a run. Raises UsageError for a file that is damaged.
    """
    for path in sorted((seat / FOLDER / VOLUMES).glob("*.sqlite")):
        with own_ledger(), closing(VolumeStore(path)) as store:
            for row in store.rows():
                yield Entry.from_bytes(row.body)


def _counts(entry: Entry) -> dict[str, dict[str, int]]:
    """By model. What several decided about is one answer of the one that decides about everybody else."""
    params: Mapping[str, Any] = entry.params
    champion = str(params.get("model"))
    models = params.get("models", {champion: params})
    try:
        return {
            str(model): {"answers": int(model == champion), **_two(each)} for model, each in models.items()
        }  # fmt: skip
    except (AttributeError, KeyError, TypeError):
        raise UsageError(
            f"{entry.log}: entry {entry.seq} does not say what was decided",
            remedy="verify the ledger; what does not count its decisions is not billed",
        ) from None


def _two(counts: Mapping[str, Any]) -> dict[str, int]:
    decisions, degraded = counts["decisions"], counts["degraded"]
    if not (type(decisions) is int and type(degraded) is int and 0 <= degraded <= decisions):
        raise TypeError
    return {"decisions": decisions, "degraded": degraded}
