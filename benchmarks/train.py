"""CPU time of joint training: two processes over sockets, real protocol, keys, transcripts and ledgers.

Beside it, in the same run: LightGBM on the pooled columns (same trees, plaintext, one thread), and the AUC of the
plaintext integer trainer at full gradient width.

    python -m benchmarks train --rows 100000 --depth 5 --json

The data are synthetic: a noisy linear score over normal features, a quarter of the rows bad.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ledger.keys import Identity
from ledger.store import SQLiteStore
from vfl.clock import SystemClock
from vfl.comparison import lightgbm_scores
from vfl.crypto.schemes import LEVELS, SchemeTerms
from vfl.desk import Desk
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Parts
from vfl.learn.metrics import auc
from vfl.learn.objective import sigmoid
from vfl.learn.parameters import GBDTParameters
from vfl.learn.reference import train_reference
from vfl.notary import LedgerNotary, PeerKeys
from vfl.protocols import boost, score
from vfl.randomness import Randomness
from vfl.transcripts import FileTranscript
from vfl.transport import LOOPBACK, SocketLink, accept, connect, drive, listen

RUN, KEY_BITS, MIN_BIN, TIMEOUT = "benchmark", 2048, 1, 3600.0
SCHEME_WORK = {"query", "decrypt", "open_tree", "accept_hint", "hint", "absorb", "answer", "public"}
PLAINTEXT_ROWS = 200_000  # the plain trainer is not built for more


def data(rows: int, features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features float64[rows, features] and labels int8[rows]."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, features))
    points = values @ draw.normal(size=features) + draw.normal(size=rows) * np.sqrt(features)
    return values, (points > np.quantile(points, 0.75)).astype(np.int8)


class Timed:
    """A key holder or evaluator whose encryption, sums and decryption are timed; iterators are timed item by item."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seconds: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in SCHEME_WORK:
            return found

        def call(*words: Any) -> Any:
            result = self._measure(name, lambda: found(*words))
            return self._items(name, result) if isinstance(result, Iterator) else result

        return call

    def _measure(self, name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        try:
            return work()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start

    def _items(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        done = object()
        while (item := self._measure(name, lambda: next(items, done))) is not done:
            yield item


class Party:
    """One side in a process of its own: ledger, transcript, clock of CPU seconds by phase."""

    def __init__(self, name: str, folder: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._phase, self._since = "start", time.process_time()
        identities = {who: Identity(who, Randomness(bytes(32)).child(who).bytes(32)) for who in ("active", "passive")}
        peer = "passive" if name == "active" else "active"
        keys = {peer: PeerKeys(identities[peer].identity.verifying, identities[peer].witness.verifying)}
        store = SQLiteStore(folder / f"{name}.sqlite")
        notary = LedgerNotary(store, identities[name], RUN, "00" * 32, keys, SystemClock())
        self.desk = Desk(name, FileTranscript(folder / f"{name}.bin"), notary)
        self.desk.on_enter = lambda phase, round: self.enter(phase)
        self.rng = Randomness(bytes(32)).child(name)

    def enter(self, phase: str) -> None:
        """Count into `phase` from now on."""
        now = time.process_time()
        self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def report(self, scheme: Timed, **more: Any) -> dict[str, Any]:
        """What the parent wants to know."""
        self.enter("end")
        sent = sum(count.sent for count in self.desk.traffic.values())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": self.seconds, "scheme": scheme.seconds, "sent": sent, "peak_mb": round(peak), **more}


def take_part(role: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one side; the active one listens and tells its port on stdout."""
    parameters, terms = settings(given)
    values, labels = data(given.rows, given.active_features + given.passive_features, given.seed)
    mine = values[:, : given.active_features] if role == "active" else values[:, given.active_features :].copy()
    del values
    party = Party(role, folder)
    names = [f"{role}{number}" for number in range(mine.shape[1])]
    link = _link(role, given.port)
    channel = party.desk.channel("passive" if role == "active" else "active", link)
    if role == "passive":
        wrapped: list[Timed] = []

        def evaluators(scheme: str, public: bytes, rows: int) -> Any:
            wrapped.append(Timed(terms.evaluator(scheme, public, rows)))
            return wrapped[0]

        async def passive() -> None:
            columns, records = await boost.passive(channel, names, mine, parameters, MIN_BIN, evaluators, party.rng)
            party.enter("score")
            await score.passive(channel, columns.left_values(records))

        drive(party.desk.run(passive()), [link], TIMEOUT)
        return party.report(wrapped[0])
    parts = Parts(np.ones(given.rows, np.bool_), np.zeros(given.rows, np.bool_))
    key = Timed(terms.key_holder(given.rows, party.rng.child("key")))
    columns = Columns.fit(names, mine, parts.train, parameters, MIN_BIN)

    async def active() -> float:
        counts = [given.passive_features]
        model = await boost.active([channel], counts, columns, labels, parts, parameters, key, party.rng)
        party.enter("score")
        theirs = await score.active(channel, parts.train, model.passive_records[0])
        return auc(labels, sigmoid(model.predict_raw([columns.left_values(model.records), theirs])))

    found = drive(party.desk.run(active()), [link], TIMEOUT)
    return party.report(key, auc=found, bits=parameters.gradient_bits)


def _link(role: str, port: int) -> SocketLink:
    if role == "passive":
        return connect(LOOPBACK, port, "passive", "active", TIMEOUT)
    with listen() as server:
        print(json.dumps({"port": server.getsockname()[1]}), flush=True)
        return accept(server, ["passive"], TIMEOUT)["passive"]


def settings(given: argparse.Namespace) -> tuple[GBDTParameters, SchemeTerms]:
    """Model parameters with the gradient bits that the scheme affords, and the terms of the scheme."""
    options = {
        "num_iterations": given.trees, "max_depth": given.depth, "num_leaves": 2**given.depth, "max_bin": given.bins,
    }  # fmt: skip
    parameters = GBDTParameters.from_mapping(options)
    queries = parameters.num_iterations * parameters.num_leaves
    cells = given.passive_features * given.bins
    terms = SchemeTerms(given.scheme, RUN, KEY_BITS, cells, given.trees, queries, parameters.gradient_bits)
    return replace(parameters, gradient_bits=terms.bits(given.rows)), terms


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Both processes, then the plaintext trainers in this one."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        active = _child("active", given, folder, 0)
        assert active.stdout is not None
        passive = _child("passive", given, folder, json.loads(active.stdout.readline())["port"])
        told = {name: json.loads(child.communicate()[0]) for name, child in (("active", active), ("passive", passive))}
        wall = time.perf_counter() - start
    cpu = {name: sum(s for phase, s in of["seconds"].items() if phase == "train") for name, of in told.items()}
    hint = sum(of["seconds"].get("bins", 0.0) for of in told.values())
    work = sum(
        sum(v for k, v in of["scheme"].items() if k not in ("hint", "accept_hint", "public")) for of in told.values()
    )
    total = sum(cpu.values())
    return {
        "name": "train",
        "options": {key: value for key, value in vars(given).items() if key not in ("json", "role", "port", "folder")},
        "cpu_seconds": {name: round(seconds, 3) for name, seconds in cpu.items()},
        "cpu_seconds_per_tree": round(total / given.trees, 4),
        "hint_cpu_seconds": round(hint, 3),
        "wall_seconds": round(wall, 2),
        "bytes": {"active_to_passive": told["active"]["sent"], "passive_to_active": told["passive"]["sent"]},
        "bytes_per_tree": round((told["active"]["sent"] + told["passive"]["sent"]) / given.trees),
        "peak_mb": {name: of["peak_mb"] for name, of in told.items()},
        "overhead_fraction": round(1 - work / total, 4),
        "gradient_bits": told["active"]["bits"],
        "auc": round(told["active"]["auc"], 6),
        **_plaintext(given, total),
    }


def _plaintext(given: argparse.Namespace, total: float) -> dict[str, Any]:
    """LightGBM's time and the plain trainer's AUC on the pooled columns."""
    parameters, _ = settings(given)
    values, labels = data(given.rows, given.active_features + given.passive_features, given.seed)
    parts = Parts(np.ones(given.rows, np.bool_), np.zeros(given.rows, np.bool_))
    start = time.process_time()
    lightgbm_scores(values, labels, parts, parts.train, parameters)
    ratio = round(total / (time.process_time() - start), 1)
    if given.rows > PLAINTEXT_ROWS:
        return {"auc_plaintext": None, "lightgbm_ratio": ratio}
    full = train_reference(values, labels, replace(parameters, gradient_bits=GBDTParameters().gradient_bits))
    return {"auc_plaintext": round(auc(labels, full.predict(values)), 6), "lightgbm_ratio": ratio}


def _child(role: str, given: argparse.Namespace, folder: str, port: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "benchmarks.train", "--role", role, "--port", str(port), "--folder", folder]
    for key, value in vars(given).items():
        if key not in ("json", "role", "port", "folder"):
            words += [f"--{key.replace('_', '-')}", str(value)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--active-features", type=int, default=13)
    parser.add_argument("--passive-features", type=int, default=10)
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--trees", type=int, default=1)
    parser.add_argument("--scheme", choices=list(LEVELS), default=next(iter(LEVELS)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    for hidden in ("--role", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        print(json.dumps(take_part(given.role, given, Path(given.folder))))
        return
    result = run(given)
    if given.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{key:>22} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
