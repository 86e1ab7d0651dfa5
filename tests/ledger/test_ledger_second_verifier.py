"""The second verifier agrees with the first on every bundle, honest and damaged."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import second_verifier
from ledger_kit import AGREEMENT, World, two_party_world

from ledger import Code, Policy, verify_bytes
from ledger.archive import pack
from ledger.bundle import SUMS_NOTE

HERE = Path(second_verifier.__file__)


def agree(data, policy, valid):
    first = verify_bytes(data, policy)
    code, why = second_verifier.check(data, str(policy))
    assert (code == 0) == (first.code is Code.VALID) == valid, f"{why or 'valid'} | {first.as_text()}"


def test_it_is_small_and_stands_alone():
    text = HERE.read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 300
    names = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert names - {"__future__"} <= sys.stdlib_module_names


def test_it_knows_ed25519(world):
    key = world.people["bank"].identity.key
    signature = key.sign(b"text")
    assert second_verifier.signed(key.public, signature, b"text")
    assert not second_verifier.signed(key.public, signature, b"texu")
    assert not second_verifier.signed(key.public, signature[:32] + b"\xff" * 32, b"text")


def test_honest_bundles(world, tmp_path):
    agree(world.write(tmp_path / "a").read_bytes(), world.policy, valid=True)
    three = World(("bank", "bureau", "telecom"))
    three.say("bank", "telecom", "hello", b"1")
    three.say("bank", "bureau", "hello", b"1")
    three.end_round()
    agree(three.write(tmp_path / "b").read_bytes(), Policy.of(three.people.values(), quorum="2"), valid=True)
    agree(three.write(tmp_path / "b").read_bytes(), Policy.of(three.people.values(), quorum="none"), valid=True)


def test_damaged_bundles(world, tmp_path):
    data = world.write(tmp_path / "a").read_bytes()
    rng = random.Random(5)
    for position in rng.sample(range(len(data)), 60):
        wrong = bytearray(data)
        wrong[position] ^= 1 << rng.randrange(8)
        agree(bytes(wrong), world.policy, valid=False)
    for wrong in (data[:-1], data + b"\0", b"\0" + data, b"", data[:100]):
        agree(wrong, world.policy, valid=False)


def test_incomplete_bundles(tmp_path):
    world = two_party_world(1)
    world.say("bank", "telecom", "late", b"x", 5)
    agree(world.write(tmp_path / "x").read_bytes(), world.policy, valid=False)
    alone = World()
    alone.say("bank", "telecom", "gradients", b"g")
    alone.end_round(cosigning=["telecom"])
    agree(alone.write(tmp_path / "y").read_bytes(), alone.policy, valid=False)


FORGERIES = {
    "nothing": lambda entries: entries,
    "an entry less": lambda entries: entries[:2] + entries[3:],
    "two entries swapped": lambda entries: [*entries[:3], entries[4], entries[3]],
    "another digest": lambda entries: [
        *entries[:3],
        replace(entries[3], payload=replace(entries[3].payload, digest="00" * 32)),
        entries[4],
    ],
    "a slot twice": lambda entries: [*entries, replace(entries[4], mono=entries[4].mono + 1)],
    "a clock that runs backwards": lambda entries: [*entries[:4], replace(entries[4], mono=0)],
    "a reference forward": lambda entries: [*entries[:4], replace(entries[4], refs=(9,))],
    "another agreement": lambda entries: [replace(e, agreement=AGREEMENT[::-1]) for e in entries],
    "outside the validity": lambda entries: [*entries[:4], replace(entries[4], ts="2036-01-01T00:00:00.000000Z")],
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_bundles(world, members, name):
    world.forge(members, "bank", FORGERIES[name])
    agree(world.seal(members), world.policy, valid=name == "nothing")


@pytest.mark.parametrize("name", ["manifest.json", "logs/bank/entries.jsonl", "logs/bank/checkpoints/5.note"])
def test_members_changed_and_sealed_anew(world, members, name):
    for position in random.Random(name).sample(range(len(members[name])), min(25, len(members[name]))):
        wrong = bytearray(members[name])
        wrong[position] ^= 2
        agree(world.seal(members | {name: bytes(wrong)}), world.policy, valid=False)


def test_missing_signatures(world, members):
    agree(world.seal(dict(members), ["bank"]), world.policy, valid=False)
    agree(pack({**members, SUMS_NOTE: b""}), world.policy, valid=False)


def test_as_a_program(world, tmp_path):
    bundle, policy = world.write(tmp_path / "a"), tmp_path / "policy.txt"
    policy.write_text(str(world.policy))
    command = [sys.executable, "-I", str(HERE), str(bundle), str(policy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "valid\n")
