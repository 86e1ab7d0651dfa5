"""Each step of the verifier meets the fault it is there for; each exit code is reached."""

import struct
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

import pytest
from ledger_kit import AGREEMENT, RUN, START, World, found, identity, open_log, pretty, two_party_world

import ledger.audit_run
import ledger.keys
from ledger import (
    BadBundle,
    Code,
    Envelope,
    MemoryStore,
    NotConsistent,
    Payload,
    Policy,
    Witness,
    fork_evidence,
    issue_certificate,
    read_bundle,
    sign_envelope,
    slot_evidence,
    slot_name,
    verify_bundle,
    verify_bytes,
)
from ledger.archive import Contents, pack, unpack
from ledger.bundle import MANIFEST, SUMS, SUMS_NOTE, sums_text
from ledger.canonical import decode, encode
from ledger.note import sign_note

ENTRIES = "logs/bank/entries.jsonl"
SLOT = slot_name("train", 1, "gradients", "bank", "telecom")


def lines(members, name=ENTRIES):
    return members[name].split(b"\n")[:-1]


def test_an_honest_run_is_valid(world, tmp_path):
    path = world.write(tmp_path / "run.bundle")
    result = verify_bundle(path, str(world.policy))
    assert result.code is Code.VALID, result.as_text()
    assert result.findings == []
    assert "RESULT: valid (exit code 0)" in result.as_text()
    assert result.as_json()["logs"][0] == {
        "party": "bank",
        "entries": 5,
        "checkpoints": 2,
        "root": world.logs["bank"].root().hex(),
    }
    assert path.read_bytes() == pack(read_bundle(path).members)


def test_three_parties_a_regulator_and_a_resent_message_are_valid(tmp_path):
    world = World(("bank", "bureau", "telecom"))
    world.say("bank", "telecom", "hello", b"1")
    world.say("bank", "bureau", "hello", b"1")
    world.end_round()
    world.logs["bank"].append(phase="end", round=1, step="done", slot="end/1/done/bank/0", dir="local", refs=[0, 1])
    world.end_round()
    world.policy = Policy.of(world.people.values(), quorum="2")
    assert verify_bundle(world.write(tmp_path / "x"), world.policy).code is Code.VALID


def test_the_kit_can_forge_without_a_trace(world, members):
    world.forge(members, "bank", lambda entries: entries)
    assert world.verify(members).code is Code.VALID, pretty(world.verify(members))


# -- (0) archive ----------------------------------------------------------------------------------------------------


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


# -- (1) policy -----------------------------------------------------------------------------------------------------


def test_a_bad_policy(world, tmp_path):
    result = verify_bundle(world.write(tmp_path / "x"), "quorum nobody\n")
    assert (result.code, result.findings[0].step) == (Code.POLICY, 1)


def test_a_policy_without_one_party(world, tmp_path):
    policy = Policy.of([identity("bank")])
    result = verify_bundle(world.write(tmp_path / "x"), policy)
    assert result.code is Code.POLICY
    assert "no log key" in found(result, Code.POLICY, party="telecom", step=5)[0]


def test_a_policy_with_another_key_of_the_same_name(world, tmp_path):
    other = type(identity("bank"))("bank", bytes(32))
    result = verify_bundle(world.write(tmp_path / "x"), Policy.of([other, identity("telecom")]))
    assert result.code is Code.INVALID
    assert found(result, Code.INVALID, party="bank", step=5, seq=0)
    assert found(result, Code.INVALID, party="bank", step=6)


# -- (2) sums and manifest ------------------------------------------------------------------------------------------


def test_a_changed_artefact_is_named(world, members):
    members["artefacts/model.json"] = b"{ }"
    result = verify_bytes(pack(members), world.policy)
    assert found(result, Code.INVALID, step=2) == [
        "member artefacts/model.json was changed: it does not fit its digest in SHA256SUMS"
    ]


def test_added_and_removed_members_are_named(world, members):
    data = members.pop("artefacts/model.json")
    result = verify_bytes(pack(members), world.policy)
    assert found(result, Code.INCOMPLETE, step=2) == ["member artefacts/model.json is listed in SHA256SUMS but missing"]
    members |= {"artefacts/model.json": data, "artefacts/more.json": data}
    result = verify_bytes(pack(members), world.policy)
    assert "member artefacts/more.json is not listed in SHA256SUMS" in found(result, Code.INVALID, step=2)


