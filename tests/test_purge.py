"""After a purge nothing can be opened or traced to a customer, the ledger still verifies, and every command says so."""

import json
import shutil
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import run_kit
from run_kit import tallystick, verify

from ledger import Entry, read_bundle
from vfl import local_logs, purge_commands, purging
from vfl.clock import SystemClock
from vfl.commitments import commit_columns
from vfl.errors import UsageError
from vfl.protocols import freeze
from vfl.randomness import Randomness
from vfl.retention import CATEGORIES, OF_THE_RUN, require_due
from vfl.seat import RunFile, protocol_randomness, read_own_holding, read_seed

AGREED = "2026-01-31"  # the day has passed, but for tests with a clock of their own


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("purge")
    toml = run_kit.TWO.replace("[privacy]", f'[privacy]\nkeep_until = "{AGREED}"')
    path = run_kit.scenario(folder, toml, tables=run_kit.frames(300))
    done = run_kit.here("run", path, "--out", folder / "run", "--seed", "purge")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run", copy_function=shutil.copyfile))


def entries(directory, party, bundle="audit.bundle"):
    log = read_bundle(directory / bundle).logs()[party]
    return [Entry.from_bytes(body) for body in log.entries.split(b"\n")[:-1]]


def purge(directory, parties=("bank", "telecom"), what=CATEGORIES, reason="asked to"):
    return purging.purge(directory, parties, what, reason, SystemClock())


def opened(directory, party, seed):
    """The commitments to a party's aligned columns, made again from its data and a seed."""
    mine = read_own_holding(directory / party, RunFile.read(directory, needs=()).agreement)
    values = mine.values[np.load(directory / party / "rows.npy")]
    return [c.digest.hex() for c in commit_columns(mine.names, values, protocol_randomness(seed).child("commit"))]


def test_no_commitment_can_be_opened_afterwards(run, finished):
    def committed():
        [entry] = [e for e in entries(run, "telecom") if (e.phase, e.step) == ("commit", "aligned")]
        return [item["digest"] for item in entry.commit if item["kind"].startswith("column/")]

    assert opened(run, "telecom", read_seed(run / "telecom")) == committed()
    purge(run)
    with pytest.raises(UsageError, match="cannot be read"):
        read_seed(run / "telecom")
    # Who has the data and the rows from elsewhere, and all that is left here, comes to another digest.
    left = bytes.fromhex((run / "telecom" / "identity").read_text())
    for seed in (left, bytes(32)):
        assert not {*opened(finished, "telecom", seed)} & {*committed()}
    assert freeze.commitment(b"", Randomness(left)) != freeze.commitment(b"", Randomness(read_seed(finished / "bank")))


def test_the_ledger_still_verifies_and_tells_of_it(run, finished):
    before = {party: entries(run, party) for party in ("bank", "telecom")}
    done = purge(run)
    assert verify(run).returncode == 0, verify(run).stdout
    for party in ("bank", "telecom"):
        *same, last = entries(run, party)
        assert same == before[party]
        assert (last.phase, last.step, last.dir) == ("retention", "purge", "local")
        assert last.params["reason"] == "asked to"
        assert last.params["what"] == sorted(OF_THE_RUN)  # nobody was scored
        assert (last.params["keep_until"], last.params.get("forced")) == (AGREED, None)
        assert {item["kind"] for item in last.commit} == set(OF_THE_RUN)
        assert done.parties[party]["salts"] == {"files": 1, "bytes": 65}


def test_nothing_is_left_that_names_a_customer(run, finished):
    ids = [line.split(",")[0].encode() for line in (run / "scores.csv").read_text().splitlines()[1:]]
    secrets = [*ids, (run / "bank" / "seed").read_bytes().strip(), (run / "bank" / "rows.npy").read_bytes()[128:]]
    linked = run / "linked.csv"
    linked.hardlink_to(run / "predictions.csv")
    purge(run)
    assert set(linked.read_bytes()) == {0}, "contents are overwritten, whatever other names they have"
    linked.unlink()
    for name, data in run_kit.content(run).items():
        assert not any(secret in data for secret in secrets), name
    stays = {"ledger.sqlite", "identity", "purge.json", "party.json", "report.json", "times.json"}
    assert {path.name for path in (run / "bank").iterdir()} == stays


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "RUN"],
        ["replay", "RUN", "--party", "bank"],
        ["evaluate", "RUN"],
        ["export", "RUN", "--out", "x.json"],
        ["attack", "all", "RUN"],
    ],
)
def test_commands_say_that_the_run_was_purged(run, capfd, words):
    when = purge(run).when[:16]
    ended = tallystick(capfd, *[run if word == "RUN" else word for word in words])
    assert ended.code == 2
    assert f"was purged on {when}" in ended.err
    assert "(reason: asked to)" in ended.err
    assert "python -m ledger verify" in ended.err


class Crash(Exception):
    """The power fails."""


@pytest.mark.parametrize("where", ["_record", "write_bundle", "_erase", "_shred", "_shred 3", "_write_notes 3"])
def test_an_interrupted_purge_goes_on(run, monkeypatch, where):
    name, _, calls = where.partition(" ")
    module = local_logs if name == "write_bundle" else purging
    left, real = [int(calls or 0)], getattr(module, name)

    def fails(*words, **options):
        if not left[0]:
            raise Crash
        left[0] -= 1
        return real(*words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fails)
        with pytest.raises(Crash):
            purge(run)
    with pytest.raises(UsageError, match="was purged on"):
        RunFile.read(run)
    purge(run, reason="another")
    assert verify(run).returncode == 0, verify(run).stdout
    for party in ("bank", "telecom"):
        told = [e for e in entries(run, party) if e.phase == "retention"]
        assert [e.params["reason"] for e in told] == ["asked to"]
        assert not (run / party / "seed").exists()
    with pytest.raises(UsageError, match="is left to purge"):
        purge(run)


