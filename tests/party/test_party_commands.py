"""`tallystick party` and `tallystick agreement`, as two companies type them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import party_kit
import pytest
from typer.testing import CliRunner

from vfl import agreement_commands, model_commands, party_commands, purge_commands, purging
from vfl.cli import app
from vfl.clock import FixedClock
from vfl.errors import AgreementError, UsageError, VflError
from vfl.notary import PeerKeys
from vfl.party import sealing
from vfl.party.card import Card
from vfl.party.config import read_party_file
from vfl.party.keystore import unlock
from vfl.party.passphrase import VARIABLE
from vfl.party.state import AGREEMENTS, own_card, trusted
from vfl.party.status import status
from vfl.seat import RunFile

RUNNER = CliRunner()


@pytest.fixture(autouse=True, scope="module")
def stretched_once() -> Iterator[None]:
    """Argon2id is asked once for each passphrase and salt: what it is for, test_keystore.py tests."""
    known: dict[str, bytes] = {}
    honest = sealing._stretched
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sealing,
            "_stretched",
            lambda word, head: known.setdefault(f"{word}{head}", known.get(f"{word}{head}") or honest(word, head)),
        )
        yield


@pytest.fixture(autouse=True)
def here(parties: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in the folder of both parties, and nobody sits at the keyboard."""
    monkeypatch.chdir(parties)
    monkeypatch.setenv(VARIABLE, party_kit.PASSPHRASE)
    (parties / "joint.toml").write_text(party_kit.scenario_text())
    return parties


def tallystick(*words: str) -> str:
    """What a command says; raises what it raises."""
    found = RUNNER.invoke(app, list(words))
    if found.exception is not None:
        raise found.exception
    return found.stdout


def told(*words: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(tallystick(*words, "--json"))
    return body


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    clock = FixedClock(party_kit.NOW + timedelta(days=days))
    for module in (party_commands, agreement_commands):
        monkeypatch.setattr(module, "SystemClock", lambda: clock)


def with_approvers(party: str = "bank") -> None:
    for name in ("risk", "security"):
        tallystick("party", "approver", "add", name, f"{name}.key.pub", "--party", party)


def both_approve(action: str, what: str, party: str = "bank") -> None:
    for name in ("risk", "security"):
        tallystick("party", "approve", action, what, "--key", f"{name}.key", "--party", party)


# ---- party -----------------------------------------------------------------------------------------------------------


def test_a_party_is_made_and_says_what_is_next(here: Path) -> None:
    said = tallystick("party", "init", "shop", "--name", "shop", "--address", "shop.example:7443")
    card = own_card(here / "shop/state")
    assert card.fingerprint in said
    assert read_party_file(here / "shop").table is not None
    assert tallystick("party", "card", "--party", "shop") == card.note
    tallystick("party", "card", "--party", "shop", "--out", "shop.card")
    assert Card.read(here / "shop.card") == card


def test_a_regulator_brings_no_table(here: Path) -> None:
    tallystick("party", "init", "regulator", "--name", "regulator", "--address", "127.0.0.1:1", "--role-less")
    assert read_party_file(here / "regulator").table is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("bank", "--name", "bank", "--address", "127.0.0.1:1"), "exists already"),
        (("new", "--name", "Bank", "--address", "127.0.0.1:1"), "--name: party name 'Bank'"),
        (("new", "--name", "bank", "--address", "127.0.0.1"), "--address is '127.0.0.1'"),
        (("new", "--name", "bank", "--address", "127.0.0.1:1", "--passphrase-file", "nowhere"), "cannot be read"),
        (("new", "--name", "bank", "--address", "127.0.0.1:1", "--passphrase-file", "short"), "5 characters"),
        (("new", "--name", "bank", "--address", "127.0.0.1:1", "--passphrase-file", "empty"), "is empty"),
        (("new", "--name", "bank", "--address", "127.0.0.1:1", "--passphrase-file", "open"), "others may read it"),
        (("pw/new", "--name", "bank", "--address", "127.0.0.1:1"), "Not a directory"),
    ],
)
def test_what_is_no_party_is_not_made(here: Path, words: tuple[str, ...], says: str) -> None:
    for name, text, mode in (("short", "short", 0o600), ("empty", "\n", 0o600), ("open", party_kit.PASSPHRASE, 0o644)):
        (here / name).write_text(text)
        (here / name).chmod(mode)
    with pytest.raises(UsageError, match=says):
        tallystick("party", "init", *words)
    assert not (here / "new").exists()