def test_sums_must_be_signed_by_every_party(world, members):
    result = world.verify(members, ["bank"])
    assert result.code is Code.INCOMPLETE
    assert found(result, Code.INCOMPLETE, party="telecom", step=2)
    world.seal(members)
    for note in (b"", str(sign_note(sums_text("run-8", members[SUMS]), [world.people["bank"].identity])).encode()):
        members[SUMS_NOTE] = note
        assert "SHA256SUMS.note is" in found(verify_bytes(pack(members), world.policy), Code.INVALID, step=2)[0]


def test_sums_have_one_form(world, members):
    world.seal(members)
    members[SUMS] = b"".join(reversed(members[SUMS].splitlines(keepends=True)))
    keys = [who.identity for who in world.people.values()]
    members[SUMS_NOTE] = str(sign_note(sums_text(RUN, members[SUMS]), keys)).encode()
    assert "one form" in found(verify_bytes(pack(members), world.policy), Code.INVALID, step=2)[0]


@pytest.mark.parametrize(
    "change", [{"artefacts": 9}, {"v": 2}, {"logs": []}, {"logs": {}}, {"run": 7}, {"agreement": "00" * 32}, {"x": 1}]
)
def test_a_false_manifest(world, members, change):
    members[MANIFEST] = encode(decode(members[MANIFEST]) | change)
    assert world.verify(members).code is Code.INVALID


def test_a_manifest_that_names_a_log_more(world, members):
    for name in [name for name in members if name.startswith("logs/telecom/")]:
        del members[name]
    result = world.verify(members)
    assert result.code is Code.INCOMPLETE
    texts = found(result, Code.INCOMPLETE, party="telecom")
    assert any("manifest names its log" in text for text in texts)
    assert any("does not hold its log" in text for text in texts)


def test_a_bundle_without_manifest_or_logs(world, members):
    del members[MANIFEST]
    result = world.verify(members)
    assert {finding.step for finding in result.findings} == {2}
    assert result.code is Code.INVALID
    assert verify_bytes(pack({}), world.policy).code is Code.INVALID


# -- (3) entries, (4) chain -----------------------------------------------------------------------------------------


def test_an_unreadable_entry(world, members):
    members[ENTRIES] = members[ENTRIES].replace(b'{"actor":"bank"', b'{ "actor":"bank"', 1)
    assert "not in canonical form" in found(world.verify(members), Code.INVALID, party="bank", step=3, seq=0)[0]


def test_a_missing_last_newline(world, members):
    members[ENTRIES] = members[ENTRIES][:-1]
    assert found(world.verify(members), Code.INVALID, party="bank", step=3)


@pytest.mark.parametrize("change", [{"agreement": "00" * 32}, {"job": "run-8", "log": "bank/run-8"}])
def test_an_entry_of_another_run(world, members, change):
    world.forge(members, "bank", lambda es: [*es[:3], replace(es[3], **change), *es[4:]])
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert found(result, Code.INVALID, party="bank", step=3, seq=3, slot=SLOT)


def test_a_removed_entry_is_named(world, members):
    body = lines(members)
    members[ENTRIES] = b"".join(b + b"\n" for i, b in enumerate(body) if i != 3)
    world.recount(members)
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert "position 3 holds entry 4" in found(result, Code.INVALID, party="bank", step=4, seq=3)[0]
    assert "has no send" in found(result, Code.INCOMPLETE, party="telecom", step=11, slot=SLOT)[0]


def test_swapped_entries(world, members):
    body = lines(members)
    members[ENTRIES] = b"".join(b + b"\n" for b in [*body[:2], body[3], body[2], *body[4:]])
    result = world.verify(members)
    assert found(result, Code.INVALID, party="bank", step=4, seq=2)


# -- (5) certificate ------------------------------------------------------------------------------------------------


def test_a_changed_entry_is_named(world, members):
    members[ENTRIES] = members[ENTRIES].replace(b'"bytes":2', b'"bytes":3')
    result = world.verify(members)
    assert result.code is Code.INVALID
    (text,) = found(result, Code.INVALID, party="bank", step=4, seq=4)
    assert "entry 4 does not continue the entry before it" in text
    assert [text[:28] for text in found(result, Code.INVALID, party="bank", step=6)] == [
        "bank: checkpoint 3 has root ",
        "bank: checkpoint 5 has root ",
    ]


def certificate_of(who, run=RUN, first=START, days=1, signer=None):
    return issue_certificate(signer or who.identity, run, who.entry_key(RUN).public, first, first + timedelta(days))


