"""Companies with keys, cards and agreements of their own: from their files to a verified run, on the command line."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from company_kit import HOSTS, PASSPHRASE, Companies, await_, companies
from run_kit import tallystick, verify

from vfl.clock import FixedClock, SystemClock
from vfl.errors import AgreementError, UsageError
from vfl.party import keystore, state
from vfl.party.card import Card
from vfl.party.certificates import new_tls_key
from vfl.party.config import read_party_file
from vfl.party.driving import Driving
from vfl.party.opening import standing_of
from vfl.party.standing import Standing

EVERYBODY = tuple(HOSTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    return companies(tmp_path_factory.mktemp("companies"))


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    """Companies that never ran; not to be changed."""
    return companies(tmp_path_factory.mktemp("idle"), port=17444)


@pytest.fixture
def own(idle: Companies, tmp_path: Path) -> Companies:
    """A copy of them, which a test may change."""
    return replace(idle, folder=Path(shutil.copytree(idle.folder, tmp_path / "own")))


def standing(made: Companies, name: str, clock: FixedClock | SystemClock | None = None) -> Standing:
    return standing_of(read_party_file(made.party(name)), made.keys[name], clock or SystemClock())


# ---- what is admitted ------------------------------------------------------------------------------------------------


def test_an_agreement_that_all_signed_is_admitted(made: Companies) -> None:
    for name in EVERYBODY:
        admitted = standing(made, name).admit(made.signed.read_bytes())
        assert admitted.agreement == made.agreement
        assert {party: pair.identity for party, pair in admitted.keys.items()} == {
            party: keys.identity.identity.verifying for party, keys in made.keys.items()
        }


@pytest.mark.parametrize("missing", EVERYBODY)
def test_an_agreement_that_somebody_did_not_sign_is_refused(made: Companies, missing: str) -> None:
    file = made.sign(made.agreement, *(name for name in EVERYBODY if name != missing))
    with pytest.raises(AgreementError, match=f"{missing} has not signed"):
        standing(made, "telecom").admit(file.read_bytes())


def test_an_agreement_counts_until_its_last_day(made: Companies) -> None:
    assert made.agreement.contract is not None
    ends = replace(made.agreement, contract=replace(made.agreement.contract, expires="2031-05-31"))
    data = made.sign(ends, *EVERYBODY).read_bytes()
    last = datetime(2031, 5, 31, 23, 59, tzinfo=UTC)
    standing(made, "telecom", FixedClock(last)).admit(data)
    with pytest.raises(AgreementError, match="expired"):
        standing(made, "telecom", FixedClock(last + timedelta(hours=1))).admit(data)


def test_an_altered_agreement_is_refused(made: Companies) -> None:
    data = made.signed.read_bytes()
    for old, new in ((b'"legal_basis": "consent', b'"legal_basis": "consenx'), (b'"telecom"', b'"payroll"')):
        assert old in data
        with pytest.raises(AgreementError):
            standing(made, "telecom").admit(data.replace(old, new))
    for data in (b"", b"{}", b"[" * 100_000, b"\xff", b'{"agreement": 1}'):
        with pytest.raises(AgreementError):
            standing(made, "telecom").admit(data)


def test_a_key_in_an_agreement_is_that_of_the_card(tmp_path: Path, made: Companies) -> None:
    """Whoever swaps a party's keys in an agreement is found out by everybody who has its card."""
    other = keystore.Keys("payroll", bytes([9]) * 32, made.keys["payroll"].tls, b"")
    assert made.agreement.contract is not None
    public = other.identity.public
    parties = {**made.agreement.contract.parties, "payroll": (public.identity.vkey, public.witness.vkey)}
    swapped = replace(made.agreement, contract=replace(made.agreement.contract, parties=parties))
    forged = replace(made, keys={**made.keys, "payroll": other})
    data = forged.sign(swapped, *EVERYBODY).read_bytes()
    with pytest.raises(AgreementError, match="names other keys for payroll than its card"):
        standing(made, "telecom").admit(data)


