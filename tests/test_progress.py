"""Where a run stands: for a terminal, for a log, for a parent process."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from run_kit import TWO, command, scenario

from vfl import progress
from vfl.progress import PHASES, Lines, Plain, Silent, shown, tell

ORDER = ["prepare", "handshake", "psi", "align", "bins", "train", "score", "freeze", "compare", "audit"]


def test_a_log_gets_one_line_a_phase_and_one_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    out = io.StringIO()
    plain = Plain(out)
    for round in range(30):
        plain.enter("train", round, 30)
        moment[0] += 1.0
    plain.enter("score", 0)
    plain.enter("a new phase", 0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "[   0.0 s] training on encrypted histograms"
    assert lines[1] == "[   6.0 s] round 7 of 30"
    assert lines[-2:] == ["[  30.0 s] scoring the hold-out", "[  30.0 s] a new phase"]
    assert len(lines) == 1 + 4 + 2


def test_a_parent_gets_one_json_object_a_line() -> None:
    out = io.StringIO()
    Lines(out).enter("train", 3, 30)
    Lines(out).enter("score", 0)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert told == [{"phase": "train", "round": 3, "rounds": 30}, {"phase": "score", "round": 0, "rounds": 1}]


def test_silence_is_no_trouble() -> None:
    Silent().enter("train", 1, 2)


def test_a_reader_who_left_is_no_trouble_not_even_at_the_last_flush() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        plain = Plain(out)
        plain.enter("train", 1, 2)
        plain.enter("score", 1, 2)
        out.write("half a line that Python still holds when it ends")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        tell(out, "trial 1\n")
        tell(out, "trial 2\n")


def test_without_a_terminal_there_are_plain_lines_on_stderr(capfd: Any) -> None:
    with shown() as display:
        display.enter("psi", 0)
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err == "[   0.0 s] finding common customers\n"


def on_a_terminal(words: list[str], columns: int) -> tuple[int, str]:
    """Run with stderr on a terminal of that width; exit code and everything drawn there."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=slave, env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    ) as child:
        os.close(slave)
        drawn = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the end, as Linux tells it
                break
            if not part:
                break
            drawn += part
    os.close(master)
    return child.returncode, drawn.decode()


def final_lines(drawn: str) -> list[str]:
    """The screen at the end: what was not drawn over."""
    lines = [""]
    row = 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", drawn):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.startswith("\x1b[") and part.endswith("A"):
            row -= int(part[2:-1] or 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and not part.startswith(("\x1b", "\r")):
            lines[row] += part
    return [line for line in lines if line.strip()]


@pytest.mark.parametrize("columns", [80, pytest.param(120, marks=pytest.mark.slow)])
def test_a_terminal_shows_every_phase_on_a_line_and_all_of_them_done(tmp_path: Path, columns: int) -> None:
    code, drawn = on_a_terminal(command("run", scenario(tmp_path, TWO), "--out", tmp_path / "out"), columns)
    assert code == 0, drawn
    lines = final_lines(drawn)
    texts = [PHASES[phase] for phase in ORDER]
    for text, line in zip(texts, lines, strict=True):
        assert text in line
        assert len(line.rstrip()) <= columns
        done, total = re.search(r"(\d+)/(\d+)", line).groups()  # type: ignore[union-attr]
        assert done == total, line
    assert "3/3" in next(line for line in lines if PHASES["train"] in line)
