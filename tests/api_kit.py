"""A scorer without partners, the API over it on a real socket, and callers who speak bytes: for tests of `vfl.api`."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from vfl.api import keys
from vfl.api.app import ApiSettings, make_app
from vfl.api.connections import Bounds
from vfl.api.server import HttpServer
from vfl.api.tls import Tls
from vfl.clock import Clock, SystemClock
from vfl.errors import UsageError
from vfl.party.serving import json_log
from vfl.scoring.answers import (
    Applicant,
    Decision,
    KeyInUse,
    KeyReused,
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

FEATURES = ("income", "age", "utilisation")
VERSION = sha256(b"champion").hexdigest()
LOG = "bank/scores/000001"


class FakeScorer:
    """Knows the applicants whose id begins with A; `fails` is raised instead of deciding."""

    def __init__(self) -> None:
        self.made: list[Decision] = []
        self.kept: dict[tuple[str, str], tuple[object, Any]] = {}
        self.fails: Exception | None = None
        self.link = "up"
        self.takes = 0.0  # seconds
        self.callers: set[str] = set()
        self.champion = True

    active = "bank"
    own_features = FEATURES

    async def score(self, applicant: Applicant, caller: str, key: str | None = None) -> Decision:
        return await self._once(applicant, caller, key, lambda: self._decide(applicant))

    async def score_batch(
        self, applicants: Sequence[Applicant], caller: str, key: str | None = None
    ) -> tuple[Decision | Refused, ...]:
        def decide() -> tuple[Decision | Refused, ...]:
            return tuple(
                self._decide(each, place) if self._knows(each) else Refused("unknown-applicant", "in no table")
                for place, each in enumerate(applicants)
            )

        return await self._once(tuple(applicants), caller, key, decide)

    async def _once(self, asked: object, caller: str, key: str | None, decide: Any) -> Any:
        self.callers.add(caller)
        if self.takes:
            if key is not None and self.kept.setdefault((caller, key), (asked, None))[1] is None:
                self.kept[caller, key] = (asked, "busy")
            elif key is not None and self.kept[caller, key][1] == "busy":
                raise KeyInUse
            await asyncio.sleep(self.takes)
        if self.fails is not None:
            raise self.fails
        if key is not None and (found := self.kept.get((caller, key))) and found[1] not in (None, "busy"):
            if found[0] != asked:
                raise KeyReused
            return found[1]
        made = decide()
        if key is not None:
            self.kept[caller, key] = (asked, made)
        return made

    def _knows(self, applicant: Applicant) -> bool:
        return applicant.features is not None or applicant.id.startswith("A")

    def _decide(self, applicant: Applicant, place: int | None = None) -> Decision:
        if applicant.features is not None and applicant.features.keys() != set(FEATURES):
            raise UsageError(f"the features are {', '.join(FEATURES)}: all of them or none")
        if not self._knows(applicant):
            raise UnknownApplicant
        entry = len(self.made)
        pd = (sha256(applicant.id.encode()).digest()[0] + 1) / 300
        made = Decision(
            decision_id=f"000001-{entry}" + ("" if place is None else f"-{place}"),
            pd=pd,
            points=int(700 - 300 * pd),
            band="C",
            decision="approve" if pd < 0.5 else "decline",
            reasons=(Reason("utilisation-high", "The credit lines are used to a large part.", "bank"),),
            degraded=self.link != "up",
            model=Scored("pos-loan", VERSION, "0" * 64),
            parties=self._parties(),
            receipt=Receipt(LOG, entry, sha256(str(entry).encode()).hexdigest()),
        )
        self.made.append(made)
        return made

    def _parties(self) -> dict[str, Partner]:
        """In another order every time, as answers come in."""
        found = {"telecom": Partner("ok" if self.link == "up" else "down", 1.25), "bureau": Partner("ok", 0.5)}
        return dict(reversed(found.items())) if len(self.made) % 2 else found

    async def find(self, decision_id: str) -> tuple[Decision, Proof] | None:
        found = next((each for each in self.made if each.decision_id == decision_id), None)
        return (found, Proof("{}", "00", 0, 1, (), "{}", 0, 1, (), "note", "key")) if found else None

    async def recent(self, count: int) -> list[tuple[str, Decision]]:
        return [("2026-01-01T00:00:00Z", each) for each in self.made[-count:][::-1]]

    async def ledger(self, log: str | None, start: int, count: int) -> LedgerPart:
        if log not in (None, LOG) or start > len(self.made):
            raise UsageError("there is no such log")
        entries = tuple(f'{{"seq":{seq}}}' for seq in range(start, min(start + count, len(self.made))))
        return LedgerPart((LOG,), LOG, "key", "note", len(self.made), start, entries, tuple(() for _ in entries))

    def models(self) -> list[Model]:
        features = {"bank": FEATURES, "telecom": ("calls",)}
        return [
            Model(
                "pos-loan", VERSION, "0" * 64, "gbdt", "champion" if self.champion else "retired", features, "runs/pos"
            ),
            Model("pos-loan", "1" * 64, "0" * 64, "gbdt", "challenger", features, "runs/pos-2"),
        ]

    def partners(self) -> Mapping[str, PartnerHealth]:
        return {"telecom": PartnerHealth(self.link, "", 1000)}  # type: ignore[arg-type]


@dataclass
class Served:
    """An API that listens. `log`: the events that it told."""

    server: HttpServer
    scorer: FakeScorer
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if context is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Reply:
        """One request on a connection of its own. `body`: bytes as they are, anything else as JSON."""
        connection = self.connect(context)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            sent = {**({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})}
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def told(self, **words: object) -> dict[str, Any]:
        """The latest event with these words; an answer may arrive before its line is written."""
        for _ in range(200):
            found = [each for each in self.log if words.items() <= each.items()]
            if found:
                return found[-1]
            time.sleep(0.01)
        raise AssertionError(f"nothing of {words} in the log")

    def raw(self, data: bytes, seconds: float = 10) -> bytes:
        """Everything that comes back for some bytes, until the server closes or is silent for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as own:
            own.sendall(data)
            found = b""
            try:
                while part := own.recv(65536):
                    found += part
            except (TimeoutError, ConnectionResetError):
                pass
            return found


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of a problem, whose form is checked."""
        assert self.headers["content-type"] == "application/problem+json"
        body = self.json
        assert body["status"] == self.status
        assert body["type"] == f"urn:tallystick:problem:{body['code']}"
        code: str = body["code"]
        return code


@contextmanager
def serving(
    settings: ApiSettings | None = None,
    *,
    tls: Tls | None = None,
    bounds: Bounds | None = None,
    clock: Clock | None = None,
    scorer: Any = None,
    extend: Any = None,
) -> Iterator[Served]:
    """The API on a free loopback port, in a thread of its own."""
    scorer, log = scorer or FakeScorer(), []

    def tell(event: str, **words: object) -> None:
        log.append({"event": event, **words})

    app = make_app(scorer, settings or ApiSettings(), clock or SystemClock(), tell)
    if extend is not None:
        extend(app)
    server = HttpServer(app, "127.0.0.1", 0, tls, bounds)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(server.serve())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Served(server, scorer, log)
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive(), "the server does not stop"
        assert not failed, failed


def new_key(folder: Path, client: str = "desk", *scopes: str, **more: Any) -> str:
    """A key in the folder's file; without scopes, one that may everything."""
    now = SystemClock().now()
    wanted = keys.wanted(
        client,
        scopes or tuple(keys.SCOPES),
        now,
        more.get("expires"),
        more.get("per_minute"),
        more.get("per_day"),
        more.get("certificate", ""),
    )
    return keys.add(folder / keys.FILE, wanted) or wanted.id


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def serving_process(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The API as a process of its own, and its port. `words`: as `main` reads them."""
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    command = [sys.executable, __file__, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), line
            yield process, int(line.partition(";")[0].rpartition(":")[2])
        finally:
            process.kill()


def resident(process: int) -> float:
    """Memory of a process now, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(words: Sequence[str]) -> None:
    """Serve until SIGTERM; the log goes to stderr, as that of a service does."""
    options = dict(zip(words[::2], words[1::2], strict=True))
    bounds = Bounds(int(options.get("--bounds", 4096)), float(options.get("--arriving", 5)))
    scorer = FakeScorer()
    scorer.takes = float(options.get("--takes", 0))
    settings = ApiSettings(keys=Path(options["--keys"]) if "--keys" in options else None)
    app = make_app(scorer, settings, SystemClock(), json_log(sys.stderr, SystemClock()))
    server = HttpServer(app, "127.0.0.1", 0, None, bounds)
    sys.stdout.write(server.start_line + "\n")
    sys.stdout.flush()
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(sys.argv[1:])
