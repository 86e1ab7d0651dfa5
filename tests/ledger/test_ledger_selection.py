"""Selective bundles: what is in them proves itself, what is not is named as unchecked."""

import json

import pytest
from ledger_kit import World, found, pretty, two_party_world

from ledger import BadBundle, Choice, Code, read_bundle, select_bundle, verify_bundle, verify_bytes
from ledger.__main__ import main
from ledger.archive import pack
from ledger.bundle import SUMS, sums
from ledger.canonical import decode, encode
from ledger.selection import parse_seqs, selected


@pytest.fixture
def full(world, tmp_path):
    return world.write(tmp_path / "run.bundle")


def choose(full, **choice):
    return selected(read_bundle(full), Choice(**choice))


def seal(members):
    """Anybody can make the list of sums anew: it is signed by nobody."""
    return pack({**members, SUMS: sums({n: d for n, d in members.items() if n != SUMS})})


def test_chosen_entries_prove_themselves(world, full):
    members = choose(full, slots=("train/1/histogram/*",), artefacts=("*.json",))
    assert {"entries/bank/4.json", "entries/telecom/4.json"} <= members.keys()
    assert "entries/bank/3.json" not in members
    result = verify_bytes(pack(members), world.policy)
    assert result.code is Code.VALID, pretty(result)
    assert result.as_json()["form"] == "selective"
    assert any(text.startswith("completeness") for text in result.unchecked)
    assert "not checkable in a selective bundle:" in result.as_text()


def test_the_same_choice_gives_the_same_bytes(full, tmp_path):
    digests = {select_bundle(full, tmp_path / str(n), Choice(parties=frozenset({"bank"}))) for n in range(2)}
    assert len(digests) == 1
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_heads_are_joined_where_the_newest_is_not_cosigned(tmp_path):
    world = two_party_world(2)
    world.say("bank", "telecom", "late", b"x", 2)
    world.end_round(cosigning=())
    members = choose(world.write(tmp_path / "x"), parties=frozenset({"bank"}))
    assert {"heads/bank/5.note", "heads/bank/6.note", "proofs/bank/5-6.json"} <= members.keys()
    assert verify_bytes(pack(members), world.policy).code is Code.VALID
    wrong = dict(members)
    wrong["proofs/bank/5-6.json"] = encode({"path": []})
    assert found(verify_bytes(seal(wrong), world.policy), Code.INVALID, step=6)
    del wrong["proofs/bank/5-6.json"]
    assert found(verify_bytes(seal(wrong), world.policy), Code.INCOMPLETE, step=6)


def test_every_byte_counts(world, full):
    data = pack(choose(full, parties=frozenset({"bank"}), seqs=frozenset({3})))
    for position in range(0, len(data), 7):
        wrong = bytearray(data)
        wrong[position] ^= 1 << position % 8
        assert verify_bytes(bytes(wrong), world.policy).code is not Code.VALID, position


@pytest.mark.parametrize(
    "name",
    ["entries/bank/3.json", "proofs/bank/3.json", "heads/bank/5.note", "source/SHA256SUMS", "artefacts/model.json"],
)
def test_every_byte_counts_even_when_the_sums_are_made_anew(world, full, name):
    members = choose(full, parties=frozenset({"bank"}), seqs=frozenset({3}), artefacts=("*",))
    for position in range(0, len(members[name]), 3):
        wrong = bytearray(members[name])
        wrong[position] ^= 1 << position % 8
        result = verify_bytes(seal(members | {name: bytes(wrong)}), world.policy)
        assert result.code in (Code.INVALID, Code.POLICY, Code.INCOMPLETE), f"{name} byte {position}"


def edit_proof(members, **fields):
    proof = decode(members["proofs/bank/3.json"])
    members["proofs/bank/3.json"] = encode(proof | fields)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update({"entries/bank/3.json": m["entries/bank/4.json"]}), "entry 3 is entry 4"),
        (lambda m: m.update({"proofs/bank/3.json": m["proofs/bank/4.json"]}), "it is a proof of entry 4"),
        (lambda m: edit_proof(m, size=4), "no valid head of size 4"),
        (lambda m: edit_proof(m, size="5"), "it is a proof of entry 3"),
        (lambda m: edit_proof(m, path=["00" * 31]), "not 32 bytes"),
        (lambda m: edit_proof(m, path="00"), "is no list"),
        (lambda m: edit_proof(m, path=[], more=1), "other fields"),
        (lambda m: m.pop("proofs/bank/3.json"), "the proof of position 3 is missing"),
        (lambda m: m.pop("entries/bank/3.json"), "the entry of position 3 is missing"),
        (lambda m: m.pop("entries/bank/0.json"), "entry 0 with the certificate"),
        (lambda m: m.pop("heads/bank/5.note"), "no checkpoint in the bundle meets the quorum"),
        (lambda m: m.update({"heads/bank/5.note": m["heads/telecom/5.note"]}), "checkpoint 5 is not valid"),
        (lambda m: m.update({"logs/bank/entries.jsonl": b""}), "has no place in a selective bundle"),
        (lambda m: m.update({"artefacts/model.json": b"{}"}), "other artefacts"),
        (lambda m: m.update({"manifest.json": encode(decode(m["manifest.json"]) | {"v": 2})}), "not that of"),
        (lambda m: m.update({"source/SHA256SUMS.note": b""}), "source/SHA256SUMS.note is not valid"),
    ],
)
def test_an_edited_selection_is_named(world, full, change, says):
    members = choose(full)
    change(members)
    result = verify_bytes(seal(members), world.policy)
    assert result.code is not Code.VALID
    assert says in result.as_text()


