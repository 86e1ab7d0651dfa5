"""A passive party answers its bank about its run, and nothing else; what it cosigned it holds the bank to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pytest
from run_kit import Runs
from scoring_kit import CARD, Stage, ThreadWire, copied, predictions, run, sessions, stages_of, table

from ledger.log import Log
from ledger.store import MemoryStore
from vfl.channel import Channel
from vfl.clock import SystemClock
from vfl.desk import Envelope, Frame
from vfl.errors import AgreementError, BrokenPromise, ProtocolError, UsageError
from vfl.ids import normalise
from vfl.notary import CERTIFIED_FOR, SET_BACK
from vfl.protocols import score_online
from vfl.protocols.score_online import Masked, OpenScoring, Parted, ShowHead, tokens_of
from vfl.scoring.answers import Decision
from vfl.scoring.link import _Talk
from vfl.scoring.masks import mask_key
from vfl.scoring.opening import speaker_of
from vfl.scoring.partner import ScoringPartner
from vfl.scoring.session import Session, Speaker, decisions_job, is_decisions, job_of, require_job
from vfl.seat import RunFile, identity_of, read_seed

KEY = b"k" * 32
Role = Callable[[Channel], Coroutine[int, None, Any]]


def bank(root: Path) -> Speaker:
    file, seed = RunFile.read(root), read_seed(root / "bank")
    return speaker_of(root, "bank", seed, identity_of("bank", seed), file, SystemClock())


def opening(root: Path, name: str, **change: Any) -> OpenScoring:
    """What the bank's service says to a partner."""
    who, frozen = bank(root), stages_of(root, SystemClock())[name].partner.frozen
    return msgspec.structs.replace(OpenScoring(who.run, who.agreement, frozen, KEY), **change)


def job(who: Speaker, nonce: str = "00000000") -> str:
    return job_of(who.run, "20260131T120000", nonce)


def talk(root: Path, partner: ScoringPartner, *roles: Role, nonce: str = "00000000") -> list[Any]:
    """A session of the bank with a partner."""
    who = bank(root)

    async def work() -> list[Any]:
        wire = ThreadWire(Stage(partner), "bank", job(who, nonce))
        session = Session(who, partner.who.name, job(who, nonce), leads=True)
        try:
            driven = _Talk(session, wire)
            return [await driven.drive(role(driven.channel)) for role in roles]
        finally:
            await wire.close()
            wire.thread.join(5)
            session.close()

    return run(work())


def say_open(asked: OpenScoring) -> Role:
    return lambda channel: score_online.active(channel, asked)


def ask(tokens: list[bytes], splits: int | None = None, *, masked: bool = False) -> Role:
    return lambda channel: score_online.ask(channel, tokens, splits, 3, masked=masked)


def say_goodbye() -> Role:
    return score_online.goodbye


@pytest.fixture
def telecom(card: Path) -> Iterator[ScoringPartner]:
    found = stages_of(card, SystemClock())
    yield found["telecom"].partner
    for stage in found.values():
        stage.partner.close()


# -- who may ask what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("run", "another", "another run"),
        ("agreement", "0" * 64, "another agreement"),
        ("frozen", "0" * 64, "another frozen share"),
    ],
)
def test_another_model_is_not_scored_with(
    card: Path, telecom: ScoringPartner, field: str, value: str, what: str
) -> None:
    with pytest.raises(AgreementError, match=f"telecom has {what} than bank asks for"):
        talk(card, telecom, say_open(opening(card, "telecom", **{field: value})))


def test_nobody_else_asks(card: Path, telecom: ScoringPartner) -> None:
    with pytest.raises(AgreementError, match="only bank asks for scores"):
        next(telecom.serve("payroll", job(telecom.who), iter(())))


def test_a_session_is_of_this_run_and_new(card: Path, telecom: ScoringPartner) -> None:
    asked = say_open(opening(card, "telecom"))
    talk(card, telecom, asked, say_goodbye())
    with pytest.raises(AgreementError, match=r"was a session .* already"):
        next(telecom.serve("bank", job(telecom.who), iter(())))
    for name in ("scores-000000000000-x-y", "other", "../../etc/passwd", "", f"{job(telecom.who)[:-30]}"):
        with pytest.raises(AgreementError):
            next(telecom.serve("bank", name, iter(())))
    require_job(job(telecom.who, "11111111"), telecom.who.run)
    assert len(list(sessions(card, "telecom"))) == 1


