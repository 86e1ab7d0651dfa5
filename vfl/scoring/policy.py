"""serving.toml: how scores become decisions, and what happens while a partner is away. Each default stands here once.

    [decision]
    cut_off = 0.25           # PD above which an applicant is declined; default: where KS is greatest on the hold-out
    refer_from = 0.2         # PD from which a person must look; default: nobody is referred
    pdo = 20.0               # points that double the odds; with base_score and base_odds: of boosted trees
    base_score = 600.0
    base_odds = 50.0
    bands = 10               # classes of points, A the safest, of equal size on the hold-out

    [partners]
    deadline_ms = 500        # until a partner is late
    absent = "stand-in"      # what then: the stand-in model of the bank's own columns (degraded), or "refuse"
    unknown = "stand-in"     # the same where a partner does not know the applicant
    breaker_failures = 5     # so many failures in a row open the circuit breaker
    breaker_seconds = 5      # for so long
    scores_per_day = 0       # of a simulation: answers that each partner gives a day (UTC); 0: no bound. Between
                             # companies the agreement says it
    masked = false           # of a scorecard with two partners or more: learn the sum of their parts only

    [record]
    volume_entries = 50000   # a new ledger volume is begun after so many entries
    checkpoint_seconds = 5   # heads are signed, and partners cosign, at least so often while there is work

    [models]
    shadow = false           # challengers score whom the champion decides about, for the record: costs partners' budget
    shadow_waiting = 20000   # applicants that may wait for that; whoever comes then is left out, and counted

An unknown key, a wrong type or a value out of range is refused naming file, table, key and value.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vfl.errors import UsageError
from vfl.toml_table import TomlTable

Absent = Literal["stand-in", "refuse"]
_ABSENT = ("stand-in", "refuse")


@dataclass(frozen=True)
class DecisionRules:
    """cut_off, refer_from: PDs, None for the default.   pdo, base_score, base_odds: of points.   bands: how many."""

    cut_off: float | None = None
    refer_from: float | None = None
    pdo: float = 20.0
    base_score: float = 600.0
    base_odds: float = 50.0
    bands: int = 10


@dataclass(frozen=True)
class PartnerRules:
    """See the module's text."""

    deadline_ms: int = 500
    absent: Absent = "stand-in"
    unknown: Absent = "stand-in"
    breaker_failures: int = 5
    breaker_seconds: int = 5
    scores_per_day: int = 0
    masked: bool = False


@dataclass(frozen=True)
class RecordRules:
    """See the module's text."""

    volume_entries: int = 50_000
    checkpoint_seconds: int = 5


@dataclass(frozen=True)
class ModelRules:
    """See the module's text."""

    shadow: bool = False
    shadow_waiting: int = 20_000


@dataclass(frozen=True)
class ServingPolicy:
    """Everything in serving.toml."""

    decision: DecisionRules = DecisionRules()
    partners: PartnerRules = PartnerRules()
    record: RecordRules = RecordRules()
    models: ModelRules = ModelRules()

    @classmethod
    def read(cls, path: Path) -> ServingPolicy:
        """The file at `path`. Raises UsageError naming file, table, key and value."""
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not TOML: {error}") from None
        top = TomlTable(raw, str(path))
        top.only("decision", "partners", "record", "models")
        return cls(
            _decision(top.table("decision")), _partners(top.table("partners")), _record(top.table("record")),
            _models(top.table("models")),
        )  # fmt: skip


def _decision(table: TomlTable) -> DecisionRules:
    known = DecisionRules()
    table.only(*vars(known))

    def rate(key: str) -> float | None:
        return table.number(key, 0.0, 0.0, 1.0) if key in table.raw else None

    found = DecisionRules(
        rate("cut_off"),
        rate("refer_from"),
        table.number("pdo", known.pdo, 1e-6, 1e6),
        table.number("base_score", known.base_score, -1e6, 1e6),
        table.number("base_odds", known.base_odds, 1e-9, 1e9),
        table.integer("bands", known.bands, range(1, 27)),
    )
    if found.refer_from is not None and found.cut_off is not None and found.refer_from > found.cut_off:
        raise UsageError(
            f"{table.place('refer_from')} is {found.refer_from}, above cut_off = {found.cut_off}",
            remedy="refer_from is the lower of the two: between them a person looks",
        )
    return found


def _partners(table: TomlTable) -> PartnerRules:
    known = PartnerRules()
    table.only(*vars(known))
    absent: dict[str, Absent] = {
        key: "refuse" if table.choice(key, _ABSENT, default=known.absent) == "refuse" else "stand-in"
        for key in ("absent", "unknown")
    }
    return PartnerRules(
        table.integer("deadline_ms", known.deadline_ms, range(1, 60_001)),
        absent["absent"],
        absent["unknown"],
        table.integer("breaker_failures", known.breaker_failures, range(1, 1001)),
        table.integer("breaker_seconds", known.breaker_seconds, range(1, 3601)),
        table.integer("scores_per_day", known.scores_per_day, range(10**12)),
        table.flag("masked", known.masked),
    )


def _record(table: TomlTable) -> RecordRules:
    known = RecordRules()
    table.only(*vars(known))
    return RecordRules(
        table.integer("volume_entries", known.volume_entries, range(10, 1_000_001)),
        table.integer("checkpoint_seconds", known.checkpoint_seconds, range(1, 3601)),
    )


def _models(table: TomlTable) -> ModelRules:
    known = ModelRules()
    table.only(*vars(known))
    return ModelRules(
        table.flag("shadow", known.shadow),
        table.integer("shadow_waiting", known.shadow_waiting, range(1, 1_000_001)),
    )
