"""The fast engine: the same result as the other one, nothing enumerable on the wire, no peer that can bend it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from vfl.channel import Record, lockstep
from vfl.crypto import base_ot
from vfl.crypto.aes_hash import COLUMNS, keyed_hashes
from vfl.crypto.cuckoo import bins_for
from vfl.crypto.ot_extension import SPAN, Receiver, Sender, secret_words
from vfl.errors import AgreementError, ProtocolError, UsageError
from vfl.protocols import intersect, kkrt
from vfl.protocols.intersect import PsiTerms
from vfl.protocols.kkrt import Choices, Columns, Hits, Offer, OwnMasks, Salted
from vfl.randomness import Randomness
from vfl.replay import ReplayChannel
from vfl.wire import unpack

from .arrows import recorded, written
from .hostile import Role, Tape, play, record

X = [f"1380000{i:04d}" for i in range(12)]
Y = [f"1380000{i:04d}" for i in range(4, 19)]
TERMS = PsiTerms("run-1", "cn-mobile@1", 20_000, 1, protocol="kkrt")


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


def bank(tokens: Sequence[str] = X, theirs: int = len(Y), number: int = 1) -> Role:
    def role(peers: Any) -> Any:
        peers["telecom"].enter("psi")
        return kkrt.active(peers["telecom"], tokens, theirs, "run-1", seed(number))

    return role


def telecom(tokens: Sequence[str] = Y, theirs: int = len(X), number: int = 2) -> Role:
    def role(peers: Any) -> Any:
        peers["bank"].enter("psi")
        return kkrt.passive(peers["bank"], tokens, theirs, "run-1", seed(number))

    return role


def run(own: Sequence[str] = X, other: Sequence[str] = Y) -> dict[str, Tape]:
    roles = {"bank": bank(own, len(other)), "telecom": telecom(other, len(own))}
    return record(roles, [("bank", "telecom")])


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return run()


def past(tape: Tape) -> list[Record]:
    return list(tape.transcript.all)


# What comes out


@cache
def transfers() -> tuple[np.ndarray, list[bytes], list[bytes], list[bytes]]:
    """Base transfers, once for many cases: choices, both keys, chosen keys."""
    sender, choices = base_ot.Sender(seed(1)), np.unpackbits(np.frombuffer(seed(2).bytes(56), np.uint8)).astype(bool)
    answers, chosen = base_ot.choose(sender.point, choices, seed(3))
    return choices, *sender.keys(answers, COLUMNS), chosen


def engine(own: Sequence[str], other: Sequence[str], number: int) -> Hits:
    """The match without messages: columns and masks are handed over."""
    choices, zero, one, chosen = transfers()
    salted, width = Salted.of("run", seed(number).bytes(32), bytes(32), 0), kkrt.mask_bytes(len(own), len(other))
    placed = kkrt.placement(own, salted)
    assert placed
    columns, masks = kkrt.receiver_span(Receiver(zero, one), salted, *placed, 0, len(placed[1]))
    rows, met = Sender(choices, chosen).span(columns), OwnMasks(masks, placed[1], width)
    items = kkrt.sender_masks(rows, secret_words(choices), salted, keyed_hashes(other, salted.id_key), width)
    met.meet(items, 0, len(other))
    return met.hits()


def by_x25519(own: Sequence[str], other: Sequence[str], number: int) -> set[tuple[str, str]]:
    """What the other engine finds, as pairs of ids."""
    terms = PsiTerms("run", "exact@1", 100, 1)
    roles: dict[str, Role] = {
        "bank": lambda peers: intersect.active_match(peers["telecom"], own, terms, seed(number)),
        "telecom": lambda peers: intersect.passive_match(peers["bank"], other, terms, seed(number + 1)),
    }
    ends = {name: tape.result for name, tape in record(roles, [("bank", "telecom")]).items()}
    match, order = ends["bank"], ends["telecom"].order
    return {(own[i], other[order[j]]) for i, j in zip(match.own, match.positions, strict=True)}


def sets(number: int) -> tuple[list[str], list[str]]:
    """Sets of 0, 1, 2 and a few ids: equal, disjoint, contained, overlapping, unequal in size."""
    rng = seed(number).child("sets")
    sizes = [(rng.below(7), rng.below(7)), (rng.below(3), rng.below(3)), (rng.below(3), 10), (10, rng.below(3))]
    m, n = sizes[number % 4]
    ids = [f"id-{i}" for i in rng.permutation(12)]
    match number % 5:
        case 0:
            return ids[:m], ids[:m][::-1]
        case 1:
            return ids[:m], [f"other-{i}" for i in range(n)]
        case _:
            return ids[:m], [ids[i] for i in rng.permutation(12)[:n]]


@pytest.mark.parametrize("cases", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_random_cases_give_what_the_other_engine_gives(cases: int) -> None:
    sizes = set()
    for number in range(cases):
        own, other = sets(number)
        hits = engine(own, other, number)
        found = {(own[i], other[j]) for i, j in zip(hits.own, hits.positions, strict=True)}
        assert len(found) == len(hits.own)
        assert found == {(token, token) for token in set(own) & set(other)}
        if own and other:
            assert found == by_x25519(own, other, number)
        sizes.add((min(len(own), 3), min(len(other), 3)))
    assert sizes == {(m, n) for m in range(4) for n in range(4)}


@pytest.mark.parametrize(
    ("own", "other"),
    [([], []), ([], Y), (X, []), (["a"], ["a"]), (["a"], ["b"]), (["a", "b"], ["b"]), (X, X), (X, X[3:4]), (X[:1], Y)],
)
def test_roles_with_small_equal_and_empty_sets(own: list[str], other: list[str]) -> None:
    tapes = run(own, other)
    hits, order = tapes["bank"].result, tapes["telecom"].result
    assert sorted(order.tolist()) == list(range(len(other)))
    assert [own[i] for i in hits.own] == [other[order[j]] for j in hits.positions]
    assert {own[i] for i in hits.own} == set(own) & set(other)
    assert hits.own.dtype == hits.positions.dtype == order.dtype == np.int64


def test_spans_and_blocks_of_several_messages() -> None:
    own, other = [f"id-{i}" for i in range(52_000)], [f"id-{i}" for i in range(30_000, 100_000)]
    tapes = run(own, other)
    hits, order = tapes["bank"].result, tapes["telecom"].result
    assert [own[i] for i in hits.own] == [other[order[j]] for j in hits.positions] == own[30_000:]
    assert [type_of(record) for record in past(tapes["bank"])].count("Columns") == -(-bins_for(52_000) // SPAN) == 2
    assert [type_of(record) for record in past(tapes["bank"])].count("Masks") == 2


def type_of(record: Record) -> str:
    return record.slot.split("/")[2]


@pytest.mark.parametrize("others", [[Y], [Y, X[2:7]]])
def test_the_wrapper_gives_the_same_with_both_engines(others: list[list[str]]) -> None:
    outcomes = []
    for protocol in ("x25519", "kkrt"):
        terms = PsiTerms("run-1", "cn-mobile@1", 100, 1, protocol=protocol)
        names = ["telecom", "retailer"][: len(others)]
        roles: dict[str, Role] = {"bank": lambda p, t=terms: intersect.active(p, X, t, seed(1))}  # type: ignore[misc]
        for name, ids in zip(names, others, strict=True):
            roles[name] = lambda p, t=terms, i=ids: intersect.passive(p["bank"], i, t, seed(2))  # type: ignore[misc]
        ends = record(roles, [("bank", name) for name in names])
        rows = ends["bank"].result[0].tolist()
        for name, ids in zip(names, others, strict=True):
            assert [ids[i] for i in ends[name].result[0]] == [X[i] for i in rows]
        outcomes.append(rows)
    assert outcomes[0] == outcomes[1]
    assert {X[i] for i in outcomes[0]} == set(X).intersection(*others)


def test_the_agreed_protocol_chooses_the_engine() -> None:
    assert TERMS.engine((1, 1)) == "kkrt"
    assert PsiTerms("r", "i", 2, 1).engine((10**6, 10**6)) == "x25519"
    auto = PsiTerms("r", "i", 2, 1, protocol="auto")
    assert [auto.engine(sizes) for sizes in ((50_000, 50_000), (49_999, 10**6), (10**6, 2**24 + 1))] == [
        "kkrt",
        "x25519",
        "x25519",
    ]
    with pytest.raises(UsageError, match="protocol is one of x25519, kkrt, auto, not 'rsa'"):
        PsiTerms("r", "i", 2, 1, protocol="rsa")


def test_sets_beyond_what_the_code_serves_are_refused_on_both_sides() -> None:
    kkrt.check_sizes(2**24, 2**24)
    for sizes in ((2**24 + 1, 1), (1, 2**24 + 1)):
        with pytest.raises(AgreementError, match="kkrt serves 16777216"):
            kkrt.check_sizes(*sizes)
    assert isinstance(play(run()["bank"], bank(theirs=2**24 + 1)), AgreementError)
    assert isinstance(play(run()["telecom"], telecom(theirs=2**24 + 1)), AgreementError)


def test_another_salt_is_tried_if_there_is_no_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = kkrt.place
    failures = [None, None]
    monkeypatch.setattr(kkrt, "place", lambda where, bins: failures.pop() if failures else honest(where, bins))
    tapes = run()
    assert len(tapes["bank"].result.own) == 8
    assert unpack(Columns, tapes["telecom"].at(tapes["telecom"].place("Columns")).body).attempt == 2
    monkeypatch.setattr(kkrt, "place", lambda where, bins: None)
    with pytest.raises(UsageError, match="12 ids found no place under 8 salts"):
        run()


# What it costs, and in what words


def test_the_docstring_is_the_protocol(tapes: dict[str, Tape]) -> None:
    assert written(kkrt) == recorded(tapes["bank"].transcript.all, "telecom")


def test_masks_are_as_wide_as_the_number_of_pairs_demands() -> None:
    widths = {2**4: 8, 2**12: 8, 2**16: 9, 2**20: 10, 2**24: 11}
    assert {n: kkrt.mask_bytes(n, n) for n in widths} == widths
    for n in (*widths, 10**5, 10**6, 10**7):
        assert 2.0 ** (8 * kkrt.mask_bytes(n, n)) >= 2**40 * n * n
    assert kkrt.mask_bytes(0, 0) == kkrt.mask_bytes(1, 0) == 8


def test_bytes_are_as_written() -> None:
    own, other = [f"id-{i}" for i in range(3_000)], [f"id-{i}" for i in range(2_000, 4_000)]
    heard = {name: sum(len(said.body) for _, said in tape.messages()) for name, tape in run(own, other).items()}
    fixed, framing = (COLUMNS + 1) * 64 + 2 * 32, 300
    due = 56 * bins_for(3_000) + 3 * kkrt.mask_bytes(3_000, 2_000) * 2_000 + fixed
    assert due <= sum(heard.values()) <= due + framing
    n = 2**20
    assert 56 * bins_for(n) / n == pytest.approx(71.2, abs=0.1)
    assert (56 * bins_for(n) + 3 * kkrt.mask_bytes(n, n) * n + fixed + 50 * framing) / n < 101.3


@pytest.mark.slow
def test_a_million_ids_each_stay_under_105_bytes_an_id() -> None:
    n = 2**20
    own, other = [f"1380000{i:08d}" for i in range(n)], [f"1380000{i:08d}" for i in range(n // 2, n + n // 2)]
    tapes = run(own, other)
    assert len(tapes["bank"].result.own) == n // 2
    assert sum(len(said.body) for tape in tapes.values() for _, said in tape.messages()) <= 105 * n


# The same again


def replayed(role: Role, tape: Tape) -> Any:
    channels = {peer: ReplayChannel(tape.me, peer, past(tape)) for peer in tape.frames}
    result = lockstep({tape.me: role(channels)})[tape.me]
    assert all(channel.left == 0 for channel in channels.values())
    return result


def test_both_roles_say_the_same_bytes_again(tapes: dict[str, Tape]) -> None:
    hits = replayed(bank(), tapes["bank"])
    assert hits.own.tolist() == tapes["bank"].result.own.tolist()
    assert hits.positions.tolist() == tapes["bank"].result.positions.tolist()
    assert replayed(telecom(), tapes["telecom"]).tolist() == tapes["telecom"].result.tolist()


def test_other_ids_show_in_replay_as_party_and_step(tapes: dict[str, Tape]) -> None:
    with pytest.raises(ProtocolError, match=r"^bank at psi/0/Columns/bank>telecom/1: did not say this"):
        replayed(bank([*X[:-1], "13900000000"]), tapes["bank"])
    with pytest.raises(ProtocolError, match=r"^telecom at psi/0/Masks/telecom>bank/1: did not say this"):
        replayed(telecom([*Y[:-1], "13900000000"]), tapes["telecom"])


def test_frozen_run(tapes: dict[str, Tape]) -> None:
    """Whatever changes these bytes is another protocol: the tag tallystick-kkrt-v1 must change with them."""
    said = {
        type_of(record): hashlib.sha256(record.body).hexdigest()[:16]
        for tape in tapes.values()
        for record in past(tape)
        if not record.sent
    }
    assert said == FROZEN
    assert tapes["bank"].result.own.tolist() == list(range(4, 12))
    assert tapes["bank"].result.positions.tolist() == FROZEN_POSITIONS


FROZEN = {
    "Offer": "44257ddcbd04465f",
    "Choices": "01628ee19835e287",
    "Columns": "408233bcc271e2a1",
    "Masks": "c9d8f482d60048db",
}
FROZEN_POSITIONS = [8, 4, 0, 14, 3, 1, 12, 13]


# What an eavesdropper or partner can enumerate


def test_a_dictionary_confirms_no_id_from_the_wire() -> None:
    """No digest of an id without a secret is on the wire; the salt, which all see, is no secret."""
    own, other = [f"138{i:08d}" for i in range(0, 400, 4)], [f"138{i:08d}" for i in range(0, 400, 5)]
    tapes = run(own, other)
    wire = b"".join(record.body for tape in tapes.values() for record in past(tape))
    windows = {wire[i : i + 8] for i in range(len(wire))}
    offer = unpack(Offer, tapes["telecom"].at(tapes["telecom"].place("Offer")).body)
    choices = unpack(Choices, tapes["bank"].at(tapes["bank"].place("Choices")).body)
    salted = Salted.of("run-1", offer.salt, choices.salt, 0)
    for start in range(0, 10_000, 1_000):
        tokens = [f"138{number:08d}" for number in range(start, start + 1_000)]
        hashes = keyed_hashes(tokens, salted.id_key)
        words = salted.code.words(hashes)
        parts = [hashes, words, words[:, 1:], salted.row_hash.masks(words)]
        assert not any(row.tobytes()[:8] in windows for part in parts for row in part)
        for token in map(str.encode, tokens):
            plain = [hashlib.new(name, token).digest() for name in ("sha256", "sha1", "md5", "sha3_256", "blake2b")]
            assert token not in wire
            assert not any(digest[:8] in windows for digest in plain)


def test_two_runs_have_nothing_in_common() -> None:
    """Each party's message is new although its set is the same."""
    bodies = []
    for number in (1, 11):
        roles = {"bank": bank(number=number), "telecom": telecom(number=number + 1)}
        ends = record(roles, [("bank", "telecom")])
        bodies.append({type_of(r): r.body for tape in ends.values() for r in past(tape) if not r.sent})
    for kind in ("Columns", "Masks"):
        first, second = ({body[kind][i : i + 8] for i in range(64, len(body[kind]) - 8)} for body in bodies)
        assert not first & second


def test_the_stream_is_shuffled_by_the_run_s_randomness(tapes: dict[str, Tape]) -> None:
    order = seed(2).child("shuffle").permutation(len(Y))
    assert tapes["telecom"].result.tolist() == order.tolist()
    assert [order[j] for j in tapes["bank"].result.positions] == list(range(8))
