"""A party's seat in a run directory: its seed, keys, ledger and transcript, and what it keeps at the end.

DIR/run.json            run id, agreement, every party's public keys
DIR/<party>/seed        32 bytes in hex, readable by the owner only: all randomness and keys of the run
DIR/<party>/party.json  which table, which columns
DIR/<party>/ledger.sqlite, transcript.bin      the former where the party keeps no ledger in PostgreSQL
DIR/<party>/share.json  the party's share of the model
DIR/<party>/rows.npy    which of its customers are aligned, in the agreed order; at a passive party with decoys
DIR/<party>/waiting.json    in DIR.partial of a run that ended in silence: for which message of which peer it waited
DIR/<party>/evidence/   in DIR.partial of a run that a peer's misbehaviour ended: see `vfl.accusing`
DIR/<party>/hints/      what the `lattice` scheme computes of the bins once
DIR/<party>/earlier/    of a run that goes on from another: that one's rows.npy, seed and hints, or share of its model
DIR/<party>/customers.json  digest of the identifiers that rows.npy counts
DIR/<party>/report.json counts, times and bytes
DIR/<party>/scorecard.csv   of a scorecard: its lines for people; at the active party also features.csv, the verdicts
active party only: parts.npy (0 trains, 1 validates, 2 held out), predictions.csv; of boosted trees decisions.npy (what
every split says of the hold-out: uint8[records of all parties, bits of the rows], own records first) and asked.json
(which nodes each query of each tree was about); and if decoys
were agreed on, places.npy (where each of its rows.npy stands in that of passive parties)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ledger.ending import ended
from ledger.errors import LedgerError
from ledger.keys import Identity, PublicIdentity, VerifyingKey
from ledger.log import Log
from ledger.policy import Policy
from ledger.store import Store
from vfl import run as running
from vfl.accusing import KEPT, KEPT_TO_OPEN, Case, accuse
from vfl.agreement import Agreement, Member
from vfl.channel import Channel, Link
from vfl.clock import Clock
from vfl.commitments import Commitment
from vfl.config import PartyConfig
from vfl.crypto import paillier
from vfl.crypto.paillier_keys import PrivateKey
from vfl.desk import Desk
from vfl.engines import EngineConfig
from vfl.errors import ProtocolError, RunEnded, TransportError, UsageError
from vfl.files import read_json, write_array, write_data, write_private, write_whole
from vfl.hints import HintFolder
from vfl.holding import Holding, read_holding
from vfl.labels import LabelKind
from vfl.notary import LedgerNotary, PeerKeys
from vfl.own_ledger import open_store
from vfl.predictions import predictions
from vfl.progress import Progress
from vfl.randomness import SEED_BYTES, Randomness
from vfl.retention import OF_THE_RUN, require_kept
from vfl.stopwatch import Stopwatch
from vfl.terms import GBDT, ActiveOutcome, Commit, Kept, Outcome, Terms
from vfl.transcripts import FileTranscript
from vfl.wire import Blinds, blinds

FORMAT = "tallystick-run-v1"
EARLIER, HINTS = "earlier", "hints"
INIT = "earlier/model.json"
WAITING = "waiting.json"


@dataclass(frozen=True)
class RunFile:
    """What every party of a run knows: `run.json`."""

    run: str
    agreement: Agreement
    keys: Mapping[str, PeerKeys]

    @property
    def terms(self) -> Terms:
        return Terms(self.run, self.agreement)

    def write(self, folder: Path) -> None:
        """Into `folder`/run.json."""
        keys = {name: [pair.identity.vkey, pair.witness.vkey] for name, pair in self.keys.items()}
        text = self.agreement.encode().decode()
        write_whole(folder / "run.json", {"format": FORMAT, "run": self.run, "agreement": text, "keys": keys})

    @classmethod
    def read(cls, folder: Path, *, needs: Collection[str] = OF_THE_RUN) -> RunFile:
        """From `folder`/run.json. Raises UsageError if `folder` is no run directory, or any of `needs` was purged."""
        body = read_json(folder / "run.json", "a run directory made by `tallystick run`")
        try:
            keys = {
                name: PeerKeys(VerifyingKey.parse(identity), VerifyingKey.parse(witness))
                for name, (identity, witness) in body["keys"].items()
            }
            found = cls(str(body["run"]), Agreement.decode(body["agreement"].encode()), keys)
        except (KeyError, TypeError, ValueError, AttributeError, LedgerError) as error:
            raise UsageError(f"{folder / 'run.json'} is damaged: {error!r}") from None
        require_kept(folder, found.keys, needs)
        return found


def new_seat(folder: Path, party: PartyConfig, seed: bytes) -> None:
    """Make the folder of a party: its seed and which table it brings."""
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "seed", seed.hex() + "\n")
    table, root = party.table.resolve(), folder.parent.resolve()
    # Tables inside the run directory move with it.
    place = os.path.relpath(table, folder.resolve()) if table.is_relative_to(root) else str(table)
    described = {**asdict(party), "table": place}
    write_whole(folder / "party.json", described)


def read_seed(folder: Path) -> bytes:
    """The party's seed. Raises UsageError if it is not there or not a seed."""
    try:
        seed = bytes.fromhex((folder / "seed").read_text().strip())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'seed'} cannot be read: {error}") from None
    if len(seed) != SEED_BYTES:
        raise UsageError(f"{folder / 'seed'} holds {len(seed)} bytes, not {SEED_BYTES}")
    return seed


