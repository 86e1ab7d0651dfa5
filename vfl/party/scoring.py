"""Scores between companies: what a passive party's service answers with, under an agreement that is still in force."""

from __future__ import annotations

import threading
from pathlib import Path

from vfl.clock import Clock
from vfl.errors import AgreementError
from vfl.files import read_result
from vfl.party.runs import SIGNED, RunFolder
from vfl.party.standing import Admitted, Standing
from vfl.retention import TO_SCORE
from vfl.scoring.host import budget_of, partner_of
from vfl.scoring.partner import ScoringPartner
from vfl.scoring.session import Speaker
from vfl.seat import RunFile, read_party


class ScoringPartners:
    """Those of one party, by run: made when first asked for, and again when the party's table was replaced."""

    def __init__(self, who: Standing, clock: Clock) -> None:
        self._who, self._clock, self._lock = who, clock, threading.Lock()
        self._made: dict[str, tuple[object, ScoringPartner]] = {}

    def partner(self, folder: RunFolder) -> ScoringPartner:
        """The one that answers about a finished run. Raises AgreementError where the agreement is not in force.

        UsageError where share, table and ledger do not belong together.
        """
        admitted = self.require_in_force(folder)
        with self._lock:
            seat = folder.path / self._who.name
            mark = _mark(read_party(seat).table)
            if (held := self._made.get(folder.run)) is None or held[0] != mark:
                who = speaker_in(self._who, folder, self._clock)
                # One count a run, whatever becomes of the table.
                budget = held[1].budget if held else budget_of(who, *_bounds(admitted))
                held = self._made[folder.run] = mark, partner_of(who, RunFile.read(folder.path, needs=TO_SCORE), budget)
            return held[1]

    def require_in_force(self, folder: RunFolder) -> Admitted:
        """Raise AgreementError where the agreement of a run is not in force, or its active party not trusted."""
        admitted = self._who.admit(read_result(folder.path / SIGNED))
        if (active := admitted.agreement.active.name) not in self._who.trusted():
            raise AgreementError(f"{active} is not trusted any more")
        return admitted

    def close(self) -> None:
        """Give back what is reserved of budgets and was not given."""
        with self._lock:
            for _, partner in self._made.values():
                partner.close()


def _bounds(admitted: Admitted) -> tuple[int | None, int | None]:
    """Answers a day, and in all."""
    budgets = admitted.agreement.contract.budgets if admitted.agreement.contract else {}
    return budgets.get("scores_per_day"), budgets.get("scores")


def speaker_in(who: Standing, folder: RunFolder, clock: Clock) -> Speaker:
    """A company in a finished run of its own."""
    file = RunFile.read(folder.path, needs=TO_SCORE)
    return Speaker(
        who.name, folder.path / who.name, who.seed_of(folder.run), who.identity, file.run, file.agreement.digest,
        file.keys, clock,
    )  # fmt: skip


def _mark(table: Path) -> object:
    found = table.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
