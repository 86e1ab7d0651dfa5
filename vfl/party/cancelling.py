"""`tallystick runs cancel`: a run ends, whether or not anything of this party is up.

its service (passive party) or its `tallystick run` (active party) is up    it sees the request within a second
neither is                                                                  the run ends here and now, with the keys

Who is up is told by the lock that it holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import alone
from vfl.party.dialling import tell_the_end
from vfl.party.ending import end_run
from vfl.party.runs import CANCELLED, DONE, DRIVE_LOCK, ENDED, FAILED, OVER, SERVE_LOCK, RunFolder, Status
from vfl.party.standing import Standing

_LOOK = 0.1  # seconds between two looks
PATIENCE = 30.0  # seconds for a service that is up


def cancel(
    folder: RunFolder, name: str, state: Path, why: str, unlocked: Callable[[], Standing], clock: Clock
) -> Status:
    """End a run of the party `name` for good. `unlocked`: asked for the party's keys if they are needed.

    Raises UsageError if the run has ended already, or its keeper does not act; the request stays until it does.
    """
    status = folder.status()
    if status.state in ENDED - {FAILED}:
        raise UsageError(
            f"the run {folder.run} is {status.state} already",
            remedy="nothing is to be done" if status.state == DONE else "start a new one",
        )
    folder.ask_to_cancel(why)
    active = status.active == name
    lock = folder.path / DRIVE_LOCK if active else state / SERVE_LOCK
    deadline = time.monotonic() + PATIENCE
    while (status := folder.status()).state not in OVER:
        with ExitStack() as held:
            if _free(lock, held):
                _end(folder, unlocked, clock, why, tell=active)
                continue
        if time.monotonic() > deadline:
            raise UsageError(
                f"{folder.run} is asked to end, and has not within {PATIENCE:.0f} seconds",
                remedy="see what the log of the service, or `tallystick run`, says",
            )
        time.sleep(_LOOK)
    return status


def _free(lock: Path, held: ExitStack) -> bool:
    """Take the lock for as long as `held`, unless somebody has it."""
    try:
        held.enter_context(alone(lock, "somebody supervises the run"))
    except UsageError:
        return False
    return True


def _end(folder: RunFolder, unlocked: Callable[[], Standing], clock: Clock, why: str, *, tell: bool) -> None:
    try:
        who = unlocked()
    except UsageError as error:
        raise UsageError(
            f"{error}; without it the run ends when its service, or `tallystick run`, is started next",
            remedy=error.remedy,
        ) from None
    end_run(who, folder, clock, CANCELLED, by=who.name, why=f"{who.name} ended it: {why}")
    if tell:
        tell_the_end(who, folder)
