"""Jobs over HTTP: files of one folder, scored while others are answered; stopped, gone on with, not led astray."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import FakeScorer, Served, bearer, new_key, serving

from vfl.api import jobs, keys
from vfl.api.app import ApiSettings
from vfl.errors import UsageError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BLOCK", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "jobs"
    made.mkdir()
    (made / "applicants.csv").write_text("id\n" + "".join(f"A-{n}\n" for n in range(10)) + "stranger\n")
    return made


@pytest.fixture
def api(folder: Path) -> Iterator[Served]:
    with serving(ApiSettings(jobs=folder)) as served:
        yield served


def until(api: Served, job: str, *states: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    for _ in range(200):
        found: dict[str, Any] = api.ask("GET", f"/v1/jobs/{job}", headers=headers or {}).json
        if found["state"] in states:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_job_from_start_to_end(api: Served, folder: Path) -> None:
    begun = api.ask("POST", "/v1/jobs", {"file": "applicants.csv"})
    assert begun.status == 202
    job = begun.json["id"]
    assert begun.headers["location"] == f"/v1/jobs/{job}"
    done = until(api, job, "done", "failed")
    assert done == {
        "id": job, "file": "applicants.csv", "out": "applicants.scored.csv", "state": "done", "rows": 11, "done": 11,
        "refused": 1, "per_second": 0.0, "left": None, "detail": "",
    }  # fmt: skip
    assert [row["id"] for row in rows(folder / "applicants.scored.csv")][-2:] == ["A-9", "stranger"]
    assert rows(folder / "applicants.scored.csv")[-1]["refused"] == "unknown-applicant"
    assert sorted(path.name for path in folder.iterdir()) == ["applicants.csv", "applicants.scored.csv"]
    assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}).code == "job-conflict"
    again = api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": "again.parquet"}).json
    assert until(api, again["id"], "done", "failed")["state"] == "done"
    text = api.ask("GET", "/metrics").body.decode()
    assert "tallystick_api_batch_rows_sum 22.0" in text
    assert 'tallystick_api_refused_total{code="unknown-applicant"} 2' in text


def test_a_name_is_no_path(api: Served) -> None:
    for name in ("../a.csv", "/etc/passwd", "a/b.csv", ".hidden.csv", "", "..", "a.csv\n", "a\\b.csv", "x" * 129):
        told = api.ask("POST", "/v1/jobs", {"file": name})
        assert told.code == "invalid-request", name
        assert name == "" or name not in told.body.decode()
        assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": name}).code == "invalid-request", name


def test_what_is_no_file_of_the_folder(api: Served, folder: Path) -> None:
    secret = folder.parent / "secret.csv"
    secret.write_text("id\nA-1\n")
    (folder / "link.csv").symlink_to(secret)
    (folder / "folder.csv").mkdir()
    for name in ("link.csv", "folder.csv", "none.csv"):
        assert api.ask("POST", "/v1/jobs", {"file": name}).code == "unknown-file"
    assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": "x.txt"}).code == "invalid-request"
    (folder / "out.csv").symlink_to(folder.parent / "elsewhere.csv")  # of a file that is not there
    told = api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": "out.csv"})
    assert told.status in (202, 409)
    if told.status == 202:
        until(api, told.json["id"], "done", "failed")
    assert not (folder.parent / "elsewhere.csv").exists()


def test_a_file_that_cannot_be_scored(api: Served, folder: Path) -> None:
    for text, words in (
        ("id,income,age,utilisation\nA-1,1,secret,2\n", "wrong.csv: data row 1, column age is no number"),
        ("who\nA-1\n", "wrong.csv has no column id"),
        ("id,age\nA-1,2\n", "wrong.csv has no column income, utilisation"),
    ):
        (folder / "wrong.csv").write_text(text)
        told = api.ask("POST", "/v1/jobs", {"file": "wrong.csv"})
        assert told.code == "refused-input"
        assert words in told.json["detail"]
        assert "secret" not in told.body.decode()
        assert str(folder) not in told.body.decode()
    assert not api.scorer.made


def test_unknown_jobs(api: Served) -> None:
    for method in ("GET", "DELETE"):
        assert api.ask(method, "/v1/jobs/0123456789abcdef").code == "unknown-job"


def test_stopped_and_gone_on_with_after_a_restart(folder: Path) -> None:
    scorer = FakeScorer()
    scorer.takes = 0.1
    with serving(ApiSettings(jobs=folder), scorer=scorer) as api:
        job = api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": "o.csv"}).json["id"]
        assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": "o.csv"}).json["id"] == job
        (folder / "other.csv").write_text("id\nA-1\n")
        assert api.ask("POST", "/v1/jobs", {"file": "other.csv", "out": "o.csv"}).code == "job-conflict"
        waits = api.ask("POST", "/v1/jobs", {"file": "other.csv"}).json
        assert waits["state"] == "waiting", "one at a time"
        assert api.ask("POST", "/v1/score", {"id": "A-1"}).status == 200, "others are answered meanwhile"
        stopped = api.ask("DELETE", f"/v1/jobs/{job}").json
        assert stopped["state"] == "stopped"
        assert 0 < stopped["done"] < 11
        assert until(api, waits["id"], "done", "failed")["state"] == "done"
    with serving(ApiSettings(jobs=folder), scorer=scorer) as api:
        found = api.ask("GET", f"/v1/jobs/{job}").json
        assert (found["state"], found["done"], found["out"]) == ("stopped", stopped["done"], "o.csv")
        again = api.ask("POST", "/v1/jobs", {"file": "applicants.csv", "out": "o.csv"})
        assert again.json["id"] == job
        assert until(api, job, "done", "failed")["state"] == "done"
    found = [row["decision_id"] for row in rows(folder / "o.csv") if row["decision_id"]]
    assert len(found) == len(set(found)) == 10


def test_a_job_counts_for_the_day_of_whoever_began_it(folder: Path) -> None:
    keys_file = folder.parent / keys.FILE
    desk = bearer(new_key(folder.parent, "desk", "score", per_day=6))
    reader = bearer(new_key(folder.parent, "auditor", "read"))
    with serving(ApiSettings(keys=keys_file, jobs=folder)) as api:
        assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}, headers=reader).code == "not-permitted"
        assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}).code == "unauthorized"
        job = api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}, headers=desk).json["id"]
        ended = until(api, job, "done", "failed", headers=desk)
        assert (ended["state"], ended["detail"]) == ("failed", "quota-used-up: ask for it again later")
        assert ended["done"] <= 6
        assert len(api.scorer.made) == 6
    other = bearer(new_key(folder.parent, "night", "score"))
    with serving(ApiSettings(keys=keys_file, jobs=folder)) as api:
        assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}, headers=other).json["id"] == job
        assert until(api, job, "done", "failed", headers=other)["state"] == "done"


def test_what_fails_says_so(api: Served, folder: Path) -> None:
    api.scorer.fails = RuntimeError("A-1 of all people")
    job = api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}).json["id"]
    ended = until(api, job, "done", "failed")
    assert (ended["state"], ended["detail"]) == ("failed", "something failed here; ask for it again")
    assert [line for line in api.log if line["event"] == "job failed"] == [
        {"event": "job failed", "error": "RuntimeError"}
    ]
    api.scorer.fails = None
    api.scorer.link = "open circuit"
    assert api.ask("POST", "/v1/jobs", {"file": "applicants.csv"}).json["id"] == job
    assert until(api, job, "running")["done"] == 0, "it waits for the partner"
    assert api.ask("DELETE", f"/v1/jobs/{job}").json["state"] == "stopped"
    api.scorer.link = "up"
    api.ask("POST", "/v1/jobs", {"file": "applicants.csv"})
    assert until(api, job, "done", "failed")["state"] == "done"
    assert len(rows(folder / "applicants.scored.csv")) == 11


def test_without_a_folder_there_are_no_such_routes(tmp_path: Path) -> None:
    with serving() as api:
        assert api.ask("POST", "/v1/jobs", {"file": "a.csv"}).code == "not-found"
    with pytest.raises(UsageError, match="is no folder"), serving(ApiSettings(jobs=tmp_path / "none")):
        pass