def identity_of(name: str, seed: bytes) -> Identity:
    """The long-term keys of a party whose seed this is."""
    return Identity(name, identity_seed(seed))


def identity_seed(seed: bytes) -> bytes:
    """What the long-term keys are derived from, 32 bytes; it leads to no salt, and not back to the seed."""
    return Randomness(seed).child("identity").bytes(32)


def protocol_randomness(seed: bytes) -> Randomness:
    """What the party's roles draw from."""
    return Randomness(seed).child("protocol")


def blinds_of(seed: bytes) -> Blinds:
    """What the party blinds its messages with, so that their digests in a ledger tell nothing."""
    return blinds(Randomness(seed).child("blinds").bytes(32))


def read_party(folder: Path) -> PartyConfig:
    """Which table a party brings."""
    body = read_json(folder / "party.json", "the folder of a party of this run")
    try:
        features = None if body["features"] is None else tuple(body["features"])
        return PartyConfig(
            body["name"],
            body["role"],
            folder / body["table"],
            tuple(body["id"]),
            body["label"],
            features,
            weight=body.get("weight"),
            special={name: tuple(codes) for name, codes in body.get("special", {}).items()},
            trends=body.get("trends", {}),
            monotone=body.get("monotone", {}),
            categorical=tuple(body.get("categorical", ())),
            ledger=body.get("ledger"),
            engine=EngineConfig(**body.get("engine", {})),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder / 'party.json'} is damaged: {error!r}") from None


def open_ledger(folder: Path, run: str) -> Store:
    """The store of the ledger of the party whose folder this is. Raises UsageError if it cannot be opened."""
    party = read_party(folder)
    return open_store(party.ledger or folder / "ledger.sqlite", f"{party.name}/{run}")


def set_engine(folder: Path, engine: EngineConfig) -> None:
    """Have the party whose folder this is work elsewhere from now on: no byte that it says depends on that."""
    body = read_json(folder / "party.json", "the folder of a party of this run")
    write_whole(folder / "party.json", {**body, "engine": asdict(engine)})


def read_own_holding(folder: Path, agreement: Agreement, *, engine: bool = False) -> Holding:
    """The holding of the party whose folder this is, as the agreement wants it.

    engine: whether work is done on the party's engine, as in a run. Whoever looks at one later needs none.
    """
    party = read_party(folder)
    party = party if engine else replace(party, engine=EngineConfig())
    return read_holding(party, agreement.psi, agreement.holdout, LabelKind.of(agreement.model))


def role(
    mine: Holding,
    terms: Terms,
    channels: Mapping[str, Channel],
    rng: Randomness,
    commit: Commit,
    kept: Kept | None = None,
) -> Coroutine[int, None, Outcome]:
    """The party's whole part in the run, over channels of any kind."""
    if terms.agreement.active.name == mine.name:
        return running.active(mine, terms, channels, rng, commit, kept)
    return running.passive(mine, terms, channels[terms.agreement.active.name], rng, commit, kept)