def test_a_share_that_is_another_by_now_is_refused(card: Path) -> None:
    share = card / "telecom" / "share.json"
    body = json.loads(share.read_text())
    share.write_text(json.dumps(body, indent=1))
    with pytest.raises(UsageError, match="is not the share that was frozen"):
        stages_of(card, SystemClock())


def test_an_agreement_that_ends_ends_the_session(card: Path, telecom: ScoringPartner) -> None:
    """Looked at while the session goes on, before the next answer."""
    asked, asks = opening(card, "telecom"), 0

    class Later(SystemClock):
        def monotonic_ns(self) -> int:
            nonlocal asks
            asks += 1
            return asks * 10**10

    def over() -> None:
        raise AgreementError("the agreement is over")

    telecom.who = replace(telecom.who, clock=Later())
    serve = telecom.serve
    telecom.serve = lambda peer, job, frames: serve(peer, job, frames, over)  # type: ignore[method-assign,assignment]
    with pytest.raises(AgreementError, match="the agreement is over"):
        talk(card, telecom, say_open(asked))


# -- what it answers --------------------------------------------------------------------------------------------------


def known_tokens(root: Path, count: int = 6) -> list[bytes]:
    rule = str(RunFile.read(root).agreement.psi["id_rule"])
    found = normalise([row["id"] for row in predictions(root)[:count]], rule).tokens
    return tokens_of(KEY, [token for token in found if token is not None])


def test_it_knows_its_customers_by_token_and_nobody_else(card: Path, telecom: ScoringPartner) -> None:
    tokens = known_tokens(card)
    (_, told, other) = talk(
        card, telecom, say_open(opening(card, "telecom")), ask([*tokens, bytes(16)]), ask(tokens_of(b"x" * 32, ["1"]))
    )
    assert isinstance(told, Parted)
    assert told.known.tolist() == [True] * len(tokens) + [False]
    assert not other.known.any()


def test_the_order_of_its_table_does_not_matter(card: Path, card_made: Path, tmp_path: Path) -> None:
    tokens = known_tokens(card, 40)
    (_, first) = talk(
        card, stages_of(card, SystemClock())["telecom"].partner, say_open(opening(card, "telecom")), ask(tokens)
    )
    other = copied(card_made, tmp_path / "other")
    turned = tmp_path / "telecom.csv"
    place = other / "telecom" / "party.json"
    body = json.loads(place.read_text())
    duckdb.sql(f"COPY (SELECT * FROM '{body['table']}' ORDER BY hash(phone)) TO '{turned}' (HEADER)")
    place.write_text(json.dumps({**body, "table": str(turned)}))
    (_, second) = talk(
        other, stages_of(other, SystemClock())["telecom"].partner, say_open(opening(other, "telecom")), ask(tokens)
    )
    for name, value in vars(first).items():
        np.testing.assert_array_equal(getattr(second, name), value)


def test_a_session_played_again_gives_the_same_bytes(trees: Path, trees_made: Path, tmp_path: Path) -> None:
    """As an auditor does with the seed and the table of a partner."""
    who = bank(trees)
    partner = stages_of(trees, SystemClock())["telecom"].partner
    asked = opening(trees, "telecom")
    said: list[bytes] = []
    heard: list[bytes] = []

    class Taped(ThreadWire):
        async def write(self, frame: bytes) -> None:
            said.append(frame)
            await super().write(frame)

        async def read(self) -> bytes | None:
            frame = await super().read()
            heard.append(frame or b"")
            return frame

    async def work() -> None:
        wire = Taped(Stage(partner), "bank", job(who))
        session = Session(who, "telecom", job(who), leads=True)
        driven = _Talk(session, wire)
        for role in (say_open(asked), *(ask(known_tokens(trees, n), partner.half.splits) for n in (1, 5, 40))):
            await driven.drive(role(driven.channel))
        await wire.close()
        wire.thread.join(5)
        session.close()

    run(work())
    again = copied(trees_made, tmp_path / "again")
    twin = stages_of(again, SystemClock())["telecom"].partner
    answered = list(twin.serve("bank", job(who), iter(said)))
    assert messages(answered) == messages(heard)
    assert len(messages(heard)) == 4
    spoilt = stages_of(copied(trees_made, tmp_path / "spoilt"), SystemClock())["telecom"].partner
    spoilt._values[:] = -spoilt._values
    assert messages(spoilt.serve("bank", job(who), iter(said))) != messages(heard)


def messages(frames: Any) -> list[Envelope]:
    decoded = [msgspec.msgpack.decode(frame, type=Frame) for frame in frames]
    return [one for one in decoded if isinstance(one, Envelope)]


