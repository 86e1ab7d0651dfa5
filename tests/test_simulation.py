"""Whole runs on a user's own files: what they leave, how they survive a kill, how they replay."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_kit import (
    TOML,
    TWO,
    Runs,
    apart,
    assert_committed_first,
    command,
    content,
    edit,
    essence,
    frames,
    here,
    inside,
    parties,
    scenario,
    verify,
)
from run_kit import tallystick as run_in_process

from ledger.bundle import read_bundle
from ledger.entry import Entry
from vfl.errors import AgreementError, ProtocolError, UsageError
from vfl.ids import normalise
from vfl.randomness import Randomness
from vfl.replaying import replay
from vfl.transcripts import read_transcript

SEED = "a fixed seed"
DISCLOSED = TOML.replace("[privacy]\n", '[privacy]\nscheme = "paillier"\n')


@pytest.fixture(scope="module")
def own(finished: Runs) -> Path:
    """Three parties' files in a folder of their own."""
    return finished(TOML, "--seed", SEED).own


@pytest.fixture(scope="module")
def done(finished: Runs) -> Path:
    """A finished run of them; not to be changed."""
    return finished(TOML, "--seed", SEED).out


@pytest.fixture(scope="module")
def own_disclosed(finished: Runs) -> Path:
    """The same files, to be run with Paillier encryption."""
    return finished(DISCLOSED, "--seed", SEED).own


@pytest.fixture(scope="module")
def done_disclosed(finished: Runs) -> Path:
    """A finished run of them; not to be changed."""
    return finished(DISCLOSED, "--seed", SEED).out


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


# ---- what a run leaves -----------------------------------------------------------------------------------------------


def test_the_directory_holds_what_was_promised_and_nothing_half_written(done: Path) -> None:
    found = {path.name for path in done.iterdir()}
    assert found >= {"summary.json", "predictions.csv", "policy.txt", "audit.bundle", "bank", "telecom", "payroll"}
    for party in parties(done):
        assert {"ledger.sqlite", "share.json", "transcript.bin"} <= {path.name for path in (done / party).iterdir()}
    left = [name for name in content(done) if name.endswith((".part", ".partial", "-wal", "-shm"))]
    assert not left
    assert not done.with_name("run.partial").exists()


def test_the_bundle_verifies(done: Path) -> None:
    ended = verify(done)
    assert ended.returncode == 0, ended.stdout


