"""A passive party's side of scoring: it looks a customer up, says what its own splits or lines say, and counts.

Nothing is written for an answer but its entry in the session's ledger, which holds digests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ledger.checkpoint import open_checkpoint
from ledger.entry import slot_name
from ledger.errors import NotConsistent
from ledger.evidence import fork_evidence
from ledger.log import Log
from ledger.witness import Witness
from vfl import accusing
from vfl.agreement import Agreement
from vfl.card_models import read_card, require_card
from vfl.channel import digest_of
from vfl.errors import AgreementError, BrokenPromise, UsageError
from vfl.files import read_json, read_result, write_private, write_whole
from vfl.learn.compiled_card import CompiledCard
from vfl.learn.compiled_reasons import top_reasons
from vfl.learn.compiled_splits import CompiledSplits
from vfl.models import read_records, require_share
from vfl.notary import blaming
from vfl.own_ledger import open_store
from vfl.protocols import score_online
from vfl.protocols.freeze import ModelShare, commitment
from vfl.protocols.points import as_told
from vfl.protocols.score_online import (
    MOST_REASONS,
    UNIT_BITS,
    Decided,
    OpenScoring,
    Parted,
    Ready,
    Seen,
    ShowHead,
    Spent,
    Told,
    tokens_of,
)  # fmt: skip
from vfl.scoring.budget import Budget
from vfl.scoring.lookup import Lookup
from vfl.scoring.masks import Masks, mask_key
from vfl.scoring.models import feature_numbers
from vfl.scoring.session import Session, Speaker, is_decisions, require_job
from vfl.seat import blinds_of, protocol_randomness, read_own_holding
from vfl.terms import GBDT, Terms
from vfl.wire import pack

Reals = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
MASKED = "masked.json"
"""With whom sums are masked, once they were."""
_LOOK = 5 * 10**9  # nanoseconds between two looks whether the agreement is in force
HEADS = "heads.sqlite"
"""The newest head of each of the active party's logs of decisions that was cosigned."""


class Half(Protocol):
    """A passive party's half of a model."""

    splits: int

    def tell(self, known: Flags, values: Reals) -> Decided | Parted:
        """What it says of the known applicants, `values` float64[known, features], among all asked about."""
        ...


class Splits:
    """Of boosted trees."""

    def __init__(self, share: bytes) -> None:
        records = read_records(share)
        self.splits, self._own = len(records), CompiledSplits.of(records)

    def tell(self, known: Flags, values: Reals) -> Decided:
        left = np.zeros((self.splits, len(known)), np.bool_)
        left[:, known] = self._own.left(values)
        return Decided(known, left)


class Lines:
    """Of a scorecard."""

    splits = 0

    def __init__(self, share: bytes, features: Sequence[str]) -> None:
        card = read_card(share)
        self._card = CompiledCard.of(card)
        self._features = feature_numbers([each.name for each in card.features], features)

    def tell(self, known: Flags, values: Reals) -> Parted:
        n, at = len(known), np.flatnonzero(known)
        predictor, points, by_feature = self._card.parts(values[:, self._features])
        lost = self._card.lost(by_feature)
        found = Parted(
            known,
            np.zeros(n),
            np.zeros(n, np.int64),
            np.full((n, MOST_REASONS), -1, np.int64),
            np.zeros((n, MOST_REASONS), np.int64),
        )
        found.predictor[at], found.points[at] = as_told(predictor), points
        if lost.shape[1]:  # only the worst of each applicant are told
            worst = top_reasons(lost, np.arange(lost.shape[1]), MOST_REASONS)
            found.reasons[at] = np.where(worst < 0, -1, self._features[worst])
            found.lost[at] = np.where(worst < 0, 0, np.take_along_axis(lost, np.maximum(worst, 0), axis=1))
        return found


