"""Steps (3) to (9) of the verifier: one log by itself meets the fault that each step is there for."""

from dataclasses import replace

import pytest
from ledger_kit import RUN, START, found, identity, two_party_world
from verify_kit import ENTRIES, SLOT, certificate_of, lines

from ledger import (
    Code,
    Policy,
    sign_envelope,
    slot_name,
    verify_bundle,
    verify_bytes,
)

# -- (3) entries, (4) chain -------------------------------------------------------------------------------------------


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


# -- (5) certificate --------------------------------------------------------------------------------------------------


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


# -- (9) order --------------------------------------------------------------------------------------------------------


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