def test_a_part_of_a_run(run, capfd):
    ended = tallystick(capfd, "purge", run, "--party", "telecom", "--what", "transcripts", "--yes", "--json")
    assert list(json.loads(ended.out)["parties"]) == ["telecom"]
    assert tallystick(capfd, "explain", run, "--json").code == 0
    assert "telecom no longer has its transcripts" in tallystick(capfd, "replay", run, "--party", "telecom").err
    assert tallystick(capfd, "purge", run, "--what", "salts", "--yes").code == 0
    assert tallystick(capfd, "purge", run, "--yes").code == 0
    assert verify(run).returncode == 0, verify(run).stdout
    rounds = [e.round for e in entries(run, "telecom") if e.phase == "retention"]
    assert rounds == [0, 1, 2]
    told = json.loads(tallystick(capfd, "purge", run, "--status", "--json").out)
    assert told["telecom"]["kept"] == {}
    assert [note["what"] for note in told["telecom"]["purges"]] == [["transcripts"], ["salts"], ["rows", "shares"]]


def test_a_party_alone_on_its_machine(run):
    shutil.rmtree(run / "telecom")
    before = (run / "audit.bundle").read_bytes()
    purge(run, ["bank"])
    assert (run / "audit.bundle").read_bytes() == before, (
        "the peer's log is in it, and only the peer could sign it anew"
    )
    assert entries(run, "bank", "purged.bundle")[-1].phase == "retention"


def test_nobody_is_asked_without_a_terminal(run, capfd):
    ended = tallystick(capfd, "purge", run)
    assert (ended.code, (run / "bank" / "seed").exists()) == (2, True)
    assert "--yes" in ended.err
    assert "names everything" in tallystick(capfd, "purge", run, "--what", "everything", "--yes").err
    assert "no party nobody" in tallystick(capfd, "purge", run, "--party", "nobody", "--yes").err
    assert "files left of" in tallystick(capfd, "purge", run, "--status").out


class On:
    """A clock on a day."""

    def __init__(self, day):
        self.day = day

    def now(self):
        return datetime.fromisoformat(f"{self.day}T23:59:59+00:00")

    def monotonic_ns(self):
        return 1


@pytest.mark.parametrize(("day", "refused"), [("2025-06-01", True), (AGREED, True), ("2026-02-01", False)])
def test_before_the_agreed_day_nothing_is_removed(run, capfd, monkeypatch, day, refused):
    before = run_kit.content(run)
    monkeypatch.setattr(purge_commands, "SystemClock", lambda: On(day))
    # Where it is due, the command gets as far as asking, and nobody answers.
    ended = tallystick(capfd, "purge", run)
    assert (f"agreed to keep this run until {AGREED}" in ended.err) == refused, ended.err
    assert (ended.code, run_kit.content(run)) == (2, before)
    if refused:
        with pytest.raises(UsageError, match="agreed to keep this run until"):
            purging.purge(run, ["bank"], ["rows"], "asked to", On(day))
        assert run_kit.content(run) == before


def test_force_needs_a_reason_and_stands_in_the_ledger(run, capfd):
    for words in ([], ["--reason", " "]):
        ended = tallystick(capfd, "purge", run, "--yes", "--force", *words)
        assert (ended.code, "--force is given without --reason" in ended.err) == (2, True)
    assert tallystick(capfd, "purge", run, "--yes", "--force", "--reason", "order of a court").code == 0
    last = entries(run, "bank")[-1]
    assert (last.params["forced"], last.params["reason"]) == (True, "order of a court")
    assert verify(run).returncode == 0, verify(run).stdout


def test_a_purge_that_was_begun_goes_on_whatever_the_day(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(purging, "_record", lambda *words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            purge(run)
    monkeypatch.setattr(purging, "require_due", lambda *words: require_due(words[0], date(2025, 1, 1)))
    with pytest.raises(UsageError, match="agreed to keep"):
        purge(run)
    assert not (run / "bank" / "seed").exists()
    assert verify(run).returncode == 0, verify(run).stdout


def test_a_dry_run_lists_what_would_go(run, capfd):
    before = run_kit.content(run)
    told = json.loads(tallystick(capfd, "purge", run, "--dry-run", "--what", "salts,rows", "--json").out)
    assert told["keep_until"] == AGREED
    listed = {one["file"] for by in told["files"].values() for found in by.values() for one in found}
    assert {"bank/seed", "telecom/seed", "bank/rows.npy", "scores.csv"} <= listed
    ended = tallystick(capfd, "purge", run, "--dry-run", "--what", "salts,rows")
    assert "bank salts bank/seed (65 bytes)" in ended.out
    assert f"not before the day after {AGREED}" in ended.out
    assert run_kit.content(run) == before
    assert tallystick(capfd, "purge", run, "--what", "salts,rows", "--yes").code == 0
    assert {name for name in before if name not in run_kit.content(run)} == listed
    assert "no party nobody" in tallystick(capfd, "purge", run, "--dry-run", "--party", "nobody").err


@pytest.mark.parametrize("day", ['"2026-02-30"', '"soon"', '"20260131"', "5", "2026-01-31T10:00:00Z"])
def test_what_is_no_day(tmp_path, capfd, day):
    toml = run_kit.TWO.replace("[privacy]", f"[privacy]\nkeep_until = {day}")
    ended = tallystick(capfd, "run", run_kit.scenario(tmp_path, toml, tables=run_kit.frames(300)), "--config-check")
    assert (ended.code, "keep_until" in ended.err, "2031-12-31" in ended.err) == (2, True, True), ended.err