def test_nothing_is_left_of_a_party_that_could_not_be_made(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "party.toml")

    monkeypatch.setattr("vfl.party.founding.write_data", full)
    with pytest.raises(UsageError, match="No space left"):
        tallystick("party", "init", "new", "--name", "new", "--address", "127.0.0.1:1")
    assert not (here / "new").exists()


def test_nobody_is_asked_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError, match="nobody to ask for") as caught:
        tallystick("party", "rotate", "--party", "bank")
    assert VARIABLE in caught.value.remedy


def test_the_passphrase_never_stands_on_a_command_line() -> None:
    for name in ("init", "card", "rotate", "passphrase", "approve"):
        words = RUNNER.invoke(app, ["party", name, "--help"]).stdout
        assert "--passphrase-file" in words
        assert not re.search(r"--passphrase(?!-file)\b", words)


def test_a_peer_is_trusted_by_its_fingerprint(here: Path) -> None:
    (here / "bank/state/peers/telecom.card").unlink()
    card = "telecom/state/card.txt"
    with pytest.raises(UsageError, match="nobody has compared the fingerprint"):
        tallystick("party", "trust", card, "--party", "bank")
    with pytest.raises(UsageError, match="not the one given"):
        tallystick("party", "trust", card, "--party", "bank", "--fingerprint", "1" * 40)
    assert trusted(here / "bank/state") == {}
    digits = told("party", "card", "--party", "telecom")["fingerprint"]
    tallystick("party", "trust", card, "--party", "bank", "--fingerprint", digits.replace(" ", "-"))
    assert list(trusted(here / "bank/state")) == ["telecom"]


def test_another_identity_is_refused_until_somebody_says_so(here: Path) -> None:
    tallystick("party", "init", "evil", "--name", "telecom", "--address", "127.0.0.1:7444")
    card, digits = "evil/state/card.txt", own_card(here / "evil/state").fingerprint
    with pytest.raises(UsageError, match="ANOTHER IDENTITY"):
        tallystick("party", "trust", card, "--party", "bank", "--fingerprint", digits)
    assert trusted(here / "bank/state")["telecom"] == own_card(here / "telecom/state")
    with_approvers()
    with pytest.raises(UsageError, match="must be approved by 2 of risk, security"):
        tallystick("party", "trust", card, "--party", "bank", "--fingerprint", digits, "--replace")
    both_approve("pins", card)
    tallystick("party", "trust", card, "--party", "bank", "--fingerprint", digits, "--replace")
    assert trusted(here / "bank/state")["telecom"].fingerprint == digits


def test_rotation_needs_no_haste(here: Path) -> None:
    before = own_card(here / "telecom/state")
    tallystick("party", "rotate", "--party", "telecom")
    after = own_card(here / "telecom/state")
    assert after.fingerprint == before.fingerprint
    assert after.pins[0] == before.pins[1], "whoever has the old card knows the new key already"
    assert after.pins[1] not in before.pins
    assert unlock(here / "telecom/state", party_kit.PASSPHRASE).certificate == after.certificates[0]
    with_approvers()
    digits = after.fingerprint
    with pytest.raises(UsageError, match="another key or certificate of a peer must be approved"):
        tallystick("party", "trust", "telecom/state/card.txt", "--party", "bank", "--fingerprint", digits)
    both_approve("pins", "telecom/state/card.txt")
    tallystick("party", "trust", "telecom/state/card.txt", "--party", "bank", "--fingerprint", digits)
    assert trusted(here / "bank/state")["telecom"] == after


