"""Promoting a model and rolling it back: what the API needs of whoever keeps the models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from vfl.api.calls import Answer, Call
from vfl.api.operation import Operation
from vfl.api.problems import Problem
from vfl.errors import AgreementError

ADMIN = frozenset({"admin"})


class Release(msgspec.Struct, frozen=True):
    """How far a change of the champion is. `approved_by`: so far, of `needed` persons."""

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


class UnknownModel(Exception):
    """No model of this version is here (404)."""


def release_operations(releases: Releases) -> tuple[Operation, ...]:
    """The routes."""
    promoted = "Have a challenger decide. 200: done; 202: other persons must approve it too."
    return (
        _operation("promote", promoted, releases.promote),
        _operation("rollback", "Have the champion of before decide again.", releases.rollback),
    )


def _operation(word: str, about: str, change: Callable[[str, str], Awaitable[Release]]) -> Operation:
    async def act(call: Call, _: None) -> Answer:
        try:
            release = await change(call.path["version"], call.caller.name)
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
        answer=Release,
        status=(200, 202),
        problems=("unknown-model", "not-agreed"),
    )
