"""Joint scoring of applicants while they wait: one message each way, for one applicant or for ten thousand.

    active                                            passive
    OpenScoring  which model, key of tokens        -->
                                                   <--   Ready        it has its half; the key of its masks
    MaskKeys     of the other passives, if the sums are masked   -->
    Ask          a token for each applicant        -->
                                                   <--   Splits       of trees: what every split of its says
                                                   <--   Parts        of a scorecard: its part, its weightiest reasons
                                                   <--   Total        of a scorecard with masked sums
                                                   <--   Spent        the budget is used up: no answer
    ShowHead     of the log of decisions, with a proof that it continues the last one   -->
                                                   <--   Seen         the passive's cosignature of it
    Boundary     both sign and cosign their ledgers of the session     -->
    Goodbye                                        -->

A token is BLAKE2b-128 of the applicant's normalised identifier under the session's key, which the active party draws.
Trees: the active party walks them with its own and the received decisions (one round, as in SecureBoost; Cheng et al.
2021, IEEE Intelligent Systems 36(6)). Scorecards are sums (Siddiqi, Credit Risk Scorecards, 2006, chapter 6). Masked
sums: every two passives share a key, and what one of them adds the other subtracts (Bonawitz et al., CCS 2017, section
4, without drop-outs: the answer counts only where all passives answered). A mask belongs to the very bytes of the
question and the key of its tokens, so answers to different questions do not open each other; and whoever does not know
an applicant answers noise, so that nobody's part stands alone.

Learns:  active  -> for each applicant whether the passive knows it; of trees the yes/no of each split the passive
                    holds, and so what each feature adds; of a scorecard the passive's part of the log-odds, its points,
                    and the features of up to four reasons with the points they cost; with masked sums only the sum of
                    all passives' parts, of applicants whom all of them know
         passive -> that the active party asks about this customer of its table now; of others only a token, which it
                    can compare with identifiers that it guesses; how many entries the log of decisions has
Cost:    1 round; 16 bytes an applicant out; back n * splits / 8 bytes, or 32 bytes an applicant, masked 16;
         no encryption
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from vfl.bits import Mask, pack_bits, unpack_bits
from vfl.channel import Channel
from vfl.wire import Bytes32, Message, require

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
TOKEN = 16  # bytes
MOST_ASKED = 10_000
UNIT_BITS = 20  # a part of the log-odds is told in units of 2**-UNIT_BITS, as `vfl.protocols.points` does
MOST_REASONS = 4
NO_FEATURE = 0xFFFF
PHASE = "serve"

Name = Annotated[str, msgspec.Meta(max_length=64)]
Hex32 = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]
MaskKey = Annotated[str, msgspec.Meta(max_length=1000)]
"""A signed note in which a passive names its X25519 key for masks: see `vfl.scoring.masks`."""


class OpenScoring(Message, frozen=True):
    """Which model: its run, the agreement's digest, and the digest under which the passive froze its share."""

    run: Name
    agreement: Hex32
    frozen: Hex32
    token_key: Annotated[bytes, Bytes32]
    masked: bool = False


class Ready(Message, frozen=True):
    """The sender holds its share of that model. `splits`: of trees, how many are its own."""

    splits: Annotated[int, msgspec.Meta(ge=0)]
    mask_key: MaskKey = ""


class MaskKeys(Message, frozen=True):
    """The keys of the other passives, by name."""

    keys: Annotated[dict[Name, MaskKey], msgspec.Meta(max_length=64)]


class Ask(Message, frozen=True):
    """About whom: tokens of 16 bytes."""

    tokens: Annotated[bytes, msgspec.Meta(min_length=TOKEN, max_length=TOKEN * MOST_ASKED)]


class Splits(Message, frozen=True):
    """What each split says of each known applicant."""

    known: bytes  # one bit an applicant
    left: bytes  # bits, split by split, of the known ones


class Parts(Message, frozen=True):
    """The sender's part of each known applicant's score, and what costs the most points."""

    known: bytes  # one bit an applicant
    predictors: bytes  # of the log-odds, in units of 2**-20: int32, little-endian
    points: bytes  # int32, little-endian
    reasons: bytes  # four features an applicant, by number in the agreement: uint16, 0xFFFF for none
    lost: bytes  # points below the best attribute of each of them: int32


