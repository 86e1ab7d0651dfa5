"""The end of a run between parties: each keeps what is its own, and the active party gathers the audit bundle.

active                                               passive
Log      run                                     -->
                                                 <--  its ledger: entries and checkpoints
Attest   list of the bundle's files (SHA256SUMS) -->
                                                 <--  its signature, if its own ledger is on the list as it is
Keep     the bundle                              -->  verified, and kept
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Annotated, Any

import msgspec
import numpy as np

from ledger.bundle import SUMS, LogFiles, close, gather, log_members, sums_text
from ledger.errors import LedgerError
from ledger.findings import Code
from ledger.keys import PublicIdentity
from ledger.log import Log
from ledger.note import Note, sign_note
from ledger.policy import Policy
from ledger.verify import verify_bundle, verify_bytes
from vfl.clock import Clock
from vfl.comparison import figures
from vfl.desk import MAX_FRAME
from vfl.errors import AgreementError, Malformed, ProtocolError
from vfl.files import read_json, write_data, write_whole
from vfl.notary import LedgerNotary
from vfl.party.runs import RunFolder
from vfl.party.standing import Standing
from vfl.predictions import FILE, run_scores
from vfl.seat import RunFile, open_ledger, peers_of

BUNDLE, POLICY, SUMMARY = "audit.bundle", "policy.txt", "summary.json"


class SentLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A party's ledger as it travels: bytes that the verifier judges, not we."""

    entries: Annotated[bytes, msgspec.Meta(max_length=MAX_FRAME)]
    checkpoints: dict[Annotated[int, msgspec.Meta(ge=0)], Annotated[bytes, msgspec.Meta(max_length=2**20)]]


@contextmanager
def own_log(who: Standing, folder: RunFolder, clock: Clock) -> Iterator[Log]:
    """The party's log of a run that is over."""
    file = RunFile.read(folder.path)
    store = open_ledger(folder.path / who.name, file.run)
    try:
        peers = {member.name: file.keys[member.name] for member in peers_of(file.agreement, who.name)}
        yield LedgerNotary(store, who.identity, file.run, file.agreement.digest, peers, clock, ended=True).log
    finally:
        store.close()


def log_of(who: Standing, folder: RunFolder, clock: Clock) -> bytes:
    """The party's ledger for the active party's bundle."""
    with own_log(who, folder, clock) as log:
        files = LogFiles.of(log)
    return msgspec.msgpack.encode(SentLog(files.entries, files.checkpoints))


def attestation(who: Standing, folder: RunFolder, sums: bytes, clock: Clock) -> bytes:
    """The party's note under the list of a bundle's files. Raises AgreementError if its own log is not listed as is."""
    with own_log(who, folder, clock) as log:
        files = LogFiles.of(log)
    mine = {f"{sha256(data).hexdigest()}  {name}" for name, data in log_members(who.name, files).items()}
    listed = {line for line in sums.decode(errors="replace").splitlines() if f"  logs/{who.name}/" in line}
    if listed != mine:
        raise AgreementError(f"the bundle does not hold the ledger of {who.name} as it is")
    return str(sign_note(sums_text(folder.run, sums), [who.identity.identity])).encode()


def policy_of(file: RunFile) -> Policy:
    """Whose keys count in a run."""
    keys = file.keys.items()
    return Policy.of([PublicIdentity(name, pair.identity, pair.witness) for name, pair in keys], quorum="any")


def read_log(peer: str, data: bytes) -> LogFiles:
    """A peer's ledger as it came. Raises Malformed."""
    try:
        sent = msgspec.msgpack.decode(data, type=SentLog)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"sends no ledger: {error}", peer=peer) from None
    return LogFiles(sent.entries, dict(sent.checkpoints))


class Gathering:
    """The audit bundle, while it is gathered at the active party."""

    def __init__(self, who: Standing, folder: RunFolder, clock: Clock, theirs: Mapping[str, LogFiles]) -> None:
        """`theirs`: the peers' ledgers."""
        self._who, self._folder = who, folder
        self._file = RunFile.read(folder.path)
        with own_log(who, folder, clock) as log:
            mine = LogFiles.of(log)
        artefacts = {"agreement.json": self._file.agreement.encode(), SUMMARY: summary(folder, self._file)}
        self._members = gather(
            {who.name: mine, **theirs},
            self._file.run,
            self._file.agreement.digest,
            artefacts=artefacts,
            policy=policy_of(self._file),
        )

    @property
    def sums(self) -> bytes:
        """What the peers are to sign."""
        return self._members[SUMS]

    def close(self, attested: Mapping[str, bytes]) -> bytes:
        """Write the bundle with the peers' signatures, and verify it. Raises ProtocolError for what is not valid."""
        text = sums_text(self._file.run, self.sums)
        lines = list(sign_note(text, [self._who.identity.identity]).signatures)
        for peer, data in attested.items():
            try:
                note = Note.parse(data)
                note.verified([self._file.keys[peer].identity])
            except LedgerError as error:
                raise ProtocolError(f"does not sign the bundle: {error}", peer=peer) from None
            lines += note.signatures if note.text == text else ()
        close(self._folder.path / BUNDLE, self._members, Note(text, tuple(lines)))
        policy = policy_of(self._file)
        write_data(self._folder.path / POLICY, str(policy).encode())
        result = verify_bundle(self._folder.path / BUNDLE, policy)
        if result.code is not Code.VALID:
            found = "; ".join(str(finding) for finding in result.findings[:3])
            raise ProtocolError(f"the audit bundle is not valid: {found}", peer=", ".join(attested))
        return (self._folder.path / BUNDLE).read_bytes()


def keep_bundle(name: str, folder: RunFolder, bundle: bytes) -> None:
    """Keep the bundle that the active party gathered. Raises AgreementError if it is not valid, or lacks a log."""
    file = RunFile.read(folder.path)
    result = verify_bytes(bundle, policy_of(file))
    if result.code is not Code.VALID or result.run != file.run or {log.party for log in result.logs} != set(file.keys):
        raise AgreementError(f"{name} finds the audit bundle of {file.run} not valid")
    write_data(folder.path / BUNDLE, bundle)


def keep_policy(folder: RunFolder) -> None:
    """What a passive party needs to verify the bundle that it is given."""
    write_data(folder.path / POLICY, str(policy_of(RunFile.read(folder.path))).encode())


def summary(folder: RunFolder, file: RunFile) -> bytes:
    """`summary.json`: what the active party knows of the run without asking anybody; the bytes that it wrote."""
    active = file.agreement.active.name
    seat = folder.path / active
    parts, counted = np.load(seat / "parts.npy"), read_json(seat / "report.json", "a finished run")
    with (seat / FILE).open(encoding="utf-8", newline="") as lines:
        labels = np.array([float(line["label"]) for line in csv.DictReader(lines)])
    real = file.terms.objective == "regression"
    body: dict[str, Any] = {
        "run": file.run,
        "scenario": file.agreement.scenario,
        "model": file.terms.kind,
        "objective": file.terms.objective,
        "rows": {name: int((parts == code).sum()) for code, name in enumerate(("train", "validation", "holdout"))},
        "metrics": figures(labels if real else labels.astype(np.int8), run_scores(seat), file.terms.objective)
        if len(labels)
        else {},
        "bytes": sum(sum(each.values()) for each in counted["bytes"].values()),
        "privacy": dict(file.agreement.privacy),
    }
    write_whole(folder.path / SUMMARY, body)
    return (folder.path / SUMMARY).read_bytes()
