"""A passive party without a line on the scorecard witnesses the others' rounds."""

from __future__ import annotations

from hypothesis import given, settings

from vfl.channel import Channel
from vfl.errors import BrokenPromise
from vfl.protocols import bystand

from .hostile import Role, Tape, assert_harmless, damage, play, record

ROUNDS = 3


def bank(rounds: int = ROUNDS) -> Role:
    async def role(peers: dict[str, Channel]) -> None:
        for step in range(rounds):
            await bystand.active(peers["telecom"], step, last=step == rounds - 1)

    return role


def telecom(most: int = ROUNDS) -> Role:
    return lambda peers: bystand.passive(peers["bank"], most)


def run() -> dict[str, Tape]:
    return record({"bank": bank(), "telecom": telecom()}, [("bank", "telecom")])


def test_it_ends_with_the_last_round() -> None:
    assert [record.sent for record in run()["telecom"].transcript.all] == [False] * ROUNDS


def test_more_rounds_than_were_agreed_on_are_refused() -> None:
    fate = play(run()["telecom"], telecom(ROUNDS - 1))
    assert isinstance(fate, BrokenPromise)
    assert "there are at most 2 steps" in str(fate)


def test_any_bank_at_all_ends_in_known_errors() -> None:
    tape = run()["telecom"]
    assert_harmless(tape, telecom())

    @settings(deadline=None, max_examples=100)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        play(damaged, telecom())

    attack()