class Total(Message, frozen=True):
    """The same of all applicants, masked: modulo 2**64, little-endian. Of one that is not known, noise."""

    known: bytes
    predictors: bytes
    points: bytes


class Spent(Message, frozen=True):
    """The budget leaves fewer answers than were asked for."""

    left: Annotated[int, msgspec.Meta(ge=0)]


class ShowHead(Message, frozen=True):
    """A signed head of the active party's log of decisions. `proof`: from the head of size `old` on (RFC 6962)."""

    note: Annotated[str, msgspec.Meta(max_length=8000)]
    old: Annotated[int, msgspec.Meta(ge=0)]
    proof: Annotated[list[Annotated[bytes, Bytes32]], msgspec.Meta(max_length=63)]


class Seen(Message, frozen=True):
    """The cosignature; empty where the sender last cosigned a head of another `size` than `old`."""

    size: Annotated[int, msgspec.Meta(ge=0)]
    line: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Boundary(Message, frozen=True):
    """A round ends here."""


class Goodbye(Message, frozen=True):
    """Nothing more will be asked."""


Answer = Splits | Parts | Total | Spent


@dataclass(frozen=True, eq=False)
class Decided:
    """A passive's splits. known: bool[n]; left: bool[splits, n], false where it knows nothing."""

    known: Mask
    left: Mask


@dataclass(frozen=True, eq=False)
class Parted:
    """A passive's part of a scorecard: known bool[n], predictor float64[n], points int64[n]; zero where not known.

    reasons: feature numbers int64[n, 4], -1 for none.   lost: the points they cost, int64[n, 4].
    """

    known: Mask
    predictor: Reals
    points: Int64s
    reasons: Int64s
    lost: Int64s


@dataclass(frozen=True, eq=False)
class Masked:
    """A passive's masked part, in units of 2**-20 and in points: known bool[n], both uint64[n]."""

    known: Mask
    predictor: npt.NDArray[np.uint64]
    points: npt.NDArray[np.uint64]


Told = Decided | Parted | Masked


class Answering(Protocol):
    """What a passive does about questions. Raises AgreementError for what it does not go along with."""

    def open(self, asked: OpenScoring) -> Ready: ...

    def mask(self, keys: Mapping[str, str]) -> None: ...

    def cosign(self, shown: ShowHead) -> Seen: ...

    def answer(self, tokens: Sequence[bytes]) -> Told | Spent:
        """Known applicants' answers; or none, and how many the budget leaves."""
        ...


def tokens_of(key: bytes, identifiers: Sequence[str]) -> list[bytes]:
    """The tokens of normalised identifiers under a session's key."""
    return [blake2b(each.encode(), digest_size=TOKEN, key=key).digest() for each in identifiers]


def seed_of_mask(secret: bytes, token_key: bytes, question: bytes) -> bytes:
    """What a mask is drawn from: a key that two passives share, the key of tokens, and the question. 32 bytes."""
    return blake2b(token_key + question, digest_size=32, key=secret, person=b"tallystick-mask").digest()


async def active(passive: Channel, asked: OpenScoring) -> Ready:
    """Begin a session: what the passive is ready with. Then `ask` and the others follow, and `goodbye` at last."""
    passive.enter(PHASE, 0)
    await passive.send(asked)
    ready = await passive.recv(Ready)
    require(bool(ready.mask_key) == asked.masked, "a key of masks comes where sums are masked")
    return ready


async def tell_masks(passive: Channel, keys: Mapping[str, str]) -> None:
    """Tell a passive the keys of the others."""
    await passive.send(MaskKeys(keys=dict(keys)))


async def ask(
    passive: Channel, tokens: Sequence[bytes], splits: int | None, features: int, *, masked: bool = False
) -> Told | Spent:
    """Ask about applicants. `splits`: of trees, how many the passive holds; None for a scorecard, of `features`."""
    await passive.send(Ask(b"".join(tokens)))
    due: type[Splits | Parts | Total] = Splits if splits is not None else Total if masked else Parts
    told = await passive.recv(due, Spent)
    if isinstance(told, Spent):
        require(told.left < len(tokens), "a budget is used up")
        return told
    known = unpack_bits(told.known, len(tokens))
    if isinstance(told, Splits):
        assert splits is not None
        left = np.zeros((splits, len(tokens)), np.bool_)
        left[:, known] = unpack_bits(told.left, splits, int(known.sum()))
        return Decided(known, left)
    if isinstance(told, Total):
        return Masked(known, _words(told.predictors, len(tokens)), _words(told.points, len(tokens)))
    return _parted(told, known, features)


