"""Promoting a model, in steps or at once, and rolling it back: what the API needs of whoever keeps the models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, Protocol

import msgspec

from vfl.api.calls import Answer, Call
from vfl.api.operation import Operation
from vfl.api.problems import Problem
from vfl.errors import AgreementError

ADMIN = frozenset({"admin"})


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of applicants, 0 to 1, about whom a challenger is to decide: the same ones again and again."""

    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Release(msgspec.Struct, frozen=True):
    """How far a change of who decides is. `version`: who is to decide.   approved_by: so far, of `needed` persons."""

    version: str
    state: Literal["done", "awaits approval"]
    approved_by: tuple[str, ...]
    needed: int


class Releases(Protocol):
    """Who decides which model decides. Raises UnknownModel, and AgreementError for what is not allowed (409)."""

    async def promote(self, version: str, caller: str) -> Release:
        """Have a challenger decide, or approve that; `version`: of it."""
        ...

    async def rollback(self, version: str, caller: str) -> Release:
        """Have the champion of before decide again; `version`: of the one that decides now."""
        ...

    async def canary(self, version: str, share: float, caller: str) -> Release:
        """Have a challenger decide about a share of applicants, or approve that; a smaller share needs one word."""
        ...


class UnknownModel(Exception):
    """No model of this version is here (404)."""


def release_operations(releases: Releases) -> tuple[Operation, ...]:
    """The routes."""
    promoted = "Have a challenger decide. 200: done; 202: other persons must approve it too."
    some = "Have a challenger decide about a share of applicants. 200: done; 202: other persons must approve it too."

    def whole(change: Callable[[str, str], Awaitable[Release]]) -> Callable[[Call, None], Awaitable[Release]]:
        return lambda call, _: change(call.path["version"], call.caller.name)

    def share(call: Call, asked: Canary) -> Awaitable[Release]:
        return releases.canary(call.path["version"], asked.share, call.caller.name)

    return (
        _operation("promote", promoted, whole(releases.promote)),
        _operation("rollback", "Have the champion of before decide again.", whole(releases.rollback)),
        _operation("canary", some, share, Canary, {"one in twenty": Canary(0.05)}),
    )


def _operation(
    word: str,
    about: str,
    change: Callable[[Call, Any], Awaitable[Release]],
    body: type | None = None,
    examples: Mapping[str, object] | None = None,
) -> Operation:
    async def act(call: Call, asked: Any) -> Answer:
        try:
            release = await change(call, asked)
        except UnknownModel:
            raise Problem("unknown-model") from None
        except AgreementError as error:
            raise Problem("not-agreed", str(error)) from None
        return Answer(msgspec.json.encode(release), 200 if release.state == "done" else 202)

    return Operation(
        method="POST",
        path=f"/v1/models/{{version}}:{word}",
        name=word,
        about=about,
        act=act,
        scopes=ADMIN,
        body=body,
        examples=examples or {},
        answer=Release,
        status=(200, 202),
        problems=("unknown-model", "not-agreed"),
    )