def test_predictions_are_the_hold_out_rows_and_no_others(done: Path, own: Path) -> None:
    with (done / "predictions.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "label", "pd"]
    assert len(rows) == summary(done)["rows"]["holdout"]
    bank = pd.read_csv(own.parent / "bank.csv", dtype=str).set_index("customer_id")
    for raw, label, pd_ in rows:
        assert bank.loc[raw, "default"] == label
        assert 0 < float(pd_) < 1
    places = [bank.index.get_loc(raw) for raw, *_ in rows]
    assert places == sorted(places), "in the order of the bank's own table"


def test_seeds_are_readable_by_their_owner_only(done: Path) -> None:
    for party in parties(done):
        assert stat.S_IMODE((done / party / "seed").stat().st_mode) == 0o600


def test_without_a_seed_two_runs_differ_and_with_one_they_are_the_same(own: Path, done: Path, tmp_path: Path) -> None:
    for name, words in {"same": ("--seed", SEED), "other": ()}.items():
        ended = here("run", own, "--out", tmp_path / name, *words)
        assert ended.returncode == 0, ended.stderr
    assert essence(tmp_path / "same") == essence(done)
    other, first = essence(tmp_path / "other"), essence(done)
    for party in parties(done):
        assert other[f"{party}/transcript.bin"] != first[f"{party}/transcript.bin"]
    assert summary(tmp_path / "other")["metrics"]["federated"] == summary(done)["metrics"]["federated"]
    seeds = {(tmp_path / "other" / party / "seed").read_text() for party in parties(done)}
    assert len(seeds) == 3


def test_paths_are_relative_to_the_file_wherever_the_command_stands(
    own: Path, done: Path, tmp_path: Path, capfd: Any
) -> None:
    with inside(tmp_path):
        ended = run_in_process(capfd, "run", own, "--out", "here", "--seed", SEED)
    assert ended.code == 0, ended.err
    assert essence(tmp_path / "here") == essence(done)


def test_an_id_of_two_columns_gives_the_same_model(capfd: Any, tmp_path: Path) -> None:
    whole = {name: table for name, table in frames().items() if name != "payroll"}
    digits = {"bank": 3, "telecom": 4}  # without the prefix
    split = {}
    for party, table in whole.items():
        number = table.iloc[:, 0].str[digits[party] :]
        rest = table.iloc[:, 1:]
        split[party] = pd.concat([number.str[:4].rename("branch"), number.str[4:].rename("account"), rest], axis=1)
    toml = TWO.replace('id_rule = "phone-es@1"', 'id_rule = "text@1"')
    for line in ('id = "customer_id"', 'id = "phone"'):
        toml = toml.replace(line, 'id = ["branch", "account"]')
    ended = run_in_process(capfd, "run", scenario(tmp_path / "two", toml, split), "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    plain = scenario(tmp_path / "one", TWO, whole)
    assert run_in_process(capfd, "run", plain, "--out", tmp_path / "plain", "--json").code == 0
    assert summary(tmp_path / "out")["metrics"] == summary(tmp_path / "plain")["metrics"]
    first = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype=str).iloc[0]
    assert len(first["id"].split("|")) == 2


def test_a_hold_out_column_is_followed_and_is_no_feature(capfd: Any, tmp_path: Path) -> None:
    tables = frames()
    tables["bank"]["is_test"] = (np.arange(len(tables["bank"])) % 4 == 0).astype(int)
    toml = TWO[: TWO.index("[holdout]")] + '[holdout]\ncolumn = "is_test"\n'
    ended = run_in_process(capfd, "run", scenario(tmp_path, toml, tables), "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert summary(tmp_path / "out")["features"]["bank"] == 2
    marked = set(tables["bank"].loc[tables["bank"]["is_test"] == 1, "customer_id"])
    found = set(pd.read_csv(tmp_path / "out" / "predictions.csv", dtype=str)["id"])
    assert found
    assert found <= marked


def test_either_level_gives_the_same_scores(done: Path, done_disclosed: Path) -> None:
    assert (done / "predictions.csv").read_bytes() == (done_disclosed / "predictions.csv").read_bytes()
    assert summary(done)["metrics"] == summary(done_disclosed)["metrics"]
    levels = [(summary(out)["privacy"]["scheme"], summary(out)["privacy"]["level"]) for out in (done, done_disclosed)]
    assert levels == [("lattice", "hidden"), ("paillier", "disclosed")]
    assert verify(done_disclosed).returncode == 0


def test_commitments_come_first(done: Path, done_disclosed: Path) -> None:
    for out in (done, done_disclosed):
        assert_committed_first(out, parties(out))


def test_the_level_is_in_the_messages(done: Path, done_disclosed: Path) -> None:
    kinds = [{slot.split("/")[2] for slot in slots(out, "telecom")} for out in (done, done_disclosed)]
    assert kinds[0] - kinds[1] == {"HintBlock"}
    assert kinds[1] - kinds[0] == {"TreeBlock"}


# ---- secrets ---------------------------------------------------------------------------------------------------------


def test_no_id_seed_or_key_is_in_what_others_see(done: Path, own: Path, finished: Runs) -> None:
    """The bundle goes to auditors, ledgers and terminal output to whoever keeps logs; transcripts came from peers."""
    raw = pd.read_csv(own.parent / "bank.csv", dtype=str)["customer_id"].tolist()
    tokens = [token for token in normalise(raw, "phone-es@1").tokens if token]
    canaries = {identifier.encode() for identifier in raw} | {token.encode().lstrip(b"+") for token in tokens}
    for party in parties(done):
        seed = bytes.fromhex((done / party / "seed").read_text())
        for secret in (seed, Randomness(seed).child("identity").bytes(32)):
            canaries |= {secret, secret.hex().encode(), str(int.from_bytes(secret, "big")).encode()}
    seen = dict(read_bundle(done / "audit.bundle").members)
    seen |= {f"{party}/ledger.sqlite": (done / party / "ledger.sqlite").read_bytes() for party in parties(done)}
    seen |= {f"{party}/transcript.bin": (done / party / "transcript.bin").read_bytes() for party in parties(done)}
    said = finished(TOML, "--seed", SEED).said
    seen |= {"stdout": said.stdout.encode(), "stderr": said.stderr.encode()}
    seen["summary.json"] = (done / "summary.json").read_bytes()
    for place, data in seen.items():
        assert not [canary for canary in canaries if canary in data], place


# ---- killed and resumed ----------------------------------------------------------------------------------------------


def killed_at(own: Path, out: Path, done: Path, share: float) -> None:
    """Start a run and kill it when the bank's transcript has this share of its final size; above 1, in the end."""
    full = (done / "bank" / "transcript.bin").stat().st_size
    transcript = out.with_name(out.name + ".partial") / "bank" / "transcript.bin"
    report = transcript.with_name("report.json")
    with subprocess.Popen(command("run", own, "--out", out, "--seed", SEED), stderr=subprocess.DEVNULL) as child:
        while not (report.exists() if share > 1 else transcript.exists() and transcript.stat().st_size >= share * full):
            assert child.poll() is None, "the run ended before it was killed"
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not out.exists()


def slots(out: Path, party: str) -> list[str]:
    with sqlite3.connect(out / party / "ledger.sqlite") as store:
        found = [Entry.from_bytes(body).slot for (body,) in store.execute("SELECT body FROM entry ORDER BY seq")]
    store.close()
    return found


def check_as_undisturbed(out: Path, done: Path) -> None:
    assert essence(out) == essence(done)
    assert verify(out).returncode == 0
    for party in parties(done):
        found = slots(out, party)
        assert len(set(found)) == len(found)
        assert set(found) == set(slots(done, party))
    timeless = ("rows", "metrics", "bytes", "privacy", "features")
    assert {name: summary(out)[name] for name in timeless} == {name: summary(done)[name] for name in timeless}


@pytest.mark.parametrize("share", [0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.0, 0.85, 1.1))])
def test_a_killed_run_goes_on_to_the_same_model(own: Path, done: Path, tmp_path: Path, share: float) -> None:
    out = tmp_path / "run"
    killed_at(own, out, done, share)
    again = here("run", own, "--out", out)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    resumed = apart("run", own, "--out", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    check_as_undisturbed(out, done)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.85])
