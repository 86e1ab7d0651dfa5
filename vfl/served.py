"""What is served, as the command line names it: a finished run on one desk, or one of a company's."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from vfl.api.keys import FILE as KEYS
from vfl.clock import Clock, SystemClock
from vfl.errors import UsageError
from vfl.party.config import PartyFile, read_party_file
from vfl.party.keystore import unlock
from vfl.party.opening import standing_of
from vfl.party.passphrase import passphrase
from vfl.party.runs import DONE, RunFolder, all_runs
from vfl.party.scoring import speaker_in
from vfl.party.standing import Standing
from vfl.party.state import RUNS
from vfl.releasing import Rule
from vfl.retention import TO_SCORE
from vfl.scoring.opening import Opened, speaker_of
from vfl.scoring.policy import ServingPolicy
from vfl.scoring.registry import Registry
from vfl.scoring.serving import between_companies, finished_run, require_own, simulated
from vfl.scoring.session import FOLDER, Speaker
from vfl.seat import RunFile, identity_of, read_seed


@dataclass(frozen=True)
class Served:
    """home: directory of the run whose decisions these are.   active: who decides.   party: of a company, its file."""

    home: Path
    active: str
    party: PartyFile | None
    passphrase_file: Path | None

    @classmethod
    def named(
        cls, directory: Path | None, config: Path | None, run: str | None, passphrase_file: Path | None
    ) -> Served:
        """By a run's directory, or by a company's file and the name of a run. Raises UsageError."""
        if directory is not None:
            return cls(directory, RunFile.read(directory, needs=TO_SCORE).agreement.active.name, None, passphrase_file)
        assert config is not None
        party = read_party_file(config)
        runs = party.state / RUNS
        return cls(RunFolder(runs, run or _only_run(runs, party.name)).path, party.name, party, passphrase_file)

    @property
    def folder(self) -> Path:
        """Where the file of API keys is."""
        return self.home if self.party is None else self.party.source.parent

    @property
    def keys(self) -> Path:
        """The file of API keys."""
        return self.folder / KEYS

    @property
    def scoring(self) -> Path:
        """What scoring keeps of the home run."""
        return self.home / self.active / FOLDER

    def rule(self, clock: Clock) -> Rule:
        """Who may change which model decides."""
        return Rule(Registry(self.scoring, clock), self.party.state if self.party else None, self.keys, clock)

    def opening(self, policy: ServingPolicy) -> AbstractAsyncContextManager[Opened]:
        """The service."""
        if self.party is None:
            return simulated(self.home, policy)
        return between_companies(self._standing(self.party), self.home.name, policy)

    def speaker(self, run: Path) -> tuple[Speaker, RunFile]:
        """The active party in a finished run: a directory, of a company one of its runs. Raises UsageError."""
        if self.party is not None:
            standing = self._standing(self.party)
            if run.resolve().parent != standing.runs.resolve():
                raise UsageError(f"{run} is no run of {self.active}", remedy="name one of `tallystick runs list`")
            folder, file = finished_run(standing, run.name)
            return speaker_in(standing, folder, SystemClock()), file
        file = RunFile.read(run, needs=TO_SCORE)
        require_own(file, self.active)
        seed = read_seed(run / self.active)
        return speaker_of(run, self.active, seed, identity_of(self.active, seed), file, SystemClock()), file

    def _standing(self, party: PartyFile) -> Standing:
        return standing_of(party, unlock(party.state, passphrase(self.passphrase_file)), SystemClock())


def _only_run(runs: Path, party: str) -> str:
    """The run to score with, where there is no choice. Raises UsageError."""
    mine = [one.run for one in all_runs(runs) if one.status().state == DONE and one.status().active == party]
    if len(mine) != 1:
        found = ", ".join(mine) or "none"
        raise UsageError(f"{len(mine)} finished runs could score: {found}", remedy="name one: --name RUN")
    return mine[0]
