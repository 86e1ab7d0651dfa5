"""A ledger that was set back signs nothing: not after a restored backup, and not after a careless copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from company_kit import HOSTS, PASSPHRASE, Companies, companies

from ledger.store import SQLiteStore
from vfl.channel import lockstep
from vfl.clock import SystemClock
from vfl.desk import memory_links
from vfl.errors import AgreementError, BrokenPromise
from vfl.party import dialling
from vfl.party import driving as driving_module
from vfl.party.backup import back_up
from vfl.party.beginning import begin
from vfl.party.config import read_party_file
from vfl.party.driving import Driving
from vfl.party.opening import standing_of
from vfl.party.restore import restore
from vfl.party.runs import DONE, FAILED, RUNNING, RunFolder
from vfl.party.service import Service
from vfl.party.setback import held_of
from vfl.party.standing import Offer, Standing
from vfl.seat import Seat

RUN, NOW = "first", datetime(2026, 1, 31, tzinfo=UTC)
WHEN = NOW.isoformat()


class Stopped(Exception):
    """Everybody's machine went away."""


@dataclass(frozen=True)
class World:
    """Companies whose run is done, and what the telecom and the bank were in the middle of it."""

    made: Companies
    backup: Path
    copies: Path

    def standing(self, name: str) -> Standing:
        file = read_party_file(self.made.party(name))
        return standing_of(file, self.made.keys[name], SystemClock())

    def folder(self, name: str) -> RunFolder:
        return RunFolder(self.standing(name).runs, RUN)

    def service(self, name: str) -> Service:
        return Service(self.standing(name), SystemClock(), lambda event, **words: None)

    def offer(self, run: str = RUN, held: bytes | None = None) -> bytes:
        """What the bank offers: by default with the telecom's head that it holds."""
        held = held_of("telecom", self.folder("bank"), "bank") if held is None else held
        return Offer(run, self.made.signed.read_bytes(), held).encode()

    def put_back(self, name: str) -> None:
        """Somebody copies the old folder over the new one."""
        runs = self.standing(name).runs
        shutil.rmtree(runs)
        shutil.copytree(self.copies / name, runs)


def play(made: Companies, until: str) -> None:
    """All parties' roles from where they stand, in this process, until the bank enters that phase."""
    seats: dict[str, Seat] = {}
    links: dict[str, dict[str, Any]] = {name: {} for name in HOSTS}
    for peer in ("telecom", "payroll"):
        links["bank"][peer], links[peer]["bank"] = memory_links()

    def entered(phase: str, round: int) -> None:
        if phase == until:
            raise Stopped

    for name in HOSTS:
        folder = RunFolder(made.party(name) / "state" / "runs", RUN)
        seats[name] = Seat(folder.path, name, SystemClock(), identity=made.keys[name].identity)
    seats["bank"].desk.on_enter = entered
    try:
        lockstep({name: seat.role(links[name]) for name, seat in seats.items()})
    finally:
        for seat in seats.values():
            seat.close()


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("setback")
    made = companies(folder / "made")
    world = World(made, folder / "telecom.backup", folder / "copies")
    for name in HOSTS:
        who = world.standing(name)
        begin(who, RUN, who.admit(made.signed.read_bytes()), "2026-01-31T00:00:00+00:00").move(
            RUNNING, "2026-01-31T00:00:00+00:00"
        )
    with pytest.raises(Stopped):
        play(made, "score")
    back_up(read_party_file(made.party("telecom")), made.keys["telecom"], world.backup, NOW)
    for name in HOSTS:
        shutil.copytree(world.standing(name).runs, world.copies / name)
    play(made, "")
    return world


@pytest.fixture
def world(once: World, tmp_path: Path) -> World:
    """A world of its own for each test."""
    shutil.copytree(once.made.folder, tmp_path / "made")
    return replace(once, made=replace(once.made, folder=tmp_path / "made"))


def entries(world: World, name: str) -> int:
    store = SQLiteStore(world.folder(name).path / name / "ledger.sqlite")
    try:
        return len(list(store.rows()))
    finally:
        store.close()


def heads(world: World, name: str) -> list[str]:
    store = SQLiteStore(world.folder(name).path / name / "ledger.sqlite")
    try:
        return [head.note for head in store.checkpoints()]
    finally:
        store.close()


def test_a_run_as_it_is_goes_on(world: World) -> None:
    held = world.service("telecom").offer("bank", world.offer())
    assert held == held_of("bank", world.folder("telecom"), "telecom")
    assert held.startswith(b"bank/first\n")
    assert not world.folder("telecom").why_set_back


def test_nobody_holds_a_head_of_a_new_run(world: World) -> None:
    assert world.service("telecom").offer("bank", world.offer("second", b"")) == b""
    assert world.service("telecom").offer("bank", world.offer("second", b"")) == b"", "its ledger is still to begin"


def test_a_careless_copy_signs_nothing(world: World) -> None:
    newest, before = entries(world, "telecom"), None
    world.put_back("telecom")
    assert entries(world, "telecom") < newest
    before = heads(world, "telecom")
    with pytest.raises(AgreementError, match=rf"which has {entries(world, 'telecom')}: it was set back") as caught:
        world.service("telecom").offer("bank", world.offer())
    assert "newest copy" in caught.value.remedy
    assert world.folder("telecom").status().state == FAILED
    for again in (world.offer(), world.offer(held=b"")):  # also if the peer does not say again what it holds
        with pytest.raises(AgreementError, match="it was set back"):
            world.service("telecom").offer("bank", again)
    with pytest.raises(AgreementError, match="it was set back"):
        world.service("telecom").attend("bank", RUN, 9)
    assert heads(world, "telecom") == before