def test_an_old_card_does_not_come_back(here: Path) -> None:
    shutil.copy("telecom/state/card.txt", "old.card")
    tallystick("party", "rotate", "--party", "telecom")
    digits = own_card(here / "telecom/state").fingerprint
    tallystick("party", "trust", "telecom/state/card.txt", "--party", "bank", "--fingerprint", digits)
    with pytest.raises(UsageError, match="a newer one"):
        tallystick("party", "trust", "old.card", "--party", "bank", "--fingerprint", digits)


def test_a_new_address_needs_a_new_card(here: Path) -> None:
    settings = here / "telecom/party.toml"
    settings.write_text(settings.read_text().replace("127.0.0.1:7444", "127.0.0.1:7445"))
    assert any("card --renew" in each for each in told("party", "status", "--party", "telecom")["warnings"])
    tallystick("party", "card", "--renew", "--party", "telecom")
    assert "another address" in tallystick("party", "trust", "telecom/state/card.txt", "--party", "bank")
    assert trusted(here / "bank/state")["telecom"].address == "127.0.0.1:7445"


def test_the_passphrase_is_changed(here: Path) -> None:
    (here / "new").write_text("another one, just as long\n")
    (here / "new").chmod(0o600)
    with pytest.raises(UsageError, match="nobody to ask for: New passphrase"):
        tallystick("party", "passphrase", "--party", "bank")
    tallystick("party", "passphrase", "--party", "bank", "--new-file", "new")
    unlock(here / "bank/state", "another one, just as long")
    with pytest.raises(UsageError, match="passphrase is wrong"):
        tallystick("party", "passphrase", "--party", "bank", "--new-file", "new")


def test_status_shows_and_warns(here: Path) -> None:
    body = told("party", "status", "--party", "bank")
    assert body["warnings"] == [f"[data] table {Path('bank/customers.parquet')} is not there"]
    assert body["peers"]["telecom"]["fingerprint"] == own_card(here / "telecom/state").fingerprint
    assert [one["days_left"] for one in body["certificates"]] == [364, 729]
    words = tallystick("party", "status", "--party", "bank")
    assert body["fingerprint"] in words
    assert "rule of two is off" in words


def test_status_warns_of_what_needs_somebody(here: Path) -> None:
    party = read_party_file(here / "bank")
    soon = [status(party, party_kit.NOW + timedelta(days=days))["warnings"] for days in (340, 400, 800)]
    assert "certificate of bank ends in 24 days: run `tallystick party rotate`" in soon[0][0]
    assert "certificate of bank has expired" in soon[1][0]
    assert "certificate of telecom has expired: ask telecom" in soon[2][1]
    (here / "bank/state/keys.json").chmod(0o644)
    assert any("others may read it" in each for each in told("party", "status", "--party", "bank")["warnings"])
    settings = here / "bank/party.toml"
    settings.write_text(settings.read_text().replace("# disk_free = 1024", "disk_free = 999999999"))
    assert any("MB are free" in each for each in told("party", "status", "--party", "bank")["warnings"])
    settings.write_text(settings.read_text().replace('name = "bank"', 'name = "tank"'))
    assert any("names tank" in each for each in told("party", "status", "--party", "bank")["warnings"])


def test_status_lists_runs_as_far_as_they_are(here: Path) -> None:
    runs = here / "bank/state/runs"
    (runs / "one.partial").mkdir()
    (runs / "one.partial/status.json").write_text('{"state": "running"}')
    (runs / "one.partial/progress.json").write_text('{"phase": "train"}')
    (runs / "two").mkdir()
    (runs / "two/status.json").write_text("{tor")
    assert told("party", "status", "--party", "bank")["runs"] == [
        {"run": "one", "state": "running", "phase": "train"},
        {"run": "two", "state": "done", "phase": ""},
    ]
    assert "running" in tallystick("party", "status", "--party", "bank")


