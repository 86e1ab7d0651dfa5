"""A partner of a simulated run, as an operating-system process that answers its bank over mutual TLS on loopback.

    python -m vfl.scoring.host DIR PARTY

stdin   one JSON line {"key": .., "certificate": .., "active": .., "admitted": [..], "per_day": ..}; then silence: its
        end means that nobody supervises this process any more, and it ends itself
stdout  one JSON line {"port": 40123} when it listens, or how it failed (`vfl.processes.told`)

Companies have `tallystick party serve`, which answers by the same code.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vfl.clock import SystemClock
from vfl.errors import AgreementError, TransportError, VflError
from vfl.net.pins import pin_of
from vfl.net.server import Address, Attending, PartyServer
from vfl.net.tls import Known, OwnTls
from vfl.notary import LedgerNotary
from vfl.party.certificates import TlsKey, new_tls_key
from vfl.processes import told, told_error
from vfl.retention import TO_SCORE
from vfl.scoring.budget import Budget
from vfl.scoring.opening import speaker_of
from vfl.scoring.partner import ScoringPartner
from vfl.scoring.session import Speaker
from vfl.seat import RunFile, identity_of, open_ledger, read_seed

LOOPBACK = "127.0.0.1"
_DAYS = 30


def budget_of(who: Speaker, per_day: int | None, in_all: int | None) -> Budget:
    """The count of what a passive party answers in a run. Raises UsageError."""
    who.folder.mkdir(parents=True, exist_ok=True)
    return Budget(who.folder, per_day, in_all, who.clock)


def partner_of(who: Speaker, file: RunFile, budget: Budget) -> ScoringPartner:
    """The scoring side of a passive party of a finished run. Raises UsageError."""
    store = open_ledger(who.seat, file.run)
    try:
        active = file.agreement.active.name
        notary = LedgerNotary(
            store, who.identity, file.run, who.agreement, {active: file.keys[active]}, who.clock, ended=True
        )
        return ScoringPartner(who, file.terms, notary.log, budget)
    finally:
        store.close()


class ScoringGate:
    """Answers questions about scores and nothing else (`vfl.net.server.Gate`)."""

    def __init__(self, partner: ScoringPartner, active: Known) -> None:
        self._partner, self._active = partner, active

    def peers(self) -> Sequence[Known]:
        return (self._active,)

    def score(self, peer: str, run: str, job: str, frames: Iterator[bytes]) -> Generator[bytes, None, None]:
        if run != self._partner.who.run:
            raise AgreementError("there is no such run here")
        yield from self._partner.serve(peer, job, frames)

    def health(self, peer: str) -> bytes:
        return json.dumps({"party": self._partner.who.name, "ready": True}).encode()

    def failed(self, error: Exception) -> None:
        print(f"{type(error).__name__}", file=sys.stderr)  # its words may hold paths and values

    def offer(self, peer: str, offer: bytes) -> bytes:
        self._refuse()

    def attend(self, peer: str, run: str, attempt: int) -> Attending:
        self._refuse()

    def withdrawn(self, peer: str, run: str, why: str) -> None:
        self._refuse()

    def log(self, peer: str, run: str) -> bytes:
        self._refuse()

    def attest(self, peer: str, run: str, sums: bytes) -> bytes:
        self._refuse()

    def keep(self, peer: str, run: str, bundle: bytes) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise AgreementError("this service answers questions about scores only")


class Hosted:
    """A partner's process; started again, at the same address and with the same key, when it dies."""

    def __init__(self, root: Path, party: str, active: str, caller: TlsKey, per_day: int | None) -> None:
        """Start it; whoever has the key of `caller` may ask it. Raises VflError."""
        self.party = party
        own = new_tls_key(party, SystemClock().now(), _DAYS)
        self._words = [sys.executable, "-m", "vfl.scoring.host", str(root), party]
        self._given = {
            "key": own.key.decode(), "certificate": own.certificate.decode(), "active": active, "port": 0,
            "admitted": caller.certificate.decode(), "per_day": per_day,
        }  # fmt: skip
        self.process = self._start()
        address = f"{LOOPBACK}:{self._given['port']}"
        self.known = Known(party, address, (own.certificate,), frozenset({pin_of(own.certificate)}))

    def died(self) -> bool:
        """Whether it does not run any more."""
        return self.process.poll() is not None

    def again(self) -> None:
        """Start it once more. Raises VflError."""
        self.end()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # Our own interpreter and module, and no shell.
        process = subprocess.Popen(  # noqa: S603
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for whoever supervises it
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(self._given).encode() + b"\n")
            process.stdin.flush()
            said: dict[str, Any] = json.loads(process.stdout.readline() or b"{}")
        except (OSError, ValueError):
            said = {}
        if "port" not in said:
            _end(process)
            raise told_error(said) if "error" in said else TransportError(f"the process of {self.party} died at once")
        self._given["port"] = said["port"]
        return process

    def end(self) -> None:
        """Stop it."""
        _end(self.process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def main(arguments: Sequence[str]) -> int:
    """The process."""
    root, party = Path(arguments[0]), arguments[1]
    given = json.loads(sys.stdin.buffer.readline())
    try:
        file = RunFile.read(root, needs=TO_SCORE)
        seed = read_seed(root / party)
        who = speaker_of(root, party, seed, identity_of(party, seed), file, SystemClock())
        partner = partner_of(who, file, budget_of(who, given["per_day"], None))
        certificate = given["admitted"].encode()
        caller = Known(given["active"], "", (certificate,), frozenset({pin_of(certificate)}))
        own = OwnTls(given["key"].encode(), given["certificate"].encode())
        server = PartyServer(Address(LOOPBACK, given["port"]), lambda: own, ScoringGate(partner, caller))
        server.start()
    except VflError as error:
        print(told(error), end="", flush=True)
        return 2
    print(json.dumps({"port": server.address.port}), flush=True)
    sys.stdin.buffer.read()
    server.stop(0.5)
    partner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
