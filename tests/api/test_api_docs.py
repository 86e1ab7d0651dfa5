"""The page about scoring is true: its example runs, its tables are those of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import FEATURES, Served, bearer, new_key, serving

from vfl.api import keys
from vfl.api.app import ApiSettings
from vfl.api.connections import MOST_OF_A_HEAD, Bounds
from vfl.api.operation import MOST_OF_MANY, MOST_OF_ONE

PAGE = (Path(__file__).parents[2] / "docs/guide/scoring.md").read_text(encoding="utf-8")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    key = new_key(tmp_path, "desk", "score", "read")
    with serving(ApiSettings(keys=tmp_path / keys.FILE, jobs=tmp_path)) as served:
        monkeypatch.setenv("URL", served.server.url)
        monkeypatch.setenv("KEY", key)
        yield served


def test_the_example_of_a_client_runs(api: Served) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    assert set(re.findall(r"^import (\w+)", source, re.M)) == {"json", "os", "urllib"}
    printed: list[str] = []
    names: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    exec(compile(source, "scoring.md", "exec"), names)
    assert re.fullmatch(r"(approve|refer|decline) \d+ \d+\.\d% joint", printed[0])
    assert printed[1].startswith("- ")
    again = names["score"]({"id": "A-1001"}, key="application-7/attempt-1")
    assert again == names["decision"]
    assert len(api.scorer.made) == 1
    assert names["score"]({"id": "new", "features": dict.fromkeys(FEATURES, 1.0)}, key="other")["decision_id"]


def test_every_route_and_its_scope_is_in_the_table(api: Served) -> None:
    table = PAGE[PAGE.index("## Routes") : PAGE.index("An applicant is")]
    told = {}
    for routes, scope in re.findall(r"^\| (`(?:GET|POST|DELETE) .*?) \| (.*?) \|", table, re.M):
        method = routes[1 : routes.index(" ")].lower()
        for path in re.findall(r"/[^`,]*", routes):
            told[path, method] = set(re.findall(r"`(\w+)`", scope))
    document = api.ask("GET", "/openapi.json").json
    found = {
        (path, method): set(re.findall(r"score|read|admin", operation.get("description", "")))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    for word in ("promote", "rollback", "canary"):
        assert told.pop((f"/v1/models/{{version}}:{word}", "post")) == {"admin"}
    assert found == told


def test_bounds_are_those_of_the_code() -> None:
    bounds = Bounds()
    assert f"| {MOST_OF_A_HEAD // 1024} kB, {MOST_OF_ONE // 1024} kB, {MOST_OF_MANY >> 20} MB |" in PAGE
    assert f"| {bounds.arriving:.0f} s; a larger body" in PAGE
    assert f"| {bounds.idle:.0f} s; {bounds.stalled:.0f} s |" in PAGE
    assert f"| {bounds.connections:,}: one more" in PAGE


def test_a_key_of_the_page_has_the_form_of_one(api: Served) -> None:
    assert "Authorization: Bearer tsk_" in PAGE
    assert api.ask("GET", "/v1/models", None, bearer("tsk_")).code == "unauthorized"
