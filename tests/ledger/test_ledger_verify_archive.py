"""Step (0) of the verifier, the archive: every byte counts, and nothing hostile is unpacked."""

import struct
from functools import lru_cache

import pytest
from ledger_kit import World, found, two_party_world

import ledger.audit_run
import ledger.keys
from ledger import (
    BadBundle,
    Code,
    read_bundle,
    verify_bundle,
    verify_bytes,
)
from ledger.archive import Contents, pack, unpack
from ledger.bundle import MANIFEST


@pytest.mark.parametrize(
    ("flip", "step"),
    [("one bit", 5), *(pytest.param(flip, 1, marks=pytest.mark.slow) for flip in ("one bit", "all bits"))],
)
def test_every_single_byte_counts(tmp_path, monkeypatch, flip, step):
    fast = lru_cache(maxsize=None)(ledger.keys.verify_signature)
    monkeypatch.setattr(ledger.keys, "verify_signature", fast)
    monkeypatch.setattr(ledger.audit_run, "verify_signature", fast)
    world = World()
    world.say("bank", "telecom", "gradients", b"g")
    world.end_round()
    data, policy = world.write(tmp_path / "run.bundle", {}).read_bytes(), world.policy
    assert verify_bytes(data, policy).code is Code.VALID
    missed = []
    for position in range(0, len(data), step):
        wrong = bytearray(data)
        wrong[position] ^= 1 << position % 8 if flip == "one bit" else 0xFF
        if verify_bytes(bytes(wrong), policy).code is Code.VALID:
            missed.append(position)
    assert missed == []


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_every_member_counts_even_when_all_parties_sign_the_damage(tmp_path, monkeypatch, step):
    world = two_party_world(apart=5)  # else the second checkpoint would do for both rounds
    members = world.members(tmp_path / "run.bundle")
    fast = lru_cache(maxsize=None)(ledger.keys.verify_signature)
    monkeypatch.setattr(ledger.keys, "verify_signature", fast)
    monkeypatch.setattr(ledger.audit_run, "verify_signature", fast)
    for name in [name for name in members if name.startswith("logs/bank/") or name == MANIFEST]:
        for position in range(0, len(members[name]), step):
            wrong = bytearray(members[name])
            wrong[position] ^= 1 << position % 8
            result = world.verify(members | {name: bytes(wrong)})
            assert result.code is not Code.VALID, f"{name} byte {position}"
            assert result.code is not Code.MISBEHAVIOUR, f"{name} byte {position}: damage must accuse nobody"


@pytest.mark.parametrize("cut", [0, 1, 30, 1000, -1, -22, -23])
def test_cut_and_lengthened_archives(world, tmp_path, cut):
    data = world.write(tmp_path / "x").read_bytes()
    for wrong in (data[:cut], data + b"\0", b"\0" + data, data + data):
        assert verify_bytes(wrong, world.policy).code in (Code.INVALID, Code.INCOMPLETE)
        assert found(verify_bytes(wrong, world.policy), Code.INVALID, step=0)


def test_a_flip_names_member_party_and_entry(world, tmp_path):
    data = world.write(tmp_path / "x").read_bytes()
    place = data.index(b'"seq":3') + 40
    wrong = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    result = verify_bytes(wrong, world.policy)
    assert result.code is Code.INVALID
    assert "logs/bank/entries.jsonl does not fit its check sum" in found(result, Code.INVALID, step=0)[0]
    assert found(result, Code.INVALID, party="bank", seq=3)
    assert "bank seq 3" in result.as_text()
    assert not found(result, Code.INVALID, party="telecom")


def local(name, data=b"", method=0, size=None, flags=0):
    size = len(data) if size is None else size
    raw = name.encode()
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 33, 0, size, size, len(raw), 0) + raw + data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "neither a member"),
        (b"not a zip", "neither a member"),
        (local("../../etc/passwd"), "may not name a member"),
        (local("/etc/passwd"), "may not name a member"),
        (local("a\\b"), "may not name a member"),
        (local("a//b"), "may not name a member"),
        (local("a/./b"), "may not name a member"),
        (local("x" * 300), "may not name a member"),
        (local("a", b"x", method=8), "compressed"),
        (local("a", b"x", flags=8), "compressed"),
        (local("a", b"x", size=2**32 - 1), "claims 4294967295 bytes"),
        (local("a", b"x")[:20], "cut off"),
        (local("a", b"") + local("a", b"") + b"PK\1\2", "there twice"),
        (local("b", b"") + local("a", b"") + b"PK\1\2", "its one form"),
        (local("a", b"x") + b"PK\1\2", "check sum"),
        (local("a") * 2 + b"", "twice"),
    ],
)
def test_hostile_archives(world, data, says):
    contents = unpack(data)
    assert isinstance(contents, Contents)
    assert says in " ".join(contents.faults)
    assert verify_bytes(data, world.policy).code is Code.INVALID


def test_too_many_members(monkeypatch):
    monkeypatch.setattr("ledger.archive.MAX_MEMBERS", 3)
    data = b"".join(local(f"m{n}") for n in range(5))
    assert "more than 3 members" in unpack(data).faults[0]
    with pytest.raises(BadBundle, match="the limit is 3"):
        pack({f"m{n}": b"" for n in range(5)})


def test_too_large(monkeypatch, world, tmp_path):
    path = world.write(tmp_path / "x")
    monkeypatch.setattr("ledger.bundle.MAX_ARCHIVE_BYTES", 100)
    monkeypatch.setattr("ledger.archive.MAX_ARCHIVE_BYTES", 100)
    with pytest.raises(BadBundle, match="larger than 100"):
        read_bundle(path)
    with pytest.raises(BadBundle, match="larger than 100"):
        pack({"a": bytes(200)})
    assert "larger than 100" in unpack(local("a") + local("b") + local("c") + local("d") + b"PK\1\2").faults[0]
    assert verify_bundle(path, world.policy).code is Code.INVALID


def test_a_missing_file(world, tmp_path):
    result = verify_bundle(tmp_path / "none", world.policy)
    assert (result.code, "cannot read" in str(result.findings[0])) == (Code.INVALID, True)


def test_unknown_members(world, members):
    members["logs/bank/extra.txt"] = b"x"
    assert "has no place" in found(world.verify(members), Code.INVALID, step=0)[0]