def test_the_list_of_approvers_is_under_its_own_rule(here: Path) -> None:
    with_approvers()
    for words in (("add", "legal", "legal.key.pub"), ("remove", "security")):
        with pytest.raises(UsageError, match="another list of approvers must be approved"):
            tallystick("party", "approver", *words, "--party", "bank")
    both_approve("approver", "legal.key.pub")
    assert "legal, risk, security" in tallystick(
        "party", "approver", "add", "legal", "legal.key.pub", "--party", "bank"
    )
    with pytest.raises(UsageError, match="must be approved"):
        tallystick("party", "approver", "remove", "security", "--party", "bank")
    both_approve("approver", "security")
    assert told("party", "approver", "remove", "security", "--party", "bank") == {"approvers": ["legal", "risk"]}


def test_one_person_is_one_approver(here: Path) -> None:
    words = tallystick("party", "approver", "key", "audit", "--out", "audit.key")
    assert "audit.key.pub" in words
    tallystick("party", "approver", "add", "risk", "risk.key.pub", "--party", "bank")
    with pytest.raises(UsageError, match="is an approver already"):
        tallystick("party", "approver", "add", "risk", "risk.key.pub", "--party", "bank")
    with pytest.raises(UsageError, match="is the key of risk, not of security"):
        tallystick("party", "approver", "add", "security", "risk.key.pub", "--party", "bank")
    with pytest.raises(UsageError, match=r"no action 'pin'"):
        tallystick("party", "approve", "pin", "x", "--key", "risk.key", "--party", "bank")


# ---- agreements ------------------------------------------------------------------------------------------------------

DRAFT = ("--purpose", "joint credit model", "--legal-basis", "legitimate interest", "--expires", "2099-12-31")


def draft(out: str, *more: str, scenario: str = "joint.toml") -> str:
    cards = ("--party", "bank", "--with", "telecom/state/card.txt")
    words = ("agreement", "draft", scenario, *cards, *DRAFT, "--out", out, *more)
    return str(told(*words)["digest"])


def sign(file: str, *parties: str) -> None:
    for party in parties:
        tallystick("agreement", "sign", file, "--party", party, "--yes")


def test_two_companies_agree(here: Path) -> None:
    digest = draft("joint.agreement", "--budget", "runs=3", "--revenue", "bank=62.5,telecom=37.5")
    with pytest.raises(AgreementError, match="bank, telecom have not signed"):
        tallystick("agreement", "check", "joint.agreement")
    with pytest.raises(UsageError, match=r"this would sign joint.agreement"):
        tallystick("agreement", "sign", "joint.agreement", "--party", "bank")
    sign("joint.agreement", "bank", "telecom")
    assert told("agreement", "check", "joint.agreement", "--party", "bank")["digest"] == digest
    assert (here / "bank/state" / AGREEMENTS / f"{digest}.json").exists()
    words = tallystick("agreement", "show", "joint.agreement")
    for part in ("joint credit model", "legitimate interest", "2099-12-31", "calls", "3 runs", "bank 62.5 %", digest):
        assert part in words
    assert "NOT SIGNED" not in words
    assert told("agreement", "show", "joint.agreement")["missing"] == []


def test_copies_signed_side_by_side_are_put_together(here: Path) -> None:
    digest = draft("joint.agreement")
    copy = shutil.copyfile("joint.agreement", "copy.agreement")
    sign("joint.agreement", "bank")
    sign("copy.agreement", "telecom")
    one_by_one = shutil.copyfile("joint.agreement", "whole.agreement")
    sign("whole.agreement", "telecom")
    words = ("agreement", "merge", "copy.agreement", "joint.agreement", "--out", "both.agreement")
    assert told(*words) == {"file": "both.agreement", "digest": digest, "missing": []}
    assert Path("both.agreement").read_bytes() == Path(one_by_one).read_bytes()
    assert told("agreement", "show", copy)["missing"] == ["bank"], "with --out it is as it was"
    with pytest.raises(UsageError, match=r"both.agreement exists already"):
        tallystick(*words)
    for _ in range(2):
        said = tallystick("agreement", "merge", "joint.agreement", "copy.agreement")
        assert said == "joint.agreement is signed by bank, telecom; all have signed\n"
        assert Path("joint.agreement").read_bytes() == Path(one_by_one).read_bytes()
    assert told("agreement", "check", "joint.agreement", "--party", "bank")["digest"] == digest


