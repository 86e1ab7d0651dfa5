"""Audits of the active party: it passes where it sent gradients of its committed labels, and else is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from audit_kit import Ran
from run_kit import TWO, frames, scenario

from ledger.errors import LedgerError
from ledger.evidence import check_evidence
from ledger.policy import Policy
from vfl import cli, run_gbdt
from vfl.audit.label_openings import LabelOpenings, open_labels
from vfl.audit.label_record import LabelRecord
from vfl.audit.labels_again import relabel
from vfl.audit.sealing_to import AuditorKey
from vfl.audit.sides import side_of
from vfl.commitments import OpenedColumn, OpenedSeed
from vfl.crypto.paillier import own_key
from vfl.errors import BrokenPromise, Malformed, UsageError
from vfl.learn.rounds import Rounds, Target
from vfl.seat import protocol_randomness, read_seed

Runs = Callable[..., Ran]


def flipping(labels: Any, *rest: Any) -> Target:
    """Cheat: a group of customers gets the other label once labels were committed to."""
    flipped = labels.copy()
    flipped[:30] = 1 - flipped[:30]
    return Target(flipped, *rest)


def flipping_later(self: Rounds) -> None:
    """Cheat: the same in the second tree only."""
    if self.number == 1:
        self._target = flipping(self._target.labels, self._target.weights)
    _opened(self)


_opened = Rounds.open


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs by scheme and cheat, each made once."""

    @cache
    def ran(scheme: str, cheat: str = "") -> Ran:
        folder = tmp_path_factory.mktemp("labels")
        toml = TWO.replace("[privacy]", f'[privacy]\nscheme = "{scheme}"').replace(
            "num_iterations = 3", "num_iterations = 2"
        )
        file = scenario(folder, toml, frames(240))
        with (
            mock.patch.object(run_gbdt, "Target", flipping if cheat == "flipped" else Target),
            mock.patch.object(Rounds, "open", flipping_later if cheat == "later" else _opened),
            mock.patch("sys.argv", ["tallystick", "run", str(file), "--out", str(folder / "run"), "--json"]),
            pytest.raises(SystemExit, match=r"^0$"),
        ):
            cli.main()
        return Ran.of(folder / "run")

    return ran


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
def test_an_honest_bank_passes(runs: Runs, scheme: str, capfd: Any, tmp_path: Path) -> None:
    ran = runs(scheme)
    file = ran.opened(capfd, tmp_path / "o", party="bank")
    ended = ran.checked(capfd, file, "--json", evidence=tmp_path / "evidence")
    assert ended.code == 0, ended.err
    [told] = json.loads(ended.out)["parties"]
    record = LabelRecord.read(ran.run, "bank")
    assert told["cells"] == told["answers"] == len(record.cells) >= 2
    assert all(verdict["fits"] for verdict in told["verdicts"])
    assert not (tmp_path / "evidence").exists()
    assert "blocks of encrypted rows, computed again" in ran.checked(capfd, file).out


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
@pytest.mark.parametrize(("cheat", "trees"), [("flipped", {0, 1}), ("later", {1})])
def test_flipped_labels_are_found(
    runs: Runs, scheme: str, cheat: str, trees: set[int], capfd: Any, tmp_path: Path
) -> None:
    ran = runs(scheme, cheat)
    file = ran.opened(capfd, tmp_path / "o", party="bank")
    ended = ran.checked(capfd, file, "--json", evidence=tmp_path / "evidence")
    assert ended.code == 3, ended.err
    [told] = json.loads(ended.out)["parties"]
    failed = told["failed"]
    assert f"bank at {failed[0]['slot']}" in ended.err
    wrong = {cell.slot for cell in LabelRecord.read(ran.run, "bank").cells if cell.round in trees}
    assert {one["slot"] for one in failed} == wrong
    policy, key = (ran.run / "policy.txt").read_text(), AuditorKey.read(ran.key).signer.verifying
    for verdict, path in zip(failed, told["evidence"], strict=True):
        with pytest.raises(LedgerError, match="calls an auditor"):
            check_evidence(Path(path).read_bytes(), Policy.parse(policy))
        found = check_evidence(Path(path).read_bytes(), Policy.parse(f"log {key.vkey}\n{policy}"))
        assert (found.party, found.slot, found.kind) == ("bank", verdict["slot"], "flipped-labels")
        renamed = Path(path).read_bytes().replace(b'"kind":"flipped-labels"', b'"kind":"reexecution"')
        with pytest.raises(LedgerError, match="not one of reexecution"):
            check_evidence(renamed, Policy.parse(f"log {key.vkey}\n{policy}"))


def changed(opened: OpenedColumn, place: int = 0) -> OpenedColumn:
    content = bytearray(opened.content)
    content[place] ^= 1
    return replace(opened, content=bytes(content))


def with_target(openings: LabelOpenings, kind: str, **others: OpenedColumn) -> LabelOpenings:
    found = {**openings.targets, kind: changed(openings.targets[kind]), **others}
    return msgspec.structs.replace(openings, targets=found)


def another(**values: Any) -> Callable[[LabelOpenings], LabelOpenings]:
    return lambda openings: msgspec.structs.replace(openings, **values)


