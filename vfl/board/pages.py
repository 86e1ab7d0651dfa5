"""The pages and what their scripts ask for, as routes for an application that has a scorer.

    app.router.routes.extend(board_routes(scorer, Observed(clock, reference), lambda: About(..), caller=who_is_it))

GET  /                       try a score, charts, the last decisions       GET  /board/model          the model card
POST /                       the same with an answer                       GET  /board/decisions/ID   one, with proof
GET  /board/live             what of / changes, as HTML                    GET  /board/ledger         the explorer
GET  /board/observed.json    the figures of the charts                     GET  /board/ledger.json    what it is made of
GET  /board/settlement       what partners' data is worth, payments, stakes
GET  /board/static/FILE      style sheet, scripts, icon
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ledger.errors import LedgerError
from ledger.keys import VerifyingKey
from vfl import templates
from vfl.board import ledgers
from vfl.board.about import About
from vfl.board.answering import COOKIE, HEADERS, form_of, from_this_page, language_of, number_of
from vfl.board.charts import band_bars, charts
from vfl.board.observed import Observed
from vfl.errors import UsageError
from vfl.party.card import fingerprint
from vfl.randomness import fresh_bytes
from vfl.report.figures import moment, percent, share, three
from vfl.scoring.answers import (
    Applicant,
    Decision,
    KeyInUse,
    KeyReused,
    PartnerAway,
    Scorer,
    UnknownApplicant,
)
from vfl.settle.account import Account
from vfl.settle.payments import written
from vfl.wording import LANGUAGES, Wording

RECENT = 8
ENTRIES_OF_STATUS = 8
ENTRIES_OF_PAGE = 25
FEATURE = "feature."
"""What names of form fields of features begin with."""

Caller = Callable[[Request], str]
_REFUSALS: Mapping[type[Exception], tuple[int, str]] = {
    UsageError: (422, "refused.input"),
    UnknownApplicant: (404, "refused.unknown"),
    PartnerAway: (503, "refused.away"),
    KeyReused: (422, "refused.reused"),
    KeyInUse: (409, "refused.in_use"),
}


def console(request: Request) -> str:
    """Whoever reaches the page asks by this name: for services that ask nobody who they are."""
    return "console"


def board_routes(
    scorer: Scorer, observed: Observed, about: Callable[[], About] = About, *, caller: Caller = console,
    settlement: Callable[[], Account | None] | None = None,
) -> list[BaseRoute]:  # fmt: skip
    """The routes. `about`: of the model that decides now.   caller: who asks, by name; raises HTTPException (401, 403)
    for whoever may not see the pages.   settlement: of the run; None where none is agreed, and so no page."""
    board = _Board(scorer, observed, about, caller, settlement)
    pages: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/", "GET", board.home),
        ("/", "POST", board.score),
        ("/board/live", "GET", board.live),
        ("/board/observed.json", "GET", board.observed_json),
        ("/board/model", "GET", board.model),
        ("/board/decisions/{id}", "GET", board.decision),
        ("/board/ledger", "GET", board.ledger),
        ("/board/ledger.json", "GET", board.ledger_json),
        *([("/board/settlement", "GET", board.settled)] if settlement else []),
    ]
    made: list[BaseRoute] = [Route(path, board.guarded(answer), methods=[verb]) for path, verb, answer in pages]
    return [*made, Mount("/board/static", _Static(packages=[("vfl.board", "static")]))]


class _Static(StaticFiles):
    """The style sheet and the scripts, under the same headers as pages, but kept until they change."""

    def file_response(self, *words: Any, **named: Any) -> Response:
        response = super().file_response(*words, **named)
        response.headers.update({**HEADERS, "Cache-Control": "no-cache"})
        return response


@dataclass(frozen=True)
class Entered:
    """What a person entered: `id`, `values` by feature as typed; `faults` by field, keys of words."""

    key: str
    id: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def applicant(self) -> Applicant:
        """Fresh values where any are given. Call it without faults only."""
        given = {name: number_of(text) if text else None for name, text in self.values.items()}
        return Applicant(self.id, given if any(self.values.values()) else None)


def read_form(fields: Mapping[str, str], features: tuple[str, ...]) -> Entered:
    """What was entered, with every fault of it."""
    faults: dict[str, str] = {}
    values = {name: fields.get(FEATURE + name, "").strip() for name in features}
    for name, text in values.items():
        try:
            number_of(text or "0")
        except ValueError:
            faults[FEATURE + name] = "form.no_number"
    who = fields.get("id", "").strip()
    if not 0 < len(who) <= 256:
        faults["id"] = "form.no_id"
    return Entered(fields.get("key", "")[:64] or _new_key(), who, values, faults)


def _new_key() -> str:
    return fresh_bytes(16).hex()


class _Board:
    def __init__(
        self, scorer: Scorer, observed: Observed, about: Callable[[], About], caller: Caller,
        settlement: Callable[[], Account | None] | None,
    ) -> None:  # fmt: skip
        self.scorer, self.observed, self._about, self.caller = scorer, observed, about, caller
        self._settlement = settlement

    @property
    def about(self) -> About:
        """What is said of the model that decides now."""
        return self._about()

    def guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The page for those who may see it; the language they chose is remembered."""

        async def page(request: Request) -> Response:
            self.caller(request)
            response = await answer(request)
            response.headers.update(HEADERS)
            if (chosen := request.query_params.get("lang")) in LANGUAGES:
                response.set_cookie(COOKIE, chosen, httponly=True, samesite="lax", max_age=365 * 86_400)
            return response

        return page

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """A template with what all of them need."""
        language = language_of(request)
        say = _words(language)
        html = _templates().get_template(name).render(
            say=say, lang=templates.tag(language), languages=LANGUAGES, language=language, here=_here(request),
            active=self.scorer.active, about=self.about, settles=self._settlement is not None, **values,
        )  # fmt: skip
        return HTMLResponse(html, status)

    async def home(self, request: Request) -> Response:
        """An empty form, charts, the last decisions."""
        return await self._home(request, Entered(_new_key()), None)

    async def score(self, request: Request) -> Response:
        """The form as it was filled in, and the answer or what is wrong."""
        if not from_this_page(request):
            raise HTTPException(403, "this form was posted by another page")
        entered = Entered(_new_key())
        try:
            entered = read_form(await form_of(request), self.scorer.own_features)
            if entered.faults:
                return await self._home(request, entered, None, 422)
            made = await self.scorer.score(entered.applicant(), self.caller(request), entered.key)
        except tuple(_REFUSALS) as error:
            status, words = _REFUSALS[type(error)]
            return await self._home(request, entered, None, status, refused=words, why=error)
        return await self._home(request, entered, made)

    async def _home(
        self, request: Request, entered: Entered, made: Decision | None, status: int = 200, **values: Any
    ) -> Response:
        champion = self.scorer.models()[0]
        words = dict(self.about.words(champion).get(self.scorer.active, []))
        labels = [(name, words.get(name, name)) for name in self.scorer.own_features]
        return self.page(
            request, "home.html.j2", status, entered=entered, decision=made, champion=champion, field=FEATURE,
            labels=labels, **await self._live(request), **values,
        )  # fmt: skip

    async def live(self, request: Request) -> Response:
        """The parts of the home page that change."""
        return self.page(request, "live.html.j2", **await self._live(request))

    async def _live(self, request: Request) -> dict[str, Any]:
        look = self.observed.look()
        return {
            "look": look,
            "charts": charts(look, _words(language_of(request))),
            "bands": band_bars(look, [(band.name, band.decision) for band in self.about.bands]),
            "partners": self.scorer.partners(),
            "recent": await self.scorer.recent(RECENT),
        }

    async def observed_json(self, request: Request) -> Response:
        """Everything the charts show."""
        return _json(self.observed.look())

    async def model(self, request: Request) -> Response:
        """The champion's card, and a line for each other model."""
        champion, *others = self.scorer.models()
        return self.page(
            request, "model.html.j2", champion=champion, others=others, words=self.about.words(champion),
            named=_names(language_of(request)),
        )  # fmt: skip

    async def settled(self, request: Request) -> Response:
        """What partners' data is worth, what was used and paid, what is at stake."""
        assert self._settlement is not None
        account = await asyncio.to_thread(self._settlement)
        if account is None:
            return self.page(request, "missing.html.j2", 404, words="missing.settlement", what="")
        return self.page(request, "settlement.html.j2", account=account, span=_span(account))

    async def decision(self, request: Request) -> Response:
        """One decision with everything that proves it."""
        which = request.path_params["id"]
        found = await self.scorer.find(which)
        if found is None:
            return self.page(request, "missing.html.j2", 404, words="missing.decision", what=which)
        made, proof = found
        at = ledgers.fields_of(proof.entry).get("ts", "")
        return self.page(request, "decision.html.j2", decision=made, proof=proof, at=at)

    async def ledger(self, request: Request) -> Response:
        """The newest entries of a log, those before `below`, or the one numbered `entry`; `q` looks for one."""
        asked = request.query_params
        log = asked.get("log") or None
        try:
            if words := asked.get("q", "").strip()[:300]:
                below = _whole(asked["below"]) if "below" in asked else None
                return self._found(request, words, await ledgers.find(self.scorer, log, words, below))
            if "entry" in asked:
                return await self._entry(request, log, _whole(asked["entry"]))
            count = ENTRIES_OF_PAGE
            part = await ledgers.newest(self.scorer, log, count)
            if "below" in asked:
                first = max(0, _whole(asked["below"]) - count)
                part = await self.scorer.ledger(part.log, first, min(count, max(1, _whole(asked["below"]) - first)))
        except UsageError as error:
            return self.page(request, "missing.html.j2", 404, words="missing.log", what=str(error))
        return self.page(request, "ledger.html.j2", part=part, entries=ledgers.shown(part)[::-1], count=count)

    async def _entry(self, request: Request, log: str | None, number: int) -> Response:
        """One entry, below it the one before, whose hash it names."""
        part = await self.scorer.ledger(log, max(0, number - 1), 2)
        entries = [entry for entry in ledgers.shown(part) if entry.number <= number][::-1]
        if not entries or entries[0].number != number:
            return self.page(request, "missing.html.j2", 404, words="missing.entry", what=f"{number:,}")
        return self.page(request, "entry.html.j2", part=part, entry=entries[0], before=entries[1:])

    def _found(self, request: Request, words: str, found: ledgers.Found | None) -> Response:
        if found is None:
            return self.page(request, "missing.html.j2", 404, words="missing.words", what=words)
        if found.decision:
            return RedirectResponse(f"/board/decisions/{quote(found.decision, safe='')}", 303)
        if found.entry is not None:
            return RedirectResponse("/board/ledger?" + urlencode({"log": found.log, "entry": found.entry}), 303)
        further = {"log": found.log, "q": words, "below": found.below} if found.below else {}
        return self.page(
            request, "missing.html.j2", 404, words="missing.nowhere", what=words, further=urlencode(further)
        )

    async def ledger_json(self, request: Request) -> Response:
        """A stretch of a log: `log`, `start`, `count`; or `last`, the newest so many."""
        asked = request.query_params
        try:
            log, most = asked.get("log") or None, ledgers.AT_ONCE
            if "last" in asked:
                return _json(await ledgers.newest(self.scorer, log, max(1, min(_whole(asked["last"]), most))))
            count = max(1, min(_whole(asked.get("count", "100")), most))
            return _json(await self.scorer.ledger(log, _whole(asked.get("start", "0")), count))
        except UsageError as error:
            return _json({"detail": str(error)}, 422)


