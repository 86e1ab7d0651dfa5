"""Joint scoring on demand: what is told arrives, bytes that a peer makes up are refused, masks cancel only together."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.keys import Identity
from ledger.note import sign_note
from vfl.channel import Channel, lockstep
from vfl.desk import Desk, Envelope, Frame, MemoryLink, MemoryTranscript, NoNotary
from vfl.errors import AgreementError, BrokenPromise, ProtocolError, Unexpected
from vfl.protocols import score_online
from vfl.protocols.score_online import (
    NO_FEATURE,
    Ask,
    Decided,
    Masked,
    MaskKeys,
    OpenScoring,
    Parted,
    Parts,
    Ready,
    Seen,
    ShowHead,
    Spent,
    Splits,
    Told,
    Total,
)  # fmt: skip
from vfl.randomness import Randomness
from vfl.scoring.masks import Masks, mask_key
from vfl.wire import pack

from .hostile import Role, Tape, assert_harmless, damage, play, record

KEY = b"k" * 32
TOKENS = score_online.tokens_of(KEY, ["ana", "bea", "cid"])
OPENING = OpenScoring(run="run-7", agreement="a" * 64, frozen="f" * 64, token_key=KEY)
HEAD = ShowHead("a note\n", 3, [bytes(32)])
KNOWN = np.array([True, False, True])
SPLITS, FEATURES = 5, 4
DECIDED = Decided(KNOWN, np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0], [1, 0, 0]], np.bool_))
PARTED = Parted(
    KNOWN,
    np.array([0.5, 0.0, -1.25]),
    np.array([-7, 0, 12]),
    np.array([[2, 0, -1, -1], [-1] * 4, [3, 1, 0, 2]]),
    np.array([[9, 3, 0, 0], [0] * 4, [8, 7, 6, 5]]),
)
MASKED = Masked(KNOWN, np.array([1, 2**64 - 1, 3], np.uint64), np.array([2**63, 0, 9], np.uint64))


@dataclass
class Answering:
    """Says what it was given, in that order."""

    answers: list[Told | Spent]
    asked: list[Sequence[bytes]] = field(default_factory=list)
    ready: Ready = field(default_factory=lambda: Ready(SPLITS))

    def open(self, asked: OpenScoring) -> Ready:
        if asked.run != OPENING.run:
            raise AgreementError("another run")
        return self.ready

    def mask(self, keys: Mapping[str, str]) -> None: ...

    def cosign(self, shown: ShowHead) -> Seen:
        return Seen(4, "a line")

    def answer(self, tokens: Sequence[bytes]) -> Told | Spent:
        self.asked.append(tokens)
        return self.answers[len(self.asked) - 1]


def partner(*answers: Told | Spent) -> Role:
    return lambda peers: score_online.passive(peers["bank"], Answering(list(answers)))


def bank(*answers: Told | Spent) -> Role:
    """Asks for answers of these kinds, with everything that there is around them."""

    async def role(peers: Mapping[str, Channel]) -> list[Any]:
        passive = peers["telecom"]
        found: list[Any] = [await score_online.active(passive, OPENING)]
        await score_online.tell_masks(passive, {"payroll": "a note"})
        for answer in answers:
            splits = SPLITS if isinstance(answer, Decided) else None
            masked = isinstance(answer, Masked)
            found.append(await score_online.ask(passive, TOKENS, splits, FEATURES, masked=masked))
        found.append(await score_online.show_head(passive, HEAD))
        await score_online.boundary(passive, 1)
        found.append(await score_online.ask(passive, TOKENS, None, FEATURES))
        await score_online.goodbye(passive)
        return found

    return role


ALL = (DECIDED, PARTED, MASKED, Spent(2))
LAST = Spent(0)


@cache
def run(*answers: Told | Spent) -> dict[str, Tape]:
    told = answers or ALL
    return record({"bank": bank(*told), "telecom": partner(*told, LAST)}, [("bank", "telecom")])


def same(found: Any, said: Any) -> None:
    assert type(found) is type(said)
    if isinstance(said, Spent):
        assert found == said
        return
    for name, value in vars(said).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_what_is_told_is_what_is_heard() -> None:
    ready, *found, seen, last = run()["bank"].result
    assert ready == Ready(SPLITS)
    for one, said in zip([*found, last], [*ALL, LAST], strict=True):
        same(one, said)
    assert seen == Seen(4, "a line")


@settings(max_examples=30)
@given(st.data())
def test_any_answer_arrives(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    known = rng.random(n) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    reasons = np.where(rng.random((n, 4)) < 0.7, rng.integers(0, FEATURES, (n, 4)), -1)
    reasons[~known] = -1
    said: list[Told] = [
        Decided(known, (rng.random((SPLITS, n)) < 0.5) & known),
        Parted(
            known,
            np.where(known, np.ldexp(rng.integers(-(2**31), 2**31, n).astype(float), -20), 0.0),
            np.where(known, rng.integers(-(2**31), 2**31, n), 0),
            reasons,
            np.where(reasons >= 0, rng.integers(1, 2**31, (n, 4)), 0),
        ),
        Masked(known, *rng.integers(0, 2**64, (2, n), np.uint64)),
    ]
    tokens = [bytes([number]) * 16 for number in range(n)]

    async def asks(peers: Mapping[str, Channel]) -> list[Any]:
        await score_online.active(peers["telecom"], OPENING)
        kinds = [(SPLITS, False), (None, False), (None, True)]
        ask = score_online.ask
        found = [await ask(peers["telecom"], tokens, splits, FEATURES, masked=masked) for splits, masked in kinds]
        await score_online.goodbye(peers["telecom"])
        return found

    tapes = record({"bank": asks, "telecom": partner(*said)}, [("bank", "telecom")])
    for found, one in zip(tapes["bank"].result, said, strict=True):
        same(found, one)


def test_cost_is_as_written() -> None:
    n = 800
    known, tokens = np.ones(n, np.bool_), [bytes([k % 256, k // 256]) * 8 for k in range(n)]
    none = np.full((n, 4), -1)
    said = [
        Decided(known, np.zeros((SPLITS, n), np.bool_)),
        Parted(known, np.zeros(n), np.zeros(n, np.int64), none, np.zeros((n, 4), np.int64)),
        Masked(known, np.zeros(n, np.uint64), np.zeros(n, np.uint64)),
    ]

    async def asks(peers: Mapping[str, Channel]) -> None:
        await score_online.active(peers["telecom"], OPENING)
        for splits, masked in [(SPLITS, False), (None, False), (None, True)]:
            await score_online.ask(peers["telecom"], tokens, splits, FEATURES, masked=masked)
        await score_online.goodbye(peers["telecom"])

    tapes = record({"bank": asks, "telecom": partner(*said)}, [("bank", "telecom")])
    sizes = {name: tapes[name].messages() for name in tapes}
    assert all(len(m.body) <= 16 * n + 60 for _, m in sizes["telecom"])
    for kind, most in {"Splits": (SPLITS + 1) * n / 8, "Parts": 32 * n + n / 8, "Total": 16 * n + n / 8}.items():
        (size,) = [len(m.body) for _, m in sizes["bank"] if f"/{kind}/" in m.slot]
        assert most <= size <= most + 80


def good(kind: type, tape: Tape, nth: int = 0) -> Any:
    return msgspec.msgpack.decode(tape.at(tape.place(kind.__name__, nth)).body, type=kind)


LIES: list[tuple[str, type, dict[str, Any], str]] = [
    ("bank", Ready, {"mask_key": "a note"}, "a key of masks comes where sums are masked"),
    ("bank", Splits, {"known": b"\xe0\x00"}, "3 bits take 1 bytes"),
    ("bank", Splits, {"known": b"\xa1"}, "padding bits are zero"),
    ("bank", Splits, {"left": b"\xff"}, "10 bits take 2 bytes"),
    ("bank", Parts, {"known": b""}, "3 bits take 1 bytes"),
    ("bank", Parts, {"known": b"\x80"}, "1 numbers take 4 bytes"),
    ("bank", Parts, {"points": bytes(12)}, "2 numbers take 8 bytes"),
    ("bank", Parts, {"reasons": np.full(8, FEATURES, "<u2").tobytes()}, "reasons are among 4 features"),
    ("bank", Parts, {"reasons": np.full(8, NO_FEATURE, "<u2").tobytes()}, "a reason costs points, and none costs"),
    ("bank", Parts, {"lost": bytes(32)}, "a reason costs points, and none costs none"),
    ("bank", Parts, {"lost": np.full(8, -1, "<i4").tobytes()}, "a reason costs points, and none costs none"),
    ("bank", Total, {"predictors": bytes(16)}, "3 numbers take 24 bytes"),
    ("bank", Total, {"points": bytes(32)}, "3 numbers take 24 bytes"),
    ("bank", Spent, {"left": 3}, "a budget is used up"),
    ("bank", Seen, {"line": "", "size": 3}, "a head that continues the last one is cosigned"),
    ("telecom", Ask, {"tokens": bytes(17)}, "tokens have 16 bytes"),
]
ROLES: dict[str, Role] = {"bank": bank(*ALL), "telecom": partner(*ALL, LAST)}


@pytest.mark.parametrize(
    ("victim", "kind", "change", "sentence"), LIES, ids=[f"{k.__name__}: {s}" for _, k, _, s in LIES]
)
def test_what_cannot_be_is_refused(victim: str, kind: type, change: dict[str, Any], sentence: str) -> None:
    tape = run()[victim]
    said = msgspec.structs.replace(good(kind, tape), **change)
    fate = play(tape.replace(tape.place(kind.__name__), pack(said)), ROLES[victim])
    assert isinstance(fate, BrokenPromise), fate
    assert sentence in str(fate)
    assert fate.peer == {"bank": "telecom", "telecom": "bank"}[victim]


@pytest.mark.parametrize("told", [DECIDED, PARTED, MASKED])
@pytest.mark.parametrize("asked", [DECIDED, PARTED, MASKED])
def test_an_answer_of_another_kind_than_asked_for_is_refused(told: Told, asked: Told) -> None:
    """Parts where sums are masked would not cancel, sums where parts are due would be one party's word."""
    if type(told) is type(asked):
        return
    with pytest.raises(Unexpected):
        record({"bank": bank(asked), "telecom": partner(told, LAST)}, [("bank", "telecom")])


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_a_hostile_peer_does_no_harm(victim: str) -> None:
    assert_harmless(run()[victim], ROLES[victim])


