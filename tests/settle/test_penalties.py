"""Evidence from the ledger becomes a penalty, once and only if two signatures show it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_kit import here
from settling_kit import bundle_of, checked, desk, said

from ledger.envelope import Envelope, sign_envelope
from ledger.errors import NotConsistent
from ledger.evidence import fork_evidence, slot_evidence
from ledger.witness import Witness
from vfl.attacks.forking import caught, forked_head
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.seat import RunFile, identity_of, open_ledger, read_seed


def fork(root: Path, liar: str = "telecom") -> bytes:
    """What the bank has when a party shows it a rewritten ledger."""
    file = RunFile.read(root)
    who, bank = (identity_of(name, read_seed(root / name)) for name in (liar, "bank"))
    theirs, ours = open_ledger(root / liar, file.run), open_ledger(root / "bank", file.run)
    try:
        return caught(Witness(bank, ours, SystemClock()), forked_head(theirs, who, 2), who)
    finally:
        theirs.close()
        ours.close()


def envelopes(root: Path) -> bytes:
    """Two things that the telecom signed for one slot."""
    file, clock = RunFile.read(root), SystemClock()
    who = identity_of("telecom", read_seed(root / "telecom"))
    key = who.entry_key(file.run)
    certificate = who.certify(file.run, clock.now(), clock.now())
    said_ = [Envelope(file.run, "train/0/X/telecom>bank/0", "telecom", "bank", "X", 64 * mark, 9) for mark in "ab"]
    return slot_evidence(certificate, *((one, sign_envelope(key, one)) for one in said_))  # type: ignore[arg-type]


def slash(root: Path, data: bytes, *words: object) -> str:
    path = root / "evidence.json"
    path.write_bytes(data)
    done = here("settle", "slash", path, "--run", root, *words)
    assert done.returncode == 2, done.stdout
    return done.stderr


@pytest.mark.parametrize("evidence", [fork, envelopes])
def test_two_signatures_that_contradict_each_other_cost_the_stake(settled: Path, evidence: object) -> None:
    path = settled / "evidence.json"
    path.write_bytes(evidence(settled))  # type: ignore[operator]
    told = said("slash", path, "--run", settled)
    assert told["balances"] == {
        "bank": {"credit": 751, "stake": 1001},  # half for the proof, and half of the rest
        "telecom": {"credit": 0, "stake": 0},
        "payroll": {"credit": 250, "stake": 1001},
    }
    (event,) = [one for one in told["events"] if one["name"] == "Slashed"]
    assert (event["accused"], event["reporter"], event["amount"]) == ("telecom", "bank", 1001)
    assert checked(bundle_of(settled), settled).code == 0
    assert "accused: punished before" in slash(settled, path.read_bytes())
    shown = here("settle", "show", settled).stdout
    assert "telecom lost 10.01 EUR" in shown


def test_whoever_brings_it_gets_half(settled: Path) -> None:
    path = settled / "evidence.json"
    path.write_bytes(fork(settled))
    told = said("slash", path, "--run", settled, "--reporter", "payroll")
    assert told["balances"]["payroll"]["credit"] == 750
    assert "stranger is no party of this run" in slash(settled, path.read_bytes(), "--reporter", "stranger")


def test_what_does_not_prove_it_alone_is_refused(settled: Path) -> None:
    true = fork(settled)
    assert "the evidence proves nothing" in slash(settled, true.replace(b"telecom", b"payroll", 1))
    assert "the evidence proves nothing" in slash(settled, b"{}")
    notes = json.loads(true)["notes"]
    same = fork_evidence(NotConsistent("x", first=notes[0], second=notes[0]))
    assert "do not contradict each other" in slash(settled, same)
    assert "cannot be read" in here("settle", "slash", settled / "none", "--run", settled).stderr


def test_evidence_of_another_run_is_refused(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = fork(settled)
    with desk(settled) as mine:
        from vfl.settle.penalties import penalty_of

        with pytest.raises(UsageError, match=r"the evidence is of my-bank-.*, not of another-run"):
            penalty_of(data, mine.policy, "another-run")


def test_what_needs_a_judge_is_refused(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bent histogram: its proof opens plaintexts, which no contract can look at."""
    from ledger.evidence.proven import Proven

    run = RunFile.read(settled).run
    monkeypatch.setattr(
        "vfl.settle.penalties.check_evidence", lambda *_: Proven("telecom", run, "bent a sum", kind="bins-do-not-sum")
    )
    told = slash(settled, b'{"kind":"bins-do-not-sum"}')
    assert "'bins-do-not-sum' against telecom is not objective" in told
    assert "bring this to the regulator" in told


def test_who_shows_the_true_head_is_not_accused(settled: Path) -> None:
    file = RunFile.read(settled)
    who, bank = (identity_of(name, read_seed(settled / name)) for name in ("telecom", "bank"))
    theirs, ours = open_ledger(settled / "telecom", file.run), open_ledger(settled / "bank", file.run)
    try:
        shown = forked_head(theirs, who, entry=10**6)  # beyond the end: nothing is changed
        with pytest.raises(UsageError, match="contradicts nothing"):
            caught(Witness(bank, ours, SystemClock()), shown, who)
    finally:
        theirs.close()
        ours.close()