async def show_head(passive: Channel, shown: ShowHead) -> Seen:
    """Show a head of the log of decisions, to be cosigned."""
    await passive.send(shown)
    seen = await passive.recv(Seen)
    require(seen.line or seen.size != shown.old, "a head that continues the last one is cosigned")
    return seen


async def boundary(passive: Channel, round: int) -> None:
    """End a round: both ledgers are signed and cosigned; the next message is of this `round`."""
    await passive.send(Boundary())
    await passive.checkpoint()
    passive.enter(PHASE, round)


async def goodbye(passive: Channel) -> None:
    """End the session."""
    await passive.send(Goodbye())
    await passive.checkpoint()


async def passive(active: Channel, answering: Answering) -> None:
    """Answer until the active party says goodbye."""
    active.enter(PHASE, 0)
    await active.send(answering.open(await active.recv(OpenScoring)))
    round = 0
    while not isinstance(asked := await active.recv(Ask, MaskKeys, ShowHead, Boundary, Goodbye), Goodbye):
        if isinstance(asked, Ask):
            require(len(asked.tokens) % TOKEN == 0, f"tokens have {TOKEN} bytes")
            tokens = [asked.tokens[at : at + TOKEN] for at in range(0, len(asked.tokens), TOKEN)]
            await active.send(_message(answering.answer(tokens)))
        elif isinstance(asked, MaskKeys):
            answering.mask(asked.keys)
        elif isinstance(asked, ShowHead):
            await active.send(answering.cosign(asked))
        else:
            await active.checkpoint()
            round += 1
            active.enter(PHASE, round)
    await active.checkpoint()


def _message(told: Told | Spent) -> Answer:
    if isinstance(told, Spent):
        return told
    known = pack_bits(told.known)
    if isinstance(told, Decided):
        return Splits(known, pack_bits(told.left[:, told.known]))
    if isinstance(told, Masked):
        return Total(known, told.predictor.astype("<u8").tobytes(), told.points.astype("<u8").tobytes())
    of = told.known
    units = np.rint(np.ldexp(told.predictor[of], UNIT_BITS)).astype("<i4")
    reasons = np.where(told.reasons[of] < 0, NO_FEATURE, told.reasons[of]).astype("<u2")
    packed = (units, told.points[of].astype("<i4"), reasons, told.lost[of].astype("<i4"))
    return Parts(known, *(each.tobytes() for each in packed))


def _parted(told: Parts, known: Mask, features: int) -> Parted:
    count, n = int(known.sum()), len(known)
    units, points = _numbers(told.predictors, "<i4", count), _numbers(told.points, "<i4", count)
    reasons = _numbers(told.reasons, "<u2", count * MOST_REASONS).reshape(count, MOST_REASONS)
    lost = _numbers(told.lost, "<i4", count * MOST_REASONS).reshape(count, MOST_REASONS)
    none = reasons == NO_FEATURE
    require(((reasons < features) | none).all(), f"reasons are among {features} features")
    require((lost[~none] > 0).all() and not lost[none].any(), "a reason costs points, and none costs none")
    found = Parted(
        known, np.zeros(n), np.zeros(n, np.int64), np.full((n, MOST_REASONS), -1), np.zeros((n, MOST_REASONS), np.int64)
    )
    found.predictor[known] = np.ldexp(units.astype(np.float64), -UNIT_BITS)
    found.points[known] = points
    found.reasons[known] = np.where(none, -1, reasons)
    found.lost[known] = lost
    return found


def _numbers(data: bytes, kind: str, count: int) -> Int64s:
    return _blob(data, kind, count).astype(np.int64)


def _words(data: bytes, count: int) -> npt.NDArray[np.uint64]:
    return _blob(data, "<u8", count).astype(np.uint64)


def _blob(data: bytes, kind: str, count: int) -> npt.NDArray[np.generic]:
    size = np.dtype(kind).itemsize
    require(len(data) == size * count, f"{count} numbers take {size * count} bytes")
    return np.frombuffer(data, kind)
