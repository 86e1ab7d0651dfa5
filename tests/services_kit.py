"""Three parties on loopback: their states, keys and tables; services in this process, roles in processes of their own.

python -m services_kit FOLDER serve NAME         a service as a process that can be killed
python -m services_kit FOLDER drive RUN          the bank
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fault_proxy import FaultProxy
from net_kit import known, made

from ledger.ending import Ended, ended
from ledger.entry import Entry
from ledger.keys import Identity
from ledger.store import SQLiteStore
from vfl.agreement import Agreement
from vfl.channel import lockstep
from vfl.clock import SystemClock
from vfl.config import load_scenario
from vfl.desk import memory_links
from vfl.errors import AgreementError
from vfl.net.pins import pin_of
from vfl.net.server import Address, PartyServer
from vfl.net.tls import Known, OwnTls
from vfl.notary import PeerKeys
from vfl.party import driving
from vfl.party.concluding import own_log
from vfl.party.driving import Driving
from vfl.party.runs import DONE, RunFolder
from vfl.party.service import Service
from vfl.party.serving import json_log, serve
from vfl.party.standing import Admitted, Standing
from vfl.seat import RunFile, Seat, new_seat
from vfl.simulation import agree
from vfl.transcripts import read_transcript

SEEDS = {"bank": b"\1" * 32, "telecom": b"\2" * 32, "payroll": b"\3" * 32}
GOOD = b"signed by all"
PHASES = ("handshake", "psi", "align", "bins", "train", "score", "freeze")
FILES = ("transcript.bin", "share.json", "rows.npy")


def keys() -> dict[str, PeerKeys]:
    identities = {name: Identity(name, seed) for name, seed in SEEDS.items()}
    return {name: PeerKeys(who.identity.verifying, who.witness.verifying) for name, who in identities.items()}


class Parties:
    """The parties of one scenario in one folder. A process of theirs finds the tables there."""

    def __init__(self, folder: Path) -> None:
        self.folder, file = folder, folder / "tables" / "scenario.toml"
        if not file.exists():
            from run_kit import TOML, scenario  # slow to import, and a service has no need of it

            scenario(file.parent, TOML)
        self.config = load_scenario(file)
        for name in SEEDS:
            (folder / name).mkdir(exist_ok=True)
        self.agreement: Agreement = agree(self.config, lambda holding: None)
        self.tls = {name: self._tls(name) for name in SEEDS}
        self.via: dict[str, str] = {}  # where the bank calls a peer, if not at its own address
        self.known: dict[str, Known] = {name: self._known(name) for name in SEEDS}
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.timeout, self.patience = 30.0, 3600.0

    def _tls(self, name: str) -> OwnTls:
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        if not key.exists():
            new = made(name)
            key.write_bytes(new.key)
            certificate.write_bytes(new.certificate)
        return OwnTls(key.read_bytes(), certificate.read_bytes())

    def _known(self, name: str) -> Known:
        at = self.folder / f"{name}.address"
        return known(name, self.tls[name], self.via.get(name) or (at.read_text() if at.exists() else "127.0.0.1:1"))

    def admit(self, data: bytes) -> Admitted:
        if data != GOOD:
            raise AgreementError("not signed by all")
        return Admitted(self.agreement, keys(), data, lambda begun: None)

    def listen(self, name: str) -> Address:
        """The same address after a restart."""
        at = self.folder / f"{name}.address"
        return Address.parse(at.read_text() if at.exists() else "127.0.0.1:0")

    def _now(self) -> dict[str, Known]:
        """Whom the parties know, where they are now."""
        known = dict(self.known)  # a test may take a pin back meanwhile
        return {name: replace(one, address=self._known(name).address) for name, one in known.items()}

    def standing(self, name: str) -> Standing:
        table = next(party for party in self.config.parties if party.name == name)
        return Standing(
            name, SEEDS[name], self.folder / name, table, 10.0, self.timeout, self.patience,
            tls=lambda: self.tls[name],
            trusted=lambda: {peer: one for peer, one in self._now().items() if peer != name},
            admit=self.admit,
        )  # fmt: skip

    @contextmanager
    def serving(self, name: str) -> Iterator[Service]:
        service = Service(self.standing(name), SystemClock(), lambda event, **words: self.log.append((event, words)))
        server = PartyServer(self.listen(name), lambda: self.tls[name], service)
        server.start()
        (self.folder / f"{name}.address").write_text(str(server.address))
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.2):
                service.look()
                server.refresh()

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield service
        finally:
            ended.set()
            looking.join()
            service.stop()
            server.stop(0)

    def change_keys(self, name: str, look: Callable[[], None]) -> None:
        """A party's next TLS key, as `party rotate` and new cards bring it. `look`: until everybody has looked."""
        new, before = made(name), self.known[name]
        certificates = (*before.certificates, new.certificate)
        self.known[name] = replace(before, certificates=certificates, pins=before.pins | {pin_of(new.certificate)})
        look()
        self.tls[name] = new
        look()
        self.known[name] = known(name, new, before.address)
        look()

    def driving(self, run: str, patience: float = 20.0) -> Driving:
        who = self.standing("bank")
        return Driving(who, run, self.admit(GOOD), SystemClock(), patience)

    def folder_of(self, name: str, run: str) -> RunFolder:
        return RunFolder(self.folder / name / "runs", run)


