"""Rates of the ledger: signed durable entries per second by batch size, and the check of a whole bundle.

A party enters messages that it signs, and signs a head over every batch, which is then on disk with its entries. Its
peer enters the same messages, they countersign each other, and the bundle of both logs is checked as by a regulator.

    python -m benchmarks ledger --json

cpu_seconds                             active: its own entries and heads; passive: the peer's
wall_seconds                            the active party's, with the disk
durable_entries_per_second_by_batch     wall clock; an entry counts once it is on disk under a signed head
hashes_per_cpu_second                   leaves and nodes of the Merkle trees, rebuilt from the bundle
signatures_per_cpu_second               envelopes, each checked by itself
bundle_check_cpu_seconds                what the regulator's verifier takes in all
bundle_bytes_per_entry                  size of the bundle by entries
"""

from __future__ import annotations

import argparse
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Meter, peak_mb
from benchmarks.options import figures, new_parser, whole
from ledger.bundle import read_bundle, write_bundle
from ledger.entry import Entry, Payload, slot_name
from ledger.envelope import verify_envelope
from ledger.keys import Identity
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash
from ledger.policy import Policy
from ledger.store import MemoryStore, SQLiteStore, Store
from ledger.verify import verify_bundle
from ledger.witness import Witness
from vfl.clock import SystemClock
from vfl.randomness import Randomness

RUN = "benchmark-run"
ACTIVE, PASSIVE = "bank", "telecom"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("ledger", __doc__)
    found.add_argument("--entries", type=whole(1), default=3000, help="for each batch size")
    found.add_argument("--batches", type=_sizes, default=[1, 10, 100, 1000], help="for example 1,10,100")
    return found


def _sizes(text: str) -> list[int]:
    return [whole(1)(part) for part in text.split(",")]


def message(number: int) -> dict[str, Any]:
    """The entry of one message from the active party."""
    slot = slot_name("train", 0, "Hist", ACTIVE, PASSIVE, n=number)
    return {
        "phase": "train",
        "round": 0,
        "step": "Hist",
        "slot": slot,
        "payload": Payload.of(number.to_bytes(8, "big"), "Hist"),
    }


def append(log: Log, count: int, batch: int, first: int) -> float:
    """Seconds (wall) to send `count` messages, durable under a signed head after every `batch`."""
    start = time.perf_counter()
    for number in range(first, first + count):
        log.append(dir="send", peer=PASSIVE, **message(number))
        if (number + 1) % batch == 0:
            log.checkpoint()
    log.checkpoint()
    return time.perf_counter() - start


def run(given: Namespace) -> dict[str, Any]:
    """Fill a log in batches of each size, its peer's too, bundle and check them. RuntimeError when it is not valid."""
    meter = Meter({"cpu": time.process_time, "wall": time.perf_counter})
    with tempfile.TemporaryDirectory() as folder:
        people = {name: Identity(name, Randomness(given.seed.to_bytes(32, "big")).child(name).bytes(32)) for name in
                  (ACTIVE, PASSIVE)}  # fmt: skip
        store = SQLiteStore(Path(folder) / "ledger.sqlite")
        logs = {ACTIVE: _log(people[ACTIVE], store), PASSIVE: _log(people[PASSIVE], MemoryStore())}
        rates = {}
        meter.enter("append")
        for place, batch in enumerate(given.batches):
            seconds = append(logs[ACTIVE], given.entries, batch, place * given.entries)
            rates[str(batch)] = round(given.entries / seconds)
        meter.enter("receive")
        for entry in list(logs[ACTIVE].entries())[1:]:
            number = entry.seq - 1
            logs[PASSIVE].append(dir="recv", peer=ACTIVE, env=entry.env, **message(number))
        _countersign(people, logs)
        path, policy = Path(folder) / "bundle", Policy.of(people.values())
        meter.enter("write")
        write_bundle(path, list(logs.values()), RUN, artefacts={}, identities=list(people.values()), policy=policy)
        meter.enter("check")
        result = verify_bundle(path, policy)
        meter.enter("end")
        found, size = _stages(path, logs[ACTIVE].certificate.key), path.stat().st_size
        entries = len(logs[ACTIVE])
        store.close()
    if result.code != 0:
        raise RuntimeError(f"the bundle is {result.code.name.lower()}: {result.as_text()[:500]}")
    cpu, wall = meter.seconds["cpu"], meter.seconds["wall"]
    return figures(
        "ledger",
        given,
        {
            "cpu_seconds": {"active": round(cpu["append"], 3), "passive": round(cpu["receive"], 3)},
            "wall_seconds": round(wall["append"], 2),
            "peak_mb": {"active": peak_mb(), "passive": None},
            "entries": entries,
            "durable_entries_per_second_by_batch": rates,
            **found,
            "bundle_write_cpu_seconds": round(cpu["write"], 3),
            "bundle_check_cpu_seconds": round(cpu["check"], 3),
            "checked_entries_per_cpu_second": round(2 * entries / cpu["check"]),
            "bundle_bytes_per_entry": round(size / (2 * entries)),
            "verdict": result.code.name.lower(),
        },
    )


def _log(who: Identity, store: Store) -> Log:
    clock = SystemClock()
    now, key = clock.now(), who.entry_key(RUN)
    certificate = who.certify(RUN, now - timedelta(minutes=1), now + timedelta(days=1))
    return Log(
        store, who, who.name, RUN, clock, entry_key=key, certificate=certificate, agreement="00" * 32
    )  # fmt: skip


def _countersign(people: Mapping[str, Identity], logs: Mapping[str, Log]) -> None:
    for name, log in logs.items():
        (other,) = people.keys() - {name}
        witness = Witness(people[other], MemoryStore(), SystemClock())
        log.add_cosignatures(len(log), [witness.cosign(log.checkpoint(), [], log.key)], [witness.key])
        log.commit()


def _stages(path: Path, key: bytes) -> dict[str, Any]:
    """The two stages of a check that grow with the log, each by itself."""
    lines = [files.entries.split(b"\n")[:-1] for files in read_bundle(path).logs().values()]
    start = time.process_time()
    trees = [Tree(map(leaf_hash, bodies)) for bodies in lines]
    roots = [tree.root() for tree in trees]
    hashed = time.process_time() - start
    signed = [(entry.envelope(), entry.env) for entry in map(Entry.from_bytes, lines[0]) if entry.env]
    start = time.process_time()
    for envelope, env in signed:
        verify_envelope(key, envelope, env)
    checked = time.process_time() - start
    hashes = sum(2 * len(tree) - 1 for tree in trees)
    assert len(roots) == len(lines)
    return {
        "hashes_per_cpu_second": round(hashes / max(hashed, 1e-9)),
        "signatures_per_cpu_second": round(len(signed) / max(checked, 1e-9)),
    }