def test_an_artefact_must_be_on_the_signed_list(world, full):
    members = choose(full, artefacts=("*",)) | {"artefacts/model.json": b"[]"}
    result = verify_bytes(seal(members), world.policy)
    assert found(result, Code.INVALID, step=2) == ["member artefacts/model.json is not what the parties signed"]


def test_two_ends_that_differ(tmp_path):
    world = two_party_world(1)
    other = two_party_world(1)
    other.say("bank", "telecom", "gradients", b"other", 7)
    world.say("bank", "telecom", "gradients", b"one", 7)
    for each in (world, other):
        each.end_round()
    mine, theirs = (choose(w.write(tmp_path / "x")) for w in (world, other))
    mixed = {name: (theirs if "/telecom/" in name else mine).get(name, b"") for name in {*mine, *theirs}}
    result = verify_bytes(seal(mixed), world.policy)
    assert found(result, Code.INVALID, step=12) == [
        "bank seq 3, slot train/7/gradients/bank>telecom/0: entry 3 and entry 3 of telecom tell different messages"
    ]
    proven = "signed 2 different envelopes for one slot, recorded in entry 3 of bank and entry 3 of telecom"
    assert proven in found(result, Code.MISBEHAVIOUR, party="bank")[0]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"parties": frozenset({"nobody"})}, "no log of nobody; it has: bank, telecom"),
        ({"slots": ("none/*",)}, "no entry fits"),
        ({"artefacts": ("none",)}, "no artefact that fits none"),
    ],
)
def test_what_cannot_be_chosen(full, choice, says):
    with pytest.raises(BadBundle, match=says):
        choose(full, **choice)


def test_only_a_whole_full_bundle_is_selected_from(full, tmp_path):
    select_bundle(full, tmp_path / "part", Choice())
    with pytest.raises(BadBundle, match="holds no whole log"):
        select_bundle(tmp_path / "part", tmp_path / "x", Choice())
    full.write_bytes(full.read_bytes()[:-1])
    with pytest.raises(BadBundle, match="is damaged"):
        select_bundle(full, tmp_path / "x", Choice())


def test_an_entry_beyond_all_checkpoints_is_not_selected(tmp_path):
    world = World()
    world.say("bank", "telecom", "gradients", b"g")
    with pytest.raises(BadBundle, match="entry 0 is not under a checkpoint"):
        choose(world.write(tmp_path / "x"))


def test_on_the_command_line(world, full, tmp_path, capsys):
    policy, out = tmp_path / "policy.txt", tmp_path / "part"
    policy.write_text(str(world.policy))
    assert main(["select", str(full), "--party", "bank", "--entries", "2-3", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == verify_bundle(out, world.policy).digest
    assert main(["verify", str(out), "--policy", str(policy)]) == 0
    assert "completeness" in capsys.readouterr().out
    assert main(["show", str(out), "--json"]) == 0
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [0, 2, 3]
    assert main(["show", str(out), "--seq", "3", "--json"]) == 0
    brought = json.loads(capsys.readouterr().out)
    assert main(["show", str(full), "--seq", "3", "--party", "bank", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == brought
    assert main(["select", str(full), "--slots", "none", "--out", str(out)]) == 1


def test_show_filters(full, capsys):
    assert main(["show", str(full), "--phase", "train", "--slot", "*/histogram/*"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "unchecked" not in line]
    assert len(shown) == 4
    assert all("histogram" in line for line in shown)
    assert main(["show", str(full), "--seq", "3"]) == 0
    assert "hashes lead from the leaf to the root of checkpoint 5" in capsys.readouterr().out
    assert main(["show", str(full), "--seq", "99"]) == 1


def test_positions_as_people_write_them():
    assert parse_seqs("3,5-7") == {3, 5, 6, 7}
    for text in ("", "x", "7-5", "-1", "1-", "0-9999999"):
        with pytest.raises(ValueError, match=r"range|invalid literal"):
            parse_seqs(text)