def test_a_killed_run_with_rows_named_goes_on_to_the_same_model(
    own_disclosed: Path, done_disclosed: Path, tmp_path: Path, share: float
) -> None:
    out = tmp_path / "run"
    killed_at(own_disclosed, out, done_disclosed, share)
    resumed = apart("run", own_disclosed, "--out", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    check_as_undisturbed(out, done_disclosed)


@pytest.mark.slow
def test_a_run_killed_again_and_again_goes_on_to_the_same_model(own: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed_at(own, out, done, 0.1)
    full = (done / "bank" / "transcript.bin").stat().st_size
    transcript = tmp_path / "run.partial" / "bank" / "transcript.bin"
    for share in np.linspace(0.15, 0.95, 9):
        with subprocess.Popen(command("run", own, "--out", out, "--resume"), stderr=subprocess.DEVNULL) as child:
            while transcript.stat().st_size < share * full:
                assert child.poll() is None, "the run ended before it was killed"
                time.sleep(0.001)
            child.send_signal(signal.SIGKILL)
    assert apart("run", own, "--out", out, "--resume").returncode == 0
    check_as_undisturbed(out, done)


@pytest.mark.slow
def test_a_run_begun_in_lockstep_may_go_on_in_processes(own: Path, done: Path, tmp_path: Path) -> None:
    killed_at(own, tmp_path / "run", done, 0.85)
    resumed = apart("run", own, "--out", tmp_path / "run", "--resume", "--processes")
    assert resumed.returncode == 0, resumed.stderr
    check_as_undisturbed(tmp_path / "run", done)


def test_a_half_written_last_record_is_said_again(own: Path, done: Path, broken_off: Path, tmp_path: Path) -> None:
    shutil.copytree(broken_off, tmp_path, dirs_exist_ok=True)
    transcript = tmp_path / "run.partial" / "telecom" / "transcript.bin"
    transcript.write_bytes(transcript.read_bytes()[:-7])
    resumed = here("run", own, "--out", tmp_path / "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    check_as_undisturbed(tmp_path / "run", done)


@pytest.fixture(scope="module")
def broken_off(own: Path, done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed while it trained; copy it."""
    folder = tmp_path_factory.mktemp("broken")
    killed_at(own, folder / "run", done, 0.85)
    return folder


@pytest.mark.parametrize(
    ("old", "new", "clause"),
    [
        ("num_leaves = 4", "num_leaves = 5", "model.num_leaves"),
        ("learning_rate = 0.3", "learning_rate = 0.25", "model.learning_rate"),
        ("seed = 5", "seed = 6", "holdout.seed"),
        ("min_intersection = 100", "min_intersection = 101", "privacy.min_intersection"),
        ('id = "phone"', 'id = "phone"\nfeatures = ["calls", "age"]', "members[telecom].features"),
        ('name = "my-bank"', 'name = "your-bank"', "scenario"),
        ('table = "bank.csv"', 'table = "copy.csv"', "table"),
    ],
)
def test_a_changed_scenario_is_not_resumed_and_the_clause_is_named(
    capfd: Any, broken_off: Path, own: Path, tmp_path: Path, old: str, new: str, clause: str
) -> None:
    shutil.copytree(broken_off, tmp_path, dirs_exist_ok=True)
    before = content(tmp_path)
    changed = own.with_name(f"changed-{tmp_path.name}.toml")
    changed.write_text(TOML.replace(old, new, 1))
    shutil.copyfile(own.with_name("bank.csv"), own.with_name("copy.csv"))
    ended = run_in_process(capfd, "run", changed, "--out", tmp_path / "run", "--resume")
    assert (ended.code, ended.out) == (2, "")
    assert clause in ended.err
    assert "restore" in ended.err
    assert content(tmp_path) == before, "what can still go on is kept"


def test_a_resume_under_another_seed_is_refused(capfd: Any, broken_off: Path, own: Path) -> None:
    ended = run_in_process(capfd, "run", own, "--out", broken_off / "run", "--resume", "--seed", "other")
    assert ended.code == 2
    assert "--seed" in ended.err


def test_changed_data_is_not_resumed_and_the_step_is_named(capfd: Any, broken_off: Path, tmp_path: Path) -> None:
    shutil.copytree(broken_off, tmp_path, dirs_exist_ok=True)
    tables = frames()
    tables["telecom"]["calls"] = -tables["telecom"]["calls"]
    moved = scenario(tmp_path / "moved", TOML, tables)
    place = tmp_path / "run.partial" / "telecom" / "party.json"
    body = json.loads(place.read_text())
    place.write_text(json.dumps({**body, "table": str(moved.with_name("telecom.parquet"))}))
    toml = TOML.replace('"bank.csv"', f'"{read_table_path(tmp_path, "bank")}"')
    toml = toml.replace('"payroll.csv"', f'"{read_table_path(tmp_path, "payroll")}"')
    moved.write_text(toml)
    ended = run_in_process(capfd, "run", moved, "--out", tmp_path / "run", "--resume")
    assert ended.code == 3
    assert "telecom at " in ended.err
    assert (tmp_path / "run.partial").exists()


def read_table_path(folder: Path, party: str) -> str:
    found: str = json.loads((folder / "run.partial" / party / "party.json").read_text())["table"]
    return found


def test_two_processes_do_not_write_the_same_run(own: Path, broken_off: Path, tmp_path: Path) -> None:
    shutil.copytree(broken_off, tmp_path, dirs_exist_ok=True)
    code = "import sys, fcntl; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print('held'); input()"
    held = tmp_path / "run.partial" / "telecom" / "transcript.bin"
    before = content(tmp_path)
    words = [sys.executable, "-c", code, str(held)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        ended = here("run", own, "--out", tmp_path / "run", "--resume")
        other.communicate("\n")
    assert ended.returncode == 2
    assert "another process" in ended.stderr
    assert content(tmp_path)["run.partial/telecom/transcript.bin"] == before["run.partial/telecom/transcript.bin"]


# ---- directories that are in the way ---------------------------------------------------------------------------------


def test_a_directory_that_exists_is_refused_and_left_alone(capfd: Any, own: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    ended = run_in_process(capfd, "run", own, "--out", tmp_path / "out")
    assert (ended.code, ended.out) == (2, "")
    assert "exists already" in ended.err
    assert "another --out" in ended.err
    assert content(tmp_path) == {"out/precious": b"x"}


def test_there_is_nothing_to_resume(capfd: Any, own: Path, tmp_path: Path) -> None:
    ended = run_in_process(capfd, "run", own, "--out", tmp_path / "out", "--resume")
    assert ended.code == 2
    assert "without --resume" in ended.err
    assert run_in_process(capfd, "run", own, "--resume").code == 2
    (tmp_path / "out.partial").mkdir()
    early = run_in_process(capfd, "run", own, "--out", tmp_path / "out", "--resume")
    assert early.code == 2
    assert "remove the directory" in early.err
    assert (tmp_path / "out.partial").exists(), "who knows what it is"


def test_results_survive_a_directory_that_came_in_between(
    own: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vfl import simulation

    concluded = simulation.conclude

    def late(*arguments: Any) -> Any:
        found = concluded(*arguments)
        (tmp_path / "out" / "other").mkdir(parents=True)
        return found

    monkeypatch.setattr(simulation, "conclude", late)
    ended = run_in_process(capfd, "run", own, "--out", tmp_path / "out")
    assert ended.code == 2
    assert f"{tmp_path / 'out'}.partial" in ended.err
    assert (tmp_path / "out.partial" / "audit.bundle").exists()


# ---- replay ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(done: Path, own: Path, tmp_path: Path) -> Path:
    """A copy of the finished run whose tables are copies as well."""
    shutil.copytree(done, tmp_path / "run")
    shutil.copytree(own.parent, tmp_path / "own")
    for party in parties(done):
        place = tmp_path / "run" / party / "party.json"
        body = json.loads(place.read_text())
        place.write_text(json.dumps({**body, "table": str(tmp_path / "own" / Path(body["table"]).name)}))
    return tmp_path / "run"


def blamed(out: Path, party: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        replay(out, party)
    assert caught.value.peer == party
    assert caught.value.step
    return caught.value


def test_every_party_replays_and_leaves_the_directory_alone(done: Path, capfd: Any) -> None:
    before = content(done)
    for party in parties(done):
        ended = run_in_process(capfd, "replay", done, "--party", party, "--json")
        assert ended.code == 0, ended.err
        told = json.loads(ended.out)
        assert told["party"] == party
        assert told["sent"] + told["received"] == len(list(read_transcript(done / party / "transcript.bin")))
    assert "byte for byte" in run_in_process(capfd, "replay", done, "--party", "bank").out
    assert content(done) == before


@pytest.mark.parametrize("part", ["train", "holdout"])
def test_one_changed_label_is_found(copy: Path, part: str, capfd: Any) -> None:
    kept = pd.read_csv(copy / "predictions.csv", dtype=str)["id"]
    bank = pd.read_csv(copy.parent / "own" / "bank.csv", dtype=str)
    shared = np.load(copy / "bank" / "rows.npy")
    rows = [row for row in shared.tolist() if (bank.loc[row, "customer_id"] in set(kept)) == (part == "holdout")]
    edit(copy.parent / "own" / "bank.csv", rows[0], "default", 1 - int(bank.loc[rows[0], "default"]))
    ended = run_in_process(capfd, "replay", copy, "--party", "bank")
    assert (ended.code, ended.out) == (3, "")
    assert "bank at commit/0/aligned" in ended.err
    assert "labels" in ended.err


def test_one_changed_feature_value_is_found(copy: Path) -> None:
    row = int(np.load(copy / "payroll" / "rows.npy")[0])
    edit(copy.parent / "own" / "payroll.csv", row, "salary", 3.75)
    assert "column/salary" in str(blamed(copy, "payroll"))
    replay(copy, "telecom")


def test_one_changed_identifier_is_found(copy: Path) -> None:
    edit(copy.parent / "own" / "payroll.csv", 0, "mobile", "299999999")
    assert blamed(copy, "payroll").step.startswith("psi/")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.999])
def test_one_changed_byte_of_the_transcript_is_found(copy: Path, share: float, capfd: Any) -> None:
    path = copy / "telecom" / "transcript.bin"
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 1
    path.write_bytes(data)
    blamed(copy, "telecom")
    assert run_in_process(capfd, "replay", copy, "--party", "telecom").code == 3


def test_a_message_missing_at_the_end_is_found(copy: Path) -> None:
    path = copy / "telecom" / "transcript.bin"
    *most, last = read_transcript(path)
    path.write_bytes(path.read_bytes()[: -len(last.body) - 8])
    blamed(copy, "telecom")
    assert most


def test_another_seed_is_found(copy: Path) -> None:
    (copy / "telecom" / "seed").write_text("11" * 32 + "\n")
    # The very first message has another blind.
    assert blamed(copy, "telecom").step.startswith("handshake/")


def test_one_changed_tree_is_found(copy: Path) -> None:
    share = copy / "bank" / "share.json"
    body = json.loads(share.read_text())
    body["trees"][1]["leaf_value"][0] += 1e-9
    share.write_text(json.dumps(body))
    error = blamed(copy, "bank")
    assert "share.json" in str(error)
    assert error.step == "freeze"


def test_one_changed_prediction_is_found(copy: Path) -> None:
    path = copy / "bank" / "predictions.csv"
    path.write_text(path.read_text().replace(",0,", ",1,", 1))
    assert "predictions.csv" in str(blamed(copy, "bank"))


def test_a_damaged_ledger_is_found(copy: Path, capfd: Any) -> None:
    path = copy / "telecom" / "ledger.sqlite"
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    ended = run_in_process(capfd, "replay", copy, "--party", "telecom")
    assert ended.code in (2, 3)
    assert "ledger.sqlite" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["transcript.bin", "ledger.sqlite", "share.json", "seed", "party.json"])
def test_a_missing_file_is_the_users_to_find(copy: Path, name: str, capfd: Any) -> None:
    (copy / "telecom" / name).unlink()
    before = content(copy)
    ended = run_in_process(capfd, "replay", copy, "--party", "telecom")
    assert (ended.code, ended.out) == (2, "")
    assert name in ended.err
    assert content(copy) == before


def test_a_missing_party_directory_or_table_is_the_users_to_find(copy: Path, capfd: Any) -> None:
    for words in ((copy, "--party", "bureau"), (copy.parent / "nowhere", "--party", "bank")):
        ended = run_in_process(capfd, "replay", *words)
        assert (ended.code, ended.out) == (2, "")
        assert "to do:" in ended.err
    (copy.parent / "own" / "bank.csv").unlink()
    with pytest.raises(UsageError, match="bank"):
        replay(copy, "bank")


def test_a_damaged_run_file_is_told(copy: Path) -> None:
    body = json.loads((copy / "run.json").read_text())
    for damage in ({"keys": {"bank": ["no", "keys"]}}, {"keys": 3}, {"agreement": "{}"}, {"agreement": 5}):
        (copy / "run.json").write_text(json.dumps({**body, **damage}))
        with pytest.raises((UsageError, AgreementError), match=r"damaged|agreement"):
            replay(copy, "bank")