class ScoringPartner:
    """One passive party in one run, for all sessions of its active party."""

    def __init__(self, who: Speaker, terms: Terms, log: Log, budget: Budget) -> None:
        """`log`: its ledger of the run. Raises UsageError where share, table and ledger do not belong together."""
        self.who, self.budget = who, budget
        self._terms, self._agreement = terms, terms.agreement
        share = read_result(who.seat / "share.json")
        self.half = _half(share, terms, who.name)
        self.frozen = _frozen(who, log, share)
        holding = read_own_holding(who.seat, self._agreement)
        self._values, self._customers = holding.values, list(holding.tokens)
        self._lock = threading.Lock()
        self._heads = open_store(who.folder / HEADS, f"{who.name}/heads")
        self._witness = Witness(who.identity, self._heads, who.clock)

    @property
    def active(self) -> str:
        """Who may ask."""
        return self._agreement.active.name

    @property
    def agreement(self) -> Agreement:
        return self._agreement

    def lookup(self, key: bytes) -> Lookup:
        """Where the customers are, by their tokens under a session's key."""
        with self._lock:
            return Lookup(tokens_of(key, self._customers))

    def tell(self, known: Flags, rows: Int64s) -> Decided | Parted:
        """What this party's half says; `rows` of its table, of the known applicants."""
        return self.half.tell(known, self._values[rows])

    def cosign(self, shown: ShowHead) -> Seen:
        """See that the active party's log of decisions goes on from where it was, and say so.

        Raises ProtocolError; two heads that contradict each other are kept as evidence before.
        """
        key = self.who.keys[self.active].identity
        with self._lock, blaming(self.active):
            origin = open_checkpoint(shown.note, key).head.origin
            if not is_decisions(origin, self.active, self.who.run):
                raise BrokenPromise(f"shows the head of another log, {origin[:80]}", peer=self.active)
            if (size := self._witness.size(origin)) != shown.old:
                return Seen(size)
            try:
                line = self._witness.cosign(shown.note, shown.proof, key)
            except NotConsistent as error:
                self._keep(error)
                raise
            return Seen(self._witness.size(origin), line)

    def _keep(self, error: NotConsistent) -> None:
        folder = self.who.seat / accusing.FOLDER
        folder.mkdir(exist_ok=True)
        file = folder / f"fork-{sum(1 for _ in folder.iterdir()) + 1}.json"
        write_private(file, fork_evidence(error).decode())
        error.remedy = f"both heads are in {file}: python -m ledger verify-evidence {file} --policy FILE"

    def masked_with(self) -> list[str] | None:
        """The partners whose masks cancel ours in this run; None where none were told yet."""
        path = self.who.folder / MASKED
        return [str(name) for name in read_json(path, "a seat")["with"]] if path.exists() else None

    def mask_with(self, names: list[str]) -> None:
        """Hold on to them: from sums with some of the others, and then with other ones, parts could be computed."""
        with self._lock:
            held = self.masked_with()
            if held is None:
                write_whole(self.who.folder / MASKED, {"with": names})
            elif held != names:
                raise AgreementError(f"sums of this run are masked with {', '.join(held)}, not {', '.join(names)}")

    def close(self) -> None:
        """Release what is open; answers that are reserved and were not given are given back."""
        self.budget.close()
        self._heads.close()

    def serve(
        self, peer: str, job: str, frames: Iterator[bytes], in_force: Callable[[], object] = lambda: None
    ) -> Generator[bytes, None, None]:
        """Take part in a session: frames that arrived in, frames to send out. Raises VflError where it must end.

        in_force: raises AgreementError where the session may not go on; asked now and then before an answer.
        """
        if peer != self.active:
            raise AgreementError(f"only {self.active} asks for scores under this agreement")
        require_job(job, self.who.run)
        session = Session(self.who, peer, job, leads=False)
        try:
            answering = _Answering(self, session)
            role = session.desk.run(score_online.passive(session.channel, answering))
            role.send(None)
            yield from _leaving(session)
            looked, now = self.who.clock.monotonic_ns(), self.who.clock.monotonic_ns
            for frame in frames:
                if now() >= looked + _LOOK:
                    in_force()
                    looked = now()
                session.frames.take_in(frame)
                try:
                    role.send(None)
                except StopIteration:
                    yield from _leaving(session)
                    return
                yield from _leaving(session)
        finally:
            session.close()