@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes_do_no_harm(data: st.DataObject) -> None:
    for victim in ("bank", "telecom"):
        play(data.draw(damage(run()[victim])), ROLES[victim])


def replay(tape: Tape, role: Role) -> None:
    """The role hears the record again and must say what it said."""
    desk = Desk(tape.me, MemoryTranscript(tape.transcript.all), NoNotary())
    decoded = [(frame, msgspec.msgpack.decode(frame, type=Frame)) for frame in tape.frames["bank"]]
    link = MemoryLink([frame for frame, said in decoded if not isinstance(said, Envelope)], [])
    lockstep({tape.me: desk.run(role({"bank": desk.channel("bank", link)}))})


def test_the_passive_says_the_same_bytes_again() -> None:
    tape = run()["telecom"]
    replay(tape, partner(*ALL, LAST))
    flipped = Decided(DECIDED.known, ~DECIDED.left)
    with pytest.raises(ProtocolError, match="did not say this"):
        replay(tape, partner(flipped, *ALL[1:], LAST))


def test_nobody_scores_another_run() -> None:
    async def asks(peers: Mapping[str, Channel]) -> None:
        await score_online.active(peers["telecom"], msgspec.structs.replace(OPENING, run="run-8"))

    with pytest.raises(AgreementError, match="another run"):
        record({"bank": asks, "telecom": partner()}, [("bank", "telecom")])


