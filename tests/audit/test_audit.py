"""Audits of real runs: honest partners pass, cheats are named with evidence, and openings serve one purpose only."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest
from audit_kit import NONCE, Ran
from hypothesis import given
from hypothesis import strategies as st
from run_kit import TWO, frames, scenario

from ledger.errors import LedgerError
from ledger.evidence import check_evidence
from ledger.keys import VerifyingKey
from ledger.note import Note
from ledger.policy import Policy
from vfl import cli
from vfl.audit.drawing import detection, draw, needed, read_nonce
from vfl.audit.openings import Openings, open_cells
from vfl.audit.record import PartyRecord
from vfl.audit.reexecute import reexecute
from vfl.audit.sealing_to import AuditorKey
from vfl.commitments import OpenedColumn, OpenedSeed
from vfl.errors import BrokenPromise, UsageError
from vfl.learn.columns import Columns
from vfl.protocols import boost
from vfl.seat import protocol_randomness, read_seed

Fit = Callable[..., Columns]


def swapped(columns: Columns) -> Columns:
    """Cheat: two bins of the first feature change places."""
    codes = columns.codes.copy(order="F")
    codes[:, 0] = np.choose(np.minimum(codes[:, 0], 2), [1, 0, columns.codes[:, 0]])
    return replace(columns, codes=codes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Ran]:
    """Runs by scheme and cheat, each made once."""

    @cache
    def ran(scheme: str, cheat: str = "") -> Ran:
        folder = tmp_path_factory.mktemp("audit")
        toml = TWO.replace("[privacy]", f'[privacy]\nscheme = "{scheme}"').replace(
            "num_iterations = 3", "num_iterations = 2"
        )
        file = scenario(folder, toml, frames(240))
        fit, bind = Columns.fit, boost.bind

        def cheating(names: Any, values: Any, *rest: Any) -> Columns:
            found = fit(names, values, *rest)
            return swapped(found) if cheat == "swapped" and names == ("calls", "roaming", "age") else found

        def substituting(told: Any, names: Any, values: Any, *rest: Any) -> boost.Bound:
            return bind(told, names, values[:, ::-1] if cheat == "substituted" else values, *rest)

        with (
            mock.patch.object(Columns, "fit", cheating),
            mock.patch.object(boost, "bind", substituting),
            mock.patch("sys.argv", ["tallystick", "run", str(file), "--out", str(folder / "run"), "--json"]),
            pytest.raises(SystemExit, match=r"^0$"),
        ):
            cli.main()
        return Ran.of(folder / "run")

    return ran


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
def test_an_honest_partner_passes(runs: Any, scheme: str, capfd: Any, tmp_path: Path) -> None:
    ran = runs(scheme)
    ended = ran.checked(capfd, ran.opened(capfd, tmp_path / "o"), "--json", evidence=tmp_path / "evidence")
    assert ended.code == 0, ended.err
    [told] = json.loads(ended.out)["parties"]
    assert told["cells"] == told["answers"] == len(ran.record.cells) > 4
    assert len(told["verdicts"]) == told["cells"] + 1
    assert all(verdict["fits"] for verdict in told["verdicts"])
    assert not (tmp_path / "evidence").exists()
    assert "99 %" in ran.checked(capfd, tmp_path / "o").out


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
def test_any_single_cell_can_be_computed_without_the_others(runs: Any, scheme: str) -> None:
    ran = runs(scheme)
    for cell in ran.record.cells[1::3]:
        openings = open_cells(ran.run / "telecom", ran.record, [cell])
        assert all(verdict.fits for verdict in reexecute(ran.record, openings, [cell]))


@pytest.mark.parametrize(("scheme", "cheat", "first"), [
    ("paillier", "swapped", "NodeHistograms"),
    ("lattice", "substituted", "FeatureBins"),
])  # fmt: skip
def test_a_cheat_is_named_with_evidence(
    runs: Any, scheme: str, cheat: str, first: str, capfd: Any, tmp_path: Path
) -> None:
    ran = runs(scheme, cheat)
    ended = ran.checked(capfd, ran.opened(capfd, tmp_path / "o"), "--json", evidence=tmp_path / "evidence")
    assert ended.code == 3
    [told] = json.loads(ended.out)["parties"]
    failed = told["failed"]
    assert f"telecom at {failed[0]['slot']}" in ended.err
    assert failed[0]["slot"].split("/")[2] == first
    assert {one["slot"] for one in failed} >= {cell.slot for cell in ran.record.cells}
    policy = (ran.run / "policy.txt").read_text()
    auditor = AuditorKey.read(ran.key).signer.verifying
    for verdict, path in zip(failed, told["evidence"], strict=True):
        require_evidence(Path(path), verdict, told["openings"], policy, auditor)


def require_evidence(path: Path, verdict: dict[str, str], openings: str, policy: str, auditor: VerifyingKey) -> None:
    """The file proves it to whoever takes this auditor's findings, and to nobody else."""
    with pytest.raises(LedgerError, match="calls an auditor"):
        check_evidence(path.read_bytes(), Policy.parse(policy))
    found = check_evidence(path.read_bytes(), Policy.parse(f"log {auditor.vkey}\n{policy}"))
    assert (found.party, found.slot, found.kind) == ("telecom", verdict["slot"], "reexecution")
    assert verdict["claimed"] in found.first
    assert verdict["recomputed"] in found.second
    assert openings in found.second


