"""The active party drives a run: it offers it to all peers, opens a stream to each, and goes on after every loss.

A broken stream ends an attempt, not the run. The next attempt waits, twice as long each time, and takes every role from
its transcript. When nothing moved for as long as the party's patience, it gives up: the ledger says so, signed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC

from ledger.canonical import Json
from ledger.entry import slot_name
from vfl.clock import Clock
from vfl.errors import AgreementError, TransportError, VflError
from vfl.files import alone
from vfl.net.client import Dialled, Stream
from vfl.own_ledger import own_ledger
from vfl.party.attempt import GRACE, Attempt
from vfl.party.beginning import begin, require_unchanged
from vfl.party.concluding import Gathering, own_log, read_log
from vfl.party.runs import ABORTED, CANCELLED, DONE, FAILED, RUNNING, WAITING, RunFolder
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
        with alone(self.folder.path / "drive.lock", f"the run {self.folder.run} is driven by another process"):
            return self._to_the_end(tell)

    def _to_the_end(self, tell: Tell) -> RunFolder:
        if self.folder.status().state == DONE:
            return self.folder
        require_unchanged(self._who, self.folder)
        wait, since, mark = FIRST_WAIT, time.monotonic(), self._mark()
        while True:
            try:
                self._attempt()
            except TransportError as error:
                if (now := self._mark()) != mark:
                    wait, since, mark = FIRST_WAIT, time.monotonic(), now
                if time.monotonic() - since + wait > self._patience:
                    raise self._give_up(ABORTED, str(error)) from None
                self.folder.move(WAITING, self._now(), reason=str(error))
                tell(f"{error}; next attempt in {wait:.0f} seconds")
                self._sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            except VflError as error:
                if self.folder.status().state not in (ABORTED, CANCELLED):
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
            dialled = {peer: calls.enter_context(self._dial(peer)) for peer in self._peers}
            for there in dialled.values():
                there.offer(Offer(self.folder.run, self._admitted.data).encode())
            attempt = Attempt(self.folder.path, self._who.name, self._who.seed, self._peers, self._who.timeout)
            calls.callback(attempt.end)
            streams = [there.stream(self.folder.run, number, attempt.ends[peer]) for peer, there in dialled.items()]
            self._wait(attempt, streams)
            self._gather(dialled)

    def _dial(self, peer: str) -> Dialled:
        known = self._who.trusted().get(peer)
        if known is None:
            raise AgreementError(f"{peer} is not trusted here", remedy="trust its card: tallystick party trust CARD")
        return Dialled(self._who.name, self._who.tls(), known, self._who.connect)

    def _wait(self, attempt: Attempt, streams: list[Stream]) -> None:
        """Until all sides are done. Raises what ended the attempt: of several errors the one nearest to the cause."""
        while not attempt.ended(_LOOK):
            if self.folder.cancelled:
                break
            if at := self.folder.progress():
                self._progress.enter(at["phase"], at["round"], at["rounds"])
        self._require_wanted()
        own = attempt.outcome()
        if own is not None and not isinstance(own, TransportError):
            raise own
        patience = self._who.timeout if own is None else GRACE
        errors = [error for stream in streams if (error := stream.ended(patience)) is not None]
        errors.sort(key=_distance)
        if errors:
            raise errors[0]
        if own is not None:
            raise own

    def _gather(self, dialled: Mapping[str, Dialled]) -> None:
        run = self.folder.run
        theirs = {peer: read_log(peer, there.log(run)) for peer, there in dialled.items()}
        gathering = Gathering(self._who, self.folder, self._clock, theirs)
        bundle = gathering.close({peer: there.attest(run, gathering.sums) for peer, there in dialled.items()})
        for there in dialled.values():
            there.keep(run, bundle)

    def _require_wanted(self) -> None:
        if why := self.folder.cancelled:
            raise self._give_up(CANCELLED, why)

    def _tell_peers(self, why: str) -> None:
        """As far as they can be reached; the others see it when they ask why no attempt comes."""
        for peer in self._peers:
            with suppress(VflError), self._dial(peer) as there:
                there.withdraw(self.folder.run, why)

    def _give_up(self, state: str, why: str) -> AgreementError:
        """End the run for good, on record; the error to raise."""
        slot = slot_name("end", 0, state, self._who.name, self._who.name)
        params: dict[str, Json] = {"attempts": self.folder.status().attempt, "why": why[:200]}
        with own_ledger(), own_log(self._who, self.folder, self._clock) as log:
            log.append(phase="end", round=0, step=state, slot=slot, dir="local", params=params)
            log.checkpoint()
            log.commit()
        self.folder.move(state, self._now(), reason=why)
        self._tell_peers(why)
        return AgreementError(
            f"the run {self.folder.run} is {state}: {why}", remedy="start a new one when it can go on"
        )

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
