"""Rotation and revocation of entry keys, in the log and in the verifier."""

from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_kit import RUN, START, World, found, identity, open_log, pretty

from ledger import Code, Log, MemoryStore, sign_envelope
from ledger.errors import BadKey, BadSignature
from ledger.key_history import Revocation, issue_revocation
from ledger.keys import Certificate, issue_certificate

DAY = timedelta(days=1)
BANK = identity("bank")


def next_key(party="bank", generation=1):
    who = identity(party)
    return who.entry_key(RUN, generation), who.certify(RUN, START - DAY, START + DAY, generation)


def say(world, key, number):
    """bank tells telecom something; the receiver checks with `key`."""
    bank, telecom = world.logs["bank"], world.logs["telecom"]
    from ledger import Payload, slot_name, verify_envelope

    place = {"phase": "train", "round": number, "step": "g", "slot": slot_name("train", number, "g", "bank", "telecom")}
    sent = bank.append(dir="send", peer="telecom", payload=Payload.of(b"%d" % number, "G"), **place)
    verify_envelope(key.public, sent.envelope(), sent.env)
    telecom.append(dir="recv", peer="bank", payload=sent.payload, env=sent.env, **place)


def rotated_world(revoke=True):
    world = World()
    say(world, BANK.entry_key(RUN), 0)
    world.end_round()
    key, certificate = next_key()
    world.logs["bank"].rotate(key, certificate)
    if revoke:
        world.logs["bank"].revoke(BANK.entry_key(RUN).public, "the machine was stolen")
    say(world, key, 1)
    world.end_round()
    return world


def by_old_key(entries):
    last = max(n for n, entry in enumerate(entries) if entry.peer)
    entries[last] = replace(entries[last], env=sign_envelope(BANK.entry_key(RUN), entries[last].envelope()))
    return entries


@pytest.mark.parametrize("revoke", [False, True])
def test_a_rotated_key_signs_what_follows(revoke, tmp_path):
    world = rotated_world(revoke)
    result = world.verify(world.members(tmp_path / "b"))
    assert result.code is Code.VALID, pretty(result)


def test_envelopes_by_a_former_key_are_refused(tmp_path):
    for revoke, says in ((False, "another key than the one"), (True, "revoked in entry 3 (the machine was stolen)")):
        world = rotated_world(revoke)
        members = world.members(tmp_path / f"b{revoke}")
        world.forge(members, "telecom", by_old_key)
        result = world.verify(members)
        assert any(says in text for text in found(result, Code.INVALID, step=10, party="telecom")), pretty(result)


def test_where_only_the_receiver_has_the_message_time_decides(tmp_path):
    world = rotated_world()
    members = world.members(tmp_path / "b")

    def another_slot(entries):
        last = max(n for n, entry in enumerate(entries) if entry.peer)
        entries[last] = replace(entries[last], slot="train/1/unsent/bank>telecom/0")
        return by_old_key(entries)

    world.forge(members, "telecom", another_slot)
    result = world.verify(members)
    assert any("revoked from 2026" in text for text in found(result, Code.INVALID, step=10)), pretty(result)


def test_a_log_goes_on_with_the_key_in_force():
    store = MemoryStore()
    log = open_log("bank", store)
    key, certificate = next_key()
    log.rotate(key, certificate)
    with pytest.raises(BadKey, match="goes on, with entry key"):
        open_log("bank", store)
    again = Log(store, BANK, "bank", RUN, log._clock, entry_key=key, certificate=certificate, agreement=log.agreement)
    assert again.certificate == certificate
    with pytest.raises(BadKey, match="never in use"):
        again.rotate(key, certificate)


def test_refused_changes():
    log = open_log("bank", MemoryStore())
    key, certificate = next_key()
    with pytest.raises(BadKey, match="in use"):
        log.revoke(BANK.entry_key(RUN).public, "lost")
    with pytest.raises(BadKey, match="never was"):
        log.revoke(key.public, "lost")
    with pytest.raises(BadKey, match="another entry key"):
        log.rotate(BANK.entry_key(RUN, 2), certificate)
    with pytest.raises(BadSignature):
        log.rotate(*next_key("telecom"))
    other = issue_certificate(BANK.identity, RUN, key.public, START - DAY, START + DAY, "bundles")
    with pytest.raises(BadSignature, match="for bundles, not for entries"):
        log.rotate(key, other)
    assert len(log) == 1
    assert Certificate.from_json(other.to_json()) == other


def test_revocations_are_read_strictly():
    good = issue_revocation(BANK.identity, RUN, bytes(32), START, "lost")
    assert Revocation.from_json(good.to_json()) == good
    good.verify(BANK.identity.verifying)
    for name, value in (("v", 2), ("key", "xy"), ("from", "now"), ("reason", ""), ("sig", 3), ("more", 1)):
        with pytest.raises(BadKey):
            Revocation.from_json(good.to_json() | {name: value})
    with pytest.raises(BadSignature):
        replace(good, reason="found").verify(BANK.identity.verifying)
    with pytest.raises(BadKey):
        good.verify(identity("telecom").identity.verifying)