def test_cards_and_keys_are_read_again_when_they_change(own: Companies) -> None:
    who, folder = standing(own, "telecom"), own.party("telecom") / "state"
    assert who.trusted().keys() == {"bank", "payroll"}
    assert who.trusted() == who.trusted()
    (folder / "peers" / "payroll.card").unlink()
    assert who.trusted().keys() == {"bank"}
    fresh = [new_tls_key("bank", datetime.now(UTC), 30) for _ in range(2)]
    card = Card.make(own.keys["bank"].identity, "127.0.0.1:9", "2026-01-01T00:00:00.000000Z",
                     tuple(one.certificate for one in fresh))  # fmt: skip
    state.admit(folder, card)
    assert who.trusted()["bank"].pins == set(card.pins)
    before = who.tls()
    next_one = own.keys["telecom"].tls[1]
    keystore.replace_tls(folder, own.keys["telecom"], [next_one, fresh[0]])
    assert before.certificate != who.tls().certificate == next_one.certificate
    (folder / "peers" / "bank.card").write_text("damaged")
    with pytest.raises(UsageError, match="no card"):
        who.trusted()


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(made: Companies) -> Iterator[tuple[Companies, dict[str, str]]]:
    """After one run of three companies at three addresses, with their services still there."""
    with made.serving("telecom", "payroll"):
        ended = made.done("run", "--agreement", made.signed, "--config", made.party("bank"), "--run", "first", "--json")
        assert ended.returncode == 0, ended.stderr
        yield made, json.loads(ended.stdout)


def test_three_companies_run_and_anybody_verifies(ran: tuple[Companies, dict[str, str]]) -> None:
    made, told = ran
    assert told["run"] == "first"
    for name in EVERYBODY:
        folder = made.party(name) / "state" / "runs" / "first"
        assert verify(folder).returncode == 0
        listed = sorted(path.name for path in folder.iterdir() if path.is_dir())
        assert listed == [name], "nobody has another's seat"


def test_every_party_sees_the_run(ran: tuple[Companies, dict[str, str]], capfd: pytest.CaptureFixture[str]) -> None:
    made, _ = ran
    for name in EVERYBODY:
        place = ("--config", made.party(name))
        told = json.loads(tallystick(capfd, "runs", "list", *place, "--json").out)
        assert [(one["run"], one["state"], one["active"]) for one in told["runs"]] == [("first", "done", "bank")]
        assert "first" in tallystick(capfd, "runs", "list", *place).out
        assert "state    done" in tallystick(capfd, "runs", "show", "first", *place).out
        assert json.loads(tallystick(capfd, "runs", "show", "first", *place, "--json").out)["attempt"] == 1
        assert tallystick(capfd, "runs", "watch", "first", *place).out == "done\n"
        ended = tallystick(capfd, "runs", "cancel", "first", *place)
        assert (ended.code, "done already" in ended.err) == (2, True)
        ended = tallystick(capfd, "runs", "show", "other", *place)
        assert (ended.code, "name one of: first" in ended.err) == (2, True)


