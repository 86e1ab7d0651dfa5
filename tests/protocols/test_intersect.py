"""Private set intersection: the right rows for everybody, nothing else for anybody, and no peer that can bend it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from vfl.channel import Channel, Record, lockstep
from vfl.crypto.group import POINT, Mask, domain, hash_to_curve, split
from vfl.crypto.set_digest import merkle_root
from vfl.desk import Desk, Envelope, Frame, MemoryLink, MemoryTranscript, NoNotary, memory_links
from vfl.errors import AgreementError, BrokenPromise, ProtocolError, Unexpected, UsageError, VflError
from vfl.protocols import intersect
from vfl.protocols.intersect import (
    TOKEN,
    Agreed,
    Answer,
    Declare,
    Points,
    Positions,
    Proof,
    PsiTerms,
    Share,
    Tokens,
    active_match,
    passive_match,
    set_commitment,
)
from vfl.randomness import Randomness
from vfl.replay import ReplayChannel
from vfl.secret import Secret
from vfl.wire import Message, pack, unpack

from .arrows import recorded, written
from .hostile import Role, Tape, assert_harmless, damage, play, record

TERMS = PsiTerms(run="run-1", id_rule="cn-mobile@1", max_set_size=20_000, min_intersection=1)
X = [f"1380000{i:04d}" for i in range(12)]
Y = [f"1380000{i:04d}" for i in range(4, 19)]


def seed(number: int) -> Randomness:
    return Randomness(number.to_bytes(32, "big"))


def bank(tokens: Sequence[str] = X, terms: PsiTerms = TERMS, number: int = 1) -> Role:
    return lambda peers: intersect.active(peers, tokens, terms, seed(number))


def partner(tokens: Sequence[str] = Y, terms: PsiTerms = TERMS, number: int = 2) -> Role:
    return lambda peers: intersect.passive(peers["bank"], tokens, terms, seed(number))


def run(active: Role, **passives: Role) -> dict[str, Tape]:
    return record({"bank": active, **passives}, [("bank", name) for name in passives])


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return run(bank(), telecom=partner())


# What comes out


IDS = st.integers(0, 40).map(lambda number: f"id-{number}")
SETS = st.lists(IDS, min_size=1, max_size=25, unique=True)


@settings(deadline=None, max_examples=60)
@given(SETS, st.lists(SETS, min_size=1, max_size=3), st.integers(0, 2**30))
def test_result_is_the_intersection_of_all(own: list[str], others: list[list[str]], number: int) -> None:
    names = ["telecom", "retailer", "insurer"][: len(others)]
    passives = {name: partner(ids, number=number + i) for i, (name, ids) in enumerate(zip(names, others, strict=True))}
    expected = set(own).intersection(*others)
    if not expected:
        with pytest.raises(AgreementError, match="customers in common"):
            run(bank(own, number=number), **passives)
        return
    tapes = run(bank(own, number=number), **passives)
    rows, matches, mixed = tapes["bank"].result
    assert mixed is rows
    agreed = [own[row] for row in rows]
    assert len(agreed) == len(expected)
    assert set(agreed) == expected
    for name, ids in zip(names, others, strict=True):
        assert [ids[row] for row in tapes[name].result[0]] == agreed
        assert {own[row] for row in matches[name].own} == set(own) & set(ids)
        assert matches[name].declared.size == len(ids)


@pytest.mark.parametrize(
    ("own", "other"),
    [(["a"], ["a"]), (["a", "b"], ["b"]), (["a"], ["b", "a"]), (["a", "b"], ["b", "a"]), (X, X), (X, X[3:4])],
)
def test_small_and_equal_sets(own: list[str], other: list[str]) -> None:
    tapes = run(bank(own), telecom=partner(other))
    agreed = [own[row] for row in tapes["bank"].result[0]]
    assert agreed == [other[row] for row in tapes["telecom"].result[0]]
    assert set(agreed) == set(own) & set(other)


def test_streams_of_several_blocks_and_bytes_per_id() -> None:
    own, other = [f"id-{i}" for i in range(4_500)], [f"id-{i}" for i in range(300, 4_397)]
    links = memory_links()
    desks = [Desk(name, MemoryTranscript(), NoNotary()) for name in ("bank", "telecom")]
    ends = [desk.channel(peer, link) for desk, peer, link in zip(desks, ("telecom", "bank"), links, strict=True)]
    result: dict[str, Any] = lockstep(
        {
            "bank": desks[0].run(intersect.active({"telecom": ends[0]}, own, TERMS, seed(1))),
            "telecom": desks[1].run(intersect.passive(ends[1], other, TERMS, seed(2))),
        }
    )
    agreed = [own[row] for row in result["bank"][0]]
    assert agreed == [other[row] for row in result["telecom"][0]]
    assert len(agreed) == 4_097
    match = desks[0].count("psi")
    assert match.sent + match.received <= 44 * len(own) + 32 * len(other) + 1_000
    confirm = desks[0].count("align")
    assert confirm.sent + confirm.received <= 4 * len(agreed) + 1_000


class Narrow(MemoryLink):
    """A link that takes four frames until the peer has read one."""

    def __init__(self, inbox: list[bytes], outbox: list[bytes]) -> None:
        super().__init__(inbox, outbox)
        self.waiting, self.most = outbox, 0

    def push(self, frame: bytes) -> None:
        super().push(frame)
        self.most = max(self.most, len(self.waiting))

    @property
    def full(self) -> bool:  # type: ignore[override]
        return len(self.waiting) >= 4


@pytest.mark.parametrize("sizes", [(200, 150), (150, 200), (200, 5), (5, 200), (8, 8), (17, 16)])
def test_neither_side_says_more_than_the_other_can_take(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int]
) -> None:
    """Streams of any length pass through a narrow link; where all was said before anything was heard, nobody moves."""
    monkeypatch.setattr(intersect, "BLOCK", 8)
    monkeypatch.setattr(intersect, "AHEAD", 2)
    own, other = ([f"id-{i}" for i in range(size)] for size in sizes)

    def together() -> tuple[Any, list[Narrow]]:
        there: list[bytes] = []
        back: list[bytes] = []
        links = [Narrow(back, there), Narrow(there, back)]
        desks = [Desk(name, MemoryTranscript(), NoNotary()) for name in ("bank", "telecom")]
        ends = [desk.channel(peer, link) for desk, peer, link in zip(desks, ("telecom", "bank"), links, strict=True)]
        roles = {
            "bank": desks[0].run(intersect.active({"telecom": ends[0]}, own, TERMS, seed(1))),
            "telecom": desks[1].run(intersect.passive(ends[1], other, TERMS, seed(2))),
        }
        return lockstep(roles), links

    result, links = together()
    assert {own[row] for row in result["bank"][0]} == set(own) & set(other)
    assert max(link.most for link in links) <= 5  # a head at a round boundary waits for nobody
    monkeypatch.setattr(intersect, "AHEAD", 1000)
    if min(sizes) > 5 * 8:
        with pytest.raises(Unexpected, match="silence"):
            together()


def test_text_outside_ascii_is_an_id_like_any_other() -> None:
    tapes = run(bank(["客户一", "客户二"]), telecom=partner(["客户二", "müller"]))
    assert tapes["bank"].result[0].tolist() == [1]


# Order


def positions_of_sorted_ids(number: int, count: int) -> np.ndarray[Any, Any]:
    tapes = run(bank(["x"]), telecom=partner([f"id-{i:05d}" for i in range(count)] + ["x"], number=number))
    order = tapes["telecom"].result[1].order
    return np.argsort(order)[:count]


def test_streams_are_shuffled() -> None:
    count, runs = 64, 12
    places = np.array([positions_of_sorted_ids(100 + i, count) for i in range(runs)])
    assert len({tuple(row) for row in places}) == runs
    cells = np.zeros((4, 4))
    for row in places:
        np.add.at(cells, (np.arange(count) * 4 // count, np.minimum(row, count - 1) * 4 // count), 1)
    expected = runs * count / 16
    assert ((cells - expected) ** 2 / expected).sum() < 40  # chi-square, 9 degrees of freedom: 1e-5 is 39.3


def test_agreed_order_tells_nothing_of_ids_and_changes_with_the_seed() -> None:
    ids = [f"id-{i:05d}" for i in range(300)]
    orders = [run(bank(ids, number=n), telecom=partner(ids)).pop("bank").result[0] for n in (1, 2)]
    assert not np.array_equal(*orders)
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(300))[0, 1]) < 0.25


# What is declared


def test_commitment_can_be_opened_by_the_salt(tapes: dict[str, Tape]) -> None:
    declared = tapes["bank"].result[1]["telecom"].declared
    salt = tapes["telecom"].result[1].salt
    assert declared.commitment == set_commitment("passive", sorted(Y), salt)
    assert declared.commitment != set_commitment("passive", Y[1:], salt)
    assert declared.commitment != set_commitment("active", Y, salt)


def test_rules_that_differ_are_both_named_before_any_point() -> None:
    other = PsiTerms("run-1", "cn-mobile@2", 20_000, 1)
    with pytest.raises(AgreementError, match=r"cn-mobile@2.*cn-mobile@1|cn-mobile@1.*cn-mobile@2"):
        run(bank(), telecom=partner(terms=other))


def test_a_larger_set_than_agreed_is_refused_on_either_side(tapes: dict[str, Tape]) -> None:
    tight = PsiTerms("run-1", "cn-mobile@1", 14, 1)
    with pytest.raises(AgreementError, match="15 ids here, and at most 14"):
        run(bank(), telecom=partner(terms=tight))
    fate = play(tapes["bank"], bank(terms=tight))
    assert isinstance(fate, AgreementError)
    assert "telecom declares 15 ids" in str(fate)


@pytest.mark.parametrize("ids", [[], [""], ["a", "a"]], ids=["none", "blank", "twice"])
def test_own_ids_that_were_not_cleaned_are_refused(ids: list[str]) -> None:
    with pytest.raises(UsageError, match="none blank, none twice"):
        record({"telecom": partner(), "bank": bank(ids)}, [("bank", "telecom")])


@pytest.mark.parametrize(("size", "minimum"), [(0, 1), (2**28 + 1, 1), (10, 0), (10, 11)])
def test_terms_out_of_range_are_refused(size: int, minimum: int) -> None:
    with pytest.raises(UsageError):
        PsiTerms("run", "rule@1", size, minimum)


def test_a_result_below_the_minimum_is_withheld_from_all() -> None:
    terms = PsiTerms("run-1", "cn-mobile@1", 20_000, 9)
    seen: dict[str, Exception] = {}

    def noting(name: str, role: Role) -> Role:
        async def told(peers: Mapping[str, Channel]) -> Any:
            try:
                return await role(peers)
            except AgreementError as error:
                seen[name] = error

        return told

    passives = {name: noting(name, partner(terms=terms)) for name in ("telecom", "retailer")}
    tapes = run(noting("bank", bank(terms=terms)), **passives)
    assert "8 customers in common, and at least 9" in str(seen["bank"])
    assert "fewer than the agreed 9" in str(seen["telecom"])
    assert "fewer than the agreed 9" in str(seen["retailer"])
    assert unpack(Agreed, tapes["telecom"].at(tapes["telecom"].place("Agreed")).body).count == 0


def test_the_same_masks_give_other_points_in_another_run(tapes: dict[str, Tape]) -> None:
    other = PsiTerms("run-2", TERMS.id_rule, TERMS.max_set_size, 1)
    again = run(bank(terms=other), telecom=partner(terms=other))
    one, two = (unpack(Points, tape["bank"].at(tape["bank"].place("Points")).body) for tape in (tapes, again))
    assert not set(split(one.items)) & set(split(two.items))
    with pytest.raises(AgreementError, match="0 customers in common"):
        run(bank(), telecom=partner(terms=other))


def tree_hash(rows: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if len(rows) == 1:
        return hashlib.sha256(b"\0" + rows[0]).digest()
    cut = 1 << (len(rows) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_hash(rows[:cut]) + tree_hash(rows[cut:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33])
def test_roots_follow_rfc_6962(count: int) -> None:
    rows = [bytes([i]) * 32 for i in range(count)]
    assert merkle_root(rows) == tree_hash(rows)


# Script and record


def test_the_docstring_is_the_protocol(tapes: dict[str, Tape]) -> None:
    assert written(intersect) == recorded(tapes["bank"].transcript.all, "telecom")


def test_both_heads_are_signed_before_any_point_and_after_each_stage(tapes: dict[str, Tape]) -> None:
    for name, peer in (("bank", "telecom"), ("telecom", "bank")):
        frames = [msgspec.msgpack.decode(frame, type=Frame) for frame in tapes[name].frames[peer]]
        said = [f.slot.split("/")[2] if isinstance(f, Envelope) else type(f).__name__ for f in frames]
        assert said[1:5] == ["Declare", "Head", "Cosignature", "Points"]
        assert said[-2:] == ["Head", "Cosignature"]
        assert said.count("Head") == 3


def test_cost_in_maskings_is_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[int] = []
    apply = Mask.apply

    def counting(mask: Mask, points: bytes) -> bytes:
        masked.append(len(points) // POINT)
        return apply(mask, points)

    monkeypatch.setattr(Mask, "apply", counting)
    run(bank(), telecom=partner())
    assert sum(masked) == 2 * (len(X) + len(Y)) + 2 * 2


def past(tape: Tape) -> list[Record]:
    return tape.transcript.all


def replayed(role: Role, tape: Tape) -> Any:
    channels = {peer: ReplayChannel(tape.me, peer, past(tape)) for peer in tape.frames}
    result = lockstep({tape.me: role(channels)})[tape.me]
    assert all(channel.left == 0 for channel in channels.values())
    return result


def test_both_roles_say_the_same_bytes_again(tapes: dict[str, Tape]) -> None:
    assert replayed(bank(), tapes["bank"])[0].tolist() == tapes["bank"].result[0].tolist()
    assert replayed(partner(), tapes["telecom"])[0].tolist() == tapes["telecom"].result[0].tolist()


def test_one_other_id_shows_in_replay_as_party_and_step(tapes: dict[str, Tape]) -> None:
    with pytest.raises(ProtocolError, match=r"^bank at psi/0/Declare/bank>telecom/0: did not say this"):
        replayed(bank([*X[:-1], "13900000000"]), tapes["bank"])
    with pytest.raises(ProtocolError, match=r"^telecom at psi/0/Declare/telecom>bank/0: did not say this"):
        replayed(partner([*Y[:-1], "13900000000"]), tapes["telecom"])


# What an eavesdropper or partner can enumerate


def digests(token: str) -> list[bytes]:
    data = token.encode()
    plain = [hashlib.new(name, data).digest() for name in ("sha256", "sha512", "sha1", "md5", "sha3_256", "blake2b")]
    tag = domain("psi", TERMS.run)
    return [data, data.hex().encode(), *plain, hash_to_curve([data], tag), hash_to_curve([data], b"\1")]


def test_a_dictionary_confirms_no_id_from_the_wire() -> None:
    own, other = [f"138{i:08d}" for i in range(0, 400, 4)], [f"138{i:08d}" for i in range(0, 400, 5)]
    tapes = run(bank(own), telecom=partner(other))
    wire = b"".join(record.body + record.digest for tape in tapes.values() for record in past(tape))
    windows = {wire[i : i + TOKEN] for i in range(len(wire))}
    for number in range(10_000):
        token = f"138{number:08d}"
        assert token.encode() not in wire
        assert not any(digest[:TOKEN] in windows for digest in digests(token)[1:])


# A partner that lies


def test_an_active_party_that_misaligns_by_one_row_gets_no_proof() -> None:
    async def liar(peers: Mapping[str, Channel]) -> None:
        match = await active_match(peers["telecom"], X, TERMS, seed(1))
        shifted = np.roll(match.positions, 1)
        await intersect.active_confirm(peers["telecom"], shifted, [X[i] for i in match.own], TERMS, seed(3))

    with pytest.raises(BrokenPromise, match=r"bank at align/0/Answer.*row k is the same customer"):
        run(liar, telecom=lambda peers: passive_alone(peers["bank"]))


async def passive_alone(active: Channel) -> Any:
    stream = await passive_match(active, Y, TERMS, seed(2))
    return await intersect.passive_confirm(active, Y, stream, TERMS, seed(4))


async def misaligned_passive(active: Channel, proof: str) -> None:
    """Goes on with a table shifted by one row whatever the active party proves."""
    stream = await passive_match(active, Y, TERMS, seed(2))
    active.enter("align")
    agreed = await active.recv(Agreed)
    block = await active.recv(Positions)
    rows = np.roll(stream.order[np.frombuffer(block.items, "<u4")], 1)
    nonce, mask = bytes(32), Mask(Secret(bytes([9]) * 32))
    base = intersect._base([Y[row] for row in rows], agreed.nonce, nonce, TERMS)
    point = mask.apply(base)
    await active.send(Share(nonce, point))
    answer = await active.recv(Answer)
    key = hashlib.sha256(mask.apply(answer.point) + point + answer.point).digest()
    await active.send(Proof(answer.proof if proof == "echo" else intersect._proof(key, "passive")))
    await active.checkpoint()


@pytest.mark.parametrize("proof", ["own", "echo"])
def test_a_passive_party_that_misaligns_or_echoes_is_found_out(proof: str) -> None:
    with pytest.raises(BrokenPromise, match=r"telecom at align/0/Proof.*row k is the same customer"):
        run(bank(), telecom=lambda peers: misaligned_passive(peers["bank"], proof))


def test_swapped_tokens_from_the_passive_party_are_found_out() -> None:
    async def liar(peers: Mapping[str, Channel]) -> Any:
        active = peers["bank"]
        active.enter("psi")
        theirs, _ = await intersect._declare(active, "passive", Y, TERMS, seed(2), excluded=0, duplicates=0)
        order, secret = seed(2).permutation(len(Y)), Secret(bytes([5]) * 32)
        twice = await intersect._mask_both(active, [Y[i] for i in order], secret, theirs.size, TERMS)
        await intersect._send(active, Tokens, b"".join(split(twice, Tokens.WIDTH)[::-1]))
        await active.checkpoint()
        stream = intersect.PassiveStream(order, theirs, Secret(bytes(32)))
        return await intersect.passive_confirm(active, Y, stream, TERMS, seed(4))

    with pytest.raises(BrokenPromise, match="row k is the same customer"):
        run(bank(), telecom=liar)


def test_proofs_cannot_be_tried_against_a_dictionary(tapes: dict[str, Tape]) -> None:
    """Who knows the whole table but for one row finds no digest of it on the wire."""
    wire = b"".join(record.body for tape in tapes.values() for record in past(tape))
    agreed = unpack(Agreed, tapes["telecom"].at(tapes["telecom"].place("Agreed")).body)
    share = unpack(Share, tapes["bank"].at(tapes["bank"].place("Share")).body)
    nonces = [agreed.nonce, share.nonce]
    table = [X[row] for row in tapes["bank"].result[0]]
    key = hashlib.sha256(b"tallystick-align-v1" + nonces[0] + nonces[1] + TERMS.run.encode()).digest()
    leaves = [hmac.digest(key, row.to_bytes(8, "big") + token.encode(), "sha256") for row, token in enumerate(table)]
    root = merkle_root(leaves)
    base = intersect._base(table, nonces[0], nonces[1], TERMS)
    assert base == hash_to_curve([root], domain("align", TERMS.run))
    known = [
        root,
        base,
        *leaves,
        *(intersect._proof(part, role) for part in (root, base) for role in ("active", "passive")),
    ]
    assert not any(part in wire for part in known)


# A partner that breaks the rules


BAD = {
    "order 2": (0).to_bytes(POINT, "little"),
    "order 4": (1).to_bytes(POINT, "little"),
    "order 8": (325606250916557431795983626356110631294008115727848805560023387167927233504).to_bytes(POINT, "little"),
    "p - 1": (2**255 - 20).to_bytes(POINT, "little"),
    "p": (2**255 - 19).to_bytes(POINT, "little"),
    "p + 9": (2**255 - 10).to_bytes(POINT, "little"),
    "bit 255": (9 + 2**255).to_bytes(POINT, "little"),
    "twist": (2).to_bytes(POINT, "little"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_a_bad_point_is_refused_wherever_it_stands(tapes: dict[str, Tape], victim: str, name: str) -> None:
    tape, role = tapes[victim], bank() if victim == "bank" else partner()
    place = tape.place("Points")
    block = unpack(Points, tape.at(place).body)
    for index in range(block.count):
        points = split(block.items)
        points[index] = BAD[name]
        fate = play(tape.replace(place, pack(Points(0, block.count, True, b"".join(points)))), role)
        assert isinstance(fate, BrokenPromise)
        assert f"point {index} " in str(fate)
    kind: type[Share | Answer] = Share if victim == "bank" else Answer
    place = tape.place(kind.__name__)
    said = unpack(kind, tape.at(place).body)
    lie = Share(said.nonce, BAD[name]) if isinstance(said, Share) else Answer(BAD[name], said.proof)
    fate = play(tape.replace(place, pack(lie)), role)
    assert isinstance(fate, BrokenPromise)
    assert "point 0 " in str(fate)


def with_small_component(point: bytes) -> bytes:
    """u of the point plus (0, 0), which has order 2: 1 / u."""
    p = 2**255 - 19
    return pow(int.from_bytes(point, "little"), -1, p).to_bytes(POINT, "little")


@pytest.mark.parametrize("victim", ["bank", "telecom"])
@pytest.mark.parametrize("way", ["same", "other spelling"])
def test_one_id_twice_in_a_stream_is_refused(tapes: dict[str, Tape], victim: str, way: str) -> None:
    tape, role = tapes[victim], bank() if victim == "bank" else partner()
    place = tape.place("Points")
    block = unpack(Points, tape.at(place).body)
    points = split(block.items)
    points[5] = points[2] if way == "same" else with_small_component(points[2])
    fate = play(tape.replace(place, pack(Points(0, block.count, True, b"".join(points)))), role)
    assert isinstance(fate, BrokenPromise)
    assert ("twice" if way == "same" else "the same id") in str(fate)


def test_repeats_across_blocks_are_refused() -> None:
    ids = [f"id-{i}" for i in range(4_100)]

    async def liar(peers: Mapping[str, Channel]) -> None:
        active = peers["bank"]
        active.enter("psi")
        await intersect._declare(active, "passive", ids, TERMS, seed(2), excluded=0, duplicates=0)
        await intersect._mask_both(active, ids[:4_096] + ids[:4], Secret(bytes([5]) * 32), 1, TERMS)

    with pytest.raises(BrokenPromise, match="no point comes twice in a stream"):
        run(bank(["a"]), telecom=liar)


def changed(tape: Tape, message: Message, nth: int = 0) -> Tape:
    return tape.replace(tape.place(type(message).__name__, nth), pack(message))


POINT_BLOCK = b"".join(
    split(Mask(Secret(bytes([7]) * 32)).apply(hash_to_curve([str(i).encode() for i in range(16)], b"t")))
)
TELECOM_LIES = {
    "size one more": (Declare(16, bytes(32), TERMS.id_rule, 0, 0), "the block has 16 of 16 items"),
    "size one less": (Declare(14, bytes(32), TERMS.id_rule, 0, 0), "the block has 14 of 14 items"),
    "no ids": (Declare(0, bytes(32), TERMS.id_rule, 0, 0), "one id or more"),
    "block number": (Points(1, 15, True, POINT_BLOCK[: 15 * 32]), "block 0 is due"),
    "not the last": (Points(0, 15, False, POINT_BLOCK[: 15 * 32]), "the last block ends with item 15"),
    "more than declared": (Points(0, 16, True, POINT_BLOCK), "the block has 15 of 15 items"),
    "fewer than declared": (Points(0, 14, True, POINT_BLOCK[: 14 * 32]), "the block has 15 of 15 items"),
    "fewer bytes than items": (Points(0, 15, True, POINT_BLOCK[: 14 * 32]), "15 items of 32 bytes"),
    "tokens twice": (Tokens(0, 12, True, bytes(12 * 12)), "tokens of distinct points are distinct"),
    "tokens too few": (Tokens(0, 11, True, bytes(11 * 12)), "the block has 12 of 12 items"),
}
BANK_LIES = {
    "one customer more than it has": (Agreed(13, bytes(32)), "1 to 12 customers in common"),
    "one row more than said": (Agreed(9, bytes(32)), "the block has 9 of 9 items"),
    "a position twice": (Positions(0, 8, True, bytes(32)), "no position comes twice"),
    "a position beyond the stream": (
        Positions(0, 8, True, np.arange(8, 16).astype("<u4").tobytes()),
        "each position is one of our stream",
    ),
    "positions of other rows": (Positions(0, 8, True, np.arange(8).astype("<u4").tobytes()), "same customer"),
    "a wrong proof": (Answer(POINT_BLOCK[:32], bytes(32)), "same customer"),
}


@pytest.mark.parametrize("name", TELECOM_LIES)
def test_a_lying_passive_party_is_named(tapes: dict[str, Tape], name: str) -> None:
    lie, sentence = TELECOM_LIES[name]
    fate = play(changed(tapes["bank"], lie), bank())
    assert isinstance(fate, BrokenPromise)
    assert fate.peer == "telecom"
    assert sentence in str(fate)


@pytest.mark.parametrize("name", BANK_LIES)
def test_a_lying_active_party_is_named(tapes: dict[str, Tape], name: str) -> None:
    lie, sentence = BANK_LIES[name]
    fate = play(changed(tapes["telecom"], lie), partner())
    assert isinstance(fate, BrokenPromise)
    assert fate.peer == "bank"
    assert sentence in str(fate)


def test_a_count_below_the_agreed_minimum_is_a_broken_promise(tapes: dict[str, Tape]) -> None:
    terms = PsiTerms(TERMS.run, TERMS.id_rule, TERMS.max_set_size, 9)
    fate = play(tapes["telecom"], partner(terms=terms))
    assert isinstance(fate, BrokenPromise)
    assert "9 to 12 customers in common" in str(fate)


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_silence_disorder_and_typed_lies_end_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    assert_harmless(tapes[victim], bank() if victim == "bank" else partner())


def test_one_hostile_partner_of_two_ends_in_known_errors() -> None:
    retailer = partner([*X[2:5], *Y[2:9]], number=5)
    assert_harmless(run(bank(), telecom=partner(), retailer=retailer)["bank"], bank())


@pytest.mark.parametrize("victim", ["bank", "telecom"])
def test_damaged_frames_end_in_known_errors(tapes: dict[str, Tape], victim: str) -> None:
    tape, role = tapes[victim], bank() if victim == "bank" else partner()
    honest = tape.result[0].tolist()

    @examples(120, thorough=400)
    @given(damage(tape))
    def attack(damaged: Tape) -> None:
        fate = play(damaged, role)
        assert isinstance(fate, VflError) or fate[0].tolist() == honest

    attack()


def test_an_honest_tape_still_plays(tapes: dict[str, Tape]) -> None:
    assert play(tapes["bank"], bank())[0].tolist() == tapes["bank"].result[0].tolist()
    assert play(tapes["telecom"], partner())[0].tolist() == tapes["telecom"].result[0].tolist()
