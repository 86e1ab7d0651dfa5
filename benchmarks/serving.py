"""Joint scores over HTTP: a real `tallystick serve`, two partners over mutual TLS, every decision on the ledger.

    python -m benchmarks serving --json

A run of the shipped scenario `pos-loan` with bureau and telecom is served; a client in a process of its own speaks
plain HTTP/1.1 over kept connections.

single_p50_ms, single_p99_ms    of a single score, `--rate` requests a second, sent on time whether or not others wait
sustained_per_second            single scores answered to `--callers` callers who each send the next one at once
hop_p50_ms                      of an empty exchange over one gRPC stream with mutual TLS between two processes here
ratio_to_hop                    single_p50_ms over that
batch_rows_per_second           rows of `POST /v1/score/batch` with `--batch` applicants
cpu_us_per_decision             of the service and of its partners together, over the sustained part
within_limits                   p50 at most 4 ms, p99 at most 20 ms, at least 600 a second
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from concurrent import futures
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.options import figures, new_parser
from vfl.clock import SystemClock
from vfl.net.pins import pin_of
from vfl.net.tls import Known, OwnTls, Shown, channel_credentials, server_credentials
from vfl.party.certificates import new_tls_key

import grpc  # isort: skip  # after vfl.net, which sets it up

P50_MS, P99_MS, PER_SECOND = 4.0, 20.0, 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("serving", __doc__)
    found.add_argument("--rate", type=int, default=100, help="single scores a second (100)")
    found.add_argument("--seconds", type=float, default=10.0, help="of each part (10)")
    found.add_argument("--callers", type=int, default=16, help="callers of the sustained part (16)")
    found.add_argument("--batch", type=int, default=10_000, help="applicants of a batch (10000)")
    return found


def run(given: Namespace) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [sys.executable, "-m", "vfl.cli"]
        made = [*words, "run", "pos-loan", "--parties", "bank,bureau,telecom", "--out", str(out), "--json"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with (out / "predictions.csv").open(newline="") as lines:
            customers = [row["id"] for row in csv.DictReader(lines)]
        service = subprocess.Popen(
            [*words, "serve", "--run", str(out), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert service.stdout is not None
            port = next(
                int(found[1]) for line in service.stdout if (found := re.search(r"listening on .*:(\d+)", line))
            )
            found = _measured(given, port, customers, service.pid)
        finally:
            service.terminate()
            service.wait(30)
    hop = _hop()
    within = found["single_p50_ms"] <= P50_MS and found["single_p99_ms"] <= P99_MS
    told = {
        **found,
        "hop_p50_ms": round(hop, 3),
        "ratio_to_hop": round(found["single_p50_ms"] / hop, 1),
        "within_limits": within and found["sustained_per_second"] >= PER_SECOND,
    }
    return figures("serving", given, told)


def _measured(given: Namespace, port: int, customers: list[str], service: int) -> dict[str, Any]:
    def of_client(part: str) -> dict[str, float]:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        child = multiprocessing.get_context("spawn").Process(
            target=_client, args=(theirs, part, port, customers, given.rate, given.seconds, given.callers, given.batch)
        )
        child.start()
        told: dict[str, float] = ours.recv()
        child.join()
        return told

    of_client("warm")
    single = of_client("single")
    before = _cpu(service)
    many = of_client("many")
    spent = sum(_cpu(service).values()) - sum(before.values())
    return {
        **single,
        "sustained_per_second": round(many["answered"] / many["seconds"], 1),
        "cpu_us_per_decision": round(1e6 * spent / many["answered"]),
        **of_client("batch"),
    }


def _client(pipe: Connection, part: str, port: int, *words: Any) -> None:
    pipe.send(asyncio.run(_PARTS[part](port, *words)))


class _Kept:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> _Kept:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)
        return self

    async def post(self, path: str, body: bytes) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = await self._reader.readuntil(b"\r\n\r\n")
        status, size = int(told[9:12]), int(re.search(rb"content-length: (\d+)", told)[1])  # type: ignore[index]
        answer = await self._reader.readexactly(size)
        if status != 200:
            raise RuntimeError(f"{status}: {answer[:300]!r}")
        return answer


def _ask(customer: str) -> bytes:
    return json.dumps({"id": customer}).encode()


async def _single(
    port: int, customers: list[str], rate: int, seconds: float, callers: int, batch: int
) -> dict[str, float]:
    idle = [await _Kept(port).open() for _ in range(32)]
    took: list[float] = []

    async def one(customer: str) -> None:
        began = time.perf_counter()
        kept = idle.pop() if idle else await _Kept(port).open()
        await kept.post("/v1/score", _ask(customer))
        took.append(time.perf_counter() - began)
        idle.append(kept)

    began, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(customers[number % len(customers)])))
    await asyncio.gather(*tasks)
    took.sort()
    return {
        "single_p50_ms": round(1e3 * took[len(took) // 2], 3),
        "single_p99_ms": round(1e3 * took[int(0.99 * len(took))], 3),
    }


async def _many(
    port: int, customers: list[str], rate: int, seconds: float, callers: int, batch: int
) -> dict[str, float]:
    answered, end, began = 0, time.perf_counter() + seconds, time.perf_counter()

    async def caller(number: int) -> None:
        nonlocal answered
        kept = await _Kept(port).open()
        while time.perf_counter() < end:
            await kept.post("/v1/score", _ask(customers[(number + answered) % len(customers)]))
            answered += 1

    await asyncio.gather(*(caller(100 * number) for number in range(callers)))
    return {"answered": answered, "seconds": time.perf_counter() - began}


async def _batch(
    port: int, customers: list[str], rate: int, seconds: float, callers: int, batch: int
) -> dict[str, float]:
    kept = await _Kept(port).open()
    body = json.dumps({"applicants": [{"id": customers[n % len(customers)]} for n in range(batch)]}).encode()
    rows, began = 0, time.perf_counter()
    while rows == 0 or time.perf_counter() < began + seconds:
        await kept.post("/v1/score/batch", body)
        rows += batch
    return {"batch_rows_per_second": round(rows / (time.perf_counter() - began))}


async def _warm(port: int, customers: list[str], *_: Any) -> dict[str, float]:
    return await _single(port, customers, 50, 2.0, 1, 1)


_PARTS = {"single": _single, "many": _many, "batch": _batch, "warm": _warm}


def _cpu(service: int) -> dict[int, float]:
    """CPU seconds of a process and its children, by id."""
    found = {}
    for pid in [service, *map(int, Path(f"/proc/{service}/task/{service}/children").read_text().split())]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _hop(exchanges: int = 1000) -> float:
    """Milliseconds of an empty exchange between two processes, the median."""
    keys = {name: new_tls_key(name, SystemClock().now(), 1) for name in ("bank", "telecom")}
    own = {name: OwnTls(key.key, key.certificate) for name, key in keys.items()}
    known = {
        name: Known(name, "", (key.certificate,), frozenset({pin_of(key.certificate)})) for name, key in keys.items()
    }
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_echo, args=(theirs, own["telecom"], known["bank"]))
    child.start()
    port = ours.recv()
    credentials, host = channel_credentials(own["bank"], known["telecom"])

    async def ask() -> list[float]:
        options = [("grpc.ssl_target_name_override", host)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
            call, took = channel.stream_stream("/hop/Echo")(), []
            for _ in range(exchanges):
                began = time.perf_counter()
                await call.write(bytes(200))
                await call.read()
                took.append(time.perf_counter() - began)
            call.cancel()
        return sorted(took)

    try:
        return 1e3 * asyncio.run(ask())[exchanges // 2]
    finally:
        child.terminate()
        child.join()


def _echo(pipe: Connection, own: OwnTls, caller: Known) -> None:
    shown = Shown.to(own, [caller])
    handler = grpc.stream_stream_rpc_method_handler(lambda frames, context: (bytes(1000) for _ in frames))
    server = grpc.server(
        futures.ThreadPoolExecutor(2), [grpc.method_handlers_generic_handler("hop", {"Echo": handler})]
    )
    pipe.send(server.add_secure_port("127.0.0.1:0", server_credentials(lambda: shown)))
    server.start()
    server.wait_for_termination()
