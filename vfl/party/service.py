"""A party that serves: it admits offered runs, takes part in their attempts, and looks after what goes on.

offer     agreement fully signed, not expired, includes us, offered by its active party, our ledger is not older
          than what that party holds of it                                                      -> a run's folder
attend    a stream of that run: the attempt under way is ended, the next goes on from the transcript
look      now and then: changed certificates, peers that are no longer trusted, runs that somebody here cancelled, and
          runs whose active party does not come back
"""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path

from ledger.errors import BadKey
from ledger.keys import check_party
from vfl import __version__
from vfl.clock import Clock
from vfl.errors import AgreementError, RunEnded, TransportError, VflError
from vfl.net.tls import Known
from vfl.party.attempt import Attempt
from vfl.party.beginning import begin, require_unchanged
from vfl.party.concluding import BUNDLE, attestation, keep_bundle, keep_policy, log_of
from vfl.party.ending import end_run
from vfl.party.patience import Patience
from vfl.party.runs import ABORTED, CANCELLED, DONE, FAILED, OVER, RUNNING, WAITING, RunFolder, all_runs
from vfl.party.scoring import ScoringPartners
from vfl.party.setback import held_of, require_going_on, require_not_set_back, require_remembered
from vfl.party.standing import Offer, Standing

MOST_RUNS = 8  # at the same time
Log = Callable[..., None]
"""Writes an event: its name, and words without identifiers of customers."""


