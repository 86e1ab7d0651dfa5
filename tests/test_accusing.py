"""Runs that a peer's misbehaviour ends: who is accused, by which file, and what the file proves to others."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from run_kit import TWO, frames, inside, scenario, tallystick

from ledger.__main__ import main as ledger
from ledger.canonical import encode
from ledger.errors import LedgerError
from ledger.evidence import MAX_EVIDENCE, Proven, check_evidence
from ledger.policy import Policy
from vfl.attacks import cheating
from vfl.config import load_scenario
from vfl.crypto.scheme import Sealed
from vfl.errors import BrokenPromise, UsageError
from vfl.progress import Silent
from vfl.protocols.boost import NodeHistograms, TrainingRows, TreeBlock
from vfl.seat import Seat
from vfl.simulation import Options, run_scenario
from vfl.wire import Message


class Garbled(cheating.NoisyHistograms):
    """Says what is no ciphertext, or no lattice element."""

    async def send(self, message: Message) -> None:
        if isinstance(message, NodeHistograms):
            message = NodeHistograms(message.node, [Sealed(b"\xff" * len(one)) for one in message.sums])
        await self._channel.send(message)


class GarbledRows(cheating.NoisyHistograms):
    """A key holder that encrypts its last row like its first."""

    async def send(self, message: Message) -> None:
        if isinstance(message, TreeBlock):
            message = TreeBlock(message.index, message.last, message.rows[:512] + message.rows[:-512])
        await self._channel.send(message)


class Spilling(cheating.NoisyHistograms):
    """A key holder that encrypts a row out of bounds, so that an honest partner's sums run over into the next cell."""

    async def send(self, message: Message) -> None:
        if isinstance(message, TrainingRows):
            self._key = message.key
        if isinstance(message, TreeBlock):
            spilled = cheating.added(message.rows, self._key, 1 << 70)
            message = TreeBlock(message.index, message.last, spilled)
        await self._channel.send(message)


class Shifted(cheating.NoisyHistograms):
    """Adds something to an encrypted sum without a look at the scheme."""

    async def send(self, message: Message) -> None:
        if isinstance(message, NodeHistograms):
            first = message.sums[0]
            message = NodeHistograms(
                message.node, [Sealed(first[:12] + bytes([first[12] ^ 1]) + first[13:]), *message.sums[1:]]
            )
        await self._channel.send(message)


CHEATS = {"garbled": Garbled, "garbled rows": GarbledRows, "spilling": Spilling, "shifted": Shifted}


class Stopped:
    """A run that a cheat ended."""

    def __init__(self, folder: Path, cheat: dict[str, str], privacy: str) -> None:
        toml = TWO.replace("num_iterations = 3", "num_iterations = 1").replace("[privacy]", f"[privacy]\n{privacy}")
        file = scenario(folder, toml, frames(240))
        self.out = folder / "run"
        with (
            mock.patch.dict(cheating.CHEATS, CHEATS),
            pytest.raises(BrokenPromise) as caught,
            active_cheats(cheat),
        ):
            run_scenario(lambda _: load_scenario(file), Options(self.out, cheats=cheat), Silent())
        self.error = caught.value
        self.partial = self.out.with_name("run.partial")
        self.files = sorted(self.partial.glob("*/evidence/*.json"))

    @property
    def policy(self) -> Policy:
        return Policy.parse((self.partial / "policy.txt").read_bytes())

    @property
    def evidence(self) -> bytes:
        [file] = self.files
        return file.read_bytes()


def active_cheats(cheat: dict[str, str]) -> Any:
    """Lets the bank cheat too, which no scenario does."""
    made = Seat.__init__

    def seated(self: Seat, root: Path, name: str, clock: Any, around: Any = None) -> None:
        made(self, root, name, clock, cheating.CHEATS.get(cheat.get(name, "")))

    return mock.patch.object(Seat, "__init__", seated)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stopped]:
    kept: dict[str, Stopped] = {}

    def stop(cheat: dict[str, str], privacy: str) -> Stopped:
        name = f"{cheat} {privacy}"
        if name not in kept:
            kept[name] = Stopped(tmp_path_factory.mktemp("stopped"), cheat, privacy)
        return kept[name]

    return stop


PAILLIER, SIGNED = 'scheme = "paillier"', 'scheme = "paillier"\nreceipts = "message"'
BENT = ({"telecom": "noise"}, PAILLIER)


def without_code(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("code", "result")}


