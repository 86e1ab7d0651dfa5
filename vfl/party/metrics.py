"""What an operator's programs ask a service, on a loopback port: is it alive, is it ready, how is it doing.

/healthz   200 while the process answers
/readyz    200 while it admits peers, else 503
/metrics   counts in the text format of Prometheus; no names of customers, no values
"""

from __future__ import annotations

import resource
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from vfl.errors import UsageError
from vfl.party.runs import all_runs
from vfl.party.service import Service
from vfl.transport import LOOPBACK

_SECONDS = 5  # that a request may take to arrive


class Metrics:
    """The loopback port of one service."""

    def __init__(self, port: int, ready: Callable[[], bool], text: Callable[[], str]) -> None:
        """Listen at once; port 0 takes a free one. Raises UsageError if it is not to be had."""

        def answer(path: str) -> tuple[int, str]:
            if path == "/readyz":
                return (200, "ready\n") if ready() else (503, "not ready\n")
            pages = {"/healthz": "alive\n", "/metrics": text()}
            return (200, pages[path]) if path in pages else (404, "no such page\n")

        class Handler(BaseHTTPRequestHandler):
            timeout = _SECONDS

            def do_GET(self) -> None:  # the standard library's name
                code, words = answer(self.path)
                body = words.encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """The service has a log of its own."""

        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise UsageError(
                f"the port {port} for metrics is not to be had: {error.strerror}", remedy="name another"
            ) from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer nobody more."""
        self._server.shutdown()
        self._server.server_close()


def metrics_text(service: Service, runs: Path, name: str) -> str:
    """The page /metrics."""
    states = Counter(folder.status().state for folder in all_runs(runs))
    used = resource.getrusage(resource.RUSAGE_SELF)
    lines = [
        *_metric("attempts_total", "counter", "Attempts at runs that began.", service.begun),
        *_metric("refused_total", "counter", "Calls of known peers that were refused.", service.refused),
        *_metric("attempts_running", "gauge", "Attempts under way.", service.going_on()),
        *_metric("peers_trusted", "gauge", "Peers whose pins count.", len(service.peers())),
        *_metric("cpu_seconds_total", "counter", "CPU time of the service alone.", used.ru_utime + used.ru_stime),
        *_metric("memory_peak_bytes", "gauge", "Largest memory of the service alone.", used.ru_maxrss * 1024),
        f"# HELP {_PREFIX}runs Runs by state.",
        f"# TYPE {_PREFIX}runs gauge",
        *(f'{_PREFIX}runs{{party="{name}",state="{state}"}} {count}' for state, count in sorted(states.items())),
    ]
    return "\n".join(lines) + "\n"


_PREFIX = "tallystick_"


def _metric(name: str, kind: str, about: str, value: float) -> list[str]:
    return [f"# HELP {_PREFIX}{name} {about}", f"# TYPE {_PREFIX}{name} {kind}", f"{_PREFIX}{name} {value:g}"]
