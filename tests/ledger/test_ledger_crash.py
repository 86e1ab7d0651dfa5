"""The process is killed while it commits: nothing that was acknowledged may be lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ledger_kit import open_log

from ledger import SQLiteStore

HERE = Path(__file__).parent
WRITER = """
import sys
from ledger_kit import open_log
from ledger import Payload, SQLiteStore, slot_name
log = open_log("bank", SQLiteStore(sys.argv[1]))
while True:
    start = len(log)
    for n in range(start, start + 7):
        slot = slot_name("train", n, "hist", "bank", "telecom")
        payload = Payload.of(b"x", "H")
        log.append(phase="train", round=n, step="hist", slot=slot, dir="send", peer="telecom", payload=payload)
    log.commit()
    print(len(log), flush=True)
"""


def test_no_acknowledged_entry_is_lost(tmp_path):
    path, kills = tmp_path / "bank.db", 6
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)])}
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert process.stdout is not None
        acknowledged = [process.stdout.readline()]
        time.sleep(0.01 * kill)
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        kept = int([line for line in acknowledged if line.endswith("\n")][-1])
        store = SQLiteStore(path)
        log = open_log("bank", store)
        assert len(log) >= kept
        assert len(log) % 7 == 1
        store.close()
