"""The notary at a party's desk: every message becomes a signed ledger entry, every round a countersigned checkpoint.

It taps the channel, so no protocol can forget it. It sees steps, sizes and digests, never contents.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ledger.account import STEP, Account, account_in, account_of
from ledger.canonical import Json, decode, encode
from ledger.checkpoint import Checkpoint, cosigners, open_checkpoint
from ledger.entry import Entry, content_of, slot_name
from ledger.envelope import Env, verify_envelope
from ledger.envelope import Envelope as Statement
from ledger.errors import BadClock, BadProof, LedgerError, NotConsistent, SlotTaken, StoreError
from ledger.evidence import entry_proof, envelope_proof
from ledger.keys import Certificate, Identity, VerifyingKey
from ledger.log import Log
from ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.note import Note
from ledger.store import PeerAdvance, Store
from ledger.told import Told, told_by
from ledger.witness import Witness
from vfl.challenges import Challenge, heard, issued
from vfl.channel import Record, Step
from vfl.clock import Clock
from vfl.commitments import Commitment
from vfl.errors import BrokenPromise, ProtocolError
from vfl.heads import ShownHead
from vfl.own_ledger import refusal

COMMITMENTS = 100  # in one entry at most, which has 64 KiB at most
CERTIFIED_FOR = timedelta(days=30)  # a run's key speaks for its party this long
SET_BACK = timedelta(days=1)  # and so long before, for a clock may be set back during the run


@dataclass(frozen=True)
class PeerKeys:
    """The long-term keys expected of a peer: `identity` signs its log, `witness` cosigns ours."""

    identity: VerifyingKey
    witness: VerifyingKey


@dataclass
class _Peer:
    """What the notary knows of one peer: its key of this run, and where the conversation with it stands."""

    before: Account  # of all messages but the latest
    latest: list[Statement] = field(default_factory=list)
    key: bytes = b""
    shown: int | None = None  # size of the head it saw last
    cosigned: int = 0  # size of its head that we cosigned last
    seen: int = 0  # the same before that; both since this process began, for with it the others begin anew too
    entered: Entry | None = None  # our latest account entry
    told: tuple[str, str, Sequence[bytes]] | None = None  # its latest head, account entry and inclusion path
    accounts: int = 0
    challenges: list[tuple[Challenge, Env | None]] = field(default_factory=list)  # that the hearer has heard

    @property
    def account(self) -> Account:
        """Of all messages."""
        if self.latest:
            self.before, self.latest = self.before.with_messages(self.latest), []
        return self.before


class LedgerNotary:
    """Keeps one party's log of one run, and witnesses the logs of its peers (`vfl.channel.Notary`)."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        run: str,
        agreement: str,
        peers: Mapping[str, PeerKeys],
        clock: Clock,
        others: Mapping[str, PeerKeys] | None = None,
        *,
        sign_messages: bool = True,
        ended: bool = False,
    ) -> None:
        """Open or begin the log of `identity` for `run`. `agreement`: its digest, hex.

        `peers`: those we talk to; `others`: parties of the run that our peers talk to and we do not.
        `sign_messages`: whether every message carries a signature, which is checked before anything else is done with
        it; else the account at each checkpoint is what is signed.
        `ended`: the run is over, and nothing in it will be said again: its conversations are as the log has them.
        """
        self.cpu_seconds = self.wall_seconds = 0.0  # spent in here, waiting for the disk included in the latter
        self._run, self._keys, self._others = run, peers, others or {}
        self._sign_messages = sign_messages
        self._peers = {name: _Peer(Account(name)) for name in peers}
        with self._measured():
            now = clock.now()
            certificate = identity.certify(run, now - SET_BACK, now + CERTIFIED_FOR)
            self.log = Log(
                store, identity, identity.name, run, clock,
                entry_key=identity.entry_key(run), certificate=certificate, agreement=agreement,
                sign_messages=sign_messages,
            )  # fmt: skip
            self._store, self._witness = store, Witness(identity, store, clock)
            for challenge, env in heard(self.log):
                self._peers[challenge.asker].challenges.append((challenge, env))
            if ended:
                self._recall()

    def _recall(self) -> None:
        for entry in self.log.entries():
            if entry.peer in self._peers:
                at = self._peers[entry.peer]
                at.latest.append(entry.envelope())
            elif (told := account_of(entry)) is not None and told.peer in self._peers:
                self._peers[told.peer].entered = entry
                self._peers[told.peer].accounts += 1

    def credential(self) -> bytes:
        return encode(self.log.certificate.to_json())

    def introduce(self, peer: str, credential: bytes) -> None:
        with self._measured(), blaming(peer):
            certificate = Certificate.from_json(decode(credential))
            certificate.verify(self._keys[peer].identity)
            if certificate.run != self._run:
                raise BrokenPromise(f"shows a credential for the run {certificate.run}", peer=peer)
            self._peers[peer].key = certificate.key
            slot = slot_name("open", 0, "introduce", peer, self.log.party)
            shown = {"certificate": certificate.to_json()}  # so that this log can be checked without the peer's
            self.log.append(phase="open", round=0, step="introduce", slot=slot, dir="local", params=shown)

    def sending(self, step: Step, digest: bytes, size: int) -> bytes:
        with self._measured():
            said = Statement(self._run, step.slot, step.sender, step.receiver, step.kind, digest.hex(), size)
            env = self.log.message(said, step.phase, step.round)
            peer = self._peers[step.receiver]
            peer.latest.append(said)
            self._follow(peer, step.slot)
        return b"" if env is None else bytes.fromhex(env.sig)

    def received(self, step: Step, digest: bytes, size: int, signature: bytes) -> None:
        with self._measured(), blaming(step.sender, step.slot):
            peer = self._peers[step.sender]
            if not peer.key:
                raise BrokenPromise("speaks before it showed its credential", peer=step.sender, step=step.slot)
            said = Statement(self._run, step.slot, step.sender, step.receiver, step.kind, digest.hex(), size)
            env = Env(peer.key.hex(), signature.hex()) if self._sign_messages else None
            if env is not None:
                verify_envelope(peer.key, said, env)
            elif signature:
                raise BrokenPromise("signs a message, which was not agreed on", peer=step.sender, step=step.slot)
            self.log.message(said, step.phase, step.round, env)
            peer.latest.append(said)
            self._follow(peer, step.slot)

    def _follow(self, peer: _Peer, slot: str) -> None:
        """Challenges stand in an account right after their question."""
        for challenge, env in peer.challenges:
            if challenge.question == slot:
                challenge.enter_message(self.log, env)
                peer.latest.append(challenge.statement(self._run))

    def heard(self, peer: str) -> list[str]:
        """Slots of the challenges of `peer` that we have heard."""
        return [challenge.slot(local=False) for challenge, _ in self._peers[peer].challenges]

    def hear(self, challenge: Challenge, env: Env | None) -> None:
        """Put a challenge on record whose question was the last message heard. Raises LedgerError for a false one."""
        peer = self._peers[challenge.asker]
        if self._sign_messages:
            if env is None:
                raise BadProof(f"{challenge.asker} did not sign the challenge as a message")
            verify_envelope(peer.key, challenge.statement(self._run), env)
        if challenge.slot(local=False) not in self.heard(challenge.asker):
            challenge.enter_message(self.log, env)
            peer.challenges.append((challenge, env))
            peer.latest.append(challenge.statement(self._run))

    def cosigned_again(self, peer: str) -> tuple[int, str] | None:
        """Size of the newest head of `peer` that we cosigned, and a new line: it may have lost ours in a crash."""
        head = self._store.peer_head(f"{peer}/{self._run}")
        if head is None:
            return None
        line, _ = self._witness.prepare(open_checkpoint(head.note, self._keys[peer].identity), ())
        return head.size, line

    def take_again(self, peer: str, size: int, line: str) -> None:
        """Keep a line of `peer` under our head of that size, if a crash lost it. Raises LedgerError for a false one."""
        held = self.log.last_cosigned_by(self._keys[peer].witness)
        if held is None or held.size < size:
            self.log.add_cosignatures(size, [line], [self._keys[peer].witness])

    def catch_up(self, records: Iterable[Record]) -> None:
        """Enter what a transcript has and the log has not, after a crash."""
        introduced = {one.party: one for one in self._certificates()}
        for name, certificate in introduced.items():
            self._peers[name].key = certificate.key
        for record in records:
            step = Step.read(record.slot)
            if record.sent:
                self.sending(step, record.digest, record.size)
            else:
                self.received(step, record.digest, len(record.body), record.signature)

    def account_proof(self, peer: str) -> tuple[dict[str, Json], Sequence[Entry]]:
        """Our newest account with `peer` under a new head, and our log."""
        with self._measured():
            self._enter_accounts()
            note, entered = self.log.checkpoint(), self._peers[peer].entered
            if entered is None:
                raise BadProof(f"nothing was said to {peer} or heard from it")
            proof = entry_proof(entered.to_bytes(), note, self.log.inclusion_proof(entered.seq))
            return proof, list(self.log.entries())

    def was_heard(self, peer: str, slots: Sequence[str]) -> None:
        """`peer` has heard these challenges of ours: they count as said. Raises BrokenPromise for others."""
        with self._measured():
            ours = {one.slot(local=False): one for one in issued(self.log) if one.peer == peer} if slots else {}
            for slot in slots:
                if slot not in ours:
                    raise BrokenPromise(f"heard a challenge that we did not make, {slot[:120]}", peer=peer)
                self._peers[peer].challenges.append((ours[slot], None))

    def commit(self, phase: str, step: str, commitments: Sequence[Commitment]) -> None:
        """Put salted digests on record, outside any message."""
        with self._measured():
            me = self.log.party
            for number, start in enumerate(range(0, len(commitments), COMMITMENTS)):
                part = [one.to_json() for one in commitments[start : start + COMMITMENTS]]
                slot = slot_name(phase, 0, step, me, me, n=number)
                try:
                    self.log.append(phase=phase, round=0, step=step, slot=slot, dir="local", commit=part)
                except SlotTaken as error:
                    raise ProtocolError(
                        "did not commit to this: the digests computed from data and seed differ from the record",
                        peer=me,
                        step=slot,
                        remedy="the data, the seed or the parameters changed since the run",
                    ) from error

    def head(self, peer: str) -> bytes:
        with self._measured():
            return self._show(peer)

    def _show(self, peer: str, cosigned: Sequence[PeerAdvance] = ()) -> bytes:
        self._enter_accounts()
        at = self._peers[peer]
        note, size = self.log.checkpoint(cosigned), len(self.log)
        # After a restart nobody knows which of the earlier heads the peer kept, so it gets a proof from each.
        earlier = [head.size for head in self.log.checkpoints()] if at.shown is None else [at.shown]
        proofs = {str(old): self.log.consistency_proof(old, size) for old in {*earlier, size}}
        at.shown = size
        shown = ShownHead(note, proofs, self._gossip(peer))
        if at.entered is not None:
            path = self.log.inclusion_proof(at.entered.seq, size)
            shown = replace(shown, account=at.entered.to_bytes().decode(), path=path)
        return shown.encode()

    def _enter_accounts(self) -> None:
        """Enter the account with every peer that said or heard something since the last one."""
        me = self.log.party
        for name, peer in self._peers.items():
            if peer.entered is None or account_of(peer.entered) != peer.account:
                slot = slot_name(STEP, peer.accounts, STEP, me, name)
                mine = content_of(None, (), peer.account.to_json())
                while self.log.slot_digest(slot) not in (None, mine):
                    peer.accounts += 1  # past one that showed a challenge heard before the run went on
                    slot = slot_name(STEP, peer.accounts, STEP, me, name)
                peer.entered = self.log.append(
                    phase=STEP, round=peer.accounts, step=STEP, slot=slot, dir="local", params=peer.account.to_json()
                )
                peer.accounts += 1

    def _gossip(self, peer: str) -> dict[str, tuple[str, Sequence[bytes]]]:
        """What the other peers cosigned of our log last, each with a proof to our newest head."""
        found: dict[str, tuple[str, Sequence[bytes]]] = {}
        for name, keys in self._keys.items():
            if name != peer and (head := self.log.last_cosigned_by(keys.witness)) is not None:
                found[name] = head.note, self.log.consistency_proof(head.size)
        return found

    def countersign(self, heads: Mapping[str, bytes]) -> Mapping[str, bytes]:
        with self._measured():
            found = {peer: self._cosign(peer, head) for peer, head in heads.items()}
            self.log.checkpoint([advance for _, advance in found.values()])
        return {peer: line.encode() for peer, (line, _) in found.items()}

    def answer(self, peer: str, head: bytes) -> tuple[bytes, bytes]:
        with self._measured():
            line, advance = self._cosign(peer, head)
            return self._show(peer, [advance]), line.encode()

    def _cosign(self, peer: str, head: bytes) -> tuple[str, PeerAdvance]:
        """Check a head; the cosignature, and what must be durable before it leaves."""
        with blaming(peer, "checkpoint"):
            shown = ShownHead.decode(head)
            signed = open_checkpoint(shown.note, self._keys[peer].identity)
            origin = signed.head.origin
            if origin != f"{peer}/{self._run}":
                raise BrokenPromise(f"shows the head of another log, {origin[:80]}", peer=peer, step="checkpoint")
            self._require_same_account(peer, shown, signed.head)
            self._hear_others(peer, shown, signed.head, str(signed))
            before = self._witness.size(origin)
            found = self._witness.prepare(signed, shown.proofs.get(str(before), []))
            at = self._peers[peer]
            at.seen, at.cosigned = at.cosigned, signed.head.size
            if shown.account:
                at.told = (shown.note, shown.account, shown.path)
            return found

    def _require_same_account(self, peer: str, shown: ShownHead, head: Checkpoint) -> None:
        """The peer's signed head must tell our conversation as we do."""
        mine = self._peers[peer].account
        if not shown.account:
            if mine != Account(peer):
                raise BrokenPromise("shows no account of our messages", peer=peer, step="checkpoint")
            return
        body = shown.account.encode()
        entry = json.loads(body)
        verify_inclusion(leaf_hash(body), int(entry["seq"]), head.size, shown.path, head.root)
        told = account_in(entry["params"]) if entry["step"] == STEP else None
        if told != mine.as_told_by_peer(self.log.party):
            raise BrokenPromise(f"tells our messages otherwise: {told}; we have {mine}", peer=peer, step="checkpoint")

    def _hear_others(self, peer: str, shown: ShownHead, head: Checkpoint, note: str) -> None:
        """Whether the peer shows the others the same log: what they cosigned must lead to what it shows us."""
        for name, keys in self._others.items():
            if name not in shown.gossip:
                if self._peers[peer].seen:
                    raise BrokenPromise(f"does not show what {name} cosigned of its log", peer=peer, step="checkpoint")
                continue
            said, proof = shown.gossip[name]
            theirs = Note.parse(said)
            at = Checkpoint.parse(theirs.text)
            if at.origin != head.origin or not cosigners(theirs, [keys.witness]):
                raise BrokenPromise(f"shows a head of its log that {name} did not cosign", peer=peer, step="checkpoint")
            if at.size < self._peers[peer].seen:
                raise BrokenPromise(f"shows an old head of its log for that of {name}", peer=peer, step="checkpoint")
            try:
                verify_consistency(at.size, head.size, at.root, head.root, proof)
            except LedgerError as error:
                raise NotConsistent(
                    f"{head.origin}: shows {name} another log than us: {error}", first=said, second=note
                ) from error

    def countersigned(self, peer: str, cosignature: bytes) -> None:
        with self._measured(), blaming(peer, "checkpoint"):
            size = self._peers[peer].shown
            if size is None:
                raise BrokenPromise("countersigns a head that it was not shown", peer=peer, step="checkpoint")
            self.log.add_cosignatures(size, [cosignature.decode()], [self._keys[peer].witness])

    def prove(self, peer: str, slot: str) -> Told:
        """That `peer` said or heard the message at `slot`, by its latest account. Raises BadProof where it did not."""
        told = self._peers[peer].told
        if told is None:
            raise BadProof(f"{peer} has shown no account")
        self.log.commit()
        return told_by(*told, self.log.entries(), slot)

    def word(self, peer: str, slot: str) -> dict[str, Json]:
        """Proof that `peer` said or heard the message at `slot` (`ledger.evidence.words`): account or envelope.

        Raises BadProof where there is neither.
        """
        with suppress(BadProof):
            return self.prove(peer, slot).to_json()
        certificate = next((one for one in self._certificates() if one.party == peer), None)
        for entry in self.log.entries():
            if (entry.slot, entry.dir, entry.peer) == (slot, "recv", peer) and entry.env and certificate:
                return envelope_proof(entry.envelope(), entry.env, certificate)
        raise BadProof(f"{peer} has not put its name to {slot} yet")

    def _certificates(self) -> list[Certificate]:
        """What peers were introduced by."""
        return [
            Certificate.from_json(entry.params["certificate"])
            for entry in self.log.entries()
            if entry.step == "introduce" and "certificate" in entry.params
        ]

    def finish(self) -> None:
        """Make everything durable."""
        with self._measured():
            self.log.commit()

    def _measured(self) -> _Measured:
        return _Measured(self)


class _Measured:
    """Adds the time of a block to its notary, and lets what the own ledger refuses be the keeper's to mend."""

    __slots__ = ("_cpu", "_notary", "_wall")

    def __init__(self, notary: LedgerNotary) -> None:
        self._notary = notary

    def __enter__(self) -> None:
        self._cpu, self._wall = time.thread_time(), time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._notary.cpu_seconds += time.thread_time() - self._cpu
        self._notary.wall_seconds += time.perf_counter() - self._wall
        if isinstance(error, LedgerError):
            raise refusal(error) from error


class blaming:  # noqa: N801  # reads as the statement it is; a class, for generators cost twice as much a message
    """Whatever is wrong with bytes from `peer` is its fault, whichever way it shows."""

    __slots__ = ("_peer", "_step")

    def __init__(self, peer: str, step: str = "credential") -> None:
        self._peer, self._step = peer, step

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _PEERS_FAULT) and not isinstance(error, StoreError | BadClock):
            raise BrokenPromise(str(error), peer=self._peer, step=self._step) from error


_PEERS_FAULT = (LedgerError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
