"""A scorer for tests of the console: its decisions are made up, its ledger is a real one and its proofs are genuine."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlencode

import uvicorn
from starlette.applications import Starlette

from ledger import Identity, Log, MemoryStore, Witness, slot_name
from ledger.canonical import encode
from ledger.merkle import Tree
from vfl.agreement import Agreement, Member
from vfl.board.about import About, Band
from vfl.board.observed import Observed
from vfl.board.pages import board_routes
from vfl.decisions import ALGORITHM, leaf_of
from vfl.errors import UsageError
from vfl.scoring.answers import (
    Applicant,
    Decision,
    LedgerPart,
    Model,
    Partner,
    PartnerHealth,
    Proof,
    Reason,
    Receipt,
    Refused,
    Scored,
    UnknownApplicant,
)

FEATURES = {"bank": ("amount", "price", "term", "home"), "bureau": ("records", "debt"), "telecom": ("seniority",)}
WORDS = {"bank": {"amount": "Amount of the loan"}, "bureau": {"records": "Missed payments at another lender"}}
AGREEMENT = Agreement(
    "pos-loan", "joint credit default model",
    tuple(
        Member(name, "passive" if n else "active", names, WORDS.get(name, {}))
        for n, (name, names) in enumerate(FEATURES.items())
    ),
    {"kind": "gbdt"}, {"scheme": "lattice", "level": "hidden"}, {}, {},
)  # fmt: skip
BANDS = (
    Band("A", 640, None, "approve"), Band("B", 590, 640, "approve"), Band("C", 550, 590, "refer"),
    Band("D", None, 550, "decline"),
)  # fmt: skip
SUMMARY = {
    "metrics": {
        "federated": {"auc": 0.833, "ks": 0.529, "gini": 0.666},
        "bank_only": {"auc": 0.695, "ks": 0.306, "gini": 0.389},
    },
    "intervals": {"federated": {"auc": [0.804, 0.855]}, "confidence": 0.95},
    "rows": {"train": 2445, "holdout": 1080, "intersection": 3525},
}  # fmt: skip
START = datetime(2026, 1, 31, 10, 0, 0, tzinfo=UTC)
BANK, WITNESS = (Identity(name, sha256(name.encode()).digest()) for name in ("bank", "telecom"))
VERSION = sha256(b"model").hexdigest()


class Hands:
    """A clock whose hands a test moves."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic_ns(self) -> int:
        return int(self.time.timestamp() * 1e9)

    def cpu_seconds(self) -> float:
        return 0.0

    def forward(self, **span: float) -> None:
        self.time += timedelta(**span)


def points_of(pd: float) -> int:
    """20 points double the odds; 600 are odds of 15."""
    return round(600 + 20 / math.log(2) * (math.log((1 - pd) / pd) - math.log(15)))


def made(pd: float, number: int = 0, degraded: bool = False, **fields: Any) -> Decision:
    """A decision that stands in no ledger."""
    points = points_of(pd)
    band = next(band for band in BANDS if band.low is None or points >= band.low)
    reasons = (
        Reason("RECORDS", "Missed payments at another lender", "bureau"),
        Reason("AMOUNT", "Amount of the loan", "bank"),
        Reason("SENIORITY", "Time in the present job", "telecom"),
    )
    parties = {
        "bureau": Partner("ok", 1.4),
        "telecom": Partner("late" if degraded else "ok", 2.2 if not degraded else 50),
    }
    what: dict[str, Any] = {
        "decision_id": f"000001-{number}", "pd": pd, "points": points, "band": band.name, "decision": band.decision,
        "reasons": reasons[: 0 if band.name == "A" else 3], "degraded": degraded,
        "model": Scored("pos-loan", VERSION, AGREEMENT.digest), "parties": parties,
        "receipt": Receipt("bank/scoring-000001", number, "0" * 64),
    }  # fmt: skip
    return Decision(**{**what, **fields})