@dataclass(frozen=True)
class Finished:
    """A finished run of three parties."""

    parties: Parties
    run: str

    def seat(self, name: str) -> Path:
        return self.parties.folder_of(name, self.run).path / name


@contextmanager
def between(parties: Parties, peer: str, seed: int = 0, **faults: Any) -> Iterator[FaultProxy]:
    """A bad network between the bank and one peer."""
    at = Address.parse((parties.folder / f"{peer}.address").read_text())
    with FaultProxy(at.host, at.port, seed, **faults) as proxy:
        parties.via[peer] = proxy.address
        try:
            yield proxy
        finally:
            del parties.via[peer]


def in_lockstep(parties: Parties, run: str, folder: Path) -> None:
    """The same run under lockstep, in `folder`."""
    folder.mkdir()
    RunFile(run, parties.agreement, keys()).write(folder)
    seats, links = {}, {name: {} for name in SEEDS}
    for peer in ("telecom", "payroll"):
        links["bank"][peer], links[peer]["bank"] = memory_links()
    for name in SEEDS:
        who = parties.standing(name)
        new_seat(folder / name, who.table, who.seed_of(run))
        seats[name] = Seat(folder, name, SystemClock(), identity=Identity(name, SEEDS[name]))
    lockstep({name: seat.role(links[name]) for name, seat in seats.items()})
    for seat in seats.values():
        seat.close()


def await_phase(folder: RunFolder, phase: str) -> None:
    """Until the party of that folder is in `phase` or beyond it."""
    deadline = time.monotonic() + 30
    while (now := folder.progress().get("phase", "start")) == "start" or PHASES.index(now) < PHASES.index(phase):
        assert time.monotonic() < deadline, f"still in {now}"
        time.sleep(0.002)


def assert_same(parties: Parties, run: str, folder: Path) -> None:
    """What the parties have is what lockstep leaves in `folder`, and every slot was used once."""
    in_lockstep(parties, run, folder)
    for name in SEEDS:
        there = parties.folder_of(name, run)
        assert there.status().state == DONE
        for file in FILES:
            assert (folder / name / file).read_bytes() == (there.path / name / file).read_bytes(), (name, file)
        sent = [record.slot for record in read_transcript(there.path / name / "transcript.bin")]
        assert len(sent) == len(set(sent))
        store = SQLiteStore(there.path / name / "ledger.sqlite")
        slots = [Entry.from_bytes(row.body).slot for row in store.rows()]
        store.close()
        assert len(slots) == len(set(slots)) > 50
        assert set(sent) <= set(slots)


def require_signed_end(parties: Parties, name: str, run: str, *, by: str) -> Ended:
    """The last entry of a party's own ledger is the end of the run, under a head that it signed, as its status says."""
    folder = parties.folder_of(name, run)
    with own_log(parties.standing(name), folder, SystemClock()) as log:
        found = ended(log)
        assert found is not None
        assert found.seq == len(log) - 1, "nothing follows it"
        assert log.checkpoints()[-1].size == len(log)
    status = folder.status()
    assert (found.state, found.by, found.why) == (status.state, by, status.reason)
    return found


def apart(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """A party as a process of its own."""
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])}
    return subprocess.Popen([sys.executable, "-m", "services_kit", str(folder), *words], env=os.environ | path)


def main(folder: Path, what: str, name: str) -> None:
    parties = Parties(folder)
    if what == "drive":
        driving.FIRST_WAIT = 0.3
        parties.driving(name).run(print)
        return
    with (folder / f"{name}.log").open("a") as out:
        plain = json_log(out, SystemClock())

        def log(event: str, **words: Any) -> None:
            plain(event, **words)
            if event == "serving":  # the last file to appear is the address
                (folder / f"{name}.metrics").write_text(str(words["metrics"]))
                (folder / f"{name}.address").write_text(words["address"])

        serve(parties.standing(name), parties.listen(name), 0, SystemClock(), log)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