@pytest.mark.parametrize(
    ("make", "step", "seq"),
    [
        (lambda who: certificate_of(who, run="run-8"), 5, 0),
        (lambda who: certificate_of(identity("telecom")), 5, 0),
        (lambda who: certificate_of(who, first=START.replace(year=2020)), 5, 1),
        (lambda who: None, 5, 0),
    ],
)
def test_wrong_certificates(world, members, make, step, seq):
    made = make(identity("bank"))
    params = {"certificate": made.to_json()} if made else {}
    world.forge(members, "bank", lambda es: [replace(es[0], params=params), *es[1:]])
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert found(result, Code.INVALID, party="bank", step=step, seq=seq)


def test_a_log_without_entries(world, members):
    members[ENTRIES] = b""
    world.recount(members)
    result = world.verify(members)
    assert "no readable entry 0" in found(result, Code.INVALID, party="bank", step=5)[0]
    assert "covers more entries" in found(result, Code.INCOMPLETE, party="bank", step=6)[0]
    assert "no certificate of its entry key" in found(result, Code.INCOMPLETE, party="bank", step=10)[0]


def test_a_false_certificate_of_a_peer_in_an_entry(world, members):
    false = certificate_of(identity("telecom")).to_json() | {"key": "00" * 32}
    world.forge(members, "bank", lambda es: [*es[:4], replace(es[4], params={"certificate": false})])
    assert found(world.verify(members), Code.INVALID, party="bank", step=10, seq=4)


# -- (6) checkpoints, (7) cosignatures, (8) coverage ------------------------------------------------------------------


def test_false_checkpoints(world, members):
    name = "logs/bank/checkpoints/5.note"
    root, note = world.logs["bank"].root(), members[name]
    members[name] = note.replace(b"bank/run-7", b"bank/run-8")
    assert "checkpoint 5 is not valid" in found(world.verify(members), Code.INVALID, party="bank", step=6)[0]
    members[name] = world.head("bank", 4, root).encode()
    assert "another log or size" in found(world.verify(members), Code.INVALID, party="bank", step=6)[0]
    members[name] = b"x"
    assert found(world.verify(members), Code.INVALID, party="bank", step=6)


def test_a_withheld_tail_is_incomplete(world, members):
    members[ENTRIES] = b"".join(b + b"\n" for b in lines(members)[:4])
    world.recount(members)
    result = world.verify(members)
    assert result.code is Code.INCOMPLETE
    assert "covers more entries than the 4" in found(result, Code.INCOMPLETE, party="bank", step=6)[0]


def test_a_forked_log_is_proven(world, members):
    members["logs/bank/checkpoints/3.note"] = world.head("bank", 3, bytes(32)).encode()
    result = world.verify(members)
    assert result.code is Code.MISBEHAVIOUR
    assert "tell two histories" in found(result, Code.MISBEHAVIOUR, party="bank", step=6, seq=2)[0]
    members[ENTRIES] = members[ENTRIES].replace(b'"bytes":2', b'"bytes":3')
    assert world.verify(members).code is Code.INVALID, "with entries under no head nothing is proven against the bank"


def test_a_missing_cosignature_is_against_the_policy(tmp_path):
    world = two_party_world(1)
    world.say("bank", "telecom", "gradients", b"g", 1)
    world.end_round(cosigning=["bank"])
    result = verify_bundle(world.write(tmp_path / "x"), world.policy)
    assert result.code is Code.POLICY
    slot = slot_name("train", 1, "gradients", "bank", "telecom")
    assert found(result, Code.POLICY, party="bank", step=7) == [
        "bank: checkpoint 4, the newest, is cosigned by nobody; the quorum quorum-of-witnesses is not met",
        f"bank seq 3, slot {slot}: telecom did not cosign a checkpoint over round train/1",
    ]


@pytest.mark.parametrize("apart", [0, 3, 4])
def test_a_checkpoint_covers_up_to_five_rounds(tmp_path, apart):
    world = two_party_world(1)
    for number in range(1, 2 + apart):
        world.say("bank", "telecom", "gradients", b"g", number)
    world.end_round()
    assert verify_bundle(world.write(tmp_path / "x"), world.policy).code is Code.VALID


