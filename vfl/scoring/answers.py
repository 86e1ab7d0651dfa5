"""What is asked of a scoring service and what it answers: the same objects in Python, in JSON and on record.

All are decoded strictly (`msgspec`): `true` and `"1"` are no numbers; unknown fields and numbers that are not finite
are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol

import msgspec

MOST_OF_A_BATCH = 10_000
MOST_REASONS = 4

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Outcome = Literal["approve", "refer", "decline"]
State = Literal["ok", "unknown", "late", "down", "budget"]
"""Of a partner in one decision: answered · does not know the applicant · no answer in time · cannot be reached, or the
circuit breaker is open · the budget of the day is used up."""


class Applicant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be scored.

    id: as the bank's table writes it.   features: the bank's own fresh values by feature, null where one is missing:
    all of the model's bank features, or none; then the row of the bank's own table is taken.
    """

    id: Identifier
    features: dict[str, float | None] | None = None


class Reason(msgspec.Struct, frozen=True):
    """Why the score is not better: a code for machines, plain words for the applicant, and whose data said so."""

    code: str
    text: str
    party: str


class Scored(msgspec.Struct, frozen=True):
    """By what: the model's name, its version (SHA-256 of what all parties agreed the model is) and the agreement's."""

    name: str
    version: str
    agreement: str


class Partner(msgspec.Struct, frozen=True):
    """How a partner took part. `ms`: until its answer, or until it was given up."""

    state: State
    ms: float


class Receipt(msgspec.Struct, frozen=True):
    """Where the decision stands in the ledger: log, entry, SHA-256 of the entry as a leaf of the log's tree (hex).

    The entry commits to the record of the decision; `GET /v1/decisions/ID` shows the proof.
    """

    log: str
    entry: int
    leaf: str


class Decision(msgspec.Struct, frozen=True):
    """A decision. `pd`: probability of default.   points: the score, higher is safer.   degraded: some partner took no
    part and the stand-in model of the bank's own columns scored instead."""

    decision_id: str
    pd: float
    points: int
    band: str
    decision: Outcome
    reasons: tuple[Reason, ...]
    degraded: bool
    model: Scored
    parties: Mapping[str, Partner]
    receipt: Receipt


class Refused(msgspec.Struct, frozen=True):
    """Why one applicant of a batch has no decision: a stable code, and words that repeat nothing of the input."""

    code: str
    detail: str


class Proof(msgspec.Struct, frozen=True):
    """That a decision stands in the ledger: everything in hex but the texts.

    record, salt: leaf of the decision's own tree = SHA-256(0x00 || salt || record), `record` being UTF-8 text.
    place, count, path: of that leaf under the root that the entry commits to; a single decision is a tree of one.
    entry: the entry's canonical JSON.   index, size, inclusion: of SHA-256(0x00 || entry) under the checkpoint's root.
    checkpoint: the signed note, with the cosignatures collected so far.   key: of the log, as a C2SP key string.
    """

    record: str
    salt: str
    place: int
    count: int
    path: tuple[str, ...]
    entry: str
    index: int
    size: int
    inclusion: tuple[str, ...]
    checkpoint: str
    key: str


class LedgerPart(msgspec.Struct, frozen=True):
    """A stretch of a log of decisions, to be checked by whoever reads it.

    logs: all logs of decisions here, oldest first.   log, key: which one this is, and its C2SP key string.
    checkpoint: signed note over the first `size` entries.   start, entries: canonical JSON of entries from there on.
    inclusion: of each entry, the path to the checkpoint's root, hex.
    """

    logs: tuple[str, ...]
    log: str
    key: str
    checkpoint: str
    size: int
    start: int
    entries: tuple[str, ...]
    inclusion: tuple[tuple[str, ...], ...]


class Model(msgspec.Struct, frozen=True):
    """A model that can score. `role`: champion decides, challengers score beside it and only the record knows.

    canary: of a challenger, the share of applicants about whom it decides in the champion's place.
    """

    name: str
    version: str
    agreement: str
    kind: Literal["gbdt", "scorecard"]
    role: Literal["champion", "challenger", "retired"]
    features: Mapping[str, Sequence[str]]  # by party, the active one first
    run: str
    canary: float = 0.0


class PartnerHealth(msgspec.Struct, frozen=True):
    """A partner's link. `left`: answers left in today's budget, null where there is none."""

    state: Literal["up", "connecting", "open circuit", "refuses"]
    detail: str
    left: int | None


class Scorer(Protocol):
    """What an API puts in front of people. All `async` methods run in one event loop.

    Raises UsageError for input that must be fixed (422), and the errors below.
    """

    @property
    def active(self) -> str:
        """The name of the party that decides."""
        ...

    @property
    def own_features(self) -> tuple[str, ...]:
        """The features of the champion that the active party holds: the keys of `Applicant.features`."""
        ...

    async def score(self, applicant: Applicant, caller: str, key: str | None = None) -> Decision:
        """Decide. `caller`: who asks, by name.   key: the same one of the same caller gives the same decision.

        Raises UsageError, UnknownApplicant, PartnerAway, KeyReused, KeyInUse.
        """
        ...

    async def score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None = None
    ) -> tuple[Decision | Refused, ...]:
        """Decide about up to MOST_OF_A_BATCH, in their order: one message to each partner, one entry on the ledger."""
        ...

    async def find(self, decision_id: str) -> tuple[Decision, Proof] | None:
        """A decision once made, with a proof under the newest checkpoint (made now, if none covers it)."""
        ...

    async def recent(self, count: int) -> list[tuple[str, Decision]]:
        """The latest decisions, newest first, each with its time (RFC 3339). Holds no identifiers."""
        ...

    async def ledger(self, log: str | None, start: int, count: int) -> LedgerPart:
        """A stretch of the named log of decisions, by default of the newest. Raises UsageError for none of ours."""
        ...

    def models(self) -> list[Model]:
        """Those that can score, the champion first."""
        ...

    def partners(self) -> Mapping[str, PartnerHealth]:
        """Each partner's link, now."""
        ...


class UnknownApplicant(Exception):
    """The bank's own table has no such row, and no features were given (404)."""


class PartnerAway(Exception):
    """Some partner took no part, and the policy is to refuse rather than to fall back (503)."""


class KeyReused(Exception):
    """The idempotency key was used for another request (422)."""


class KeyInUse(Exception):
    """The request with this idempotency key is still under way (409)."""