class Service:
    """What a party does about its peers' calls (`vfl.net.server.Gate`)."""

    def __init__(self, who: Standing, clock: Clock, log: Log) -> None:
        self._who, self._clock, self._log = who, clock, log
        self._lock = threading.Lock()
        self._attending: dict[str, _Attending] = {}
        self._scoring = ScoringPartners(who, clock)
        self._patience = Patience(who.patience, clock)
        self.refused = 0  # offers and attempts so far
        self.begun = 0  # attempts so far

    def peers(self) -> Sequence[Known]:
        return tuple(self._who.trusted().values())

    def health(self, peer: str) -> bytes:
        return json.dumps({"party": self._who.name, "software": __version__, "ready": True}).encode()

    def failed(self, error: Exception) -> None:
        # Words of the operating system may hold paths, and others anything: the kind and the place will do.
        place = traceback.extract_tb(error.__traceback__)[-1]
        self._log("out of order", error=type(error).__name__, place=f"{Path(place.filename).name}:{place.lineno}")

    def offer(self, peer: str, offer: bytes) -> bytes:
        asked = Offer.decode(offer)
        with self._refusing(peer, asked.run):
            _require_name(asked.run)
            admitted = self._who.admit(asked.agreement)
            if admitted.agreement.active.name != peer:
                raise AgreementError(f"only {admitted.agreement.active.name} may offer a run under this agreement")
            with self._lock:
                self._require_wanted(RunFolder(self._who.runs, asked.run))
                self._require_newest(asked, peer)
                folder = begin(self._who, asked.run, admitted, self._now())
                self._hear_of(folder)
            held = held_of(peer, folder, self._who.name)
        self._log("offer accepted", run=asked.run, peer=peer)
        return held

    def _require_newest(self, asked: Offer, peer: str) -> None:
        """Raise AgreementError if our ledger of the run is older than what `peer` holds of it."""
        folder, key = RunFolder(self._who.runs, asked.run), self._who.identity.identity.verifying
        if not folder.exists:
            require_remembered(asked.held, asked.run, peer, key)
            return
        require_going_on(folder)
        try:
            require_not_set_back(asked.held, folder, peer, key)
        except AgreementError as error:
            if folder.why_set_back and folder.status().state not in (DONE, *OVER):
                folder.move(FAILED, self._now(), reason=str(error))
            raise

    def attend(self, peer: str, run: str, attempt: int) -> _Attending:
        with self._refusing(peer, run), self._lock:
            folder = self._folder(run, peer)
            self._require_wanted(folder)
            before = folder.status()
            if attempt <= before.attempt:
                raise AgreementError(f"attempt {attempt} of {run} is over; the last one was {before.attempt}")
            if (present := self._attending.pop(run, None)) is not None:
                present.stop(TransportError(f"attempt {attempt} began"))
            elif len(self._attending) >= MOST_RUNS:
                raise TransportError(f"{MOST_RUNS} runs go on already")
            require_going_on(folder)
            require_unchanged(self._who, folder)
            folder.move(RUNNING, self._now(), attempt=attempt)
            attending = _Attending(self, self._who, folder, peer, attempt)
            self._attending[run] = attending
            self.begun += 1
        self._log("attempt begins", run=run, peer=peer, attempt=attempt)
        return attending

    def withdrawn(self, peer: str, run: str, why: str) -> None:
        with self._refusing(peer, run), self._lock:
            folder = self._folder(run, peer)
            if (present := self._attending.pop(run, None)) is not None:
                present.stop(TransportError("the run was ended"))
            # Our part may be done: the run is only when its bundle came.
            if folder.status().state not in OVER and not (folder.path / BUNDLE).exists():
                self._end(folder, ABORTED, by=peer, why=why)

    def score(self, peer: str, run: str, job: str, frames: Iterator[bytes]) -> Generator[bytes, None, None]:
        with self._refusing(peer, run):
            folder = self._done(run, peer)
            partner = self._scoring.partner(folder)
            self._log("scoring begins", run=run, peer=peer, session=job)
            try:
                yield from partner.serve(peer, job, frames, partial(self._scoring.require_in_force, folder))
            finally:
                self._log("scoring ends", run=run, peer=peer, session=job)

    def log(self, peer: str, run: str) -> bytes:
        with self._refusing(peer, run):
            return log_of(self._who, self._done(run, peer), self._clock)

    def attest(self, peer: str, run: str, sums: bytes) -> bytes:
        with self._refusing(peer, run):
            return attestation(self._who, self._done(run, peer), sums, self._clock)

    def keep(self, peer: str, run: str, bundle: bytes) -> None:
        with self._refusing(peer, run):
            keep_bundle(self._who.name, self._done(run, peer), bundle)

    def look(self) -> None:
        """End what goes on with peers that are no longer trusted, and runs that nobody here wants, or waits for."""
        trusted = self._who.trusted()
        with self._lock:
            present = list(self._attending.values())
        for one in present:
            if one.folder.cancelled:
                one.stop(RunEnded(self._own_word(one.folder), by=self._who.name))
            elif one.peer not in trusted:
                one.stop(AgreementError("the certificate of this connection has no pin that counts"))
        with self._lock:
            for folder in all_runs(self._who.runs):
                self._look_at(folder)

    def going_on(self) -> int:
        """How many attempts are under way."""
        return len(self._attending)

    def stop(self) -> None:
        """End what goes on; it can be gone on with later."""
        with self._lock:
            for one in self._attending.values():
                one.stop(TransportError(f"the service of {self._who.name} stops"))
        self._scoring.close()

    def ended(self, attending: _Attending, error: VflError | None) -> None:
        """An attempt is over: write down how."""
        folder, run = attending.folder, attending.folder.run
        with self._lock:
            if self._attending.get(run) is not attending:
                return  # told already, or the next attempt has begun
            del self._attending[run]
            if folder.cancelled:
                self._end(folder, CANCELLED, by=self._who.name, why=self._own_word(folder))
            elif isinstance(error, RunEnded):
                self._end(folder, ABORTED, by=error.by, why=str(error))
            elif error is None:
                keep_policy(folder)
                folder.complete(self._now())
            else:
                state = WAITING if isinstance(error, TransportError) else FAILED
                folder.move(state, self._now(), reason=str(error))
        state = folder.status().state
        self._log("attempt ends", run=run, peer=attending.peer, attempt=attending.number, state=state)

    def _require_wanted(self, folder: RunFolder) -> None:
        """Raise RunEnded if the run is over here, or somebody here has just ended it."""
        if not folder.exists:
            return
        self._look_at(folder)
        if (status := folder.status()).state in OVER:
            raise RunEnded(status.reason, by=self._who.name)

    def _look_at(self, folder: RunFolder) -> None:
        """End a run that somebody here cancelled, or whose active party stays away; one of another's, not under way."""
        status, me = folder.status(), self._who.name
        if status.active == me or status.state in (DONE, *OVER) or folder.run in self._attending:
            return
        if folder.cancelled:
            self._end(folder, CANCELLED, by=me, why=self._own_word(folder))
        elif self._patience.over(status):
            waited = f"{me} gave it up: no word from {status.active} for {self._patience.seconds:.0f} seconds"
            self._end(folder, ABORTED, by=me, why=waited)

    def _hear_of(self, folder: RunFolder) -> None:
        """The active party dials because of a run that waits: it is there, whoever else is not."""
        self._patience.heard(folder.run)
        if (status := folder.status()).state == WAITING:
            folder.move(WAITING, self._now(), reason=status.reason)

    def _end(self, folder: RunFolder, state: str, *, by: str, why: str) -> None:
        status = end_run(self._who, folder, self._clock, state, by=by, why=why)
        self._log("run ended", run=folder.run, by=by, state=status.state)

    def _own_word(self, folder: RunFolder) -> str:
        return f"{self._who.name} ended it: {folder.cancelled}"

    def _folder(self, run: str, peer: str) -> RunFolder:
        _require_name(run)
        folder = RunFolder(self._who.runs, run)
        # Of a run that another peer offered it learns no more than of one that there is not.
        if not folder.exists or folder.status().active != peer:
            raise AgreementError(f"there is no run {run} with {peer} here")
        return folder

    def _done(self, run: str, peer: str) -> RunFolder:
        folder = self._folder(run, peer)
        if folder.status().state != DONE:
            raise TransportError(f"the run {run} is not done here yet")
        return folder

    def _now(self) -> str:
        return self._clock.now().astimezone(UTC).isoformat(timespec="seconds")

    def _refusing(self, peer: str, run: str) -> _Refusing:
        return _Refusing(self, peer, run)

    def note_refusal(self, peer: str, run: str, error: VflError) -> None:
        """Count and log a refused call."""
        self.refused += 1
        self._log("refused", run=run[:63], peer=peer, reason=str(error))


