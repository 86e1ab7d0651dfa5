"""A store is copied while its owner writes: the copy is one moment, whole."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import pytest
from ledger_kit import open_log

from ledger import SQLiteStore, slot_name
from ledger.__main__ import main
from ledger.copying import copy_store
from ledger.errors import StoreDamaged, StoreError
from ledger.log import Log


def write(log: Log, start: int, count: int = 5) -> None:
    """A round of entries and their signed head."""
    for n in range(start, start + count):
        slot = slot_name("train", n, "note", "bank", "bank")
        log.append(phase="train", round=n, step="note", slot=slot, dir="local")
    log.checkpoint()


def test_a_copy_has_what_is_in_the_write_ahead_log(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "ledger.sqlite")
    log = open_log("bank", store)
    write(log, 0)
    shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "careless")
    copy_store(tmp_path / "ledger.sqlite", tmp_path / "copy")
    assert SQLiteStore(tmp_path / "careless").checkpoints() == [], "the file alone lacks it: why there is this command"
    copied = SQLiteStore(tmp_path / "copy")
    assert list(copied.rows()) == list(store.rows())
    assert copied.checkpoints() == store.checkpoints()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    write(log, 100)  # the writer was not disturbed
    assert len(open_log("bank", copied)) == 6, "and the copy opens as a log"


def test_copies_under_load_are_moments(tmp_path: Path) -> None:
    """Each has as many entries as its newest head says."""
    store = SQLiteStore(tmp_path / "ledger.sqlite")
    log, ended = open_log("bank", store), threading.Event()

    def writing() -> None:
        round = 0
        while not ended.is_set():
            write(log, 10 * round)
            round += 1

    thread = threading.Thread(target=writing)
    thread.start()
    try:
        sizes = []
        for n in range(10):
            copy_store(tmp_path / "ledger.sqlite", tmp_path / f"copy-{n}")
            copied = SQLiteStore(tmp_path / f"copy-{n}")
            count, heads = len(list(copied.rows())), copied.checkpoints()
            assert count == (heads[-1].size if heads else count)
            sizes.append(count)
            copied.close()
    finally:
        ended.set()
        thread.join()
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0], "it was written meanwhile"


def test_what_is_not_copied(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "ledger.sqlite")
    write(open_log("bank", store), 0)
    store.close()
    (tmp_path / "there").write_text("mine")
    with pytest.raises(StoreError, match="cannot be written: File exists"):
        copy_store(tmp_path / "ledger.sqlite", tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(StoreError, match="there is no store"):
        copy_store(tmp_path / "nothing", tmp_path / "copy")
    (tmp_path / "text").write_text("no database at all " * 100)
    with pytest.raises(StoreError, match="could not copy"):
        copy_store(tmp_path / "text", tmp_path / "copy")
    data = bytearray((tmp_path / "ledger.sqlite").read_bytes())
    data[4096:4296] = bytes(200)
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(StoreDamaged):
        copy_store(tmp_path / "damaged", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SQLiteStore(tmp_path / "witness.db").close()
    assert main(["copy", str(tmp_path / "witness.db"), str(tmp_path / "copy")]) == 0
    assert "a copy of" in capsys.readouterr().out
    assert main(["copy", str(tmp_path / "witness.db"), str(tmp_path / "copy"), "--json"]) == 1
    assert "File exists" in capsys.readouterr().err
    assert main(["copy", str(tmp_path / "witness.db"), str(tmp_path / "other"), "--json"]) == 0
    assert '"bytes":' in capsys.readouterr().out