def _span(account: Account) -> Callable[[float], str]:
    """From a share to its place in a drawing 200 wide that holds all intervals."""
    ends = [end for one in (*account.players, account.null) if one is not None for end in one.share]
    low, high = min(0.0, *ends, 0.0), max(0.0, *ends, 0.01)
    return lambda share: f"{6 + 188 * (share - low) / (high - low):.1f}"


def _money(amount: int, currency: str) -> str:
    return f"{written(amount, currency)} {currency}"


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _whole(text: str) -> int:
    """A number of entries. Raises UsageError for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise UsageError(f"{text[:40]!r} is no number of an entry", remedy="numbers begin with 0")
    return int(text)


@cache
def _templates() -> Any:
    made = templates.environment("vfl.board")
    made.filters |= {
        "moment": moment, "percent": percent, "share": share, "three": three, "fingerprint": _fingerprint,
        "money": _money,
    }  # fmt: skip
    return made


@cache
def _words(language: str) -> Wording:
    return Wording("vfl.board", language)


@cache
def _names(language: str) -> Wording:
    return Wording("vfl.plots", language)


def _fingerprint(vkey: str) -> str:
    """By which people compare a key; empty for what is none, which the check will say."""
    try:
        return fingerprint(VerifyingKey.parse(vkey))
    except LedgerError:
        return ""


def _here(request: Request) -> str:
    """This page in another language, but for the language."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    return f"{request.url.path}?{urlencode([*kept, ('lang', '')])}"
