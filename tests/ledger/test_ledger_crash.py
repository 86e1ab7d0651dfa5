"""The process is killed while it writes: nothing that was acknowledged may be lost or changed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_kit import open_log

from ledger import SQLiteStore

HERE = Path(__file__).parent
LIFE = 20  # kills that one log lives through
WRITER = """
import os, sys
from ledger_kit import open_log
from ledger import Payload, SQLiteStore, slot_name

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one write: a line is there whole or not at all

def write(path):
    log = open_log("bank", SQLiteStore(path))
    while True:
        start = len(log)
        for n in range(start, start + 7):
            slot = slot_name("train", n, "hist", "bank", "telecom")
            payload = Payload.of(b"x", "H")
            log.append(phase="train", round=n, step="hist", slot=slot, dir="send", peer="telecom", payload=payload)
        if start // 7 % 2:
            log.checkpoint()
        else:
            log.commit()
        say("kept", len(log), log.root().hex())

# A fork a line: the interpreter and its imports are paid for once.
for line in sys.stdin:
    child = os.fork()
    if not child:
        write(line.strip())
    say("child", child)
    status = os.waitpid(child, 0)[1]
    say("ended", os.waitstatus_to_exitcode(status))
"""


def heard(what, out, acknowledged):
    """Wait for this word; what is acknowledged meanwhile is noted, size and root."""
    while line := out.readline().split():
        if line[0] == "kept":
            acknowledged[int(line[1])] = line[2]
        if line[0] == what:
            return line[1]
    raise AssertionError(f"the writer ended without {what}")


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_no_acknowledged_entry_is_lost(tmp_path, kills):
    chance = random.Random(kills)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WRITER], env=environment, **pipes) as process:
        for kill in range(kills):
            if kill % LIFE == 0:
                path, acknowledged = tmp_path / f"{kill}.db", {}
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            child = int(heard("child", process.stdout, acknowledged))
            if kill % 4:  # every fourth child may still be about to open the log
                heard("kept", process.stdout, acknowledged)
            time.sleep(chance.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            assert heard("ended", process.stdout, acknowledged) == str(-signal.SIGKILL)
            store = SQLiteStore(path)
            log = open_log("bank", store)
            assert len(log) >= max(acknowledged, default=0)
            assert len(log) % 7 == 1, "a batch is kept whole or not at all"
            assert all(log.root(size).hex() == root for size, root in acknowledged.items())
            store.close()
        process.stdin.close()
