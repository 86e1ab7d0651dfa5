"""Rates of the ledger: signed durable entries per second by batch size, and the check of a whole bundle.

One party, one process; there is no other side, so `passive` is null.

    python -m benchmarks ledger --json

cpu_seconds                             active: all entries appended, and the bundle written
wall_seconds                            the same, with the disk
durable_entries_per_second_by_batch     wall clock; an entry counts once it is on disk
bundle_check_cpu_seconds                what the regulator's verifier takes
bundle_bytes_per_entry                  size of the bundle by entries
"""

from __future__ import annotations

import argparse
import tempfile
import time
from argparse import Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Meter, peak_mb
from benchmarks.options import figures, new_parser, whole
from ledger.bundle import write_bundle
from ledger.entry import Payload, slot_name
from ledger.keys import Identity
from ledger.log import Log
from ledger.policy import Policy
from ledger.store import SQLiteStore
from ledger.verify import verify_bundle
from vfl.clock import SystemClock
from vfl.randomness import Randomness

RUN = "benchmark-run"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("ledger", __doc__)
    found.add_argument("--entries", type=whole(1), default=3000, help="for each batch size")
    found.add_argument("--batches", type=_sizes, default=[1, 10, 100, 1000], help="for example 1,10,100")
    return found


def _sizes(text: str) -> list[int]:
    return [whole(1)(part) for part in text.split(",")]


def append(log: Log, count: int, batch: int, first: int) -> float:
    """Seconds (wall) to add `count` entries, durable after every `batch`."""
    start = time.perf_counter()
    for number in range(first, first + count):
        slot = slot_name("train", number // 1000, "Hist", log.party, log.party, n=number)
        payload = Payload.of(number.to_bytes(8, "big"), "Hist")
        log.append(phase="train", round=number // 1000, step="Hist", slot=slot, dir="local", payload=payload)
        if (number + 1) % batch == 0:
            log.commit()
    log.commit()
    return time.perf_counter() - start


def run(given: Namespace) -> dict[str, Any]:
    """Fill one log in batches of each size, bundle it, check the bundle. RuntimeError when it is not valid."""
    meter = Meter({"cpu": time.process_time, "wall": time.perf_counter})
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        identity = Identity("bank", Randomness(given.seed.to_bytes(32, "big")).bytes(32))
        now = clock.now()
        certificate = identity.certify(RUN, now - timedelta(minutes=1), now + timedelta(days=1))
        store = SQLiteStore(Path(folder) / "ledger.sqlite")
        key = identity.entry_key(RUN)
        log = Log(store, identity, "bank", RUN, clock, entry_key=key, certificate=certificate, agreement="00" * 32)
        rates = {}
        meter.enter("append")
        for place, batch in enumerate(given.batches):
            rates[str(batch)] = round(given.entries / append(log, given.entries, batch, place * given.entries))
        log.checkpoint()
        path, policy = Path(folder) / "bundle", Policy.of([identity], quorum="none")
        meter.enter("write")
        write_bundle(path, [log], RUN, artefacts={}, identities=[identity], policy=policy)
        meter.enter("check")
        result = verify_bundle(path, policy)
        meter.enter("end")
        entries, size = len(log), _size(path)
        store.close()
    if result.code != 0:
        raise RuntimeError(f"the bundle is {result.code.name.lower()}")
    cpu, wall = meter.seconds["cpu"], meter.seconds["wall"]
    found = {
        "cpu_seconds": {"active": round(cpu["append"] + cpu["write"], 3), "passive": None},
        "wall_seconds": round(wall["append"] + wall["write"], 2),
        "peak_mb": {"active": peak_mb(), "passive": None},
        "entries": entries,
        "durable_entries_per_second_by_batch": rates,
        "bundle_write_cpu_seconds": round(cpu["write"], 3),
        "bundle_check_cpu_seconds": round(cpu["check"], 3),
        "checked_entries_per_cpu_second": round(entries / cpu["check"]),
        "bundle_bytes_per_entry": round(size / entries),
        "verdict": result.code.name.lower(),
    }
    return figures("ledger", given, found)


def _size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    return sum(found.stat().st_size for found in files)
