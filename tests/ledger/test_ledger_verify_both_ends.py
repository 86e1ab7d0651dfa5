"""Steps (10) to (12) of the verifier: envelopes, both ends of a message, and what contradicts itself."""

from dataclasses import replace

import pytest
from ledger_kit import RUN, World, found, identity, open_log, two_party_world
from verify_kit import SLOT

from ledger import (
    Code,
    Envelope,
    MemoryStore,
    NotConsistent,
    Payload,
    Witness,
    fork_evidence,
    sign_envelope,
    slot_evidence,
    verify_bundle,
)
from ledger.canonical import decode, encode


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
