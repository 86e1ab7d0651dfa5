"""The end of a run without a result at one party: first in its ledger, then in its status."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC

from ledger.bundle import write_bundle
from ledger.ending import sign_end
from vfl.clock import Clock
from vfl.errors import ProtocolError
from vfl.own_ledger import own_ledger
from vfl.party.concluding import keep_policy
from vfl.party.runs import ENDED_BUNDLE, RunFolder, Status
from vfl.party.standing import Standing
from vfl.seat import Seat


def end_run(who: Standing, folder: RunFolder, clock: Clock, state: str, *, by: str, why: str) -> Status:
    """End a run for good; its process must be gone. `state`: ABORTED or CANCELLED, unless it was ended before.

    Whoever dies in here ends it again: the ledger keeps the first word. Raises UsageError for what the own ledger
    refuses; then nothing has ended.
    """
    when = clock.now().astimezone(UTC).isoformat(timespec="seconds")
    if folder.why_set_back:  # nothing more is signed with a ledger that is older than what peers hold of it
        return folder.move(state, when, reason=why)
    seat = Seat(folder.path, who.name, clock, identity=who.identity)
    try:
        with own_ledger():
            # What the process had noted of its messages when it was ended belongs before the end. Those of a peer that
            # had only just shown its key cannot be entered: nothing was signed about them by anybody.
            with suppress(ProtocolError):
                seat.notary.catch_up(seat.desk.transcript.records())
            said = sign_end(seat.notary.log, state, by=by, why=why, attempts=folder.status().attempt)
        _show(who, folder, seat)
    finally:
        seat.release()
    return folder.move(said.state, when, reason=said.why)


def _show(who: Standing, folder: RunFolder, seat: Seat) -> None:
    """The party's ledger for whoever wants to check what it has signed: a bundle of this one log."""
    artefacts = {"agreement.json": seat.file.agreement.encode()}
    keep_policy(folder)
    with own_ledger():
        write_bundle(
            folder.path / ENDED_BUNDLE,
            [seat.notary.log],
            folder.run,
            artefacts=artefacts,
            identities=[who.identity],
            policy=seat.policy,
        )
