"""CPU time of the intersection: one masking and its parts, and a whole run of two parties in one process.

Half of each set is common. CPU time of this process, minimum over `--repeats`; bytes are those of the messages.

    python -m benchmarks.psi --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from vfl.channel import lockstep
from vfl.crypto.group import Mask, check_points, domain, hash_to_curve
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.protocols.intersect import PsiTerms, active, passive
from vfl.randomness import Randomness
from vfl.secret import Secret

LIMIT_US_PER_MASKING = 60.0


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


def whole(count: int) -> dict[str, float]:
    """A run of both roles: CPU of each party, spread over its maskings, and bytes for each id of one set."""
    bank_ids = [f"1380000{i:08d}" for i in range(count)]
    telecom_ids = [f"1380000{i:08d}" for i in range(count // 2, count + count // 2)]
    terms = PsiTerms("benchmark", "exact@1", count, 1)
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

    def timed(name: str, resume: Callable[[], None]) -> None:
        start = time.process_time()
        resume()
        cpu[name] += time.process_time() - start

    lockstep({"bank": bank.run(bank_role()), "telecom": telecom.run(telecom_role())}, timed)
    if common != [count - count // 2]:
        raise AssertionError(f"{common} customers in common, not {count - count // 2}")
    match, align = bank.count("psi"), bank.count("align")
    return {
        "bank_cpu_s": cpu["bank"],
        "telecom_cpu_s": cpu["telecom"],
        "us_per_masking": 1e6 * max(cpu.values()) / (2 * count),
        "match_bytes_per_id": (match.sent + match.received) / count,
        "confirm_bytes_per_row": (align.sent + align.received) / common[0],
    }


def main() -> None:
    """Measure and print; exits with 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, default=16_384, help="size of each set")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs = [whole(arguments.ids) for _ in range(arguments.repeats)]
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    figures = {"ids": arguments.ids, **parts(arguments.ids, arguments.repeats), **best}
    figures["limit_us_per_masking"] = LIMIT_US_PER_MASKING
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value:12.2f}")
    raise SystemExit(figures["us_per_masking"] > LIMIT_US_PER_MASKING)


if __name__ == "__main__":
    main()