def _require_name(run: str) -> None:
    """Raise AgreementError for what a peer sent as the name of a run and is none."""
    try:
        check_party(run, "run")
    except BadKey as error:
        raise AgreementError(str(error)) from None


class _Refusing:
    """Notes what is refused."""

    def __init__(self, service: Service, peer: str, run: str) -> None:
        self._service, self._peer, self._run = service, peer, run

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, VflError):
            self._service.note_refusal(self._peer, self._run, error)


class _Attending:
    """One attempt as the server sees it (`vfl.net.server.Attending`)."""

    def __init__(self, service: Service, who: Standing, folder: RunFolder, peer: str, number: int) -> None:
        self.folder, self.peer, self.number = folder, peer, number
        self._service = service
        self._attempt = Attempt(folder.path, who.name, who.seed, [peer], who.timeout)
        self._why: VflError | None = None

    @property
    def end(self) -> socket.socket:
        return self._attempt.ends[self.peer]

    def outcome(self) -> VflError | None:
        error = self._attempt.outcome()
        why = self._why or error
        self._service.ended(self, why)
        return why

    def stop(self, why: VflError) -> None:
        """End it now; `why` is told to the peer."""
        self._why = why
        self._attempt.kill()

    def leave(self) -> None:
        self._attempt.end()
        self._service.ended(self, self._why or TransportError(f"{self.peer} left"))
