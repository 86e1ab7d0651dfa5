"""The routes of `/v1`: decisions, one or many, found again with their proofs; models and the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec

from vfl.api.calls import Answer, Call, encode
from vfl.api.gate import Gate
from vfl.api.meters import Meters
from vfl.api.operation import MOST_OF_MANY, Operation
from vfl.api.problems import Problem, retry_after
from vfl.errors import UsageError
from vfl.scoring.answers import (
    MOST_OF_A_BATCH,
    Applicant,
    Decision,
    KeyInUse,
    KeyReused,
    LedgerPart,
    Model,
    PartnerAway,
    Proof,
    Refused,
    Scorer,
    UnknownApplicant,
)

SCORE, READ = frozenset({"score"}), frozenset({"read"})
EITHER = SCORE | READ
DECIDING = ("unknown-applicant", "key-in-use", "refused-input", "key-reused", "quota-used-up", "partner-away")
_AGAIN = 5  # seconds until a partner may be back
_SLICE = 250  # decisions that are written before others have their turn
_MOST_ENTRIES = 1000


class Applicants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be scored, in one go."""

    applicants: Annotated[tuple[Applicant, ...], msgspec.Meta(min_length=1, max_length=MOST_OF_A_BATCH)]


class Results(msgspec.Struct, frozen=True):
    """For each applicant, in their order, a Decision, or a Refused that says why there is none."""

    results: tuple[Any, ...]


class Found(msgspec.Struct, frozen=True):
    """A decision and the proof that it stands in the ledger."""

    decision: Decision
    proof: Proof


class Models(msgspec.Struct, frozen=True):
    """The models that can score, the champion first."""

    models: tuple[Model, ...]


class Stretch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of which log. `log`: its name, by default the newest one."""

    log: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    start: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=_MOST_ENTRIES)] = 100


@contextmanager
def deciding(applicants: Sequence[Applicant]) -> Iterator[None]:
    """Turn what a scorer raises into problems, without a word of the applicants."""
    try:
        yield
    except UsageError as error:
        raise Problem("refused-input", _discreet(str(error), applicants)) from None
    except UnknownApplicant:
        raise Problem("unknown-applicant") from None
    except PartnerAway:
        raise Problem("partner-away", headers=[retry_after(_AGAIN)]) from None
    except KeyReused:
        raise Problem("key-reused") from None
    except KeyInUse:
        raise Problem("key-in-use", headers=[retry_after(1)]) from None


def _discreet(words: str, applicants: Sequence[Applicant]) -> str:
    """The words, unless something of an applicant stands in them: the API repeats nothing, whatever a model says."""
    sent = (text for each in applicants for text in (each.id, *map(str, (each.features or {}).values())))
    return "" if any(text in words for text in sent if len(text) > 1) else words


class Scoring:
    """What the routes do."""

    def __init__(self, scorer: Scorer, gate: Gate, meters: Meters) -> None:
        self._scorer, self._gate, self._meters = scorer, gate, meters

    async def one(self, call: Call, applicant: Applicant) -> Decision:
        """Decide about one applicant, and count it."""
        key = call.idempotency_key()
        self._gate.charge(call.caller, 1)
        with deciding((applicant,)):
            made = await self._scorer.score(applicant, call.caller.name, key)
        self._meters.decided((made,))
        return made

    async def many(self, call: Call, applicants: Sequence[Applicant]) -> tuple[Decision | Refused, ...]:
        """Decide about many, and count them."""
        key = call.idempotency_key()
        self._gate.charge(call.caller, len(applicants))
        with deciding(applicants):
            made = await self._scorer.score_batch(applicants, call.caller.name, key)
        self._meters.decided(made)
        return made

    async def batch(self, call: Call, body: Applicants) -> Answer:
        """The route of many: its long answer is written piece by piece, so that others are answered in between."""
        made = await self.many(call, body.applicants)
        parts = []
        for start in range(0, len(made), _SLICE):
            parts.append(encode(made[start : start + _SLICE])[1:-1])
            await asyncio.sleep(0)
        return Answer(b'{"results":[' + b",".join(parts) + b"]}", headers=((b"cache-control", b"no-store"),))

    async def find(self, call: Call, _: None) -> Found:
        """A decision once made, with its proof."""
        found = await self._scorer.find(call.path["id"])
        if found is None:
            raise Problem("unknown-decision")
        return Found(*found)

    async def models(self, call: Call, _: None) -> Models:
        """The models."""
        return Models(tuple(self._scorer.models()))

    async def ledger(self, call: Call, _: None) -> LedgerPart:
        """A stretch of a log."""
        asked = call.query(Stretch)
        try:
            part = await self._scorer.ledger(asked.log, asked.start, asked.count)
        except UsageError:
            raise Problem("invalid-request", "there is no such log of decisions, or it is shorter") from None
        self._meters.grown(part.log, part.size)
        return part

    def operations(self, example: Applicant) -> tuple[Operation, ...]:
        """The routes. `example`: an applicant that this service's model can score."""
        stored = Applicant(example.id)
        return (
            Operation(
                method="POST",
                path="/v1/score",
                name="score",
                about="Decide about one applicant: by the row of the bank's table, or by fresh values of its features.",
                act=self.one,
                scopes=SCORE,
                body=Applicant,
                answer=Decision,
                idempotent=True,
                problems=DECIDING,
                examples={"fresh values": example},
            ),
            Operation(
                method="POST",
                path="/v1/score/batch",
                name="scoreBatch",
                about=f"Decide about up to {MOST_OF_A_BATCH} applicants at once: one message to each partner, "
                "one entry on the ledger. Applicants that cannot be scored are refused one by one.",
                act=self.batch,
                scopes=SCORE,
                body=Applicants,
                most=MOST_OF_MANY,
                answer=Results,
                idempotent=True,
                problems=DECIDING,
                examples={"two applicants": Applicants((example, stored))},
            ),
            *self._lookups(),
        )

    def _lookups(self) -> tuple[Operation, ...]:
        return (
            Operation(
                method="GET",
                path="/v1/decisions/{id}",
                name="decision",
                about="A decision once made, with the proof that it stands in the ledger.",
                act=self.find,
                scopes=READ,
                answer=Found,
                problems=("unknown-decision",),
            ),
            Operation(
                method="GET",
                path="/v1/models",
                name="models",
                about="The models that can score, the champion first.",
                act=self.models,
                scopes=EITHER,
                answer=Models,
            ),
            Operation(
                method="GET",
                path="/v1/ledger",
                name="ledger",
                about="A stretch of a log of decisions, with the proofs to check it by.",
                act=self.ledger,
                scopes=READ,
                query=Stretch,
                answer=LedgerPart,
            ),
        )