def test_another_agreement_is_not_put_together_with_this(here: Path) -> None:
    draft("a.agreement")
    draft("b.agreement", "--budget", "scores=9")
    sign("a.agreement", "bank")
    sign("b.agreement", "telecom")
    before = Path("a.agreement").read_bytes()
    with pytest.raises(AgreementError, match=r"b.agreement differs from ours in contract.budgets.scores: .*null, .* 9"):
        tallystick("agreement", "merge", "a.agreement", "b.agreement")
    assert Path("a.agreement").read_bytes() == before


def test_differences_are_named_clause_by_clause() -> None:
    draft("a.agreement")
    draft("b.agreement", "--budget", "scores=9", "--revenue", "equal")
    assert tallystick("agreement", "diff", "a.agreement", "a.agreement") == "the same clauses\n"
    assert tallystick("agreement", "diff", "a.agreement", "b.agreement").splitlines() == [
        "contract.budgets.scores: null -> 9",
        'contract.revenue.rule: "none" -> "equal"',
    ]


def test_less_privacy_is_not_signed_by_the_way(here: Path) -> None:
    draft("joint.agreement")
    sign("joint.agreement", "bank")
    (here / "open.toml").write_text(party_kit.scenario_text(privacy='scheme = "paillier"\n'))
    draft("open.agreement", scenario="open.toml")
    with pytest.raises(AgreementError, match=r"privacy.level is disclosed, and was hidden"):
        sign("open.agreement", "bank")
    with_approvers()
    words = ("agreement", "sign", "open.agreement", "--party", "bank", "--yes", "--less-privacy")
    with pytest.raises(UsageError, match="an agreement with less privacy must be approved"):
        tallystick(*words)
    both_approve("agreement", "open.agreement")
    assert "LESS PRIVACY: privacy.level" in tallystick(*words)
    draft("again.agreement")
    sign("again.agreement", "bank")


def test_the_shipped_scenarios_can_be_drafted(here: Path) -> None:
    draft("pos.agreement", "--parties", "bank,telecom", "--model", "scorecard", scenario="pos-loan")
    assert "kind = scorecard" in tallystick("agreement", "show", "pos.agreement")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--budget", "runs=0"), "contract.budgets.runs is 0"),
        (("--budget", "runs"), "--budget is 'runs'"),
        (("--budget", "runs=1", "--budget", "runs=2"), "--budget is 'runs=2'"),
        (("--revenue", "luck"), "--revenue is 'luck'"),
        (("--revenue", "bank=60,telecom=41"), "contract.revenue shares out"),
        (("--revenue", "bank=60.001,telecom=39.999"), "--revenue is"),
        (("--revenue", "bank=nan,telecom=1"), "--revenue is"),
        (("--expires", "soon"), "contract.expires is 'soon'"),
        (("--expires", "2020-01-01"), "expired"),
        (("--legal-basis", " "), "legal_basis is blank"),
        (("--purpose", ""), "--purpose is blank"),
        (("--allow", "everything"), "contract.leakage names everything"),
        (("--allow", "bin-sums"), "does not allow common-customers, split-answers"),
        (("--out", "joint.toml"), "exists already"),
        (("--with", "bank/party.toml"), "is no card"),
    ],
)
def test_a_draft_that_makes_no_sense(here: Path, more: tuple[str, ...], says: str) -> None:
    with pytest.raises(VflError, match=says):
        draft("new.agreement", *more)
    assert not (here / "new.agreement").exists()


