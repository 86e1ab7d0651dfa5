"""Model freeze: commitments that open to the shares, to nothing else, and tell nothing before."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings

from vfl.errors import Malformed
from vfl.protocols import freeze
from vfl.protocols.freeze import ModelShare, commitment
from vfl.randomness import Randomness
from vfl.wire import pack

from .hostile import Role, Tape, assert_harmless, damage, play, record


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


def bank(share: bytes = b"trees", number: int = 1) -> Role:
    return lambda peers: freeze.active(peers["telecom"], share, seed(number))


def telecom(share: bytes = b"records", number: int = 2) -> Role:
    return lambda peers: freeze.passive(peers["bank"], share, seed(number))


def run(active: Role, passive: Role) -> dict[str, Tape]:
    return record({"bank": active, "telecom": passive}, [("bank", "telecom")])


def test_each_party_holds_the_other_s_commitment() -> None:
    tapes = run(bank(), telecom())
    assert tapes["bank"].result == commitment(b"records", seed(2))
    assert tapes["telecom"].result == commitment(b"trees", seed(1))


def test_a_commitment_is_opened_by_salt_and_share() -> None:
    salt = seed(2).child("salt").bytes(32)
    assert run(bank(), telecom())["bank"].result == hmac.digest(salt, b"records", hashlib.sha256)


def test_guessable_shares_stay_hidden_and_others_do_not_fit() -> None:
    digest = commitment(b"records", seed(2))
    assert digest != hashlib.sha256(b"records").digest()
    assert digest != commitment(b"records", seed(3))
    assert digest != commitment(b"record", seed(2))


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_a_digest_of_another_length_is_malformed(digest: bytes) -> None:
    tapes = run(bank(), telecom())
    for me, role, peer in (("bank", bank(), "telecom"), ("telecom", telecom(), "bank")):
        fate = play(tapes[me].replace(tapes[me].place("ModelShare"), pack(ModelShare(digest))), role)
        assert isinstance(fate, Malformed)
        assert fate.peer == peer


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_any_peer_at_all_ends_in_known_errors(victim: str) -> None:
    tape, role = run(bank(), telecom())[victim], bank() if victim == "bank" else telecom()
    assert_harmless(tape, role)

    @settings(deadline=None, max_examples=200)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        play(damaged, role)

    attack()