class Books:
    """One log with decisions, each entry committing to the records of a batch."""

    def __init__(self, run: str, who: Identity = BANK) -> None:
        valid = who.certify(run, START - timedelta(days=1), START + timedelta(days=1))
        self.log = Log(
            MemoryStore(), who, "bank", run, Hands(), entry_key=who.entry_key(run), certificate=valid,
            agreement=AGREEMENT.digest,
        )  # fmt: skip
        self.witness = Witness(WITNESS, MemoryStore(), Hands())
        self.kept: dict[str, tuple[Decision, bytes, bytes, int, Tree]] = {}

    def keep(self, decisions: Sequence[Decision], who: str) -> list[Decision]:
        number = len(self.log)
        salts = [sha256(f"{self.log.run} {number} {n}".encode()).digest() for n in range(len(decisions))]
        ids = [self.name(number, n, len(decisions)) for n in range(len(decisions))]
        records = [
            encode({
                "applicant": who, "band": one.band, "decision": one.decision, "decision_id": name,
                "degraded": one.degraded, "model": one.model.version, "pd": repr(one.pd), "points": one.points, "v": 1,
            })
            for one, name in zip(decisions, ids, strict=True)
        ]  # fmt: skip
        tree = Tree(leaf_of(salt, record) for salt, record in zip(salts, records, strict=True))
        entry = self.log.append(
            phase="score", round=number, step="decisions", slot=slot_name("score", number, "decisions", "bank", "bank"),
            dir="local", commit=[{"kind": "decisions", "alg": ALGORITHM, "digest": tree.root().hex()}],
            params={"count": len(records)},
        )  # fmt: skip
        self.log.commit()
        receipt = Receipt(self.log.origin, entry.seq, entry.leaf().hex())
        told = [
            Decision(**{**{f: getattr(one, f) for f in one.__struct_fields__}, "decision_id": name, "receipt": receipt})
            for one, name in zip(decisions, ids, strict=True)
        ]
        for place, one in enumerate(told):
            self.kept[one.decision_id] = (one, records[place], salts[place], place, tree)
        return told

    def name(self, number: int, place: int, count: int) -> str:
        return f"{self.log.run.rpartition('-')[2]}-{number}" + (f"-{place}" if count > 1 else "")

    def head(self) -> str:
        """The newest checkpoint, cosigned."""
        note = self.log.checkpoint()
        size = self.witness.size(self.log.origin)
        if size < len(self.log):
            line = self.witness.cosign(note, self.log.consistency_proof(size, len(self.log)), self.log.key)
            self.log.add_cosignatures(len(self.log), [line], [self.witness.key])
        return self.log.checkpoint()

    def proof(self, name: str) -> tuple[Decision, Proof]:
        one, record, salt, place, tree = self.kept[name]
        head, index = self.head(), one.receipt.entry
        size = len(self.log)
        entry = next(row.body for row in self.log.rows() if row.seq == index)
        return one, Proof(
            record.decode(), salt.hex(), place, len(tree), tuple(h.hex() for h in tree.inclusion_proof(place)),
            entry.decode(), index, size, tuple(h.hex() for h in self.log.inclusion_proof(index, size)), head,
            self.log.key.vkey,
        )  # fmt: skip

    def part(self, logs: Sequence[str], start: int, count: int) -> LedgerPart:
        head, size = self.head(), len(self.log)
        rows = [row for row in self.log.rows() if start <= row.seq < start + count]
        paths = tuple(tuple(h.hex() for h in self.log.inclusion_proof(row.seq, size)) for row in rows)
        texts = tuple(row.body.decode() for row in rows)
        return LedgerPart(tuple(logs), self.log.origin, self.log.key.vkey, head, size, start, texts, paths)