def test_a_draft_needs_every_card_and_every_column(here: Path) -> None:
    words = ("agreement", "draft", "joint.toml", "--with", "bank/state/card.txt", *DRAFT, "--out", "x")
    with pytest.raises(UsageError, match="no card of telecom"):
        tallystick(*words)
    (here / "joint.toml").write_text(party_kit.scenario_text().replace('features = ["calls"]\n', ""))
    with pytest.raises(UsageError, match=r"\[party.telecom\] lists no features, and telecom.csv is not here"):
        draft("x")


def test_keys_of_strangers_are_not_signed(here: Path) -> None:
    tallystick("party", "init", "evil", "--name", "telecom", "--address", "127.0.0.1:7444")
    words = ("agreement", "draft", "joint.toml", "--party", "bank", "--with", "evil/state/card.txt", *DRAFT)
    tallystick(*words, "--out", "evil.agreement")
    with pytest.raises(AgreementError, match=r"contract.parties.telecom has another key than the card"):
        sign("evil.agreement", "bank")
    draft("joint.agreement")
    (here / "bank/state/peers/telecom.card").unlink()
    with pytest.raises(AgreementError, match="names telecom, whose card is not trusted"):
        sign("joint.agreement", "bank")


def test_columns_that_are_not_offered_are_not_signed(here: Path) -> None:
    draft("joint.agreement")
    settings = here / "telecom/party.toml"
    settings.write_text(settings.read_text().replace('# features = ["income"]', 'features = ["tenure"]'))
    with pytest.raises(AgreementError, match=r"members\[telecom\].features has calls, which \[data\] features"):
        sign("joint.agreement", "telecom")


def test_an_expired_agreement_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    draft("joint.agreement", "--expires", (party_kit.NOW + timedelta(days=5)).date().isoformat())
    later(monkeypatch, 7)
    with pytest.raises(AgreementError, match="expired"):
        sign("joint.agreement", "bank")


# ---- what happens to a run -------------------------------------------------------------------------------------------


def a_run(folder: Path) -> Path:
    """A run of both, as far as its first file."""
    keys = {name: PeerKeys(who.public.identity, who.public.witness) for name, who in party_kit.identities().items()}
    folder.mkdir(parents=True)
    RunFile("joint-1", party_kit.drafted().agreement, keys).write(folder)
    return folder


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was released or destroyed."""
    found: list[str] = []

    def share(*_: object) -> bytes:
        found.append("released")
        return b"{}"

    def purge(*_: object, **__: object) -> purging.Purged:
        found.append("destroyed")
        return purging.Purged("now", {})

    monkeypatch.setattr(model_commands.exporting, "share", share)
    monkeypatch.setattr(purge_commands.purging, "purge", purge)
    return found


def test_a_model_is_released_by_two(here: Path, done: list[str]) -> None:
    run = str(a_run(here / "bank/state/runs/joint-1"))
    with_approvers()
    words = ("export", run, "--out", "share.json")
    with pytest.raises(UsageError, match="the release of a model must be approved by 2 of risk, security"):
        tallystick(*words)
    both_approve("purge", run)
    with pytest.raises(UsageError, match="nobody did"):
        tallystick(*words)
    both_approve("release", run)
    tallystick(*words)
    assert done == ["released"]


def test_keys_are_destroyed_by_two(here: Path, done: list[str]) -> None:
    run = str(a_run(here / "bank/state/runs/joint-1"))
    (Path(run) / "purged.bundle").touch()
    with_approvers()
    words = ("purge", run, "--party", "bank", "--yes")
    with pytest.raises(UsageError, match="the destruction of keys and data must be approved"):
        tallystick(*words)
    assert done == []
    both_approve("purge", run)
    tallystick(*words)
    assert done == ["destroyed"]


def test_runs_of_one_desk_need_nobody(here: Path, done: list[str]) -> None:
    with_approvers()
    tallystick("export", str(a_run(here / "elsewhere/joint-1")), "--out", "share.json")
    assert done == ["released"]