# -- masks ------------------------------------------------------------------------------------------------------------

WHO = {name: Identity(name, bytes([k]) * 32) for k, name in enumerate(("bureau", "payroll", "telecom"))}
PRIVATE = {name: bytes([k + 9]) * 32 for k, name in enumerate(WHO)}
QUESTION = b"".join(TOKENS)
EVERYBODY = np.ones(3, np.bool_)


def masks(name: str, others: Sequence[str], token_key: bytes = KEY, run: str = "run-7") -> Masks:
    told = {other: mask_key(run, PRIVATE[other], WHO[other].identity) for other in others}
    keys = {other: WHO[other].identity.verifying for other in others}
    return Masks(run, name, PRIVATE[name], token_key, told, keys)


def hidden(names: Sequence[str], units: np.ndarray, question: bytes = QUESTION, **known: np.ndarray) -> list[Masked]:
    found = []
    for name, own in zip(names, units, strict=True):
        one = masks(name, [other for other in names if other != name])
        found.append(one.hide(question, known.get(name, EVERYBODY), own, own * 2))
    return found


def total(told: Sequence[Masked]) -> list[int]:
    return np.add.reduce([one.predictor for one in told]).astype(np.int64).tolist()


@pytest.mark.parametrize("names", [("bureau", "telecom"), tuple(WHO)])
@pytest.mark.parametrize("limit", [2**10, 2**31 - 1])
def test_masks_cancel_in_the_sum_of_all(names: Sequence[str], limit: int) -> None:
    units = np.random.default_rng(3).integers(-limit, limit, (len(names), 3))
    told = hidden(names, units)
    assert total(told) == units.sum(0).tolist()
    assert np.add.reduce([one.points for one in told]).astype(np.int64).tolist() == (2 * units).sum(0).tolist()