def read_kept(folder: Path, *, active: bool, keep: bool) -> Kept:
    """What the party whose folder this is has of earlier trainings. `keep`: whether new hints are to be written.

    The active party looks for hints of earlier runs only: whether it has one is said to the partner, and must come out
    the same when the run is resumed or replayed.
    """
    earlier, own = folder / EARLIER, folder / HINTS
    again = (earlier / "rows.npy").exists()
    seed = read_seed(earlier if again else folder)
    hints = HintFolder([earlier / HINTS] if active else [earlier / HINTS, own], own if keep else None)
    rows = np.load(earlier / "rows.npy") if again else None
    init = folder / INIT
    return Kept(hints, protocol_randomness(seed), rows, init.read_bytes() if init.exists() else None)


def peers_of(agreement: Agreement, name: str) -> tuple[Member, ...]:
    """With whom a party talks: the active one with all others, each of them with the active one alone."""
    return agreement.passives if agreement.active.name == name else (agreement.active,)


def policy_of(file: RunFile) -> Policy:
    """The keys of a run's parties, for evidence."""
    keys = file.keys.items()
    return Policy.of([PublicIdentity(name, pair.identity, pair.witness) for name, pair in keys], quorum="any")


def require_going_on(log: Log) -> None:
    """Raise RunEnded if a party's log has the end of its run."""
    if (found := ended(log)) is not None:
        raise RunEnded(found.why, by=found.by)