# -- masks ------------------------------------------------------------------------------------------------------------


def masks_of(root: Path, name: str) -> str:
    """The key of masks of a partner, as it says it."""
    who = stages_of(root, SystemClock())[name].partner.who
    return mask_key(who.run, who.rng("masks").bytes(32), who.identity.identity)


def tell(keys: dict[str, str]) -> Role:
    return lambda channel: score_online.tell_masks(channel, keys)


def test_masked_sums_need_keys_of_others_told_once(card: Path, telecom: ScoringPartner) -> None:
    asked, keys = say_open(opening(card, "telecom", masked=True)), {"payroll": masks_of(card, "payroll")}
    with pytest.raises(AgreementError, match="keys of masks were not told yet"):
        talk(card, telecom, asked, ask(known_tokens(card), masked=True), nonce="1")
    for number, wrong in enumerate([{}, {"bank": "x"}, {"telecom": masks_of(card, "telecom")}, keys | {"bank": ""}]):
        with pytest.raises(AgreementError, match="with the keys of other partners"):
            talk(card, telecom, asked, tell(wrong), ask(known_tokens(card), masked=True), nonce=f"2{number}")
    with pytest.raises(AgreementError, match="masked once"):
        talk(card, telecom, asked, tell(keys), tell(keys), ask(known_tokens(card), masked=True), nonce="3")
    with pytest.raises(ProtocolError, match="not signed by it"):
        talk(card, telecom, asked, tell({"payroll": "x"}), ask(known_tokens(card), masked=True), nonce="4")
    (_, _, told) = talk(card, telecom, asked, tell(keys), ask(known_tokens(card), masked=True), nonce="5")
    assert isinstance(told, Masked)


def test_who_masked_sums_once_tells_parts_no_more(card: Path, telecom: ScoringPartner) -> None:
    """Else the bank would only have to ask again."""
    keys = {"payroll": masks_of(card, "payroll")}
    talk(card, telecom, say_open(opening(card, "telecom")), ask(known_tokens(card)), nonce="1")
    talk(card, telecom, say_open(opening(card, "telecom", masked=True)), tell(keys), say_goodbye(), nonce="2")
    with pytest.raises(AgreementError, match="parts are not told any more"):
        talk(card, telecom, say_open(opening(card, "telecom")), nonce="3")


def test_masks_are_always_with_the_same_partners(card: Path, telecom: ScoringPartner) -> None:
    """From the sums of a with b, a with c and b with c each part could be computed."""
    telecom.mask_with(["payroll"])
    telecom.mask_with(["payroll"])
    with pytest.raises(AgreementError, match="masked with payroll, not bureau, payroll"):
        telecom.mask_with(["bureau", "payroll"])
    assert stages_of(card, SystemClock())["telecom"].partner.masked_with() == ["payroll"]


def test_trees_are_not_masked(trees: Path) -> None:
    partner = stages_of(trees, SystemClock())["telecom"].partner
    with pytest.raises(AgreementError, match="sums are masked of scorecards with two partners or more"):
        talk(trees, partner, say_open(opening(trees, "telecom", masked=True)))


# -- heads of the log of decisions ------------------------------------------------------------------------------------


class Decisions:
    """A log of decisions of the bank, which may be forked."""

    def __init__(self, root: Path, number: str = "000001", marks: str = "") -> None:
        who = bank(root)
        name, clock, now = decisions_job(who.run, number), SystemClock(), SystemClock().now()
        certificate = who.identity.certify(name, now - SET_BACK, now + CERTIFIED_FOR)
        self.log = Log(
            MemoryStore(), who.identity, "bank", name, clock, entry_key=who.identity.entry_key(name),
            certificate=certificate, agreement=who.agreement, sign_messages=False,
        )  # fmt: skip
        self.grow(3, marks)

    def grow(self, count: int, marks: str = "") -> None:
        for _ in range(count):
            slot = f"serve/0/decision/bank>bank/{len(self.log)}"
            params = {"mark": marks}
            self.log.append(phase="serve", round=0, step="decision", slot=slot, dir="local", params=params)

    def head(self, old: int) -> ShowHead:
        note = self.log.checkpoint()
        return ShowHead(note, old, self.log.consistency_proof(old))


def test_heads_that_go_on_are_cosigned(card: Path, telecom: ScoringPartner) -> None:
    decisions = Decisions(card)
    seen = telecom.cosign(decisions.head(0))
    assert (seen.size, bool(seen.line)) == (4, True)
    decisions.log.add_cosignatures(4, [seen.line], [telecom.who.identity.witness.verifying])
    decisions.grow(2)
    assert telecom.cosign(decisions.head(4)).size == 6
    assert telecom.cosign(decisions.head(6)).line, "the same again"