def test_what_follows_a_run_works_at_each_party(
    ran: tuple[Companies, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    made, _ = ran
    for name in EVERYBODY:
        ended = tallystick(capfd, "replay", made.party(name) / "state" / "runs" / "first", "--party", name)
        assert ended.code == 0, ended.err
    assert tallystick(capfd, "explain", made.party("bank") / "state" / "runs" / "first").code == 0


def test_a_purge_is_signed_with_the_long_term_keys(
    ran: tuple[Companies, dict[str, str]], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = ran
    folder = made.party("payroll") / "state" / "runs" / "first"
    words = ("purge", folder, "--party", "payroll", "--what", "rows", "--yes")
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE", "not the one of this party")
    ended = tallystick(capfd, *words)
    assert (ended.code, "passphrase" in ended.err) == (2, True)
    assert (folder / "payroll" / "rows.npy").exists()
    assert not (folder / "payroll" / "purge.json").exists(), "nothing is begun that cannot be signed"
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE", PASSPHRASE)
    ended = tallystick(capfd, *words)
    assert ended.code == 0, ended.err
    assert not (folder / "payroll" / "rows.npy").exists()


@pytest.mark.parametrize("wrong", ["unsigned", "passive party", "scenario too", "no file", "passphrase"])
def test_what_does_not_start(
    made: Companies, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str
) -> None:
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE", "some other words" if wrong == "passphrase" else PASSPHRASE)
    name = "telecom" if wrong == "passive party" else "bank"
    file = made.sign(made.agreement, "bank", "telecom") if wrong == "unsigned" else made.signed
    file = tmp_path / "nothing.json" if wrong == "no file" else file
    more = ["pos-loan"] if wrong == "scenario too" else []
    ended = tallystick(capfd, "run", *more, "--agreement", file, "--config", made.party(name), "--run", "wrong")
    said = {
        "unsigned": "payroll has not signed",
        "passive party": "telecom is not the active party",
        "scenario too": "goes with --config",
        "no file": "cannot be read",
        "passphrase": "the passphrase is wrong",
    }
    assert ended.code == 2
    assert said[wrong] in ended.err
    assert "Traceback" not in ended.err
    assert not list(made.party(name).glob("state/runs/wrong*"))


@pytest.mark.parametrize("wrong", ["verification", "loose keys", "no peers", "address"])
def test_a_service_that_would_not_be_safe_does_not_start(
    own: Companies, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE", PASSPHRASE)
    folder = own.party("telecom")
    settings = (folder / "party.toml").read_text()
    if wrong == "verification":
        (folder / "party.toml").write_text(settings + "[serve]\nverify = false\n")
    if wrong == "loose keys":
        (folder / "state" / "keys.json").chmod(0o644)
    if wrong == "no peers":
        for card in (folder / "state" / "peers").iterdir():
            card.unlink()
    if wrong == "address":
        (folder / "party.toml").write_text(settings + '[serve]\nlisten = "192.0.2.1:7443"\n')
    ended = tallystick(capfd, "party", "serve", "--config", folder)
    said = {
        "verification": "party.toml: [serve] verify is not to be chosen",
        "loose keys": "mode 0644: others may read it",
        "no peers": "no peer's pin is known",
        "address": "cannot listen at 192.0.2.1:7443",
    }
    assert ended.code == 2
    assert said[wrong] in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on_also_with_the_next_key_of_a_peer(
    ran: tuple[Companies, dict[str, str]],
) -> None:
    made, _ = ran
    words = ("run", "--agreement", made.signed, "--config", made.party("bank"), "--run", "second", "--json")
    with made.start(*words) as process:
        assert process.stderr is not None
        # The first word about where it stands: of training it may hear when the end is a second away.
        while not process.stderr.readline().startswith("["):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--run second" in err
    assert "Traceback" not in err
    at = (HOSTS["telecom"], made.port)
    before = ssl.get_server_certificate(at)
    rotated = made.done("party", "rotate", "--party", made.party("telecom"))
    assert rotated.returncode == 0, rotated.stderr
    await_(lambda: ssl.get_server_certificate(at) != before)
    ended = made.done(*words)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["metrics"] == ran[1]["metrics"]


def test_budgets_are_kept(own: Companies) -> None:
    assert own.agreement.contract is not None
    once = replace(own.agreement, contract=replace(own.agreement.contract, budgets={"runs": 1}))
    who = standing(own, "bank")
    admitted = who.admit(own.sign(once, *EVERYBODY).read_bytes())
    with pytest.raises(AgreementError, match="the run first is aborted"):
        Driving(who, "first", admitted, SystemClock(), patience=0).run(lambda line: None)
    with pytest.raises(AgreementError, match=r"contract\.budgets\.runs is 1"):
        Driving(who, "second", admitted, SystemClock(), patience=0)
