"""The registry of models: what follows from a history and what cannot; a history that was altered is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vfl.clock import SystemClock
from vfl.errors import AgreementError, UsageError
from vfl.files import alone
from vfl.scoring.registry import LOCK, Described, Registry

A, B, C = (letter * 64 for letter in "abc")


def described(scenario: str = "loans", own: tuple[str, ...] = ("income",)) -> Described:
    return Described(scenario, "0" * 64, "gbdt", {"bank": own, "telecom": ("calls",)}, "run-1")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Of a champion A, and B and C that challenge it."""
    found = Registry(tmp_path / "scoring", SystemClock())
    for version in (A, B, C):
        found.enter("added", version, ("local",), place=".", model=described())
    return found


def roles(registry: Registry) -> str:
    """As A+b-c: the champion with a plus, the retired with a minus, others in their order."""
    sign = {"champion": "+", "challenger": "", "retired": "-"}
    return "".join(one.version[0] + sign[one.role] for one in registry.read().standings.shown())


def test_the_first_is_champion_and_who_comes_later_challenges(registry: Registry) -> None:
    assert roles(registry) == "a+bc"


def test_rollback_goes_back_through_all_champions(registry: Registry) -> None:
    registry.enter("promoted", B, ("x",), previous=A)
    registry.enter("promoted", C, ("x",), previous=B)
    assert roles(registry) == "c+ab"
    registry.enter("rolled-back", B, ("x",), previous=C)
    registry.enter("rolled-back", A, ("x",), previous=B)
    assert roles(registry) == "a+bc"
    with pytest.raises(AgreementError, match="no model decided before"):
        registry.enter("rolled-back", B, ("x",))


CANNOT: dict[str, Callable[[Registry], Any]] = {
    "here already": lambda r: r.enter("added", B, (), model=described()),
    "of cards, not of loans": lambda r: r.enter("added", "d" * 64, (), model=described("cards")),
    "is champion, not a challenger": lambda r: r.enter("promoted", A, ()),
    "not here": lambda r: r.enter("promoted", "d" * 64, ()),
    "aaaaaaaaaaaa is champion": lambda r: r.enter("retired", A, ()),
    "would decide about 120%": lambda r: [r.enter("share", one, (), share=0.6) for one in (B, C)],
    "do not use the same features": lambda r: [
        r.enter("added", "d" * 64, (), model=described(own=("age",))),
        r.enter("share", "d" * 64, (), share=0.1),
    ],
    "is retired, not a challenger": lambda r: [
        r.enter("promoted", B, ()),
        r.enter("retired", A, ()),
        r.enter("rolled-back", A, ()),
    ],
}


@pytest.mark.parametrize("why", CANNOT)
def test_what_cannot_be_is_refused(registry: Registry, why: str) -> None:
    with pytest.raises(AgreementError, match=why):
        CANNOT[why](registry)


def test_a_refused_change_leaves_no_trace(registry: Registry) -> None:
    before = registry.path.read_bytes()
    with pytest.raises(AgreementError):
        registry.enter("promoted", A, ())
    assert registry.path.read_bytes() == before


def test_a_retired_model_can_come_back(registry: Registry) -> None:
    registry.enter("retired", B, ("x",))
    assert roles(registry) == "a+cb-"
    registry.enter("added", B, ("x",), model=described())
    assert roles(registry) == "a+bc"


def test_another_champion_ends_shares_and_wishes(registry: Registry) -> None:
    registry.enter("share", C, ("x",), share=0.25)
    registry.enter("asked", B, ("x",), wanted="promoted")
    standings = registry.read().standings
    assert [one.share for one in standings.models.values()] == [0.0, 0.0, 0.25]
    assert list(standings.wishes) == [("promoted", B, 0.0)]
    registry.enter("promoted", B, ("x",))
    standings = registry.read().standings
    assert not any(one.share for one in standings.models.values())
    assert not standings.wishes


def altered(body: dict[str, Any], change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    change(body["history"])
    return json.dumps(body).encode()


DAMAGE: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "another person": lambda body: altered(body, lambda h: h[1].update(by=["eve"])),
    "a change left out": lambda body: altered(body, lambda h: h.pop(1)),
    "two changes swapped": lambda body: altered(body, lambda h: h.insert(1, h.pop(2))),
    "the last change gone": lambda body: altered(body, lambda h: h.pop()),
    "a field more": lambda body: altered(body, lambda h: h[0].update(note="x")),
    "a share that is none": lambda body: altered(body, lambda h: h[0].update(share=True)),
    "no JSON": lambda body: b"{",
    "another format": lambda body: json.dumps({**body, "format": "x"}).encode(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_history_is_refused(registry: Registry, how: str) -> None:
    registry.note(3)
    registry.path.write_bytes(DAMAGE[how](json.loads(registry.path.read_bytes())))
    with pytest.raises(UsageError, match=r"models\.json is damaged") as caught:
        registry.read()
    assert caught.value.remedy


def test_what_others_wrote_is_seen(registry: Registry) -> None:
    other = Registry(registry.path.parent, SystemClock())
    assert roles(other) == "a+bc"
    registry.enter("promoted", C, ("x",))
    assert roles(other) == "c+ab"


def test_two_do_not_write_at_once(registry: Registry) -> None:
    with alone(registry.path.with_name(LOCK), "x"), pytest.raises(UsageError, match="changed by somebody else"):
        registry.enter("promoted", B, ("x",))


def test_a_version_is_found_by_its_beginning(registry: Registry) -> None:
    standings = registry.read().standings
    assert standings.find("bbbbbb").version == B
    for wrong in ("b", "dddddd", ""):
        with pytest.raises(UsageError, match="0 models have a version"):
            standings.find(wrong)
