"""A regulator's witness, a process of its own, countersigns the heads of a run; what happens when it does not."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import run_kit
from authority_kit import LocalAuthority, answering
from run_kit import tallystick, verify

from ledger import Identity, Policy, read_bundle, verify_bundle
from ledger.authority import Authority
from ledger.checkpoint import cosigners
from ledger.note import Note
from vfl.errors import TransportError
from vfl.outside_commands import Outsiders

SEED = ["--seed", "countersigned"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("countersign")
    run_kit.scenario(folder, tables=run_kit.frames(300))
    done = run_kit.apart("run", folder / "scenario.toml", "--out", folder / "run", *SEED)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(place, tmp_path):
    return Path(shutil.copytree(place / "run", tmp_path / "run", copy_function=shutil.copyfile))


@contextlib.contextmanager
def regulator(folder, policy, name="regulator"):
    """`python -m ledger witness` for the logs of `policy`; what --witness takes."""
    key, ledger = folder / f"{name}.key", [sys.executable, "-m", "ledger", "witness"]
    if not key.exists():
        subprocess.run([*ledger, "new", name, "--out", str(key)], check=True, capture_output=True)
    words = ["--key", key, "--policy", policy, "--store", folder / f"{name}.db", "--listen", "127.0.0.1:0", "--json"]
    with subprocess.Popen(
        [*ledger, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield f"{told['url'].rstrip('/')}#{told['vkey']}"
        finally:
            process.send_signal(signal.SIGTERM)


def lines(directory, key):
    """By party: the sizes of the heads with a valid line by `key`."""
    return {
        party: [size for size, note in sorted(files.checkpoints.items()) if cosigners(Note.parse(note), [key])]
        for party, files in read_bundle(directory / "audit.bundle").logs().items()
    }


def sizes(directory):
    return {
        party: files.entries.count(b"\n") for party, files in read_bundle(directory / "audit.bundle").logs().items()
    }


def test_a_run_is_countersigned_by_the_witness_it_names(place, tmp_path, capfd):
    out = tmp_path / "again"
    with regulator(tmp_path, place / "run" / "policy.txt") as witness:
        words = ["run", place / "scenario.toml", "--out", out, *SEED, "--witness", witness]
        ended = tallystick(capfd, *words)
        assert ended.code == 0, ended.err
        assert "regulator countersigned the heads of bank" in ended.out
    policy = Policy.parse((out / "policy.txt").read_bytes())
    assert policy.addresses == {"regulator": witness.partition("#")[0]}
    assert lines(out, policy.witnesses["regulator"]) == {party: [size] for party, size in sizes(out).items()}
    assert verify(out).returncode == 0, verify(out).stdout
    # The policy asks for the witness: what was there before it came is no longer enough.
    shutil.copyfile(place / "run" / "audit.bundle", out / "audit.bundle")
    assert verify(out).returncode == 3


def test_later_twice_and_after_a_purge(run, tmp_path, capfd):
    with regulator(tmp_path, run / "policy.txt") as witness:
        ended = tallystick(capfd, "countersign", run, "--witness", witness, "--json")
        assert json.loads(ended.out) == {"witnesses": {"regulator": sizes(run)}}
        first = (run / "audit.bundle").read_bytes()
    # Nothing is asked again: nobody listens any more.
    assert tallystick(capfd, "countersign", run).code == 0
    assert (run / "audit.bundle").read_bytes() == first
    ended = tallystick(capfd, "purge", run, "--what", "rows", "--yes")
    assert ended.code == 0
    assert "the witness at http://127.0.0.1:" in ended.out
    assert verify(run).returncode == 3
    with regulator(tmp_path, run / "policy.txt") as witness:
        assert tallystick(capfd, "countersign", run, "--witness", witness).code == 0, "the address is another one"
        ended = tallystick(capfd, "purge", run, "--what", "shares", "--yes", "--json")
        assert json.loads(ended.out)["outside"][0].startswith("regulator countersigned")
    assert verify(run).returncode == 0, verify(run).stdout


def test_two_witnesses_are_both_asked_for(run, tmp_path, capfd):
    with (
        regulator(tmp_path, run / "policy.txt", "regulator") as one,
        regulator(tmp_path, run / "policy.txt", "auditor") as two,
    ):
        assert tallystick(capfd, "countersign", run, "--witness", one, "--witness", two).code == 0
    assert verify(run).returncode == 0, verify(run).stdout
    policy = Policy.parse((run / "policy.txt").read_bytes())
    keys = {key for name, key in policy.witnesses.items() if name != "auditor"}
    assert policy.quorum_met(policy.witnesses.values(), "bank")
    assert not policy.quorum_met(keys, "bank")


def test_a_run_whose_witness_is_not_there_is_complete_and_still_stamped(place, tmp_path, capfd):
    pytest.importorskip("rfc3161_client", reason="needs pip install 'tallystick[timestamp]'")
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    local, out = LocalAuthority(tmp_path / "tsa"), tmp_path / "alone"
    vkey, root = Identity("regulator", bytes(32)).witness.verifying.vkey, tmp_path / "tsa" / "root.pem"
    words = ["run", place / "scenario.toml", "--out", out, *SEED, "--witness", f"http://127.0.0.1:1#{vkey}", "--json"]
    with answering(local.answer) as url:
        ended = tallystick(capfd, *words, "--timestamp", url, "--tsa", root)
    assert ended.code == 4
    assert json.loads(ended.out)["scenario"] == "my-bank"
    assert "the witness at http://127.0.0.1:1 cannot be asked" in ended.err
    assert f"tallystick countersign {out} --witness 'http://127.0.0.1:1#{vkey}'" in ended.err
    assert "stamp  bank:" in ended.err
    assert verify(out).returncode == 0, verify(out).stdout
    with regulator(tmp_path, out / "policy.txt") as witness:
        assert tallystick(capfd, "countersign", out, "--witness", witness).code == 0
    assert tallystick(capfd, "purge", out, "--yes").code == 0
    # Neither the countersignature nor the purge took the stamp away.
    policy = (place / "run" / "policy.txt").read_bytes()
    result = verify_bundle(out / "audit.bundle", policy, tsa=Authority([local.root]))
    assert (result.code, [one.party for one in result.stamps]) == (0, ["bank", "telecom"])
    # Nobody listens at the authority's address any more.
    with pytest.raises(TransportError) as refused:
        Outsiders.of([], url + "/new", [root]).attest(place / "run")
    assert f"python -m ledger timestamp {place / 'run' / 'audit.bundle'} {url}/new --tsa {root}" in refused.value.remedy


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--timestamp", "http://x"], "need each other"),
        (["--tsa", "x.pem"], "need each other"),
        (["--timestamp", "http://x", "--tsa", "/none.pem"], "cannot read the certificates"),
        (["--timestamp", "http://x", "--tsa", __file__], "no PEM file"),
    ],
)
def test_words_that_name_no_authority(words, says, tmp_path, capfd):
    ended = tallystick(capfd, "run", tmp_path / "none.toml", *words)
    assert (ended.code, says in ended.err) == (2, True), ended.err


def test_a_witness_that_does_not_admit_the_logs(run, tmp_path, capfd):
    other = tmp_path / "other.txt"
    other.write_text((run / "policy.txt").read_text().replace("log ", "# log ", 1))
    before = (run / "policy.txt").read_bytes()
    with regulator(tmp_path, other) as witness:
        ended = tallystick(capfd, "countersign", run, "--witness", witness)
    assert ended.code == 4
    assert f"give the witness {run / 'policy.txt'} as its --policy" in ended.err
    assert (run / "policy.txt").read_bytes() == before
    assert verify(run).returncode == 0


def test_an_answer_by_another_key_is_not_believed(run, tmp_path, capfd):
    with regulator(tmp_path, run / "policy.txt") as witness, regulator(tmp_path, run / "policy.txt", "other") as other:
        url, _, _ = witness.partition("#")
        ended = tallystick(capfd, "countersign", run, "--witness", f"{url}#{other.partition('#')[2]}")
    assert ended.code == 2
    assert "make sure of the witness's key" in ended.err
    assert Policy.parse((run / "policy.txt").read_bytes()).addresses == {}


@pytest.mark.parametrize("text", ["http://x", "http://x#", "#", "http://x#no-key", "ftp://x#KEY", "http://a b#KEY", ""])
def test_words_that_name_no_witness(run, text, capfd):
    policy = Policy.parse((run / "policy.txt").read_bytes())
    text = text.replace("KEY", policy.witnesses["bank"].vkey)
    ended = tallystick(capfd, "run", run.parent / "none.toml", "--witness", text)
    assert (ended.code, "error: --witness" in ended.err) == (2, True), ended.err


def test_a_party_is_no_witness_of_its_own_run(run, capfd):
    policy = Policy.parse((run / "policy.txt").read_bytes())
    ended = tallystick(capfd, "countersign", run, "--witness", f"http://127.0.0.1:1#{policy.witnesses['bank'].vkey}")
    assert ended.code == 2
    assert "name a witness that is no party of the run" in ended.err
    ended = tallystick(capfd, "countersign", run, "--witness", f"http://127.0.0.1:1#{policy.log_key('bank').vkey}")
    assert (ended.code, "is not of type 0x04" in ended.err) == (2, True)
    assert "names no witness outside the run" in tallystick(capfd, "countersign", run).err