@pytest.mark.parametrize(("rounds", "due"), [((1, 6), 4), ((1, 2, 3, 4, 5, 6), 8), ((1, 3, 9), 5), ((4, 2), 4)])
def test_a_round_must_be_cosigned_before_the_fifth_after_it_begins(tmp_path, rounds, due):
    world = two_party_world(1)
    for number in rounds:
        world.say("bank", "telecom", "gradients", b"g", number)
    world.end_round()
    result = verify_bundle(world.write(tmp_path / "x"), world.policy)
    assert result.code is Code.POLICY
    texts = found(result, Code.POLICY, party="bank", step=7, seq=3)
    assert f"telecom did not cosign a checkpoint over round train/{rounds[0]} before entry {due}" in texts[0]


def test_a_round_must_be_cosigned_before_another_phase_begins(tmp_path):
    world = two_party_world(1)
    world.say("bank", "telecom", "gradients", b"g", 1)
    world.say("bank", "telecom", "gradients", b"g", 1, phase="score")
    world.end_round()
    result = verify_bundle(world.write(tmp_path / "x"), world.policy)
    assert result.code is Code.POLICY
    texts = found(result, Code.POLICY, party="bank", step=7, seq=3)
    assert "telecom did not cosign a checkpoint over round train/1 before entry 4" in texts[0]


def test_a_checkpoint_whose_cosignature_was_lost_is_made_good_by_the_next(tmp_path):
    world = two_party_world(1)
    world.say("bank", "telecom", "gradients", b"g", 1)
    world.end_round(cosigning=[])
    world.say("telecom", "bank", "histogram", b"h", 1)
    world.end_round()
    assert verify_bundle(world.write(tmp_path / "x"), world.policy).code is Code.VALID


def test_ones_own_witness_does_not_count(world, members):
    note = world.head("bank", 5, world.logs["bank"].root(), cosigning=["bank"])
    members["logs/bank/checkpoints/5.note"] = note.encode()
    policy = Policy.of(world.people.values(), quorum="any")
    result = verify_bytes(world.seal(members), policy)
    assert result.code is Code.POLICY
    assert "quorum" in found(result, Code.POLICY, party="bank", step=7)[0]


def test_a_peer_without_a_witness_key(world, members):
    keys = [who.identity.verifying.vkey for who in world.people.values()]
    result = verify_bytes(world.seal(members), "".join(f"log {key}\n" for key in keys) + "quorum none\n")
    assert result.code is Code.POLICY
    assert "no witness key in the policy" in found(result, Code.POLICY, party="bank", step=7)[0]


def test_a_false_cosignature(world, members):
    other = world.head("bank", 5, bytes(32)).splitlines(keepends=True)[-1]
    note = world.head("bank", 5, world.logs["bank"].root(), cosigning=[]) + other
    members["logs/bank/checkpoints/5.note"] = note.encode()
    assert "cosignature that is not valid" in found(world.verify(members), Code.INVALID, party="bank", step=7)[0]


def test_entries_after_the_last_checkpoint(tmp_path):
    world = two_party_world(1)
    world.say("bank", "telecom", "gradients", b"g", 1)
    result = verify_bundle(world.write(tmp_path / "x"), world.policy)
    assert result.code is Code.INCOMPLETE
    assert "entries 3 to 3 are not under" in found(result, Code.INCOMPLETE, party="bank", step=8, seq=3)[0]


# -- (9) order ------------------------------------------------------------------------------------------------------


def doubled(entries, digest):
    payload = replace(entries[1].payload, digest=digest)
    again = replace(entries[1], payload=payload, mono=entries[-1].mono)
    key = identity("bank").entry_key(RUN)
    return [*entries, replace(again, env=sign_envelope(key, again.envelope()))]


def test_a_slot_signed_twice_is_proven(world, members):
    world.forge(members, "bank", lambda entries: doubled(entries, "00" * 32))
    result = world.verify(members)
    assert result.code is Code.MISBEHAVIOUR
    slot = slot_name("train", 0, "gradients", "bank", "telecom")
    assert "used by entry 1 and entry 5" in found(result, Code.MISBEHAVIOUR, party="bank", step=9, slot=slot, seq=5)[0]
    assert found(result, Code.MISBEHAVIOUR, party="bank", step=12, slot=slot)
    assert not [finding for finding in result.findings if finding.party == "telecom" and finding.code == 4]


def test_a_slot_repeated_alike_is_invalid(world, members):
    world.forge(members, "bank", lambda entries: doubled(entries, entries[1].payload.digest))
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert found(result, Code.INVALID, party="bank", step=9, seq=5)


