"""The kernel alone: encrypted sums by (feature, bin), without protocol, ledger or sockets.

Each side is a process of its own; they hand each other bytes through a pipe. A tree of depth d needs 2**(d - 1)
encrypted histograms when siblings come from plaintext subtraction: the root, its smaller child, the smaller child of
each of those two, and so on, a level at a time. Every sum is compared with the plaintext one.

    python -m benchmarks histogram --json
    python -m benchmarks histogram --scheme paillier --rows 20000 --depth 5 --json

cpu_seconds             trees, queries, answers, decryption, and the active party's plaintext sums of its own features
steps_cpu_seconds       the same taken apart: calls of the scheme, own sums, rest
overhead_fraction       see `benchmarks.measure`; own sums count as overhead
hint_cpu_seconds        once per run, both parties: key, proof and its check, what the scheme prepares from the bins
plaintext_cpu_seconds   the same sums of the passive party's features without encryption
plaintext_ratio         cpu_seconds of both parties by that
within_limits           10,000 rows, 10 features, 32 bins, depth 3: below 15 CPU-seconds with Paillier-2048

`--skew` is the share of rows that every feature has in one bin. With `--workers` above 1 the CPU-seconds are those of
the main processes, and only the wall-clock time can be compared.
"""

from __future__ import annotations

import argparse
import os
import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.measure import Meter, Timed, peak_mb
from benchmarks.options import add_shape, figures, new_parser, rounded, settle_scheme, share, whole
from benchmarks.parties import RUN, hear, joined, say, started
from vfl.bits import pack_bits, unpack_bits
from vfl.crypto.paillier_workers import WORKERS_VARIABLE
from vfl.crypto.scheme import MAX_NODES, CellLayout
from vfl.crypto.schemes import SchemeTerms
from vfl.learn.histogram import FeatureLayout, build
from vfl.learn.parameters import GBDTParameters
from vfl.randomness import Randomness

