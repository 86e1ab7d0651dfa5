"""The API of a scoring service, as one ASGI application.

The routes are tables (`vfl.api.operation`), decoded and encoded by their types; FastAPI holds them, and whatever pages
are added beside them. Its own pages of documentation load scripts from elsewhere and are off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from vfl import __version__
from vfl.api.calls import Answer, Call, answer_of
from vfl.api.gate import Gate
from vfl.api.guard import Guard
from vfl.api.health import Health
from vfl.api.inference import Inference
from vfl.api.jobs import Jobs
from vfl.api.keys import KeyRing
from vfl.api.meters import Meters
from vfl.api.openapi import document
from vfl.api.operation import Operation
from vfl.api.problems import MEDIA, Problem
from vfl.api.releases import Releases, release_operations
from vfl.api.scoring import Scoring
from vfl.api.tokens import Token, TokenRefused, Tokens
from vfl.clock import Clock
from vfl.party.service import Log
from vfl.scoring.answers import Applicant, Scorer

_OF_STATUS = {404: "not-found", 405: "method-not-allowed"}


@dataclass(frozen=True)
class ApiSettings:
    """keys: the file of API keys (`vfl.api.keys`); None asks nobody who he is, which only a loopback address may do.

    needs_partners: whether the policy is to refuse where a partner is away: then the service is not ready.
    releases: who promotes models; None: there are no such routes.   jobs: the folder of files to score, or no such
    routes.   more: further operations.
    example: an id of nobody, in the form that this company's ids have, for the examples of the document.
    """

    keys: Path | None = None
    needs_partners: bool = False
    releases: Releases | None = None
    jobs: Path | None = None
    more: Sequence[Operation] = ()
    example: str = "A-1"


def make_app(scorer: Scorer, settings: ApiSettings, clock: Clock, log: Log) -> FastAPI:
    """The application. `app.state.gate` lets callers in (`Gate.admit`), also to pages that are added to it.

    `app.state.jobs` is to be closed before the scorer is; None where there are none.
    Raises UsageError if the file of keys or the folder of jobs cannot be used.
    """
    gate = Gate(KeyRing(settings.keys, clock) if settings.keys else None, clock)
    meters = Meters()
    app = FastAPI(
        title="Tallystick scoring",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gate, app.state.meters, app.state.log = gate, meters, log
    app.add_middleware(Guard, authenticates=gate.ring is not None, meters=meters, clock=clock, log=log)
    app.add_exception_handler(HTTPException, _no_such)
    jobs = Jobs(scorer, settings.jobs, gate, meters, clock, log) if settings.jobs else None
    app.state.jobs = jobs
    table = _Table(scorer, settings, gate, meters, jobs.operations() if jobs else ())
    app.router.routes.extend(each.route(gate) for each in table.operations())
    app.openapi = table.document  # type: ignore[method-assign]  # as FastAPI's documentation has it
    return app


class _Table:
    """All operations, and what tells of them."""

    def __init__(
        self, scorer: Scorer, settings: ApiSettings, gate: Gate, meters: Meters, jobs: tuple[Operation, ...]
    ) -> None:
        self._jobs = jobs
        self._scorer, self._gate, self._settings = scorer, gate, settings
        self._scoring = Scoring(scorer, gate, meters)
        self._health = Health(scorer, gate, meters, settings.needs_partners)
        self._inference = Inference(scorer, self._scoring, self._health)
        self._written: tuple[tuple[str, ...], bytes] = ((), b"")

    def operations(self) -> tuple[Operation, ...]:
        """Those that this service has."""
        example = Applicant(self._settings.example, dict.fromkeys(self._scorer.own_features, 1.0))
        told = Operation("GET", "/openapi.json", "openapi", "This document.", self._openapi)
        return (
            *self._scoring.operations(example),
            *(release_operations(self._settings.releases) if self._settings.releases else ()),
            *self._jobs,
            *self._settings.more,
            *self._inference.operations(example),
            *self._health.operations(),
            *((_token_operation(self._gate.tokens),) if self._gate.tokens else ()),
            told,
        )

    def document(self) -> dict[str, object]:
        """The OpenAPI document of now: examples have the features of the model that decides."""
        return document(self.operations(), self._gate.ring is not None)

    async def _openapi(self, call: Call, _: None) -> Answer:
        features = self._scorer.own_features
        if self._written[0] != features or not self._written[1]:
            self._written = (features, msgspec.json.encode(self.document()))
        return Answer(self._written[1])


def _token_operation(tokens: Tokens) -> Operation:
    return Operation(
        method="POST",
        path="/oauth2/token",
        name="token",
        about="Exchange a key for a token of ten minutes (RFC 6749, client credentials).",
        act=tokens.give,
        answer=Token,
        others={400: TokenRefused, 401: TokenRefused},
        problems=("too-many-requests", "body-too-large", "unsupported-media-type"),
    )


async def _no_such(request: Request, error: Exception) -> Response:
    """What the router says, in our form."""
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code)
    if code is None:
        raise error
    told = answer_of(Problem(code), request.url.path)
    return Response(told.body, told.status, headers=error.headers, media_type=MEDIA.decode())
