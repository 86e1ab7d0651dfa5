"""CPU time of the intersection: its parts, and a whole run of two parties in one process.

Half of each set is common. CPU time of this process, minimum over `--repeats`; bytes are those of the messages. A whole
run is declaration, match and confirmation; `*_match_cpu_s` is the engine alone.

    python -m benchmarks.psi --json
    python -m benchmarks.psi --engine kkrt --count 1048576 --json
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np

from vfl.channel import lockstep
from vfl.crypto import base_ot
from vfl.crypto.aes_hash import COLUMNS, keyed_hashes
from vfl.crypto.cuckoo import bins_for, place, places
from vfl.crypto.group import Mask, check_points, domain, hash_to_curve
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.protocols import kkrt
from vfl.protocols.intersect import PsiTerms, active, passive
from vfl.randomness import Randomness
from vfl.secret import Secret

LIMIT_US_PER_MASKING = 60.0
LIMIT_KKRT_CPU_S = 6.0  # each party, at LIMIT_KKRT_IDS
LIMIT_KKRT_BYTES = 105.0  # in the match, for each id of one set
LIMIT_KKRT_IDS = 2**20


def microseconds(work: Callable[[], object], count: int, repeats: int) -> float:
    """CPU microseconds for each of `count` items, at best."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1e6 * best / count


def parts(count: int, repeats: int) -> dict[str, float]:
    """What one masking is made of."""
    tokens = [f"1380000{i:08d}".encode() for i in range(count)]
    mask, tag = Mask(Secret(Randomness(bytes(32)).bytes(32))), domain("psi", "benchmark")
    points = hash_to_curve(tokens, tag)
    masked = mask.apply(points)
    return {
        "hash_to_curve_us": microseconds(lambda: hash_to_curve(tokens, tag), count, repeats),
        "check_us": microseconds(lambda: check_points(masked, count), count, repeats),
        "mask_us": microseconds(lambda: mask.apply(points), count, repeats),
    }


def parts_kkrt(count: int, repeats: int) -> dict[str, float]:
    """What a match by kkrt is made of, and the engine without declaration and confirmation."""
    tokens = [f"1380000{i:08d}" for i in range(count)]
    rng, hashes = Randomness(bytes(32)), keyed_hashes(tokens, bytes(32))
    sender, bins = base_ot.Sender(rng), bins_for(count)
    where = places(hashes, bins)
    choices = np.zeros(COLUMNS, np.bool_)
    answers, _ = base_ot.choose(sender.point, choices, rng)
    return {
        "hash_ids_us": microseconds(lambda: keyed_hashes(tokens, bytes(32)), count, repeats),
        "place_us": microseconds(lambda: place(where, bins), count, repeats),
        "transfer_answer_us": microseconds(lambda: base_ot.choose(sender.point, choices, rng), COLUMNS, repeats),
        "transfer_keys_us": microseconds(lambda: sender.keys(answers, COLUMNS), COLUMNS, repeats),
        **engine_kkrt(count),
    }


def engine_kkrt(count: int) -> dict[str, float]:
    """CPU of each party in the match alone."""
    ids = [[f"1380000{i:08d}" for i in range(start, start + count)] for start in (0, count // 2)]
    ends = [Desk(name, MemoryTranscript(), NoNotary()) for name in ("bank", "telecom")]
    links = memory_links()
    bank, telecom = ends[0].channel("telecom", links[0]), ends[1].channel("bank", links[1])
    cpu = {"bank": 0.0, "telecom": 0.0}

    async def bank_role() -> None:
        bank.enter("psi")
        await kkrt.active(bank, ids[0], count, "benchmark", Randomness(bytes(32)))

    async def telecom_role() -> None:
        telecom.enter("psi")
        await kkrt.passive(telecom, ids[1], count, "benchmark", Randomness(bytes([1]) * 32))

    lockstep({"bank": ends[0].run(bank_role()), "telecom": ends[1].run(telecom_role())}, clock(cpu))
    return {f"{name}_match_cpu_s": seconds for name, seconds in cpu.items()}


def clock(cpu: dict[str, float]) -> Callable[[str, Callable[[], None]], None]:
    """Adds the CPU time of each resumption to its role."""

    def timed(name: str, resume: Callable[[], None]) -> None:
        start = time.process_time()
        resume()
        cpu[name] += time.process_time() - start

    return timed


def whole(count: int, engine: str) -> dict[str, float]:
    """A run of both roles: CPU of each party, spread over its maskings, and bytes for each id of one set."""
    bank_ids = [f"1380000{i:08d}" for i in range(count)]
    telecom_ids = [f"1380000{i:08d}" for i in range(count // 2, count + count // 2)]
    terms = PsiTerms("benchmark", "exact@1", count, 1, engine)
    bank_end, telecom_end = memory_links()
    bank, telecom = (Desk(name, MemoryTranscript(), NoNotary()) for name in ("bank", "telecom"))
    to_telecom, to_bank = bank.channel("telecom", bank_end), telecom.channel("bank", telecom_end)
    cpu = {"bank": 0.0, "telecom": 0.0}
    common: list[int] = []

    async def bank_role() -> None:
        rows, _ = await active({"telecom": to_telecom}, bank_ids, terms, Randomness(bytes(32)))
        common.append(len(rows))

    async def telecom_role() -> None:
        await passive(to_bank, telecom_ids, terms, Randomness(bytes([1]) * 32))

    wall = time.perf_counter()
    lockstep({"bank": bank.run(bank_role()), "telecom": telecom.run(telecom_role())}, clock(cpu))
    wall = time.perf_counter() - wall
    if common != [count - count // 2]:
        raise AssertionError(f"{common} customers in common, not {count - count // 2}")
    match, align = bank.count("psi"), bank.count("align")
    return {
        "bank_cpu_s": cpu["bank"],
        "telecom_cpu_s": cpu["telecom"],
        "wall_s": wall,
        **({"us_per_masking": 1e6 * max(cpu.values()) / (2 * count)} if engine == "x25519" else {}),
        "match_bytes_per_id": (match.sent + match.received) / count,
        "confirm_bytes_per_row": (align.sent + align.received) / common[0],
    }


def main() -> None:
    """Measure and print; exits with 1 above the limit (kkrt: at a million ids)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["x25519", "kkrt"], default="x25519")
    parser.add_argument("--ids", "--count", dest="ids", type=int, default=16_384, help="size of each set")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs = [whole(arguments.ids, arguments.engine) for _ in range(arguments.repeats)]
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    best["peak_mb_both"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    details = parts if arguments.engine == "x25519" else parts_kkrt
    figures = {"ids": arguments.ids, **details(arguments.ids, arguments.repeats), **best}
    if arguments.engine == "x25519":
        figures["limit_us_per_masking"] = LIMIT_US_PER_MASKING
        failed = figures["us_per_masking"] > LIMIT_US_PER_MASKING
    else:
        dear = max(figures["bank_cpu_s"], figures["telecom_cpu_s"]) > LIMIT_KKRT_CPU_S
        failed = arguments.ids == LIMIT_KKRT_IDS and (dear or figures["match_bytes_per_id"] > LIMIT_KKRT_BYTES)
        figures["limit_cpu_s"], figures["limit_bytes_per_id"] = LIMIT_KKRT_CPU_S, LIMIT_KKRT_BYTES
    if arguments.json:
        print(json.dumps({"engine": arguments.engine, **figures}, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value:12.2f}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