def changed_column(openings: Openings) -> Openings:
    one = openings.columns["calls"]
    return with_column(openings, replace(one, content=bytes([one.content[0] ^ 1]) + one.content[1:]))


def with_column(openings: Openings, column: OpenedColumn) -> Openings:
    return msgspec.structs.replace(openings, columns={**openings.columns, "calls": column})


def with_round(openings: Openings, **changes: Any) -> Openings:
    rounds = {number: replace(one, **changes) for number, one in openings.rounds.items()}
    return msgspec.structs.replace(openings, rounds=rounds)


def another_message(openings: Openings) -> Openings:
    slot = max(openings.messages)
    return msgspec.structs.replace(openings, messages={**openings.messages, slot: openings.messages[slot] + b"\0"})


WRONG: dict[str, tuple[Callable[[Openings], Openings], str]] = {
    "a value": (changed_column, "not the column/calls"),
    "another column": (lambda o: with_column(o, o.columns["age"]), "not the column/calls"),
    "salts": (lambda o: with_column(o, replace(o.columns["calls"], salts=[bytes(32)])), "not the column/calls"),
    "too few salts": (lambda o: with_column(o, replace(o.columns["calls"], salts=[])), "not the column/calls"),
    "a feature less": (lambda o: msgspec.structs.replace(o, columns={}), "does not open the features"),
    "a stranger's category": (lambda o: msgspec.structs.replace(o, categorical=["sex"]), "does not open the features"),
    "hint": (lambda o: msgspec.structs.replace(o, hint=OpenedSeed(0, bytes(32), [])), "opens something else"),
    "round seed": (lambda o: with_round(o, seed=bytes(32)), "opens something else"),
    "short seed": (lambda o: with_round(o, seed=b""), "a seed has 32 bytes"),
    "round number": (lambda o: with_round(o, number=7), "the seed of the round"),
    "no rounds": (lambda o: msgspec.structs.replace(o, rounds={}), "the seed of the round"),
    "message": (another_message, "the message that it received"),
    "no messages": (lambda o: msgspec.structs.replace(o, messages={}), "the message that it received"),
    "no place": (lambda o: msgspec.structs.replace(o, before={}), "how many nodes came before"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_the_ledger_is_refused(runs: Any, what: str) -> None:
    ran, (change, words) = runs("lattice"), WRONG[what]
    cells = draw(ran.record, NONCE, 2)
    openings = open_cells(ran.run / "telecom", ran.record, cells)
    with pytest.raises(BrokenPromise, match=words) as caught:
        reexecute(ran.record, change(openings), cells)
    assert caught.value.peer == "telecom"


def test_openings_hold_nothing_but_what_is_asked_for(runs: Any) -> None:
    ran = runs("paillier")
    [cell] = draw(ran.record, NONCE, 1)
    data = open_cells(ran.run / "telecom", ran.record, [cell]).encode()
    seed = read_seed(ran.run / "telecom")
    rng = protocol_randomness(seed)
    other = 1 - cell.round
    secret = [
        seed,
        rng,
        rng.child("commit"),
        rng.child("boost"),
        rng.child("boost").child(f"tree/{other}"),
        rng.child("psi"),
    ]
    for one in secret:
        assert (one if isinstance(one, bytes) else one.expose_seed()) not in data
    assert rng.child("boost").child(f"tree/{cell.round}").expose_seed() in data
    opened = Openings.decode(data, "telecom")
    assert set(opened.messages) == {ran.record.rows_slot, *cell.tree, *cell.query}
    assert set(opened.before) == {cell.slot}
    assert set(opened.blinds) == {cell.slot, ran.record.bins.slot}


def test_sealed_openings_show_nothing(runs: Any, capfd: Any, tmp_path: Path) -> None:
    ran = runs("paillier")
    file = ran.opened(capfd, tmp_path / "o", cells=1)
    sealed = base64.b64decode(json.loads(file.read_text())["sealed"])
    openings = open_cells(ran.run / "telecom", ran.record, draw(ran.record, NONCE, 1))
    assert openings.hint.seed not in sealed
    assert all(column.content[:64] not in sealed for column in openings.columns.values())


def test_openings_serve_one_audit_only(runs: Any, capfd: Any, tmp_path: Path) -> None:
    ran, other = runs("lattice"), AuditorKey.make(tmp_path / "other.key", "other")
    file = ran.opened(capfd, tmp_path / "o")
    for options, words in (
        ({"nonce": "00" * 32}, "for another nonce"),
        ({"key": tmp_path / "other.key"}, "do not decrypt"),
        ({"nonce": "00"}, "16 to 64 bytes"),
        ({"policy": tmp_path / "none"}, "cannot be read"),
        ({"key": ran.run / "run.json"}, "no auditor's key"),
    ):
        ended = ran.checked(capfd, file, **options)
        assert (ended.code, words in ended.err) == (2, True), ended.err
    assert other.public != ran.public
    ended = ran.checked(capfd, runs("paillier").opened(capfd, tmp_path / "p"))
    assert ended.code == 2
    assert "not signed by telecom" in ended.err


def flip(file: Path, part: str, place: int) -> None:
    body = json.loads(file.read_text())
    if part == "sealed":
        data = bytearray(base64.b64decode(body[part]))
        data[place] ^= 1
        body[part] = base64.b64encode(data).decode()
    else:
        body[part] = body[part].replace('"party":"telecom"', '"party":"bank"')
    file.write_text(json.dumps(body))


@pytest.mark.parametrize(("part", "place"), [("sealed", 0), ("sealed", 40), ("sealed", -1), ("note", 0)])
def test_altered_files_are_refused(runs: Any, part: str, place: int, capfd: Any, tmp_path: Path) -> None:
    ran = runs("lattice")
    file = ran.opened(capfd, tmp_path / "o", cells=1)
    flip(file, part, place)
    ended = ran.checked(capfd, file, cells=1)
    assert ended.code == 2
    assert "error" in ended.err


def test_a_party_whose_table_changed_is_told_so(runs: Any) -> None:
    ran = runs("lattice")
    seat = (ran.run / "telecom" / "seed").read_text()
    try:
        (ran.run / "telecom" / "seed").write_text("00" * 32)
        with pytest.raises(UsageError, match="is not what was committed to"):
            open_cells(ran.run / "telecom", ran.record, ran.record.cells[:1])
    finally:
        (ran.run / "telecom" / "seed").write_text(seat)


def test_an_altered_bundle_is_not_audited(runs: Any, capfd: Any, tmp_path: Path) -> None:
    ran = runs("lattice")
    file = ran.opened(capfd, tmp_path / "o", cells=1)
    bundle = tmp_path / "audit.bundle"
    bundle.write_bytes((ran.run / "audit.bundle").read_bytes().replace(b"roaming", b"roaring"))
    ended = replace(ran, run=tmp_path).checked(capfd, file, policy=ran.run / "policy.txt", cells=1)
    assert ended.code == 2
    assert "does not verify" in ended.err


def test_only_partners_of_this_run_can_be_audited(runs: Any) -> None:
    for name in ("bank", "nobody"):
        with pytest.raises(UsageError, match="answers no queries"):
            PartyRecord.read(runs("lattice").run, name)


def test_cells_follow_from_head_and_nonce(runs: Any) -> None:
    record = runs("lattice").record
    drawn = [draw(record, bytes([number]) * 16, 2) for number in range(40)]
    assert drawn == [draw(record, bytes([number]) * 16, 2) for number in range(40)]
    assert {cell.slot for cells in drawn for cell in cells} == {cell.slot for cell in record.cells}
    assert all(len({cell.slot for cell in cells}) == 2 for cells in drawn)
    later = replace(
        record, entries=record.entries, head=Note.parse(str(record.head).replace(str(record.checkpoint.size), "9", 1))
    )
    assert draw(later, NONCE, 3) == draw(record, NONCE, 3)  # the root alone counts
    for text in ("", "zz" * 16, "00" * 15, "00" * 65):
        with pytest.raises(UsageError, match="nonce"):
            read_nonce(text)


@given(st.floats(0.001, 0.5), st.floats(0.5, 0.999))
def test_so_many_cells_are_needed_and_no_fewer(share: float, probability: float) -> None:
    cells = needed(share, probability)
    assert detection(share, cells) >= probability - 1e-12
    assert detection(share, cells - 1) < probability


def test_the_probability_is_that_of_drawing() -> None:
    rng = np.random.default_rng(3)
    found = (rng.random((20_000, 44)) < 0.1).any(axis=1).mean()
    assert abs(found - detection(0.1, 44)) < 0.005