class FakeScorer:
    """Makes decisions up and keeps them in `volumes` of real logs.

    raises: instead of the next decision.   bend, bend_part: change what is shown of the ledger, as a cheat would.
    """

    active = "bank"
    own_features = FEATURES["bank"]

    def __init__(self, observed: Observed | None = None, volumes: int = 1) -> None:
        self.books = [Books(f"scoring-{number:06d}") for number in range(1, volumes + 1)]
        self.observed = observed
        self.asked: list[tuple[Applicant, str, str | None]] = []
        self.answers: dict[str, Decision] = {}
        self.raises: Exception | None = None
        self.bend: Callable[[Decision, Proof], tuple[Decision, Proof]] = lambda made, proof: (made, proof)
        self.bend_part: Callable[[LedgerPart], LedgerPart] = lambda part: part
        self.latest: list[tuple[str, Decision]] = []
        self.health = {"bureau": PartnerHealth("up", "", 9_120), "telecom": PartnerHealth("up", "", None)}

    async def score(self, applicant: Applicant, caller: str, key: str | None = None) -> Decision:
        self.asked.append((applicant, caller, key))
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        if applicant.features is None and applicant.id.startswith("nobody"):
            raise UnknownApplicant
        if key is not None and key in self.answers:
            return self.answers[key]
        drawn = int.from_bytes(sha256(applicant.id.encode()).digest()[:4], "big") / 2**32
        found = self.record(0.01 + 0.3 * drawn**2, applicant.id, degraded=drawn > 0.97)
        if key is not None:
            self.answers[key] = found
        return found

    def record(self, pd: float, who: str = "x", count: int = 1, degraded: bool = False, ms: float = 2.0) -> Decision:
        """Decide and keep; of several in one entry the last."""
        made_up = [made(min(0.9, pd * (1 + n / 10)), degraded=degraded) for n in range(count)]
        for one in self.books[-1].keep(made_up, who):
            if self.observed is not None:
                self.observed.add(one, ms / 1000)
            stamp = (START + timedelta(seconds=len(self.latest))).isoformat(timespec="microseconds")
            self.latest.append((stamp.replace("+00:00", "Z"), one))
        return self.latest[-1][1]

    async def score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None = None
    ) -> tuple[Decision | Refused, ...]:
        raise NotImplementedError

    async def find(self, decision_id: str) -> tuple[Decision, Proof] | None:
        for books in self.books:
            if decision_id in books.kept:
                return self.bend(*books.proof(decision_id))
        return None

    async def recent(self, count: int) -> list[tuple[str, Decision]]:
        return self.latest[::-1][:count]

    async def ledger(self, log: str | None, start: int, count: int) -> LedgerPart:
        logs = [books.log.origin for books in self.books]
        if log is not None and log not in logs:
            raise UsageError(f"there is no log {log!r} of decisions here")
        return self.bend_part(self.books[-1 if log is None else logs.index(log)].part(logs, start, count))

    def models(self) -> list[Model]:
        champion = Model("pos-loan", VERSION, AGREEMENT.digest, "gbdt", "champion", FEATURES, "pos-loan-7")
        return [champion, Model("pos-loan-card", "c" * 64, AGREEMENT.digest, "scorecard", "challenger", FEATURES, "r8")]

    def partners(self) -> Mapping[str, PartnerHealth]:
        return self.health


def about(**fields: Any) -> About:
    what: dict[str, Any] = {
        "summary": SUMMARY, "agreement": AGREEMENT, "bands": BANDS, "standin": "the bank's own columns",
        "learns": [("bank", "the leaf of each tree"), ("bureau", "that the applicant was scored")],
        "witnesses": [WITNESS.witness.verifying.vkey], "examples": {"amount": 1000, "price": 1500},
        "applicant": "+34600000000",
    }  # fmt: skip
    return About(**{**what, **fields})


def application(scorer: FakeScorer, observed: Observed, what: About | None = None, **named: Any) -> Starlette:
    said = what or about()
    return Starlette(routes=board_routes(scorer, observed, lambda: said, **named))


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The application on a free port of loopback; its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@dataclass(frozen=True)
class Answer:
    """What an application said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(app: Starlette, path: str, form: Mapping[str, str] | bytes | None = None, **headers: str) -> Answer:
    """GET a path, or POST a form to it, without a network."""
    body = form if isinstance(form, bytes) else urlencode(form or {}).encode()
    path, _, query = path.partition("?")
    kind = {} if form is None else {"content-type": "application/x-www-form-urlencoded"}
    named = {"host": "127.0.0.1", **kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "method": "GET" if form is None else "POST",
        "path": unquote(path), "raw_path": path.encode(),
        "query_string": query.encode(), "headers": [(k.encode(), v.encode()) for k, v in named.items()],
        "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    headers_said = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], headers_said, b"".join(one.get("body", b"") for one in said[1:]))
