"""When a peer falls silent: a challenge with a deadline, and evidence where none answers it (`vfl.challenges`).

    asker                                                     peer
    send    a challenge, under a head that an independent
            witness cosigns                             -->
                                                              hear    that it heard question and challenge, under
                                                        <--           its head; then it goes on with the run
                                                              show    where the asker does not let it: a newer head,
                                                                      cosigned by the witness
    accuse  after the deadline: the witness cosigns the
            peer's head as the newest it knows          ==>   evidence `dropping-out`

Each works on the party's own folder of an interrupted run; what lies between are files. Who goes on with the run has
given the answer; who shows itself has another head than the one to be accused by. Silence about the challenge itself
proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ledger.canonical import Json
from ledger.checkpoint import Checkpoint
from ledger.clock import format_time, parse_time
from ledger.entry import Entry, slot_name
from ledger.envelope import Env, sign_envelope
from ledger.errors import LedgerError, WitnessError
from ledger.evidence import check_evidence, conversation_proof, dropping_out_evidence, entry_proof
from ledger.evidence.entries import CLOCK_ERROR, held
from ledger.evidence.silence import STEP
from ledger.keys import VerifyingKey
from ledger.note import Note
from ledger.policy import Policy
from ledger.witness_client import WitnessClient, cosign_newest
from vfl.accusing import FOLDER
from vfl.challenges import Challenge, issued
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.files import read_json, write_private
from vfl.seat import WAITING, RunFile, Seat, identity_of, policy_of, read_seed

LEAST = timedelta(minutes=10)
"""How long a peer is given at least: it must be witnessed five minutes before the deadline."""


@dataclass(frozen=True)
class At:
    """A party's folder of an interrupted run: `directory`/`party`."""

    directory: Path
    party: str
    clock: Clock

    @contextmanager
    def seat(self, lost: tuple[str, int, str] | None = None) -> Iterator[Seat]:
        """The seat with its ledger caught up with its transcript. `lost`: a peer's line under its head of a size."""
        seat = Seat(self.directory, self.party, self.clock)
        try:
            if lost is not None:
                seat.notary.take_again(*lost)
            seat.notary.catch_up(seat.desk.transcript.records())
            yield seat
        finally:
            seat.release()


def send(at: At, within: timedelta, witness: WitnessClient) -> tuple[Challenge, bytes]:
    """Challenge the peer that the run stopped waiting for; the challenge, and the file that it is to be given.

    Raises UsageError where no definite answer is due, WitnessError where the witness cannot be asked.
    """
    if within < LEAST:
        raise UsageError(f"a peer is given {LEAST.total_seconds() / 60:.0f} minutes at least")
    waiting = read_json(at.directory / at.party / WAITING, "the folder of a party of a run that ended in silence")
    peer, answer = str(waiting["peer"]), str(waiting["slot"])
    with at.seat() as seat:
        log = seat.notary.log
        if log.slot_digest(answer) is not None:
            raise UsageError(f"{answer} was answered", remedy="go on with --resume")
        place = answer.split("/")[:2]
        asked = [one.slot for one in seat.desk.transcript.records() if one.sent and one.peer == peer]
        if " or " in answer or not asked or asked[-1].split("/")[:2] != place:
            raise UsageError(f"{answer} of {peer} is no definite answer to a question", remedy="go on with --resume")
        number = sum(1 for one in issued(log) if one.question == asked[-1])
        deadline = format_time(at.clock.now() + within)
        challenge = Challenge(at.party, peer, asked[-1], answer, deadline, number)
        phase, round = challenge.place
        slot = challenge.slot(local=True)
        entry = log.append(phase=phase, round=round, step=STEP, slot=slot, dir="local", params=challenge.params)
        note = log.checkpoint()
        cosign_newest(log, witness)
        log.commit()
        proof = entry_proof(entry.to_bytes(), note, log.inclusion_proof(entry.seq))
        key = identity_of(at.party, read_seed(seat.folder)).entry_key(seat.file.run)
        env = sign_envelope(key, challenge.statement(seat.file.run))
        size, line = seat.notary.cosigned_again(peer) or (0, "")
        return challenge, _file({"challenge": proof, "line": line, "signature": [env.key, env.sig], "size": size})


def hear(at: At, file: Path) -> tuple[Challenge, bytes]:
    """Put on record that a challenge was heard; the challenge, and the file that its asker is to be given.

    Raises UsageError where it is none, where nothing is owed, or where its deadline leaves no time.
    """
    body = read_json(file, "a file made by `tallystick challenge send`")
    file_of_run = RunFile.read(at.directory)
    try:
        challenge = Challenge.of(held(body["challenge"], policy_of(file_of_run)).entry)
        if challenge.peer != at.party:
            raise UsageError(f"{file} challenges {challenge.peer}, not {at.party}")
        key, signature = body["signature"]
        env = Env(str(key), str(signature))
        left = parse_time(challenge.deadline) - at.clock.now()
        lost = (challenge.asker, int(body["size"]), str(body["line"])) if body["line"] else None
        return _hear(at, challenge, env, left, lost)
    except (LedgerError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} is no challenge of this run: {error!s}", remedy="ask for it again") from None


