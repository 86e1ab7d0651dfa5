"""A party whose ledger rests in PostgreSQL: the same run, the same checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_kit import data_folder, start
from run_kit import scenario, tallystick, verify

from ledger.store import SQLiteStore
from vfl.errors import UsageError
from vfl.own_ledger import open_store
from vfl.replaying import replay


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with data_folder() as folder:
        running = start(folder)
        import psycopg

        from ledger.postgres import main

        with psycopg.connect(running.get_uri()) as db:
            db.execute("CREATE ROLE bank_writer LOGIN")
        assert main([running.get_uri(), "--writer", "bank_writer"]) == 0
        yield running.get_uri().replace("postgres:@", "bank_writer@")
        running.cleanup()


def with_ledger(own: Path, address: str) -> Path:
    text = own.read_text()
    own.write_text(text.replace('role = "active"\n', f'role = "active"\nledger = "{address}"\n', 1))
    assert own.read_text() != text
    return own


def test_a_run_keeps_its_ledger_there(address: str, tmp_path: Path, capfd: Any) -> None:
    own, out = with_ledger(scenario(tmp_path / "own"), address), tmp_path / "run"
    ended = tallystick(capfd, "run", own, "--out", out)
    assert ended.code == 0, ended.err
    assert not (out / "bank" / "ledger.sqlite").exists()
    assert verify(out).returncode == 0
    replay(out, "bank")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://bank@db/ledger", "no address of a PostgreSQL database"),
        ("postgresql://bank:secret@db/ledger", "holds a password"),
        ("postgresql://bank@db/ledger?password=secret", "holds a password"),
    ],
)
def test_a_bad_address_is_refused_without_repeating_it(address: str, words: str, tmp_path: Path, capfd: Any) -> None:
    ended = tallystick(capfd, "run", with_ledger(scenario(tmp_path / "own"), address), "--out", tmp_path / "run")
    assert ended.code == 2
    assert words in ended.err
    assert "secret" not in ended.err + ended.out
    assert not (tmp_path / "run.partial").exists()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="needs pip install 'tallystick[postgres]'")
    with pytest.raises(UsageError, match="could not open log bank/run-1") as caught:
        open_store(f"postgresql://bank@/ledger?host={tmp_path}", "bank/run-1")
    assert "Check that the server runs" in caught.value.remedy
    store = open_store(tmp_path / "ledger.sqlite", "bank/run-1")
    assert isinstance(store, SQLiteStore)
    store.close()