def test_the_newest_copy_goes_on_after_all(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.standing("telecom").runs, tmp_path / "newest")
    world.put_back("telecom")
    with pytest.raises(AgreementError, match="it was set back"):
        world.service("telecom").offer("bank", world.offer())
    shutil.rmtree(world.standing("telecom").runs)
    shutil.copytree(tmp_path / "newest", world.standing("telecom").runs)
    world.service("telecom").offer("bank", world.offer())


def test_without_the_check_it_would_break_its_word(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule is for: the peer is right to end the run, and it holds two signatures that do not fit."""
    world.put_back("telecom")
    with pytest.raises(BrokenPromise, match="was cosigned already"):
        play(world.made, "")


def test_another_history_of_the_same_length_is_seen(world: World) -> None:
    seat = world.folder("telecom").path / "telecom"
    store = SQLiteStore(seat / "ledger.sqlite")
    rows = list(store.rows())
    store.close()
    (seat / "ledger.sqlite").unlink()
    forged = SQLiteStore(seat / "ledger.sqlite")
    forged.write([*rows[:-1], rows[-1]._replace(leaf=bytes(32))])
    forged.close()
    with pytest.raises(AgreementError, match="which has others: it was set back"):
        world.service("telecom").offer("bank", world.offer())


def test_a_run_that_was_forgotten_does_not_begin_again(world: World) -> None:
    shutil.rmtree(world.standing("telecom").runs)
    for _ in range(2):
        with pytest.raises(AgreementError, match="knows nothing of: its folder was set back"):
            world.service("telecom").offer("bank", world.offer())
    assert not world.folder("telecom").exists


@pytest.mark.parametrize("wrong", ["no note", "of a peer", "of another run", "signed by a peer", "not text"])
def test_a_peer_cannot_make_up_a_head(world: World, wrong: str) -> None:
    """Else a hostile bank could have a run of its partner marked for good."""
    held = held_of("telecom", world.folder("bank"), "bank")
    shown = {
        "no note": b"telecom/first\n99999\n",
        "of a peer": held_of("bank", world.folder("telecom"), "telecom"),
        "of another run": held,
        "signed by a peer": held.replace(b"telecom/first\n", b"telecom/first \n"),
        "not text": b"\xff" * 40,
    }[wrong]
    run = "other" if wrong == "of another run" else RUN
    with pytest.raises(AgreementError, match=r"did not sign|shows a head of telecom/first for one of telecom/other"):
        world.service("telecom").offer("bank", world.offer(run, shown))
    assert not world.folder("telecom").why_set_back


class There:
    """A peer that answers an offer with what it holds."""

    def __init__(self, held: bytes) -> None:
        self.held, self.told = held, ""

    def offer(self, offer: bytes) -> bytes:
        return self.held

    def withdraw(self, run: str, why: str) -> None:
        self.told = why


def test_an_active_party_that_was_set_back_stops_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {name: There(held_of("bank", world.folder(name), name)) for name in ("telecom", "payroll")}

    @contextmanager
    def dial(who: Standing, peer: str) -> Iterator[There]:
        yield there[peer]

    monkeypatch.setattr(driving_module, "dial", dial)
    monkeypatch.setattr(dialling, "dial", dial)
    world.put_back("bank")
    who, before = world.standing("bank"), heads(world, "bank")
    driving = Driving(who, RUN, who.admit(world.made.signed.read_bytes()), SystemClock(), patience=0)
    with pytest.raises(AgreementError, match=r"telecom holds a head of \d+ entries of the ledger of bank"):
        driving.run(lambda line: None)
    with pytest.raises(AgreementError, match="it was set back"):
        driving.run(lambda line: None)
    assert world.folder("bank").status().state == FAILED
    world.folder("bank").ask_to_cancel("restored from an old copy")
    with pytest.raises(AgreementError, match="is cancelled"):
        driving.run(lambda line: None)
    assert there["telecom"].told.endswith("restored from an old copy"), "the others are told"
    assert heads(world, "bank") == before, "and nothing is signed about it"


def test_a_restored_run_is_a_record(world: World, tmp_path: Path) -> None:
    """Its peers may be silent about what they hold; it does not go on all the same."""
    found = restore(world.backup, tmp_path / "restored", PASSPHRASE, NOW)
    (run,) = found.runs
    assert (run.run, run.state, run.ended) == (RUN, RUNNING, True)
    assert run.entries
    shutil.rmtree(world.made.party("telecom"))
    shutil.copytree(tmp_path / "restored", world.made.party("telecom"))
    assert "restored from the backup of 2026-01-31" in world.folder("telecom").status().reason
    for held in (b"", None):
        with pytest.raises(AgreementError, match="restored from the backup"):
            world.service("telecom").offer("bank", world.offer(held=held))
    world.service("telecom").offer("bank", world.offer("second", b""))


def test_a_finished_run_comes_back_whole(world: World, tmp_path: Path) -> None:
    world.folder("telecom").complete("2026-01-31T01:00:00+00:00")
    party = read_party_file(world.made.party("telecom"))
    back_up(party, world.made.keys["telecom"], tmp_path / "full", NOW)
    (run,) = restore(tmp_path / "full", tmp_path / "restored", PASSPHRASE, NOW).runs
    assert (run.state, run.ended, run.entries) == (DONE, False, entries(world, "telecom"))
    shutil.rmtree(party.state)
    (tmp_path / "restored" / "state").rename(party.state)
    world.service("telecom").offer("bank", world.offer())
    assert not world.folder("telecom").why_set_back
