"""Three parties on loopback: their states, keys and tables; services in this process, roles in processes of their own.

python -m services_kit FOLDER serve NAME         a service as a process that can be killed
python -m services_kit FOLDER drive RUN          the bank
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from net_kit import known, made

from ledger.keys import Identity
from vfl.agreement import Agreement
from vfl.clock import SystemClock
from vfl.config import load_scenario
from vfl.errors import AgreementError
from vfl.net.server import Address, PartyServer
from vfl.net.tls import Known, OwnTls
from vfl.notary import PeerKeys
from vfl.party import driving
from vfl.party.driving import Driving
from vfl.party.runs import RunFolder
from vfl.party.service import Service
from vfl.party.serving import json_log, serve
from vfl.party.standing import Admitted, Standing
from vfl.simulation import agree

SEEDS = {"bank": b"\1" * 32, "telecom": b"\2" * 32, "payroll": b"\3" * 32}
GOOD = b"signed by all"


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
        self.known: dict[str, Known] = {name: self._known(name) for name in SEEDS}
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.timeout = 30.0

    def _tls(self, name: str) -> OwnTls:
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        if not key.exists():
            new = made(name)
            key.write_bytes(new.key)
            certificate.write_bytes(new.certificate)
        return OwnTls(key.read_bytes(), certificate.read_bytes())

    def _known(self, name: str) -> Known:
        at = self.folder / f"{name}.address"
        return known(name, self.tls[name], at.read_text() if at.exists() else "127.0.0.1:1")

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
            name, SEEDS[name], self.folder / name, table, 10.0, self.timeout,
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

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield service
        finally:
            ended.set()
            looking.join()
            service.stop()
            server.stop(0)

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
