"""`tallystick party serve`: a service from its start to its end, and what it writes about itself."""

from __future__ import annotations

import json
import resource
import signal
import threading
from contextlib import ExitStack
from typing import TextIO

from vfl.clock import Clock
from vfl.errors import VflError
from vfl.files import alone
from vfl.net.server import Address, PartyServer
from vfl.party.metrics import Metrics, metrics_text
from vfl.party.runs import SERVE_LOCK
from vfl.party.service import Log, Service
from vfl.party.standing import Standing
from vfl.progress import tell

FILES = 65_536  # open at the same time, if the machine's keeper lets us
_LOOK = 1.0  # seconds between two looks at files


def json_log(out: TextIO, clock: Clock) -> Log:
    """One JSON object a line: the time, the event, and words of ours. No line holds what a table or a message holds."""

    def log(event: str, **words: object) -> None:
        tell(out, json.dumps({"time": clock.now().isoformat(timespec="milliseconds"), "event": event, **words}) + "\n")

    return log


def _allow_files() -> None:
    """As many open files as the machine's keeper lets this process have: connections are counted by them."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def serve(who: Standing, listen: Address, metrics_port: int, clock: Clock, log: Log) -> None:
    """Serve until the process is asked to end (SIGTERM, Ctrl-C)."""
    _allow_files()
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    with ExitStack() as ends, alone(who.state / SERVE_LOCK, f"another service runs with {who.state}"):
        service = Service(who, clock, log)
        server = PartyServer(listen, who.tls, service)
        server.start()
        ends.callback(server.stop, 0)
        ends.callback(service.stop)
        metrics = Metrics(metrics_port, lambda: not asked.is_set(), lambda: metrics_text(service, who.runs, who.name))
        ends.callback(metrics.stop)
        log("serving", party=who.name, address=str(server.address), metrics=metrics.port)
        while not asked.wait(_LOOK):
            try:
                service.look()
                if server.refresh():
                    log("certificates changed", peers=len(service.peers()))
            except VflError as error:
                # A file that is being written, or is wrong: what was admitted before goes on.
                log("files cannot be read", error=type(error).__name__)
        log("ending", attempts=service.going_on())