@pytest.mark.parametrize(
    "change", [{"refs": (4,)}, {"refs": (3,)}, {"refs": ("nowhere",)}, {"refs": (SLOT,)}, {"mono": 0}]
)
def test_references_forward_and_clocks_backward(world, members, change):
    world.forge(members, "bank", lambda es: [*es[:3], replace(es[3], **change), *es[4:]])
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert [(f.step, f.party, f.seq, f.slot) for f in result.findings] == [(9, "bank", 3, SLOT)]


# -- (10) envelopes, (11) both ends, (12) contradictions --------------------------------------------------------------


def test_a_false_envelope(world, members):
    world.forge(
        members, "telecom", lambda es: [*es[:3], replace(es[3], env=replace(es[3].env, sig="00" * 64)), *es[4:]]
    )
    result = world.verify(members)
    assert [(f.code, f.step, f.party, f.seq, f.slot) for f in result.findings] == [(1, 10, "telecom", 3, SLOT)]
    assert "of bank does not fit" in result.findings[0].text


def test_a_message_without_envelope_and_without_account(world, members):
    world.forge(members, "telecom", lambda es: [*es[:3], replace(es[3], env=None), *es[4:]])
    result = world.verify(members)
    assert [(f.code, f.step, f.party, f.seq, f.slot) for f in result.findings] == [(1, 10, "telecom", 3, SLOT)]
    assert "no account confirms the message" in result.findings[0].text


def test_an_envelope_by_a_key_that_was_not_certified(world, members):
    def edit(es):
        return [
            *es[:3],
            replace(es[3], env=sign_envelope(identity("telecom").entry_key(RUN), es[3].envelope())),
            *es[4:],
        ]

    world.forge(members, "telecom", edit)
    result = world.verify(members)
    assert "by a key that bank did not certify" in found(result, Code.INVALID, step=10, party="telecom", seq=3)[0]


def test_a_received_message_that_was_never_sent(world, members):
    world.forge(members, "bank", lambda es: [e for e in es if e.slot != SLOT])
    result = world.verify(members)
    assert result.code is Code.INCOMPLETE
    text = found(result, Code.INCOMPLETE, step=11, party="telecom", slot=SLOT, seq=3)[0]
    assert "(recv) has no send in the log of bank" in text


def test_a_sent_message_that_was_never_received(world, members):
    world.forge(members, "telecom", lambda es: [e for e in es if e.slot != SLOT])
    text = found(world.verify(members), Code.INCOMPLETE, step=11, party="bank", slot=SLOT, seq=3)[0]
    assert "(send) has no recv in the log of telecom" in text


def equivocate(entry):
    """The bank tells its own log another digest than it sent, validly signed."""
    other = replace(entry, payload=replace(entry.payload, digest="00" * 32))
    return replace(other, env=sign_envelope(identity("bank").entry_key(RUN), other.envelope()))


def test_equivocation_is_proven_against_the_sender_alone(world, members):
    world.forge(members, "bank", lambda es: [*es[:3], equivocate(es[3]), *es[4:]])
    result = world.verify(members)
    assert result.code is Code.MISBEHAVIOUR
    text = found(result, Code.MISBEHAVIOUR, step=12, party="bank", slot=SLOT, seq=3)[0]
    assert "entry 3 of bank and entry 3 of telecom" in text
    assert {finding.party for finding in result.findings if finding.code is Code.MISBEHAVIOUR} == {"bank"}


def test_one_end_changed_without_a_signature_accuses_nobody(world, members):
    def edit(es):
        return [*es[:3], replace(es[3], payload=replace(es[3].payload, digest="00" * 32)), *es[4:]]

    world.forge(members, "telecom", edit)
    result = world.verify(members)
    assert result.code is Code.INVALID
    assert found(result, Code.INVALID, step=10, party="telecom", seq=3)
    assert "tell different messages" in found(result, Code.INVALID, step=11, party="bank", seq=3)[0]


def test_a_peer_the_policy_does_not_know(tmp_path):
    world = World(("bank", "telecom"))
    world.logs["bank"].append(
        dir="send",
        peer="stranger",
        payload=Payload.of(b"x", "Hello"),
        phase="a",
        round=0,
        step="b",
        slot="a/0/b/bank>stranger/0",
    )
    world.end_round()
    result = verify_bundle(world.write(tmp_path / "x"), world.policy)
    assert result.code is Code.POLICY
    assert found(result, Code.POLICY, step=11, party="stranger")