def test_from_where_it_does_not_stand_it_says_where_it_stands(card: Path, telecom: ScoringPartner) -> None:
    decisions = Decisions(card)
    telecom.cosign(decisions.head(0))
    decisions.grow(2)
    for wrong in (0, 3):
        seen = telecom.cosign(decisions.head(wrong))
        assert (seen.size, seen.line) == (4, "")
    assert telecom.cosign(decisions.head(4)).line
    telecom.close()
    again = stages_of(card, SystemClock())["telecom"].partner
    assert again.cosign(decisions.head(0)).size == 6, "it remembers over a restart"


def evidence(root: Path) -> list[Path]:
    return sorted((root / "telecom" / "evidence").glob("fork-*.json"))


def test_a_fork_is_refused_and_both_heads_are_kept_as_evidence(card: Path, telecom: ScoringPartner) -> None:
    honest, forked = Decisions(card), Decisions(card, marks="another")
    telecom.cosign(honest.head(0))
    with pytest.raises(BrokenPromise, match="two roots were signed for size 4") as caught:
        telecom.cosign(forked.head(4))
    assert caught.value.peer == "bank"
    (file,) = evidence(card)
    words = [sys.executable, "-m", "ledger", "verify-evidence", str(file), "--policy", str(card / "policy.txt")]
    said = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 4, said.stdout + said.stderr
    assert "bank" in said.stdout
    forked.grow(3)
    with pytest.raises(BrokenPromise, match="does not continue the cosigned head of 4"):
        telecom.cosign(forked.head(4))
    assert len(evidence(card)) == 2
    honest.grow(1)
    assert telecom.cosign(honest.head(4)).line, "the honest log goes on"


def test_a_log_that_lost_entries_is_not_cosigned(card: Path, telecom: ScoringPartner) -> None:
    """As after a restore from an old backup: it says that it stands further on."""
    short = Decisions(card)
    first = short.head(0)
    short.grow(4)
    telecom.cosign(short.head(0))
    assert telecom.cosign(first) == telecom.cosign(first)
    assert (telecom.cosign(first).size, telecom.cosign(first).line) == (8, "")
    with pytest.raises(ProtocolError, match="older"):
        telecom.cosign(msgspec.structs.replace(first, old=8, proof=[]))


@pytest.mark.parametrize("number", ["1", "0000001", "00000a", "\u0661\u0661\u0661\u0661\u0661\u0661", ""])
def test_heads_of_other_logs_are_not_cosigned(card: Path, telecom: ScoringPartner, number: str) -> None:
    assert not is_decisions(f"bank/{decisions_job(telecom.who.run, number)}", "bank", telecom.who.run)
    if number == "1":
        with pytest.raises(BrokenPromise, match="shows the head of another log"):
            telecom.cosign(Decisions(card, number).head(0))


def test_a_head_that_somebody_else_signed_is_not_cosigned(card: Path, telecom: ScoringPartner) -> None:
    shown = Decisions(card).head(0)
    with pytest.raises(ProtocolError):
        telecom.cosign(msgspec.structs.replace(shown, note=shown.note.replace("\n4\n", "\n5\n")))
    with pytest.raises(ProtocolError):
        telecom.cosign(msgspec.structs.replace(shown, proof=[bytes(32)]))


def test_two_volumes_are_two_logs(card: Path, telecom: ScoringPartner) -> None:
    assert telecom.cosign(Decisions(card).head(0)).line
    assert telecom.cosign(Decisions(card, "000002").head(0)).line


def test_what_the_agreement_has_masked_is_told_in_no_other_way(finished: Runs, tmp_path: Path) -> None:
    """Whatever the bank's policy says: the service masks by itself, and a partner refuses to be asked for its part."""
    root = copied(finished(CARD.replace("[privacy]", "[privacy]\nmasked_scores = true")).out, tmp_path / "card")
    partner = stages_of(root, SystemClock())["telecom"].partner
    with pytest.raises(AgreementError, match="has the sums of scores masked"):
        talk(root, partner, say_open(opening(root, "telecom")), nonce="1")
    partner.close()

    async def work() -> list[Decision]:
        async with table(root) as here:
            return list(await here.batch([row["id"] for row in predictions(root)]))

    decided = run(work())
    assert [repr(one.pd) for one in decided] == [row["pd"] for row in predictions(root)]
    assert {reason.party for one in decided for reason in one.reasons} == {"bank"}