LIMIT_CPU_SECONDS = 15.0
LIMIT_AT = {
    "scheme": "paillier", "rows": 10_000, "passive_features": 10, "bins": 32, "depth": 3, "trees": 1, "key_bits": 2048,
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("histogram", __doc__)
    add_shape(found, rows=10_000, depth=3)
    found.add_argument("--skew", type=share, default=0.0, help="0 to 1")
    found.add_argument("--workers", type=whole(1, 64), default=1, help="processes of each party (paillier)")
    return found


def run(given: Namespace) -> dict[str, Any]:
    """Some equal trees. RuntimeError when a sum is wrong."""
    settle_scheme(parser(), given)
    with joined() as ends, started(_passive, ends[1], given) as passive, started(_active, ends[0], given) as active:
        for end in ends:
            end.close()  # ours, so that either side notices when the other ends
        told = {"active": hear(active), "passive": hear(passive)}
    cpu = {side: one["cpu"]["trees"] + one["cpu"].get("own sums", 0.0) for side, one in told.items()}
    steps = {side: one["scheme"] for side, one in told.items()}
    work, total = sum(sum(calls.values()) for calls in steps.values()), sum(cpu.values())
    steps["active"]["own sums"] = told["active"]["cpu"]["own sums"]
    for side, calls in steps.items():
        calls["rest"] = cpu[side] - sum(calls.values())
    plaintext, wall = told["active"]["cpu"]["plaintext"], told["active"]["wall"]
    found = {
        "cpu_seconds": rounded(cpu),
        "cpu_seconds_per_tree": round(total / given.trees, 4),
        "hint_cpu_seconds": round(sum(one["cpu"]["hint"] for one in told.values()), 3),
        "wall_seconds": round(wall["trees"] + wall["own sums"], 2),
        "bytes": {"active_to_passive": told["active"]["sent"], "passive_to_active": told["passive"]["sent"]},
        "peak_mb": {side: one["peak_mb"] for side, one in told.items()},
        "overhead_fraction": round(1 - work / total, 4),
        "steps_cpu_seconds": {side: rounded(calls) for side, calls in steps.items()},
        "nodes": told["active"]["nodes"],
        "plaintext_cpu_seconds": round(plaintext, 4),
        "plaintext_ratio": round(total / plaintext, 1),
        "within_limits": total <= LIMIT_CPU_SECONDS or any(vars(given)[key] != at for key, at in LIMIT_AT.items()),
    }
    return figures("histogram", given, found)


def smaller_children(rows: int, depth: int, draw: np.random.Generator) -> list[np.ndarray]:
    """The nodes asked for in a tree whose every split halves a node at random: bool[nodes, rows] for each query."""
    level = [np.ones(rows, dtype=np.bool_)]
    asked = [np.array(level)]
    for _ in range(depth - 1):
        halves = [(node & (side := draw.random(rows) < 0.5), node & ~side) for node in level]
        nodes = [min(pair, key=np.count_nonzero) for pair in halves]
        asked += [np.array(nodes[start : start + MAX_NODES]) for start in range(0, len(nodes), MAX_NODES)]
        level = [node for pair in halves for node in pair]
    return asked


@dataclass(frozen=True)
class _Case:
    """What both sides draw from the same seed."""

    terms: SchemeTerms
    layout: CellLayout
    rng: Randomness
    codes: np.ndarray  # of the passive party; the active party checks the sums with them

    @classmethod
    def of(cls, given: Namespace) -> _Case:
        cells, queries = given.passive_features * given.bins, given.trees * 2**given.depth
        bits = GBDTParameters().gradient_bits
        terms = SchemeTerms(given.scheme, RUN, given.key_bits, cells, given.trees, queries, bits)
        codes = _codes(given, given.passive_features, np.random.default_rng(given.seed))
        layout = CellLayout((given.bins,) * given.passive_features)
        return cls(terms, layout, Randomness(given.seed.to_bytes(32, "big")), codes)


def _codes(given: Namespace, features: int, draw: np.random.Generator) -> np.ndarray:
    codes = draw.integers(0, given.bins, (given.rows, features)).astype(np.uint8 if given.bins <= 256 else np.uint16)
    codes[draw.random(codes.shape) < given.skew] = 0
    return np.asfortranarray(codes)


class _Wire:
    """Blocks to the other side and back, counted."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.sent = pipe, 0

    def order(self, what: str, count: int = 0) -> None:
        """What the active party wants next, and of how many blocks or nodes."""
        say(self.pipe, {"what": what, "count": count})

    def send(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self.pipe.send_bytes(block)
            self.sent += len(block)

    def receive(self, count: int) -> list[bytes]:
        return [self.pipe.recv_bytes() for _ in range(count)]


def _active(tell: Connection, pipe: Connection, given: Namespace) -> None:
    os.environ[WORKERS_VARIABLE] = str(given.workers)
    case, wire, meter = _Case.of(given), _Wire(pipe), _meter()
    draw, lanes = np.random.default_rng([given.seed, 1]), case.terms.lanes(given.rows)
    g, h = draw.integers(-lanes.g_max, lanes.g_max + 1, given.rows), draw.integers(0, lanes.h_max + 1, given.rows)
    own = _codes(given, given.active_features, draw)
    asked = smaller_children(given.rows, given.depth, draw)
    meter.enter("hint")
    key = Timed(case.terms.key_holder(given.rows, case.rng.child("key")), "holder")
    wire.send([key.public()])
    for block in wire.receive(key.expect_hint("passive", case.layout)):
        key.accept_hint("passive", block)
    for tree in range(given.trees):
        meter.enter("trees")
        stream = case.rng.child(f"tree/{tree}")
        blocks = key.open_tree(g, h, stream.child("rows"))
        wire.order("tree", len(blocks))
        wire.send(blocks)
        for number, members in enumerate(asked):
            wire.order("query", len(members))
            wire.send([pack_bits(member) for member in members] if key.discloses_membership else [])
            wire.send(key.query(members, stream.child(f"query/{number}")))
            meter.enter("own sums")
            _sums(own, given.bins, g, h, members)
            meter.enter("trees")
            found = key.decrypt("passive", wire.receive(len(members)), case.layout)
            meter.enter("plaintext")
            if not np.array_equal(found, _sums(case.codes, given.bins, g, h, members)):
                raise RuntimeError(f"tree {tree}, query {number}: the decrypted sums are not those of the rows")
            meter.enter("trees")
    wire.order("end")
    say(tell, {**_told(meter, wire, key), "nodes": sum(len(members) for members in asked)})


def _passive(tell: Connection, pipe: Connection, given: Namespace) -> None:
    os.environ[WORKERS_VARIABLE] = str(given.workers)
    case, wire, meter = _Case.of(given), _Wire(pipe), _meter()
    meter.enter("hint")
    (public,) = wire.receive(1)
    scheme = Timed(case.terms.evaluator(given.scheme, public, given.rows), "evaluator")
    wire.send(scheme.hint(case.codes, case.layout, case.rng.child("hint")))
    meter.enter("trees")
    answers = 0
    while (order := hear(pipe))["what"] != "end":
        if order["what"] == "tree":
            scheme.open_tree(wire.receive(order["count"]))
            continue
        members = None
        if scheme.discloses_membership:
            members = np.array([unpack_bits(bits, given.rows) for bits in wire.receive(order["count"])])
        for _ in range(scheme.open_query(members, order["count"])):
            scheme.absorb(pipe.recv_bytes())
        wire.send(scheme.answer(case.rng.child(f"answer/{answers}")))
        answers += 1
    say(tell, _told(meter, wire, scheme))


def _meter() -> Meter:
    return Meter({"cpu": time.process_time, "wall": time.perf_counter})


def _told(meter: Meter, wire: _Wire, scheme: Timed) -> dict[str, Any]:
    """What the parent wants to know of a side."""
    meter.enter("end")
    if close := getattr(scheme, "close", None):
        close()
    return {**meter.seconds, "scheme": scheme.training(), "sent": wire.sent, "peak_mb": peak_mb()}


def _sums(codes: np.ndarray, bins: int, g: np.ndarray, h: np.ndarray, members: np.ndarray) -> np.ndarray:
    """int64[nodes, cells, 2] in plaintext."""
    layout = FeatureLayout((bins,) * codes.shape[1], (False,) * codes.shape[1])
    return np.stack([build(codes, layout, g, h, np.flatnonzero(member)) for member in members])
