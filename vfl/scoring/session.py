"""One session between the active party and a partner: its own job, its own ledger at each end, no transcript.

A session lasts as long as its stream. Its ledger has the messages by digest, as that of any run, and is cosigned at
each boundary; answers are neither kept nor repeated, so what broke off is not resumed: a new session begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.errors import BadKey
from ledger.keys import Identity, check_party
from vfl.channel import Record
from vfl.clock import Clock
from vfl.desk import Desk, LiveChannel
from vfl.errors import AgreementError
from vfl.notary import LedgerNotary, PeerKeys
from vfl.own_ledger import open_store
from vfl.randomness import Randomness
from vfl.wire import blinds

FOLDER, SESSIONS = "scoring", "sessions"
VOLUME_DIGITS = 6
MOST_EXCHANGES = 20_000
"""In one session: then a new one, so that no ledger grows without bound."""


def job_of(run: str, moment: str, nonce: str) -> str:
    """The name of a session. `moment`: as 20260131T120000."""
    return f"scores-{sha256(run.encode()).hexdigest()[:12]}-{moment}-{nonce}"


def decisions_job(run: str, volume: str) -> str:
    """The name of a volume of decisions, numbered with VOLUME_DIGITS digits."""
    return f"decisions-{sha256(run.encode()).hexdigest()[:12]}-{volume}"


def is_decisions(origin: str, party: str, run: str) -> bool:
    """Whether a log of that name holds decisions of this run."""
    start = f"{party}/{decisions_job(run, '')}"
    number = origin.removeprefix(start)
    return origin.startswith(start) and len(number) == VOLUME_DIGITS and number.isascii() and number.isdecimal()


def require_job(job: str, run: str) -> None:
    """Raise AgreementError for what a peer names and is no session of this run."""
    try:
        check_party(job, "run")
    except BadKey as error:
        raise AgreementError(str(error)) from None
    if not job.startswith(job_of(run, "", "").rstrip("-") + "-"):
        raise AgreementError("that is no session for scores of this run")


class Untold:
    """A transcript that keeps nothing."""

    def append(self, record: Record) -> None: ...

    def records(self) -> Iterable[Record]:
        return ()


class Frames:
    """A link whose frames somebody else carries (`vfl.channel.Link`)."""

    full = False

    def __init__(self) -> None:
        self.leaving: deque[bytes] = deque()
        self.arrived: deque[bytes] = deque()
        self.heard = False

    def push(self, frame: bytes) -> None:
        self.leaving.append(frame)

    def take_in(self, frame: bytes) -> None:
        """One that arrived."""
        self.arrived.append(frame)
        self.heard = True

    def pull(self) -> bytes | None:
        return self.arrived.popleft() if self.arrived else None


@dataclass(frozen=True)
class Speaker:
    """Whoever speaks in sessions of a run. seat: its folder in the run directory.   seed: of the run at this party.

    keys: of all parties of the run.   agreement: its digest, hex.
    """

    name: str
    seat: Path
    seed: bytes
    identity: Identity
    run: str
    agreement: str
    keys: Mapping[str, PeerKeys]
    clock: Clock

    @property
    def folder(self) -> Path:
        """What scoring keeps here."""
        return self.seat / FOLDER

    def rng(self, label: str) -> Randomness:
        """What this party draws from in scoring."""
        return Randomness(self.seed).child(f"scoring/{label}")


class Session:
    """One end of a session."""

    def __init__(self, who: Speaker, peer: str, job: str, *, leads: bool) -> None:
        """Begin it. Raises AgreementError if there was one of that name, UsageError if its ledger cannot be kept."""
        folder = who.folder / SESSIONS
        folder.mkdir(parents=True, exist_ok=True)
        self._place = folder / f"{peer}-{job}.sqlite"
        if self._place.exists():
            raise AgreementError(f"there was a session {job} already")
        self.job, self.frames = job, Frames()
        self._store = open_store(self._place, f"{who.name}/{job}")
        self.notary = LedgerNotary(
            self._store, who.identity, job, who.agreement, {peer: who.keys[peer]}, who.clock, sign_messages=False
        )
        self.desk = Desk(who.name, Untold(), self.notary, leads=leads, at_once=False)
        self.desk.blind = blinds(who.rng(f"blinds/{job}").bytes(32))
        self.channel: LiveChannel = self.desk.channel(peer, self.frames)

    def close(self) -> None:
        """Make durable what is not yet, and release the file; of a session that nobody answered nothing is kept."""
        try:
            self.notary.finish()
        finally:
            self._store.close()
        if not self.frames.heard:
            self._place.unlink()