def test_the_answer_of_one_alone_says_nothing() -> None:
    """64-bit words of which every bit is set half of the time, whatever they hide."""
    n = 4000
    told = masks("bureau", ["telecom"]).hide(bytes(16 * n), np.ones(n, np.bool_), np.zeros(n, int), np.zeros(n, int))
    words = np.concatenate([told.predictor, told.points])
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).mean(0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(2 * n)
    assert len(set(words.tolist())) == 2 * n


def test_answers_to_different_questions_do_not_cancel() -> None:
    units = np.array([[5, 6, 7], [1, 2, 3]])
    here, there = hidden(("bureau", "telecom"), units), hidden(("bureau", "telecom"), units, QUESTION[16:] + bytes(16))
    assert not set(total([here[0], there[1]])) & set(units.sum(0).tolist())


def test_answers_under_different_keys_of_tokens_do_not_cancel() -> None:
    """Else an applicant could be shown to one partner under a token that says nothing to the other."""
    own = np.array([5, 6, 7])
    here = masks("bureau", ["telecom"]).hide(QUESTION, EVERYBODY, own, own)
    there = masks("telecom", ["bureau"], token_key=b"x" * 32).hide(QUESTION, EVERYBODY, own, own)
    assert np.abs(total([here, there])).min() > 2**32


def test_of_an_applicant_whom_one_does_not_know_nobody_s_part_comes_out() -> None:
    units = np.array([[5, 6, 7], [0, 0, 0]])
    found = total(hidden(("bureau", "telecom"), units, telecom=np.array([True, False, True])))
    assert (found[0], found[2]) == (5, 7)
    assert abs(found[1]) > 2**32


def test_with_some_of_the_others_masks_do_not_cancel_either() -> None:
    own = np.array([1, 2, 3])
    all_three = masks("bureau", ["payroll", "telecom"]).hide(QUESTION, EVERYBODY, own, own)
    pair = masks("telecom", ["bureau"]).hide(QUESTION, EVERYBODY, own, own)
    assert np.abs(total([all_three, pair])).min() > 2**32


NOTE = mask_key("run-7", PRIVATE["telecom"], WHO["telecom"].identity)
FALSE = {
    "none": "",
    "of another run": mask_key("run-8", PRIVATE["telecom"], WHO["telecom"].identity),
    "signed by another": mask_key("run-7", PRIVATE["telecom"], WHO["payroll"].identity),
    "another key in it": NOTE.replace("key ", "key 00", 1),
    "no hex": NOTE.replace("key ", "key zz", 1),
    "damaged": NOTE[:-9],
}


@pytest.mark.parametrize("note", FALSE.values(), ids=FALSE)
def test_a_false_key_for_masks_is_refused(note: str) -> None:
    keys = {"telecom": WHO["telecom"].identity.verifying}
    with pytest.raises(BrokenPromise, match="the key for masks of telecom is not signed by it for this run"):
        Masks("run-7", "bureau", PRIVATE["bureau"], KEY, {"telecom": note}, keys)


def test_a_key_of_low_order_is_refused() -> None:
    """Signed or not: what both sides then share would be known to everybody."""
    text = NOTE.partition("\n\n")[0].rpartition(" ")[0] + " " + "00" * 32 + "\n"
    note = str(sign_note(text, [WHO["telecom"].identity]))
    with pytest.raises(BrokenPromise, match="the key for masks of telecom is none"):
        Masks(
            "run-7", "bureau", PRIVATE["bureau"], KEY, {"telecom": note}, {"telecom": WHO["telecom"].identity.verifying}
        )


def test_keys_of_masks_are_told_as_they_are() -> None:
    assert good(MaskKeys, run()["telecom"]).keys == {"payroll": "a note"}


def test_bytes_are_those_of_the_specification() -> None:
    """docs/spec/scoring.md, computed here with nothing of ours."""
    token_key, question, shared = bytes(range(32)), b"q" * 16, b"s" * 32
    assert score_online.tokens_of(token_key, ["+34600"]) == [blake2b(b"+34600", digest_size=16, key=token_key).digest()]
    seed = blake2b(token_key + question, digest_size=32, key=shared, person=b"tallystick-mask").digest()
    assert score_online.seed_of_mask(shared, token_key, question) == seed
    private = {name: X25519PrivateKey.from_private_bytes(PRIVATE[name]) for name in ("bureau", "telecom")}
    met = private["bureau"].exchange(private["telecom"].public_key())
    between = hmac.digest(met, b"tallystick-mask-key-v1run-7", "sha256")
    drawn = blake2b(KEY + QUESTION, digest_size=32, key=between, person=b"tallystick-mask").digest()
    words = np.frombuffer(Randomness(drawn).bytes(48), "<u8")
    nothing = np.zeros(3, np.int64)
    told = masks("bureau", ["telecom"]).hide(QUESTION, EVERYBODY, nothing, nothing)
    assert [*told.predictor, *told.points] == words.tolist()
