import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ledger_kit import open_log, two_party_world

import ledger
from ledger import MemoryStore, NotConsistent, fork_evidence
from ledger.__main__ import main


@pytest.fixture
def files(world, tmp_path):
    policy = tmp_path / "policy.txt"
    policy.write_text(str(world.policy), encoding="utf-8")
    return [str(world.write(tmp_path / "run.bundle")), "--policy", str(policy)]


def test_verify_says_valid(files, capsys):
    assert main(["verify", *files]) == 0
    assert "RESULT: valid (exit code 0)" in capsys.readouterr().out
    assert main(["verify", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"] == "valid"


def test_verify_as_a_program_names_the_fault(files):
    path = Path(files[0])
    data = bytearray(path.read_bytes())
    data[data.index(b'"seq":2') + 6] ^= 1
    path.write_bytes(data)
    command = [sys.executable, "-m", "ledger", "verify", *files]
    run = subprocess.run(command, cwd=Path(ledger.__file__).parent.parent, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (1, "")
    assert (
        "bank seq 3, slot train/1/gradients/bank>telecom/0: entry 3 does not continue the entry before it" in run.stdout
    )


def test_incomplete_run(tmp_path, capsys):
    world = two_party_world(1)
    world.say("bank", "telecom", "late", b"x", 5)
    (tmp_path / "p").write_text(str(world.policy))
    assert main(["verify", str(world.write(tmp_path / "x")), "--policy", str(tmp_path / "p")]) == 2
    assert "incomplete (2):" in capsys.readouterr().out


def test_show_lists_entries(files, capsys):
    assert main(["show", files[0]]) == 0
    out = capsys.readouterr().out
    assert "bank (unchecked" in out
    assert "-> telecom" in out
    assert "train/1/histogram/telecom>bank/0" in out
    assert main(["show", files[0], "--party", "telecom", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["seq"] for row in rows] == list(range(5))


def test_show_speaks_of_damage(files, capsys):
    path = Path(files[0])
    path.write_bytes(path.read_bytes().replace(b'"seq":2,', b'"seq":x,', 1))
    assert main(["show", files[0]]) == 0
    error = capsys.readouterr().err
    assert "does not fit its check sum" in error
    assert "2  unreadable" in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["verify", "x"], "--policy"),
        (["nothing"], "invalid choice"),
    ],
)
def test_wrong_usage(arguments, says, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 64
    assert says in capsys.readouterr().err


def test_missing_files(files, capsys, tmp_path):
    assert main(["verify", files[0], "--policy", str(tmp_path / "none")]) == 64
    assert main(["verify", str(tmp_path / "none"), *files[1:]]) == 1
    assert main(["show", str(tmp_path / "none")]) == 1
    assert main(["show", files[0], "--party", "nobody"]) == 1
    assert "it has: bank, telecom" in capsys.readouterr().err


def test_verify_evidence(tmp_path, capsys):
    a, b = (open_log("bank", MemoryStore()) for _ in range(2))
    b.append(dir="local", phase="a", round=0, step="b", slot="a/0/b/bank/0")
    a.append(dir="local", phase="a", round=0, step="c", slot="a/0/c/bank/0")
    notes = [a.checkpoint(), b.checkpoint()]
    policy, file = tmp_path / "policy.txt", tmp_path / "fork-1.json"
    policy.write_text(str(two_party_world(1).policy))
    arguments = ["verify-evidence", str(file), "--policy", str(policy)]
    file.write_bytes(fork_evidence(NotConsistent("", first=notes[0], second=notes[1])))
    assert main(arguments) == 4
    out = capsys.readouterr().out
    assert "party  bank" in out
    assert "first  signed head of bank/run-7, size 2, root" in out
    assert "PROVEN: bank signed two roots for size 2" in out
    assert main([*arguments, "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["result"], found["party"], found["kind"], found["slot"]) == ("proven", "bank", "fork", None)
    file.write_bytes(fork_evidence(NotConsistent("", first=notes[0], second=notes[0])))
    assert main(arguments) == 1
    assert "fork-1.json proves nothing: the two heads do not contradict each other" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["result"] == "proves nothing"
    assert main(["verify-evidence", str(tmp_path / "none"), "--policy", str(policy)]) == 64
    assert main([*arguments[:3], str(tmp_path / "none")]) == 64


def test_help(capsys):
    for arguments in (["--help"], ["verify", "--help"], ["verify-evidence", "--help"], ["show", "--help"]):
        with pytest.raises(SystemExit) as done:
            main(arguments)
        assert done.value.code == 0
    assert "exit codes: 0 valid" in capsys.readouterr().out


def test_other_programs_can_open_a_bundle(files):
    with zipfile.ZipFile(files[0]) as file:
        assert file.testzip() is None
        names = file.namelist()
        assert names == sorted(names)
        for info in file.infolist():
            assert (info.date_time, info.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
            assert info.external_attr >> 16 == 0o100644
        assert file.read("policy.txt").startswith(b"log bank+")