@pytest.mark.parametrize(
    ("cheat", "privacy", "kind", "party", "by", "words"),
    [
        ("noise", PAILLIER, "bins-do-not-sum", "telecom", "bank", r"the bins of feature 0 sum to \(-?\d+, \d+\)"),
        pytest.param(
            "noise",
            SIGNED,
            "bins-do-not-sum",
            "telecom",
            "bank",
            r"the bins of feature 0 sum to",
            marks=pytest.mark.slow,
        ),
        ("garbled", PAILLIER, "malformed-ciphertext", "telecom", "bank", r"number 0 is not from 1 to n\^2 - 1"),
        ("garbled", 'scheme = "lattice"', "malformed-ciphertext", "telecom", "bank", r"number 0 is not below 2\^108"),
        ("garbled rows", SIGNED, "malformed-ciphertext", "bank", "telecom", "number 1 stands there twice"),
    ],
)
def test_the_liar_is_named_and_proven(
    stopped: Any, cheat: str, privacy: str, kind: str, party: str, by: str, words: str, capsys: Any
) -> None:
    run = stopped({party: cheat}, privacy)
    [file] = run.files
    assert file == run.partial / by / "evidence" / f"{kind}-1.json"
    command = re.search(r"python -m ledger (.*)", run.error.remedy)
    assert command is not None
    capsys.readouterr()
    assert ledger([*command[1].split(), "--json"]) == 4
    found = Proven(**json.loads(capsys.readouterr().out, object_hook=without_code))
    slot = r"train/0/NodeHistograms/telecom>bank/\d+" if by == "bank" else r"train/0/TreeBlock/bank>telecom/\d+"
    assert (found.party, found.kind, run.error.peer) == (party, kind, party)
    assert re.fullmatch(slot, found.slot)
    assert re.search(words, found.text)
    assert f"{party} is accused at {run.error.step}: {file}" in run.error.remedy
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_holder_cannot_convict_an_honest_partner_by_rows_out_of_bounds(stopped: Any) -> None:
    run = stopped({"bank": "spilling"}, PAILLIER)
    [file] = run.files
    assert (file.parent.parent.name, file.name, run.error.peer) == ("bank", "accusation-1.json", "telecom")


@pytest.mark.parametrize(
    ("cheat", "privacy"),
    [({"telecom": "shifted"}, 'scheme = "lattice"'), ({"bank": "garbled rows"}, PAILLIER)],
)
def test_what_proves_nothing_to_others_is_called_an_accusation(stopped: Any, cheat: Any, privacy: str) -> None:
    run = stopped(cheat, privacy)
    [file] = run.files
    assert file.name == "accusation-1.json"
    assert "no proof for others; have the run audited" in run.error.remedy
    told = json.loads(file.read_text())
    assert (told["party"], told["slot"]) == (*cheat, run.error.step)
    # Under `receipts = "round"` the rows of a round that did not end are nobody's word yet.
    assert (told["statement"] is None) == ("bank" in cheat)
    with pytest.raises(LedgerError, match="unknown"):
        check_evidence(file.read_bytes(), run.policy)


def test_the_run_does_not_go_on_and_nobody_elses_ledger_suffers(stopped: Any, capfd: Any) -> None:
    run = stopped(*BENT)
    file = run.out.parent / "scenario.toml"
    with inside(run.out.parent):
        for more in ((), ("--resume",)):
            ended = tallystick(capfd, "run", file.name, "--out", "run", *more)
            assert ended.code == 2
            assert "was ended because a party misbehaved" in ended.err
    with pytest.raises(UsageError, match="bins-do-not-sum-1"):
        run_scenario(lambda _: load_scenario(file), Options(run.out, resume=True), Silent())
    assert not run.out.exists()
    assert not list(run.partial.glob("*/share.json"))
    assert not list((run.partial / "telecom").glob("evidence/*"))


def outcome(body: dict[str, Any], policy: Policy) -> Proven | None:
    try:
        return check_evidence(encode(body, limit=MAX_EVIDENCE), policy)
    except LedgerError:
        return None


def edits(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Changed files, by what was changed."""
    found = {f"without {name}": {k: v for k, v in body.items() if k != name} for name in body}
    for name in ("answer", "bins", "key", "query"):
        for other in ("answer", "bins", "key", "query"):
            found[f"{name} for {other}"] = {**body, name: body[other]}
        proof = {**body[name]["proof"], "before": "00" * 32}
        found[f"{name} at another place"] = {**body, name: {**body[name], "proof": proof}}
        payload = body[name]["payload"]
        flipped = ("A" if payload[40] != "A" else "B").join((payload[:40], payload[41:]))
        found[f"{name} changed"] = {**body, name: {**body[name], "payload": flipped}}
    found["no rows"] = {**body, "rows": []}
    found["rows twice"] = {**body, "rows": body["rows"] * 2}
    found["another agreement"] = {**body, "agreement": body["agreement"].replace("24", "25")}
    found["fewer plaintexts"] = {**body, "plaintexts": body["plaintexts"][1:]}
    found["a plaintext in another form"] = {
        **body,
        "plaintexts": ["0" + body["plaintexts"][0], *body["plaintexts"][1:]],
    }
    found["another plaintext"] = {**body, "plaintexts": [*body["plaintexts"][:-1], "1"]}
    found["another root"] = {**body, "roots": ["1", *body["roots"][1:]]}
    return found


def test_no_changed_file_proves_anything(stopped: Any) -> None:
    run = stopped(*BENT)
    body = json.loads(run.evidence)
    assert outcome(body, run.policy) is not None
    for what, changed in edits(body).items():
        if changed != body:
            assert outcome(changed, run.policy) is None, what


def test_every_byte_counts_that_is_looked_at(stopped: Any) -> None:
    run = stopped({"telecom": "garbled"}, 'scheme = "lattice"')
    data = run.evidence
    due = check_evidence(data, run.policy)
    for place in range(0, len(data), max(1, len(data) // 300)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            assert check_evidence(changed, run.policy) == due, place
        except LedgerError:
            continue
        pytest.fail(f"byte {place} may be changed")


def test_keys_of_others_prove_nothing(stopped: Any) -> None:
    run, other = stopped(*BENT), stopped({"telecom": "garbled"}, PAILLIER)
    for one, policy in ((run, other.policy), (other, run.policy)):
        with pytest.raises(LedgerError):
            check_evidence(one.evidence, policy)