class Seat:
    """One party taking part in a run from its folder."""

    def __init__(
        self,
        root: Path,
        name: str,
        clock: Clock,
        around: Callable[[Channel], Channel] | None = None,
        identity: Identity | None = None,
    ) -> None:
        """`around`: what the party's channels are wrapped in, to show a cheat (`vfl.attacks.cheating`).

        `identity`: the long-term keys of a party that has them for many runs; else they follow from the run's seed.
        """
        self.name = name
        self._around = around
        self.folder = root / name
        self.file = RunFile.read(root)
        self.watch = Stopwatch()
        self.customers = 0  # in the party's table, once that is read
        seed = read_seed(self.folder)
        self._rng = protocol_randomness(seed)
        self._transcript = FileTranscript(self.folder / "transcript.bin")
        self._store = open_ledger(self.folder, self.file.run)
        keys, talking = self.file.keys, [member.name for member in peers_of(self.file.agreement, name)]
        peers = {peer: keys[peer] for peer in talking}
        others = {other: pair for other, pair in keys.items() if other not in (name, *talking)}
        identity, digest = identity or identity_of(name, seed), self.file.agreement.digest
        self.notary = LedgerNotary(
            self._store,
            identity,
            self.file.run,
            digest,
            peers,
            clock,
            others,
            sign_messages=self.file.terms.sign_messages,
        )
        active = self.file.agreement.active.name == name
        # Only an account shows that the peer heard what a wrong sum of ciphertexts is judged by: wait for it.
        at_once = self.file.terms.sign_messages and not self._opens_ciphertexts
        self.desk = Desk(name, self._transcript, self.notary, leads=active, at_once=at_once)
        self.desk.keeps = KEPT_TO_OPEN if self._opens_ciphertexts else KEPT
        self.desk.blind = blinds_of(seed)

    def follow(self, progress: Progress) -> None:
        """Count time by phase, and tell `progress` where this party stands."""
        long, rounds = self.file.terms.rounds

        def entered(phase: str, round: int) -> None:
            self.watch.switch(phase)
            progress.enter(phase, round, rounds if phase == long else 1)

        self.desk.on_enter = entered

    def role(self, links: Mapping[str, Link]) -> Coroutine[int, None, Outcome]:
        """The party's part in the run, over `links` by peer name. Raises RunEnded after the end of the run."""
        require_going_on(self.notary.log)
        peers = [member.name for member in peers_of(self.file.agreement, self.name)]
        channels: dict[str, Channel] = {peer: self.desk.channel(peer, links[peer]) for peer in peers}
        if self._around is not None:
            channels = {peer: self._around(channel) for peer, channel in channels.items()}
        return self.desk.run(self._whole(channels))

    @contextmanager
    def accusing(self) -> Iterator[None]:
        """Write evidence when a peer's misbehaviour ends the block, and what was waited for when silence does."""
        (self.folder / WAITING).unlink(missing_ok=True)
        try:
            yield
        except TransportError:
            self.notary.finish()
            peer, slot = self.desk.last_heard
            if slot.count("/") == 4:
                write_whole(self.folder / WAITING, {"peer": peer, "slot": slot})
            raise
        except ProtocolError as error:
            agreement, key = self.file.agreement, self._private_key if self._opens_ciphertexts else None
            try:
                accuse(Case(self.folder, agreement, self.policy, self.notary, self.desk, key), error)
            except OSError as refused:
                error.remedy = f"its evidence cannot be written: {refused}"
            raise

    @property
    def _opens_ciphertexts(self) -> bool:
        """Whether this party holds the key of histograms, and one that it can give evidence under."""
        agreement = self.file.agreement
        scheme, kind = agreement.privacy["scheme"], self.file.terms.kind
        return agreement.active.name == self.name and (kind, scheme) == (GBDT, paillier.NAME)

    def _private_key(self) -> PrivateKey:
        """The key of the run's histograms once more, from the seed."""
        rng = read_kept(self.folder, active=True, keep=False).rng.child("key")
        return paillier.own_key(rng, int(self.file.agreement.privacy["key_bits"]))

    @property
    def policy(self) -> Policy:
        """The keys of the run's parties."""
        return policy_of(self.file)

    async def _whole(self, channels: Mapping[str, Channel]) -> Outcome:
        mine = read_own_holding(self.folder, self.file.agreement, engine=True)
        self.customers = len(mine.tokens)
        kept = read_kept(self.folder, active=self.file.agreement.active.name == self.name, keep=True)
        outcome = await role(mine, self.file.terms, channels, self._rng, self._commit, kept)
        await self.desk.settle()
        self.notary.finish()
        self._keep(mine, outcome)
        return outcome

    def _commit(self, step: str, commitments: Sequence[Commitment]) -> None:
        self.notary.commit("commit", step, commitments)

    def _keep(self, mine: Holding, outcome: Outcome) -> None:
        """Write what the party keeps: its model share, its aligned rows, and at the active party the predictions."""
        write_data(self.folder / "share.json", outcome.share)
        write_array(self.folder / "rows.npy", outcome.rows)
        write_whole(self.folder / "customers.json", {"digest": mine.digest})
        for name, content in outcome.files.items():
            write_data(self.folder / name, content)
        if isinstance(outcome, ActiveOutcome):
            parts = np.where(outcome.holdout, 2, outcome.parts.validation.astype(np.int8)).astype(np.int8)
            write_array(self.folder / "parts.npy", parts)
            if self.file.terms.psi.decoys:
                write_array(self.folder / "places.npy", outcome.shown.places)
            write_data(self.folder / "predictions.csv", predictions(mine.ids, outcome))
        report = {
            "party": self.name,
            "rows": len(mine.tokens),
            "excluded": mine.excluded,
            "duplicates": mine.duplicates,
        }
        write_whole(self.folder / "report.json", {**report, **self._measures()})

    def _measures(self) -> dict[str, Any]:
        traffic = {phase: asdict(count) for phase, count in self.desk.traffic.items()}
        return {"bytes": traffic, "entries": len(self.notary.log), "checkpoints": len(self.notary.log.checkpoints())}

    def close(self, *, concurrent: bool = False) -> None:
        """Release the files; writes down how long everything took. `concurrent`: the parties ran at the same time."""
        self.watch.stop()
        times = {
            "wall": self.watch.wall,
            "cpu": self.watch.cpu,
            "ledger": self.notary.cpu_seconds,
            "ledger_wall": self.notary.wall_seconds,
            "concurrent": concurrent,
        }
        try:
            write_whole(self.folder / "times.json", times)
        finally:
            self.release()

    def release(self) -> None:
        """Release the files."""
        self._store.close()
        self._transcript.close()
