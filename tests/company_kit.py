"""Companies on loopback addresses as people make them: settings, sealed keys, exchanged cards, a signed agreement."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from run_kit import TOML, command, scenario

from vfl.agreement import Agreement
from vfl.agreements.leakage import leaks_of
from vfl.agreements.signed import SignedAgreement
from vfl.clauses import Contract
from vfl.config import load_scenario
from vfl.party.card import Card
from vfl.party.certificates import new_tls_key
from vfl.party.keystore import Keys, create
from vfl.party.state import admit, keep_own_card, make
from vfl.simulation import agree

PASSPHRASE = "five words nobody can guess"
HOSTS = {"bank": "127.0.0.1", "telecom": "127.0.0.2", "payroll": "127.0.0.3"}
PORT = 17443


@dataclass(frozen=True)
class Companies:
    """The companies of one folder, and the agreement between them."""

    folder: Path
    port: int
    keys: dict[str, Keys]
    agreement: Agreement

    def party(self, name: str) -> Path:
        return self.folder / name

    @property
    def signed(self) -> Path:
        return self.folder / "agreement.json"

    def sign(self, agreement: Agreement, *who: str) -> Path:
        """The agreement in a file, signed by `who`."""
        found = SignedAgreement(agreement)
        for name in who:
            found = found.sign(self.keys[name].identity.identity)
        path = self.folder / f"{agreement.digest[:8]}-{len(who)}.json"
        found.write(path)
        return path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TALLYSTICK_PASSPHRASE": PASSPHRASE}

    def start(self, *words: object) -> subprocess.Popen[str]:
        """A command of the command line as a process."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command(*words), text=True, env=self.environment(), **pipes)

    def done(self, *words: object) -> subprocess.CompletedProcess[str]:
        """A command of the command line, until it ends."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    @contextmanager
    def serving(self, *names: str) -> Iterator[None]:
        """Services of these companies, ready for their peers."""
        words = ("--metrics-port", 0)
        started = [self.start("party", "serve", "--config", self.party(name), *words) for name in names]
        try:
            for process in started:
                assert process.stderr is not None
                assert '"serving"' in (line := process.stderr.readline()), line + process.stderr.read()
            yield
        finally:
            for process in started:
                process.terminate()
                process.communicate(timeout=20)


def companies(folder: Path, port: int = PORT) -> Companies:
    """Make them all."""
    config = load_scenario(scenario(folder / "tables", TOML))
    now = datetime.now(UTC)
    keys: dict[str, Keys] = {}
    cards: dict[str, Card] = {}
    for number, party in enumerate(config.parties):
        name, state = party.name, folder / party.name / "state"
        make(state)
        tls = [new_tls_key(name, now, 365) for _ in range(2)]
        keys[name] = create(state, name, bytes([number + 1]) * 32, tls, PASSPHRASE)
        address = f"{HOSTS[name]}:{port}"
        created = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        cards[name] = Card.make(keys[name].identity, address, created, tuple(one.certificate for one in tls))
        keep_own_card(state, cards[name])
        label = '\nlabel = "default"' if party.label else ""
        (folder / name / "party.toml").write_text(
            f'[party]\nname = "{name}"\naddress = "{address}"\n'
            f'[data]\ntable = "{party.table.resolve()}"\nid = "{party.id[0]}"{label}\n'
            f"[deadlines]\nsilence = 30\n"
        )
    for name in cards:
        for other in cards.values():
            if other.name != name:
                admit(folder / name / "state", other)
    agreement = agree(config, lambda holding: None)
    contract = Contract(
        parties={name: (card.identity.vkey, card.witness.vkey) for name, card in cards.items()},
        legal_basis="consent of the customers",
        expires="2099-12-31",
        leakage=leaks_of(agreement),
        budgets={},
        revenue={"rule": "none"},
    )
    made = Companies(folder, port, keys, replace(agreement, contract=contract))
    made.sign(made.agreement, *cards).rename(made.signed)
    return made


def await_(fact: Callable[[], bool], seconds: float = 30.0) -> None:
    """Until `fact` holds."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)