def test_one_log_with_its_peers_certificate_proves_its_messages(tmp_path):
    world = two_party_world(1)
    shown = world.logs["telecom"].certificate.to_json()
    world.logs["bank"].append(
        dir="local", phase="open", round=0, step="peer", slot="open/0/peer/bank/0", params={"certificate": shown}
    )
    world.end_round()
    world.logs.pop("telecom")
    result = verify_bundle(world.write(tmp_path / "x"), world.policy)
    assert [(f.code, f.step, f.party) for f in result.findings] == [(Code.INCOMPLETE, 11, "telecom")]


def forked_notes():
    notes = []
    witness = Witness(identity("telecom"), MemoryStore(), open_log("telecom", MemoryStore())._clock)
    for data in (b"one", b"two"):
        log = open_log("bank", MemoryStore())
        log.append(dir="local", phase="a", round=0, step="b", slot="a/0/b/bank/0", payload=Payload.of(data, "X"))
        notes.append(log.checkpoint())
    witness.cosign(notes[0], [], log.key)
    with pytest.raises(NotConsistent) as error:
        witness.cosign(notes[1], [], log.key)
    return fork_evidence(error.value)


def test_a_fork_in_the_evidence_is_proven(world, tmp_path):
    members = world.members(tmp_path / "x", {"evidence/fork.json": forked_notes()})
    result = world.verify(members)
    assert result.code is Code.MISBEHAVIOUR
    assert "signed two roots for size 2" in found(result, Code.MISBEHAVIOUR, step=12, party="bank")[0]


def test_a_longer_fork_is_proven_against_the_log_in_the_bundle(world, tmp_path):
    notes = [world.logs["bank"].checkpoints()[0].note, world.head("bank", 4, bytes(32))]
    result = world.verify(world.members(tmp_path / "x", {"evidence/f.json": encode({"kind": "fork", "notes": notes})}))
    assert result.code is Code.MISBEHAVIOUR
    assert "its own signed entries contradict" in found(result, Code.MISBEHAVIOUR, step=12, party="bank", seq=3)[0]


def two_statements(digest="00" * 32, by="bank"):
    key, certificate = identity(by).entry_key(RUN), open_log("bank", MemoryStore()).certificate
    made = []
    for value in ("11" * 32, digest):
        envelope = Envelope(RUN, SLOT, "bank", "telecom", "Gradients", value, 2)
        made.append((envelope, sign_envelope(key, envelope)))
    return slot_evidence(certificate, *made)


def test_two_statements_in_the_evidence_are_proven(world, tmp_path):
    result = world.verify(world.members(tmp_path / "x", {"evidence/slot.json": two_statements()}))
    assert result.code is Code.MISBEHAVIOUR
    assert found(result, Code.MISBEHAVIOUR, step=12, party="bank", slot=SLOT)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"x",
        two_statements(digest="11" * 32),
        two_statements(by="telecom"),
        encode({"kind": "fork", "notes": ["x", "y"]}),
        encode({"kind": "slot", "certificate": {}, "statements": [1, 2]}),
        encode(decode(two_statements()) | {"statements": [1, 2]}),
        two_statements().replace(b'"run":"run-7","slot"', b'"run":"run-8","slot"'),
        two_statements().replace(b'"party":"bank"', b'"party":"nobody"'),
        forked_notes().replace(b"bank/run-7", b"nobody/run-7"),
    ],
)
def test_false_accusations_prove_nothing(world, tmp_path, data):
    result = world.verify(world.members(tmp_path / "x", {"evidence/x.json": data}))
    assert result.code is Code.INVALID
    assert [finding.step for finding in result.findings] == [12]
    assert "proves nothing" in str(result.findings[0])


def test_consistent_heads_prove_nothing(world, tmp_path):
    notes = [head.note for head in world.logs["bank"].checkpoints()]
    for pair in (notes, [notes[0], notes[0]]):
        result = world.verify(
            world.members(tmp_path / "x", {"evidence/x.json": encode({"kind": "fork", "notes": pair})})
        )
        assert result.code is Code.INVALID
        assert not found(result, Code.MISBEHAVIOUR)


def test_the_most_severe_comes_first(world, members):
    members["logs/bank/checkpoints/3.note"] = world.head("bank", 3, bytes(32), cosigning=[]).encode()
    members["artefacts/model.json"] = b"changed"
    result = verify_bytes(pack(members), world.policy)
    assert [int(f.code) for f in result.findings] == sorted(
        (int(f.code) for f in result.findings), key=[4, 1, 3, 2].index
    )
    assert result.code is Code.MISBEHAVIOUR
    assert AGREEMENT in decode(members[MANIFEST])["agreement"]
