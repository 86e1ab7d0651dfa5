"""The pages about parties and agreements are true: what they print, the program does."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import party_kit
import pytest
from typer.testing import CliRunner

from ledger.keys import VerifyingKey
from vfl import party_commands
from vfl.agreements.leakage import LEAKS
from vfl.clauses import BUDGETS, RULES
from vfl.cli import app
from vfl.party import sealing
from vfl.party.actions import ACTIONS
from vfl.party.card import FIELDS, LABEL
from vfl.party.passphrase import VARIABLE
from vfl.party.template import template

DOCS = Path(__file__).resolve().parents[2] / "docs"
PARTY, AGREEMENTS = ((DOCS / f"guide/{name}.md").read_text("utf-8") for name in ("party", "agreements"))
SPEC = (DOCS / "spec/party.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, party_kit.PASSPHRASE)
    monkeypatch.setattr(party_commands, "_ask_for_fingerprint", lambda card, words: None)
    (tmp_path / "new-passphrase").write_text("another one, just as long")
    (tmp_path / "new-passphrase").chmod(0o600)
    (scenario,) = blocks(AGREEMENTS, "toml")
    (tmp_path / "joint.toml").write_text(scenario)
    lines = "".join(blocks(PARTY, "sh") + blocks(AGREEMENTS, "sh")).splitlines()
    seen = 0
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "tallystick"
        if words[:2] == ["agreement", "sign"]:
            words.append("--yes")
        if words[:2] in (["agreement", "diff"], ["agreement", "merge"]):
            (tmp_path / words[-1]).write_bytes((tmp_path / "joint.agreement").read_bytes())
        done = CliRunner().invoke(app, words)
        assert done.exception is None, f"{line}: {done.exception!r}"
        if words[:2] == ["party", "passphrase"]:
            back = tmp_path / "before"
            back.write_text(party_kit.PASSPHRASE)
            back.chmod(0o600)
            again = "party passphrase --party bank --passphrase-file new-passphrase --new-file before"
            assert CliRunner().invoke(app, again.split()).exception is None
        seen += 1
    assert seen >= 25


def test_the_page_shows_the_template() -> None:
    (toml,) = blocks(PARTY, "toml")
    assert toml == template("bank", "bank.example:7443", data=True)
    assert tomllib.loads(toml)["party"]["name"] == "bank"


def test_the_pages_list_what_there_is() -> None:
    assert dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|$", AGREEMENTS, re.M)) == dict(LEAKS)
    for rule in (set(RULES) - {"shares"}) | set(BUDGETS):
        assert f"`{rule}`" in AGREEMENTS
    table = PARTY[PARTY.index("| action |") :].split("\n\n")[0]
    assert list(dict.fromkeys(re.findall(r"`(\w+) [A-Z][^`]*`", table))) == list(ACTIONS)
    argon = f"{sealing.MEMORY_KIB // 1024} MiB, {sealing.ITERATIONS} passes, {sealing.LANES} lanes"
    assert argon in PARTY


def test_the_specification_shows_a_card_and_a_key_file() -> None:
    card = blocks(SPEC, "text")[0].splitlines()
    assert card[0] == LABEL
    assert [line.partition(" ")[0] for line in card[1:6]] == list(FIELDS)
    for line in card[2:4]:
        VerifyingKey.parse(line.partition(" ")[2])
    assert f'"memory_kib": {sealing.MEMORY_KIB}, "iterations": {sealing.ITERATIONS}, "lanes": {sealing.LANES}' in SPEC
