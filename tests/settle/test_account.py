"""A settlement as people read it: in the report, in pictures, in two languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from board_kit import FakeScorer, Hands, application, ask
from run_kit import TOML, Runs, here
from settling_kit import bundle_of, changed, desk, said

from ledger.policy import Policy
from vfl.board.observed import Observed
from vfl.serve_commands import settled_in
from vfl.settle.account import account_of, read_account


def policy(root: Path) -> Policy:
    return Policy.parse((root / "policy.txt").read_bytes())


def test_it_says_who_is_worth_and_paid_what(settled_made: Path) -> None:
    found = account_of(settled_made, policy(settled_made))
    assert found is not None
    assert found.checked.code == 0
    assert {one.name for one in found.players} == {"Telecom plc", "payroll"}
    assert sum(one.ppm for one in found.players) == 1_000_000
    assert found.null is not None
    assert found.null.ppm == 0
    assert sum(one.amount for one in found.payments) == 41 * 25
    assert {one.period for one in found.payments} == {found.usage[0]["period"]}
    assert (found.penalties, found.disputes, found.totals) == ([], [], (3 * 1001 + 41 * 25, 41 * 25))
    assert account_of(settled_made / "bank", policy(settled_made)) is None


def test_disputes_and_penalties_are_in_it(settled: Path) -> None:
    from test_penalties import fork

    (settled / "fork.json").write_bytes(fork(settled))
    said("slash", settled / "fork.json", "--run", settled)
    with desk(settled) as mine:
        mine.call("bank", "proposeShares", mine.job, 203001, [0, 500_000, 500_000], bytes(32))
        mine.call("payroll", "dispute", mine.job, 203001)
        mine.must(mine.turn())
        from vfl.settle import settling

        settling.write_files(mine)
    found = account_of(settled, policy(settled))
    assert found is not None
    assert [(one.accused, one.reporter, one.ground) for one in found.penalties] == [("telecom", "bank", "notes")]
    assert found.disputes == [("203001", "payroll")]


def test_what_does_not_hold_is_said_first(settled_made: Path) -> None:
    bent = changed(bundle_of(settled_made), "artefacts/shares.json", lambda data: data.replace(b"payroll", b"payrowl"))
    found = read_account(bent, policy(settled_made))
    assert any("shares.json" in fault for fault in found.checked.faults)
    assert found.contribution is not None, "and what follows from the patterns is shown all the same"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_report_has_it_all(settled_made: Path, tmp_path: Path, lang: str) -> None:
    told = here("report", "make", settled_made, "--lang", lang, "--format", "html,json", "--out", tmp_path)
    assert told.returncode == 0, told.stderr
    page = (tmp_path / f"report.{lang}.html").read_text(encoding="utf-8")
    section = page[page.index('id="s14"') : page.index('id="s15"')]
    for words in ("Telecom plc", "10.25 EUR", "10.01 EUR", "tallystick settle check"):
        assert words in section, words
    body = tmp_path / f"report.{lang}.json"
    checked = here(
        "report", "check", body, "--policy", settled_made / "policy.txt", "--bundle", settled_made / "audit.bundle"
    )
    assert checked.returncode == 0, checked.stderr


def test_pictures(settled_made: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tallystick[plots]'")
    told = here("settle", "show", settled_made, "--plots", tmp_path / "pictures")
    assert told.returncode == 0, told.stderr
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["contribution.png", "contribution.svg", "payments.png", "payments.svg"]
    assert "drawn: " in told.stdout
    assert json.loads(here("settle", "show", settled_made, "--json").stdout)["shares"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_console_has_a_page_of_it(settled: Path, lang: str) -> None:
    from test_penalties import fork

    app = application(FakeScorer(Observed(Hands())), Observed(Hands()), settlement=settled_in(settled))
    assert 'href="/board/settlement"' in ask(app, f"/?lang={lang}").text
    page = ask(app, f"/board/settlement?lang={lang}")
    assert page.status == 200, page.text
    assert "{" not in re.sub(r"<(pre|template|code)[^>]*>.*?</\1>|<[^>]*>", "", page.text, flags=re.S)
    assert 'data-state="ok"' in page.text
    for words in ("Telecom plc", "10.25 EUR", "10.01 EUR"):
        assert words in page.text
    (settled / "fork.json").write_bytes(fork(settled))
    said("slash", settled / "fork.json", "--run", settled)
    assert "0.00 EUR" in ask(app, f"/board/settlement?lang={lang}").text, "read anew once it has changed"
    bundle = settled / "settlement" / "settlement.bundle"
    bundle.write_bytes(
        changed(bundle.read_bytes(), "artefacts/shares.json", lambda data: data.replace(b"payroll", b"x"))
    )
    assert 'data-state="fault"' in ask(app, f"/board/settlement?lang={lang}").text
    bundle.unlink()
    assert ask(app, f"/board/settlement?lang={lang}").status == 404


def test_where_nothing_is_agreed_there_is_no_page(finished: Runs) -> None:
    assert settled_in(finished(TOML).out) is None
    app = application(FakeScorer(Observed(Hands())), Observed(Hands()))
    assert "/board/settlement" not in ask(app, "/").text
    assert ask(app, "/board/settlement").status == 404
