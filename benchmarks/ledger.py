"""Rates of the ledger: signed durable entries per second by batch size, and the check of a whole bundle.

python -m benchmarks.ledger --json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from ledger.bundle import write_bundle
from ledger.entry import Payload, slot_name
from ledger.keys import Identity
from ledger.log import Log
from ledger.policy import Policy
from ledger.store import SQLiteStore
from ledger.verify import verify_bundle
from vfl.clock import SystemClock

RUN = "benchmark-run"


def append(log: Log, count: int, batch: int, first: int) -> float:
    """CPU and disk seconds (wall) to add `count` entries, durable after every `batch`."""
    start = time.perf_counter()
    for number in range(first, first + count):
        slot = slot_name("train", number // 1000, "Hist", log.party, log.party, n=number)
        payload = Payload.of(number.to_bytes(8, "big"), "Hist")
        log.append(phase="train", round=number // 1000, step="Hist", slot=slot, dir="local", payload=payload)
        if (number + 1) % batch == 0:
            log.commit()
    log.commit()
    return time.perf_counter() - start


def run(count: int, batches: list[int]) -> dict[str, object]:
    """Fill one log in batches of each size, bundle it, check the bundle."""
    with tempfile.TemporaryDirectory() as folder:
        clock, identity = SystemClock(), Identity("bank", bytes(range(32)))
        now = clock.now()
        certificate = identity.certify(RUN, now - timedelta(minutes=1), now + timedelta(days=1))
        store = SQLiteStore(Path(folder) / "ledger.sqlite")
        key = identity.entry_key(RUN)
        log = Log(store, identity, "bank", RUN, clock, entry_key=key, certificate=certificate, agreement="00" * 32)
        rates = {}
        for place, batch in enumerate(batches):
            rates[str(batch)] = round(count / append(log, count, batch, place * count))
        log.checkpoint()
        path, policy = Path(folder) / "bundle", Policy.of([identity], quorum="none")
        start = time.process_time()
        write_bundle(path, [log], RUN, artefacts={}, identities=[identity], policy=policy)
        written = time.process_time() - start
        start = time.process_time()
        result = verify_bundle(path, policy)
        checked = time.process_time() - start
        store.close()
        return {
            "name": "ledger",
            "entries": len(log),
            "durable_entries_per_second_by_batch": rates,
            "bundle_write_cpu_seconds": round(written, 3),
            "bundle_check_cpu_seconds": round(checked, 3),
            "checked_entries_per_cpu_second": round(len(log) / checked),
            "verdict": result.code.name.lower(),
        }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=3000, help="for each batch size")
    parser.add_argument("--batches", default="1,10,100,1000")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    result = run(given.entries, [int(batch) for batch in given.batches.split(",")])
    print(json.dumps(result) if given.json else "\n".join(f"{key:>36} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