def without_columns(openings: LabelOpenings) -> LabelOpenings:
    return msgspec.structs.replace(openings, columns={})


def other_columns(openings: LabelOpenings) -> LabelOpenings:
    return msgspec.structs.replace(openings, columns={kind: changed(one) for kind, one in openings.columns.items()})


def other_message(openings: LabelOpenings, step: str) -> LabelOpenings:
    slot = max(slot for slot in openings.messages if f"/{step}/" in slot)
    return msgspec.structs.replace(openings, messages={**openings.messages, slot: openings.messages[slot] + b"\0"})


def other_nodes(openings: LabelOpenings) -> LabelOpenings:
    return msgspec.structs.replace(openings, asked={tree: [[(5, 5, 1)]] * 9 for tree in openings.asked})


WRONG: dict[str, tuple[Callable[[LabelOpenings], LabelOpenings], str]] = {
    "a label": (lambda o: with_target(o, "labels"), "not the labels"),
    "a hold-out": (lambda o: with_target(o, "holdout"), "not the holdout"),
    "weights": (lambda o: with_target(o, "labels", weights=o.targets["labels"]), "does not open holdout, labels"),
    "no labels": (another(targets={}), "does not open holdout, labels"),
    "a feature": (other_columns, "not the column/"),
    "no feature": (without_columns, "opens something else"),
    "share": (lambda o: msgspec.structs.replace(o, share=o.share + b" "), "the share of the model that it froze"),
    "salt": (another(salts={}), "the share of the model that it froze"),
    "seed": (another(trees={n: OpenedSeed(n, bytes(32), []) for n in (0, 1)}), "opens something else"),
    "no seed": (another(trees={}), "opens something else|the seed of the tree"),
    "which rows train": (lambda o: other_message(o, "TrainingRows"), "the message that the ledger has"),
    "a partner's split": (lambda o: other_message(o, "SplitRows"), "the message that the ledger has"),
    "no messages": (another(messages={}), "the message that the ledger has"),
    "other nodes": (other_nodes, "has no node"),
    "no nodes": (another(asked={}), "opens something else"),
    "earlier trees": (another(earlier=1), "this run's trees alone"),
    "before all trees": (another(earlier=-1), "this run's trees alone"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_the_ledger_is_refused(runs: Runs, what: str) -> None:
    ran, (change, words) = runs("lattice"), WRONG[what]
    record = LabelRecord.read(ran.run, "bank")
    openings = open_labels(ran.run / "bank", record, record.cells, agreed(ran))
    with pytest.raises(BrokenPromise, match=words) as caught:
        relabel(record, change(openings), record.cells)
    assert caught.value.peer == "bank"


def test_rows_are_encrypted_again_under_the_key_that_was_told(runs: Runs) -> None:
    ran = runs("paillier")
    record = LabelRecord.read(ran.run, "bank")
    openings = open_labels(ran.run / "bank", record, record.cells[:1], agreed(ran))
    for base in (b"", bytes(256), b"\xff" * 256):
        with pytest.raises(BrokenPromise, match="between 1 and n - 1"):
            relabel(record, msgspec.structs.replace(openings, base=base), record.cells[:1])
    [verdict] = relabel(record, msgspec.structs.replace(openings, base=b"\x07"), record.cells[:1])
    assert not verdict.fits


def agreed(ran: Ran) -> int:
    return ran.record.commitment("column/calls").count


def test_openings_hold_nothing_but_what_is_asked_for(runs: Runs) -> None:
    ran = runs("paillier")
    record = LabelRecord.read(ran.run, "bank")
    cell = record.cells[0]
    data = open_labels(ran.run / "bank", record, [cell], agreed(ran)).encode()
    seed = read_seed(ran.run / "bank")
    rng = protocol_randomness(seed)
    boost, key = rng.child("boost"), rng.child("key")
    private = own_key(key, 2048).expose()
    assert boost.child(f"tree/{cell.round}").expose_seed() in data
    hidden = [rng, key, rng.child("commit"), rng.child("psi"), boost, boost.child("tree/1"), key.child("paillier/base")]
    for one in (seed, *(stream.expose_seed() for stream in hidden), *map(big_endian, (private.p, private.q))):
        assert one not in data
    opened = LabelOpenings.decode(data, "bank")
    assert {slot.split("/")[2] for slot in opened.messages} <= {"TrainingRows", "SplitRows"}
    assert all(slot.split("/")[1] == "0" for slot in opened.messages)
    assert set(opened.trees) == set(opened.asked) == {0}
    assert set(opened.targets) == {"labels", "holdout"}


def big_endian(prime: Any) -> bytes:
    return int(prime).to_bytes(128, "big")


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x81\xa1a\x01"])
def test_malformed_openings_blame_the_bank(data: bytes) -> None:
    with pytest.raises(Malformed, match="no well-formed openings") as caught:
        LabelOpenings.decode(data, "bank")
    assert caught.value.peer == "bank"


def test_only_who_holds_labels_has_such_a_record(runs: Runs) -> None:
    with pytest.raises(UsageError, match="holds no labels"):
        LabelRecord.read(runs("lattice").run, "telecom")
    with pytest.raises(UsageError, match="no party 'nobody' in this run"):
        side_of(runs("lattice").run, "nobody")
