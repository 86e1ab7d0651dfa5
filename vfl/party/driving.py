"""The active party drives a run: it offers it to all peers, opens a stream to each, and goes on after every loss.

A broken stream ends an attempt, not the run. The next attempt waits, twice as long each time, and takes every role from
its transcript. When nothing moved for as long as the party's patience, it gives up: the ledger says so, signed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC

from vfl.clock import Clock
from vfl.errors import AgreementError, RunEnded, TransportError, VflError
from vfl.files import alone
from vfl.net.client import Dialled, Stream
from vfl.party.attempt import GRACE, Attempt
from vfl.party.beginning import begin, require_unchanged
from vfl.party.concluding import Gathering, read_log
from vfl.party.dialling import dial, tell_the_end
from vfl.party.ending import end_run
from vfl.party.runs import ABORTED, CANCELLED, DONE, DRIVE_LOCK, FAILED, RUNNING, WAITING, RunFolder
from vfl.party.setback import held_of, require_going_on, require_not_set_back
from vfl.party.standing import Admitted, Offer, Standing
from vfl.progress import Progress, Silent

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds
_LOOK = 0.2  # seconds between two looks at whether somebody cancelled
Tell = Callable[[str], None]


class Driving:
    """One run, driven by the active party until it ends."""

    def __init__(self, who: Standing, run: str, admitted: Admitted, clock: Clock, patience: float) -> None:
        """Begin the run, or go on with it. Raises AgreementError unless the agreement makes us its active party."""
        if admitted.agreement.active.name != who.name:
            raise AgreementError(
                f"{who.name} is not the active party of this agreement",
                remedy=f"only {admitted.agreement.active.name} starts a run; serve it: tallystick party serve",
            )
        self._who, self._clock, self._patience = who, clock, patience
        self._admitted = admitted
        self._progress: Progress = Silent()
        self._peers = [member.name for member in admitted.agreement.passives]
        self.folder = begin(who, run, admitted, self._now())

    def run(self, tell: Tell, progress: Progress | None = None) -> RunFolder:
        """To its end; `tell` hears why it waits, `progress` where it stands. Raises what ended it."""
        self._progress = progress or Silent()
        with alone(self.folder.path / DRIVE_LOCK, f"the run {self.folder.run} is driven by another process"):
            return self._to_the_end(tell)

    def _to_the_end(self, tell: Tell) -> RunFolder:
        if self.folder.status().state == DONE:
            return self.folder
        if why := self.folder.cancelled:  # and whoever was asked to end it died before
            raise self._end(CANCELLED, self._who.name, f"{self._who.name} ended it: {why}")
        require_going_on(self.folder)
        require_unchanged(self._who, self.folder)
        wait, since, mark = FIRST_WAIT, time.monotonic(), self._mark()
        while True:
            try:
                self._attempt()
            except TransportError as error:
                if (now := self._mark()) != mark:
                    wait, since, mark = FIRST_WAIT, time.monotonic(), now
                if time.monotonic() - since + wait > self._patience:
                    raise self._end(ABORTED, self._who.name, self._gave_up(error)) from None
                self.folder.move(WAITING, self._now(), reason=str(error))
                tell(f"{error}; next attempt in {wait:.0f} seconds")
                self._sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            except RunEnded as error:
                state = CANCELLED if error.by == self._who.name else ABORTED
                raise self._end(state, error.by or self._who.name, str(error)) from None
            except VflError as error:
                self.folder.move(FAILED, self._now(), reason=str(error))
                raise
            else:
                self.folder.complete(self._now())
                return self.folder

    def _attempt(self) -> None:
        self._require_wanted()
        number = self.folder.status().attempt + 1
        self.folder.move(RUNNING, self._now(), attempt=number)
        with ExitStack() as calls:
            dialled = {peer: calls.enter_context(dial(self._who, peer)) for peer in self._peers}
            for peer, there in dialled.items():
                self._offer(peer, there)
            attempt = Attempt(self.folder.path, self._who.name, self._who.seed, self._peers, self._who.timeout)
            calls.callback(attempt.end)
            streams = [there.stream(self.folder.run, number, attempt.ends[peer]) for peer, there in dialled.items()]
            self._wait(attempt, streams)
        # A run may outlast keys and pins: what is fetched now goes over connections with those of now.
        with ExitStack() as calls:
            self._gather({peer: calls.enter_context(dial(self._who, peer)) for peer in self._peers})

    def _offer(self, peer: str, there: Dialled) -> None:
        """Offer the run; each side makes sure that its own ledger is not older than what the other holds of it."""
        who, held = self._who, held_of(peer, self.folder, self._who.name)
        theirs = there.offer(Offer(self.folder.run, self._admitted.data, held).encode())
        require_not_set_back(theirs, self.folder, peer, who.identity.identity.verifying)

    def _wait(self, attempt: Attempt, streams: list[Stream]) -> None:
        """Until all sides are done. Raises what ended the attempt: of several errors the one nearest to the cause."""
        while not attempt.ended(_LOOK):
            if self.folder.cancelled:
                attempt.kill()  # before anything is written into its ledger
                break
            if at := self.folder.progress():
                self._progress.enter(at["phase"], at["round"], at["rounds"])
        self._require_wanted()
        own = attempt.outcome()
        if own is not None and not isinstance(own, TransportError):
            raise own
        patience = self._who.timeout if own is None else GRACE
        errors = [error for error in (own, *(stream.ended(patience) for stream in streams)) if error is not None]
        if errors:
            raise min(errors, key=_distance)

    def _gather(self, dialled: Mapping[str, Dialled]) -> None:
        run = self.folder.run
        theirs = {peer: read_log(peer, there.log(run)) for peer, there in dialled.items()}
        gathering = Gathering(self._who, self.folder, self._clock, theirs)
        bundle = gathering.close({peer: there.attest(run, gathering.sums) for peer, there in dialled.items()})
        for there in dialled.values():
            there.keep(run, bundle)

    def _require_wanted(self) -> None:
        if why := self.folder.cancelled:
            raise RunEnded(f"{self._who.name} ended it: {why}", by=self._who.name)

    def _gave_up(self, error: TransportError) -> str:
        return f"{self._who.name} gave it up after {self._patience:.0f} seconds without progress: {error}"

    def _end(self, state: str, by: str, why: str) -> RunEnded:
        """End the run for good, on record; the error to raise."""
        status = end_run(self._who, self.folder, self._clock, state, by=by, why=why)
        tell_the_end(self._who, self.folder)
        return RunEnded(f"the run {status.run} is {status.state}: {status.reason}", by=by)

    def _mark(self) -> int:
        """What grows when the run gets on."""
        transcript = self.folder.path / self._who.name / "transcript.bin"
        return transcript.stat().st_size if transcript.exists() else 0

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.folder.cancelled:
            time.sleep(min(_LOOK, seconds))

    def _now(self) -> str:
        return self._clock.now().astimezone(UTC).isoformat(timespec="seconds")


def _distance(error: VflError) -> tuple[bool, bool]:
    """How far an error is from its cause: that we closed a connection is what others see when one peer is lost."""
    return isinstance(error, TransportError), "closed the connection" in str(error)