def _hear(
    at: At, challenge: Challenge, env: Env, left: timedelta, lost: tuple[str, int, str] | None
) -> tuple[Challenge, bytes]:
    with at.seat(lost) as seat:
        heard = [one.slot for one in seat.desk.transcript.records() if not one.sent and one.peer == challenge.asker]
        if not heard or heard[-1] != challenge.question:
            raise UsageError(f"{challenge.question} is not the last message heard: nothing is owed to it",
                             remedy="go on with --resume")  # fmt: skip
        if seat.notary.log.slot_digest(challenge.answer) is not None:
            raise UsageError(f"{challenge.answer} is answered here", remedy="go on with --resume, which delivers it")
        if left < CLOCK_ERROR:
            raise UsageError(f"the deadline {challenge.deadline} leaves no time", remedy="ask for a later one")
        seat.notary.hear(challenge, env if seat.file.terms.sign_messages else None)
        account, entries = seat.notary.account_proof(challenge.asker)
        told = _conversation(account, entries, challenge)
        return challenge, _file({"conversation": told, "slot": challenge.slot(local=True)})


def show(at: At, witness: WitnessClient) -> int:
    """Have the witness see that the party is there; the size of the head that it cosigned."""
    with at.seat() as seat:
        log, place = seat.notary.log, len(seat.notary.log)
        slot = slot_name("present", place, "present", at.party, at.party)
        log.append(phase="present", round=place, step="present", slot=slot, dir="local")
        log.checkpoint()
        size = cosign_newest(log, witness)
        log.commit()
        return size


def accuse(at: At, file: Path, witness: WitnessClient) -> Path:
    """Evidence against a peer that heard a challenge and let its deadline pass; where it was written.

    Raises UsageError where nothing of the kind is shown.
    """
    body = read_json(file, "a file made by `tallystick challenge hear`")
    with at.seat() as seat:
        log, policy = seat.notary.log, _with_witness(seat.policy, witness.key)
        entry = next((one for one in log.entries() if one.slot == body.get("slot") and one.dir == "local"), None)
        if entry is None:
            raise UsageError(f"{file} is about no challenge of {at.party}", remedy="give the file that the peer made")
        challenge = Challenge.of(entry)
        due = parse_time(challenge.deadline) + CLOCK_ERROR
        if log.slot_digest(challenge.answer) is not None:
            raise UsageError(f"{challenge.peer} answered", remedy="go on with --resume")
        if at.clock.now() <= due:
            raise UsageError(
                f"{challenge.peer} has time until {format_time(due)}", remedy="wait, or go on with --resume"
            )
        head = log.last_cosigned_by(witness.key)
        if head is None or head.size <= entry.seq:
            raise UsageError(f"{witness.key.name} did not cosign the challenge", remedy="send it again")
        try:
            shown = _seen_late(body["conversation"], witness)
            proof = entry_proof(entry.to_bytes(), head.note, log.inclusion_proof(entry.seq, head.size))
            data = dropping_out_evidence(proof, shown, [])
            check_evidence(data, policy)
        except (LedgerError, KeyError, TypeError) as error:
            raise UsageError(f"{file} proves nothing: {error}", remedy=getattr(error, "remedy", "")) from None
        folder = seat.folder / FOLDER
        folder.mkdir(exist_ok=True)
        path = folder / f"dropping-out-{sum(1 for _ in folder.iterdir()) + 1}.json"
        write_private(path, data.decode())
        (at.directory / "policy.txt").write_text(str(policy), encoding="utf-8")
        return path


def _conversation(account: dict[str, Json], entries: Sequence[Entry], challenge: Challenge) -> dict[str, Json]:
    """The account with all its messages, in the order in which it counts them."""
    with_asker = [one for one in entries if one.peer == challenge.asker and one.payload is not None]
    said, others = ([one.envelope() for one in with_asker if one.dir == way] for way in ("send", "recv"))
    return conversation_proof(account, said, others)


def _seen_late(conversation: dict[str, Any], witness: WitnessClient) -> dict[str, Json]:
    """The same with the witness's newest line on its head."""
    account = dict(conversation["account"])
    note = Note.parse(str(account["head"]))
    line = witness.cosign(str(note), _NoTree(Checkpoint.parse(note.text).origin))
    account["head"] = str(note) + line
    return {**conversation, "account": account}


@dataclass(frozen=True)
class _NoTree:
    """The log of a peer, of which no proofs are known."""

    origin: str

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        raise WitnessError(f"the witness knows another head of {self.origin}, of {old} entries")


def _with_witness(policy: Policy, key: VerifyingKey) -> Policy:
    name = key.name.partition("/")[0]
    return Policy.parse(f"witness {name} {key.vkey}\n{policy}")


def _file(body: dict[str, Json]) -> bytes:
    return json.dumps(body).encode() + b"\n"