class _Answering:
    """What is answered in one session (`vfl.protocols.score_online.Answering`)."""

    def __init__(self, partner: ScoringPartner, session: Session) -> None:
        self._partner, self._session = partner, session
        self._lookup: Lookup | None = None
        self._masked, self._blocks, self._token_key = False, 0, b""
        self._masks: Masks | None = None
        self._private = partner.who.rng("masks").bytes(32)

    def open(self, asked: OpenScoring) -> Ready:
        who, partner = self._partner.who, self._partner
        for what, mine, theirs in (
            ("run", who.run, asked.run),
            ("agreement", who.agreement, asked.agreement),
            ("frozen share", partner.frozen, asked.frozen),
        ):
            if mine != theirs:
                raise AgreementError(f"{who.name} has another {what} than {partner.active} asks for")
        if asked.masked:
            if len(partner.agreement.passives) < 2 or isinstance(partner.half, Splits):
                raise AgreementError("sums are masked of scorecards with two partners or more")
            self._masked = True
        elif partner.agreement.privacy.get("masked_scores"):
            raise AgreementError("the agreement has the sums of scores masked: parts are not told")
        elif partner.masked_with() is not None:
            raise AgreementError("scores of this run have masked sums: parts are not told any more")
        self._token_key, self._lookup = asked.token_key, partner.lookup(asked.token_key)
        note = mask_key(who.run, self._private, who.identity.identity) if asked.masked else ""
        return Ready(partner.half.splits, note)

    def mask(self, keys: Mapping[str, str]) -> None:
        who = self._partner.who
        others = {member.name for member in self._partner.agreement.passives} - {who.name}
        if not self._masked or self._masks is not None or not keys or not keys.keys() <= others:
            raise AgreementError("sums are masked once, with the keys of other partners that are asked as well")
        signers = {name: who.keys[name].identity for name in keys}
        masks = Masks(who.run, who.name, self._private, self._token_key, keys, signers)
        self._partner.mask_with(sorted(keys))
        self._masks = masks

    def cosign(self, shown: ShowHead) -> Seen:
        return self._partner.cosign(shown)

    def answer(self, tokens: Sequence[bytes]) -> Told | Spent:
        assert self._lookup is not None
        if self._masked and self._masks is None:
            raise AgreementError("the keys of masks were not told yet")
        budget = self._partner.budget
        if not budget.take(len(tokens), self._reserve):
            return Spent(budget.left() or 0)
        known, rows = self._lookup.find(tokens)
        told = self._partner.tell(known, rows)
        if self._masks is None:
            return told
        assert isinstance(told, Parted)
        units = np.rint(np.ldexp(told.predictor, UNIT_BITS)).astype(np.int64)
        return self._masks.hide(b"".join(tokens), known, units, told.points)

    def _reserve(self, day: str, reserved: int, total: int) -> None:
        """A block of answers goes on record before any of it is given."""
        me, log, budget = self._partner.who.name, self._session.notary.log, self._partner.budget
        slot = slot_name(score_online.PHASE, 0, "budget", me, me, n=self._blocks)
        bounds = {"per_day": budget.per_day, "in_all": budget.in_all}
        params = {
            "day": day,
            "reserved": reserved,
            "total": total,
            **{k: v for k, v in bounds.items() if v is not None},
        }
        log.append(phase=score_online.PHASE, round=0, step="budget", slot=slot, dir="local", params=params)
        log.commit()
        self._blocks += 1


def _leaving(session: Session) -> Iterator[bytes]:
    while session.frames.leaving:
        yield session.frames.leaving.popleft()


def _half(share: bytes, terms: Terms, name: str) -> Half:
    if terms.kind == GBDT:
        require_share(share, terms.agreement, name)
        return Splits(share)
    require_card(share, terms.agreement, name)
    return Lines(share, terms.agreement.member(name).features)


def _frozen(who: Speaker, log: Log, share: bytes) -> str:
    """The digest under which this party froze its share. Raises UsageError if the share is another by now."""
    for entry in log.entries():
        if entry.phase == "freeze" and entry.dir == "send" and entry.payload is not None:
            said = ModelShare(commitment(share, protocol_randomness(who.seed).child("freeze")))
            if digest_of(pack(said, blinds_of(who.seed)(entry.slot))).hex() == entry.payload.digest:
                return entry.payload.digest
            raise UsageError(
                f"{who.seat / 'share.json'} is not the share that was frozen at the end of the run",
                remedy="restore it from a backup, or train again",
            )
    raise UsageError(f"the ledger of {who.name} does not say that its share was frozen")
