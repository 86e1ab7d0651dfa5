"""A purge takes what scoring keeps about applicants; the ledger that commits to it stays, and scoring goes on."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from run_kit import content, tallystick
from run_kit import verify as verify_bundle
from scoring_kit import copied, policy, predictions, run, table, verify

from ledger.checkpoint import open_checkpoint
from ledger.keys import VerifyingKey
from ledger.merkle import leaf_hash, verify_inclusion
from vfl import purging, records
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.files import alone
from vfl.records import forget_records
from vfl.retention import DECISIONS, TO_SCORE, status
from vfl.scoring.answers import Decision, LedgerPart, Proof
from vfl.scoring.policy import RecordRules
from vfl.scoring.serving import simulated
from vfl.seat import RunFile

ROLES = {"bank": True, "telecom": False, "payroll": False}


class Ago(SystemClock):
    """A clock that is some days behind."""

    def __init__(self, days: int) -> None:
        self._behind = timedelta(days)

    def now(self) -> datetime:
        return super().now() - self._behind


def ids(root: Path) -> list[str]:
    return [row["id"] for row in predictions(root)]


def forget(root: Path, before: str | None = None) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    return purging.purge(root, ["bank"], [DECISIONS], "asked to", SystemClock(), before=before).parties


def check(part: LedgerPart) -> None:
    """Every entry of a stretch lies under its signed head."""
    head = open_checkpoint(part.checkpoint, VerifyingKey.parse(part.key)).head
    for seq, (entry, path) in enumerate(zip(part.entries, part.inclusion, strict=True), part.start):
        verify_inclusion(leaf_hash(entry.encode()), seq, head.size, [bytes.fromhex(one) for one in path], head.root)


async def score_some(root: Path, days: int = 0, key: str = "a-key") -> tuple[list[Decision], list[Proof], LedgerPart]:
    """One decision by itself, then three of a batch, with their proofs and the ledger."""
    clock = Ago(days) if days else SystemClock()
    async with table(root, policy(), clock) as here:
        one = await here.score(ids(root)[0], f"{key}-1")
        made = [one, *await here.batch(ids(root)[:3], f"{key}-2")]
        found = [await here.service.find(each.decision_id) for each in made]
        return made, [proof for _, proof in found], await here.service.ledger(None, 0, 1000)


@dataclass(frozen=True)
class Scored:
    """A run with four decisions, made with the keys a-key-1 and a-key-2."""

    root: Path
    made: list[Decision]
    proofs: list[Proof]
    ledger: LedgerPart


@pytest.fixture(scope="module")
def scored_made(card_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    root = copied(card_made, tmp_path_factory.mktemp("scored"))
    return Scored(root, *run(score_some(root)))


@pytest.fixture
def scored(scored_made: Scored, tmp_path: Path) -> Scored:
    return replace(scored_made, root=copied(scored_made.root, tmp_path))


async def again(root: Path) -> tuple[list[bool], Decision, Decision, LedgerPart]:
    """Whether each earlier decision is found, what two old keys give now, and the ledger."""
    async with table(root) as here:
        there = [await here.service.find(name) is not None for name in ("000001-2", "000001-3-0", "000001-3-2")]
        first, second = await here.score(ids(root)[0], "a-key-1"), await here.score(ids(root)[0], "a-key-1")
        newest = await here.service.recent(10)
        assert len(newest) == (4 if all(there) else 1)
        found = await here.service.find(first.decision_id)
        assert found is not None
        verify(found[1])
        assert first == second
        return there, first, second, await here.service.ledger(None, 0, 1000)


def bodies(scoring: Path) -> list[bytes]:
    """The records as the only volume keeps them."""
    with closing(sqlite3.connect(scoring / "volumes" / "000001.sqlite")) as db:
        return [body for (body,) in db.execute("SELECT body FROM record")]


def test_records_go_the_ledger_stays_and_scoring_goes_on(scored: Scored) -> None:
    card, made, proofs, before = scored.root, scored.made, scored.proofs, scored.ledger
    assert [one.decision_id for one in made] == ["000001-2", "000001-3-0", "000001-3-1", "000001-3-2"]
    scoring = card / "bank" / "scoring"
    secrets = [ids(card)[0].encode(), b"a-key-1", b"a-key-2", *(bytes.fromhex(proof.salt) for proof in proofs)]
    secrets += bodies(scoring)  # of the batch packed: three identifiers are in it
    held = b"".join(content(scoring).values())
    assert all(secret in held for secret in secrets)
    assert status(card, ROLES)["bank"]["kept"][DECISIONS]["records"] == 4
    with alone(scoring / "serve.lock", "x"), pytest.raises(UsageError, match="a service scores with"):
        forget(card)
    counts = forget(card)["bank"][DECISIONS]
    assert (counts["files"], counts["records"]) == (2, 4)
    for name, data in content(scoring).items():
        assert not any(secret in data for secret in secrets), name
    assert verify_bundle(card).returncode == 0
    assert DECISIONS not in status(card, ROLES)["bank"]["kept"]
    with pytest.raises(UsageError, match="is left to purge"):
        forget(card)
    there, first, _, after = run(again(card))
    assert not any(there)
    assert first.decision_id.startswith("000001-"), "the volume goes on"
    assert first.decision_id not in {one.decision_id for one in made}
    assert after.entries[: len(before.entries)] == before.entries
    check(after)
    for proof in proofs:  # who kept one can still show it
        verify(proof)


def test_no_seed_gives_the_salts_again(scored: Scored) -> None:
    """Else whoever has it could try what a purged record said."""
    shutil.rmtree(scored.root / "bank" / "scoring")
    _, proofs, _ = run(score_some(scored.root))  # the same volume, entries and seed once more
    assert [proof.index for proof in proofs] == [proof.index for proof in scored.proofs]
    assert not {proof.salt for proof in proofs} & {proof.salt for proof in scored.proofs}


_SLOW = [pytest.param(where, marks=pytest.mark.slow) for where in ("_record", "forget_records", "_shred")]


@pytest.mark.parametrize("where", ["half of it", *_SLOW])
def test_an_interrupted_purge_goes_on(scored: Scored, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    card = scored.root
    who = ids(card)[0].encode()

    def fails(*words: Any) -> None:
        if where == "half of it":  # rows are gone, and pages still hold them
            with sqlite3.connect(words[0]) as db:
                for one in records.TABLES:
                    db.execute(f"DROP TRIGGER {one}_DELETE")
                    db.execute(f"DELETE FROM {one}")
                    db.execute(records.append_only(one, "DELETE"))
            assert who in words[0].read_bytes()
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(purging, "forget_records" if where == "half of it" else where, fails)
        with pytest.raises(RuntimeError):
            forget(card)
    with pytest.raises(UsageError, match="began and is not finished"):
        run(score_some(card))
    lock = card / "bank" / "scoring" / "serve.lock"
    with alone(lock, "x"), pytest.raises(UsageError, match="a service scores with"):
        purging.purge(card, ["telecom"], ["transcripts"], "another", SystemClock())
    assert forget(card)["bank"][DECISIONS]["records"] == 4
    assert who not in b"".join(content(card / "bank" / "scoring").values())
    assert not any(run(again(card))[0])


def test_only_old_decisions_go(card: Path, capfd: Any) -> None:
    def purge(*words: object) -> Any:
        return tallystick(capfd, "purge", card, *words)

    old, _, _ = run(score_some(card, days=20, key="old"))
    new, _, _ = run(score_some(card))
    assert {one.decision_id[:6] for one in old + new} == {"000001"}, "in one volume"
    for words in ([], ["--what", "rows,decisions"]):
        assert "--older-than is about decisions" in purge("--older-than", 10, "--yes", *words).err
    some = ("--what", "decisions", "--older-than", 10)
    told = purge("--dry-run", *some)
    assert "(4 records, " in told.out
    assert "from before" in purge(*some).err
    assert "bank: removed decisions (4 records)" in purge(*some, "--yes").out
    entry = json.loads((card / "bank" / "purge.json").read_text())["purges"][-1]
    assert entry["volumes"] == {"000001": int(new[0].decision_id[7:]) - 1}  # an entry says that a service began
    held = b"".join(content(card / "bank" / "scoring").values())
    assert b"old-1" not in held
    assert b"a-key-1" in held

    async def work() -> None:
        async with table(card) as here:
            assert [await here.service.find(one.decision_id) for one in old] == [None] * 4
            for one in new:
                found = await here.service.find(one.decision_id)
                assert found is not None
                verify(found[1])
            assert await here.score(ids(card)[0], "a-key-1") == new[0]
            assert (await here.score(ids(card)[0], "old-1")).decision_id != old[0].decision_id
            assert len(await here.service.recent(100)) == 5

    run(work())
    assert (card / "bank" / "scoring" / "keys.sqlite").exists()
    assert "is left to purge" in purge(*some, "--yes").err
    assert json.loads(purge("--status", "--json").out)["bank"]["kept"]["decisions"]["records"] == 5


def test_what_goes_stops_scoring_or_does_not(scored: Scored) -> None:
    card = scored.root
    forget(card)
    RunFile.read(card)  # reports, explanations and all other commands go on
    purging.purge(card, [*ROLES], ["transcripts"], "asked to", SystemClock())
    run(score_some(card, key="b"))
    assert (card / "bank" / "scoring" / "standin.json").exists()
    purging.purge(card, [*ROLES], ["shares"], "asked to", SystemClock())
    assert not (card / "bank" / "scoring" / "standin.json").exists()

    async def serve() -> None:
        async with simulated(card, policy()):
            raise AssertionError

    with pytest.raises(UsageError, match="no longer has its shares"):
        run(serve())
    with pytest.raises(UsageError, match="no longer has its shares"):
        RunFile.read(card, needs=TO_SCORE)


def test_records_that_vanish_without_a_purge_are_damage(scored: Scored) -> None:
    card = scored.root
    forget_records(card / "bank" / "scoring" / "volumes" / "000001.sqlite", 3)

    async def work() -> None:
        async with table(card) as here:
            assert await here.service.find("000001-3-0")
            with pytest.raises(UsageError, match="does not commit to the records"):
                await here.service.find("000001-2")

    run(work())


def test_a_volume_that_is_none_is_named(scored: Scored) -> None:
    card = scored.root
    (card / "bank" / "scoring" / "volumes" / "000002.sqlite").write_bytes(b"no database at all")
    with pytest.raises(UsageError, match=r"000002\.sqlite cannot be read as a volume"):
        forget(card)


def test_what_is_on_record_about_one(scored: Scored, card: Path, capfd: Any) -> None:
    def listed(identifier: str, *words: str) -> Any:
        return tallystick(capfd, "decisions", card, "--id", identifier, *words)

    assert "nothing is on record" in listed(ids(card)[0]).out
    card, made, proofs = scored.root, scored.made, scored.proofs
    who, other = ids(card)[:2]
    for written in (who, f"+34 {who[-9:]}"):
        body = json.loads(listed(written, "--json").out)
        assert [one["decision_id"] for one in body["decisions"]] == ["000001-2", "000001-3-0"]
        assert body["purged"] == []
        for one, decision, proof in zip(body["decisions"], made, proofs, strict=False):
            shown = msgspec.convert(one["proof"], Proof)
            assert verify(shown)
            assert (shown.record, shown.salt, shown.key) == (proof.record, proof.salt, proof.key)
            assert one["record"] == json.loads(proof.record)
            assert one["receipt"] == msgspec.to_builtins(decision.receipt)
        assert other not in json.dumps(body)
    told = listed(who).out
    assert f"000001-2  {made[0].decision}  {made[0].points} points" in told
    assert made[0].receipt.leaf in told
    assert "no meaning under the rule phone-es@1" in listed("nobody").err
    forget(card)
    told = listed(who).out
    assert "nothing is on record" in told
    assert "were purged on" in told


def test_refusals_and_what_no_head_covers_yet(scored: Scored, capfd: Any) -> None:
    """Beside a service that goes on, and has signed no head yet since it began."""
    card = scored.root

    async def work() -> None:
        async with table(card, policy(RecordRules(checkpoint_seconds=3600), absent="refuse")) as here:
            here.stages["telecom"].drop()
            here.stages["telecom"].away = True
            (refused,) = await here.batch(ids(card)[:1])
            assert refused.code == "partner-away"
            ended = tallystick(capfd, "decisions", card, "--id", ids(card)[0], "--json")
            *covered, one = json.loads(ended.out)["decisions"]
            assert all(each["proof"] for each in covered)
            assert (one["decision_id"], one["record"]["refused"]["code"]) == (None, "partner-away")
            assert one["proof"] is None
            assert "refused: partner-away" in tallystick(capfd, "decisions", card, "--id", ids(card)[0]).out

    run(work())
