"""CPU time of the intersection: a whole run of two parties, and the parts of the engine.

Each party is a process of its own, over sockets, with transcript and ledger. Half of each set is common. A whole run is
declaration, match and confirmation. Of `--repeats` runs the one with the least CPU time counts.

    python -m benchmarks psi --json
    python -m benchmarks psi --engine kkrt --ids 1048576 --json

match_cpu_seconds       declaration and match
confirm_cpu_seconds     the proof that row k is the same customer on both sides
ledger_cpu_seconds      of a party's CPU time, what its ledger took
match_bytes_per_id      both directions, for each id of one set
parts_us                CPU microseconds of the engine's parts for each item, measured alone, for 65,536 ids at most
us_per_masking          (x25519) CPU of the slower party by its maskings, two for each id
within_limits           x25519: 60 us a masking; kkrt at 2^20 ids: 6 CPU-seconds a party, 105 bytes an id in the match
"""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.options import figures, new_parser, rounded, whole
from benchmarks.parties import ACTIVE, RUN, Party, run_parties
from vfl.crypto import base_ot
from vfl.crypto.aes_hash import COLUMNS, keyed_hashes
from vfl.crypto.cuckoo import bins_for, place, places
from vfl.crypto.group import Mask, check_points, domain, hash_to_curve
from vfl.protocols import intersect
from vfl.protocols.intersect import PsiTerms
from vfl.randomness import Randomness
from vfl.secret import Secret

LIMIT_US_PER_MASKING = 60.0
LIMIT_KKRT_CPU_SECONDS = 6.0  # each party, at LIMIT_KKRT_IDS
LIMIT_KKRT_BYTES = 105.0  # in the match, for each id of one set
LIMIT_KKRT_IDS = 2**20
PARTS_IDS = 65_536


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("psi", __doc__)
    found.add_argument("--engine", choices=["x25519", "kkrt"], default="x25519")
    found.add_argument("--ids", "--count", "--rows", dest="ids", type=whole(2), default=16_384, help="of each set")
    found.add_argument("--repeats", type=whole(1), default=3)
    return found


def run(given: Namespace) -> dict[str, Any]:
    """Whole runs, and the parts. RuntimeError when the intersection is wrong."""
    runs = [_whole(given) for _ in range(given.repeats)]
    found = min(runs, key=lambda one: sum(one["cpu_seconds"].values()))
    cpu, count = max(found["cpu_seconds"].values()), given.ids
    if given.engine == "x25519":
        found["us_per_masking"] = round(1e6 * cpu / (2 * count), 2)
        found["within_limits"] = found["us_per_masking"] <= LIMIT_US_PER_MASKING
    else:
        cheap = cpu <= LIMIT_KKRT_CPU_SECONDS and found["match_bytes_per_id"] <= LIMIT_KKRT_BYTES
        found["within_limits"] = cheap or count != LIMIT_KKRT_IDS
    parts = _parts if given.engine == "x25519" else _parts_kkrt
    found["parts_us"] = rounded(parts(min(count, PARTS_IDS), given.repeats), 2)
    return figures("psi", given, found)


def _whole(given: Namespace) -> dict[str, Any]:
    active, passive = run_parties(_active, _passive, 1, given)
    sides = {"active": active, "passive": passive}
    wanted = given.ids - given.ids // 2
    if active["common"] != wanted or passive["common"] != wanted:
        raise RuntimeError(f"{active['common']} and {passive['common']} customers in common, not {wanted}")
    sent = {phase: active["sent"][phase] + passive["sent"][phase] for phase in ("psi", "align")}
    phases = {phase: {side: one["cpu"][phase] for side, one in sides.items()} for phase in ("psi", "align")}
    return {
        "cpu_seconds": rounded({side: phases["psi"][side] + phases["align"][side] for side in sides}),
        "wall_seconds": round(active["wall"]["psi"] + active["wall"]["align"], 2),
        "bytes": {
            "active_to_passive": sum(active["sent"].values()),
            "passive_to_active": sum(passive["sent"].values()),
        },
        "peak_mb": {side: one["peak_mb"] for side, one in sides.items()},
        "common": wanted,
        "match_cpu_seconds": rounded(phases["psi"]),
        "confirm_cpu_seconds": rounded(phases["align"]),
        "ledger_cpu_seconds": rounded(
            {side: one["ledger"]["psi"] + one["ledger"]["align"] for side, one in sides.items()}
        ),
        "match_bytes_per_id": round(sent["psi"] / given.ids, 2),
        "confirm_bytes_per_row": round(sent["align"] / wanted, 2),
    }


def _ids(first: int, count: int) -> list[str]:
    return [f"1380000{number:08d}" for number in range(first, first + count)]


def _terms(given: Namespace) -> PsiTerms:
    return PsiTerms(RUN, "exact@1", given.ids, 1, given.engine)


def _active(party: Party, given: Namespace) -> dict[str, Any]:
    ids = _ids(0, given.ids)
    channels = party.meet()
    rows, *_ = party.drive(intersect.active(channels, ids, _terms(given), party.rng))
    return {"common": len(rows)}


def _passive(party: Party, given: Namespace) -> dict[str, Any]:
    ids = _ids(given.ids // 2, given.ids)
    channel = party.meet()[ACTIVE]
    rows, *_ = party.drive(intersect.passive(channel, ids, _terms(given), party.rng))
    return {"common": len(rows)}


def _microseconds(work: Callable[[], object], count: int, repeats: int) -> float:
    """CPU microseconds for each of `count` items, at best."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1e6 * best / count


def _parts(count: int, repeats: int) -> dict[str, float]:
    """What one masking is made of."""
    tokens = [token.encode() for token in _ids(0, count)]
    mask, tag = Mask(Secret(Randomness(bytes(32)).bytes(32))), domain("psi", RUN)
    points = hash_to_curve(tokens, tag)
    masked = mask.apply(points)
    return {
        "hash_to_curve": _microseconds(lambda: hash_to_curve(tokens, tag), count, repeats),
        "check": _microseconds(lambda: check_points(masked, count), count, repeats),
        "mask": _microseconds(lambda: mask.apply(points), count, repeats),
    }


def _parts_kkrt(count: int, repeats: int) -> dict[str, float]:
    """What a match by kkrt is made of; the transfer is for each of its columns."""
    tokens = _ids(0, count)
    rng, hashes = Randomness(bytes(32)), keyed_hashes(tokens, bytes(32))
    sender, bins = base_ot.Sender(rng), bins_for(count)
    where = places(hashes, bins)
    choices = np.zeros(COLUMNS, np.bool_)
    answers, _ = base_ot.choose(sender.point, choices, rng)
    return {
        "hash_ids": _microseconds(lambda: keyed_hashes(tokens, bytes(32)), count, repeats),
        "place": _microseconds(lambda: place(where, bins), count, repeats),
        "transfer_answer": _microseconds(lambda: base_ot.choose(sender.point, choices, rng), COLUMNS, repeats),
        "transfer_keys": _microseconds(lambda: sender.keys(answers, COLUMNS), COLUMNS, repeats),
    }
