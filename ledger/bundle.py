"""The audit bundle: everything a verifier needs but the keys, in one file that has one form.

SHA256SUMS                          "<hex>  <member>" for every other member but time stamps, sorted
SHA256SUMS.note                     signed note over the digest of SHA256SUMS, by every party's identity key
artefacts/<path>                    what the run produced; artefacts/evidence/*.json are claims of misbehaviour
logs/<party>/checkpoints/<n>.note   the log's signed heads with cosignatures
logs/<party>/entries.jsonl          canonical entries, one per line
manifest.json                       canonical JSON: format, run, agreement, counts
policy.txt                          the producer's policy, for information; a verifier brings its own
timestamps/<party>/<n>.tsr          time stamps of heads (`stamping.py`), the only members that are not listed
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from ledger.archive import MAX_ARCHIVE_BYTES, Contents, check_name, pack, unpack
from ledger.canonical import encode
from ledger.errors import BadBundle
from ledger.keys import Identity
from ledger.note import Note, sign_note
from ledger.policy import Policy
from ledger.store import Head, Row

FORMAT = "tallystick-bundle"
FORMAT_VERSION = 1
SUMS, SUMS_NOTE, MANIFEST, POLICY = "SHA256SUMS", "SHA256SUMS.note", "manifest.json", "policy.txt"
EVIDENCE = "artefacts/evidence/"
_LOG_FILE = re.compile(r"logs/([^/]+)/(entries\.jsonl|checkpoints/(0|[1-9][0-9]{0,15})\.note)", re.ASCII)
_STAMP = re.compile(r"timestamps/([^/]+)/(0|[1-9][0-9]{0,15})\.tsr", re.ASCII)


class LogSource(Protocol):
    """What a bundle takes from a log; `Log` is one."""

    party: str
    run: str
    agreement: str

    def commit(self) -> None:
        """Make everything appended durable."""
        ...

    def rows(self) -> Iterator[Row]:
        """The committed entries."""
        ...

    def checkpoints(self) -> list[Head]:
        """The signed heads with their cosignatures."""
        ...


@dataclass(slots=True)
class LogFiles:
    """One party's part of a bundle: bytes as found, nothing checked."""

    entries: bytes = b""
    checkpoints: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, log: LogSource) -> LogFiles:
        """What a log has committed."""
        log.commit()
        heads = {head.size: head.note.encode() for head in log.checkpoints()}
        return cls(b"".join(row.body + b"\n" for row in log.rows()), heads)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as read: members by name, faults of the archive, and the SHA-256 of the file (hex)."""

    members: Mapping[str, bytes]
    faults: Sequence[str]
    digest: str

    def logs(self) -> dict[str, LogFiles]:
        """The parties' logs by party name."""
        found: dict[str, LogFiles] = {}
        for name, data in self.members.items():
            if match := _LOG_FILE.fullmatch(name):
                files = found.setdefault(match[1], LogFiles())
                if match[3]:
                    files.checkpoints[int(match[3])] = data
                else:
                    files.entries = data
        return found

    def stamps(self) -> dict[tuple[str, int], bytes]:
        """Time stamps by party and size of the head that each says it is over."""
        places = ((_STAMP.fullmatch(name), data) for name, data in self.members.items())
        return {(at[1], int(at[2])): data for at, data in places if at}

    def strangers(self) -> list[str]:
        """Members with a name that this format does not know."""
        known = {SUMS, SUMS_NOTE, MANIFEST, POLICY}
        fits = (_LOG_FILE, _STAMP)
        return [
            name
            for name in self.members
            if not (name in known or name.startswith("artefacts/") or any(form.fullmatch(name) for form in fits))
        ]


def write_bundle(
    path: str | Path,
    logs: Sequence[LogSource],
    run: str,
    *,
    artefacts: Mapping[str, bytes],
    identities: Sequence[Identity],
    policy: Policy,
    stamps: Mapping[tuple[str, int], bytes] | None = None,
) -> str:
    """Write the bundle of one run and return its SHA-256 (hex); the same input gives the same bytes.

    `stamps`: time stamps by party and size of the head that each is over.

    The file appears under its name only when it is complete and on disk. Raises BadBundle when the logs are of another
    run or of different agreements, or an artefact's path is not plain.
    """
    agreements = {log.agreement for log in logs}
    if len(agreements) != 1 or any(log.run != run for log in logs):
        found = ", ".join(f"{log.party}/{log.run} under {log.agreement:.16}.." for log in logs)
        raise BadBundle(f"a bundle holds the logs of run {run} under one agreement, not: {found or 'nothing'}")
    files = {log.party: LogFiles.of(log) for log in logs}
    members = gather(files, run, agreements.pop(), artefacts=artefacts, policy=policy)
    members.update({check_name(stamp_member(*place)): data for place, data in (stamps or {}).items()})
    return close(path, members, sign_note(sums_text(run, members[SUMS]), [who.identity for who in identities]))


def gather(
    logs: Mapping[str, LogFiles], run: str, agreement: str, *, artefacts: Mapping[str, bytes], policy: Policy
) -> dict[str, bytes]:
    """The members of a bundle but for the note under its sums, which is the parties' to sign; `logs` by party.

    Where the parties are not in one place each sends its log, looks at the sums, and signs them if its log is there.
    """
    members = {name: data for party, files in logs.items() for name, data in log_members(party, files).items()}
    members.update({check_name(f"artefacts/{name}"): data for name, data in artefacts.items()})
    members[POLICY] = str(policy).encode()
    members[MANIFEST] = _manifest(logs, run, agreement, len(artefacts))
    members[SUMS] = sums(members)
    return members


def close(path: str | Path, members: Mapping[str, bytes], note: Note) -> str:
    """Write gathered members with the signed note under their sums; the SHA-256 of the file (hex)."""
    data = pack({**members, SUMS_NOTE: str(note).encode()})
    write_file(Path(path), data)
    return sha256(data).hexdigest()


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle file; raises BadBundle when there is none or it is beyond 1 GiB. Damage is listed in `faults`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_ARCHIVE_BYTES + 1)
    except OSError as error:
        raise BadBundle(f"cannot read the bundle {path}: {error.strerror}") from None
    if len(data) > MAX_ARCHIVE_BYTES:
        raise BadBundle(f"the bundle {path} is larger than {MAX_ARCHIVE_BYTES} bytes")
    return parse_bundle(data)


def parse_bundle(data: bytes) -> Bundle:
    """Read a bundle from memory; never raises."""
    contents: Contents = unpack(data)
    return Bundle(contents.members, contents.faults, sha256(data).hexdigest())


def sums(members: Mapping[str, bytes]) -> bytes:
    """The SHA256SUMS file over all members but itself, its note and time stamps, as `sha256sum -c` reads it."""
    names = sorted(name for name in members if is_listed(name))
    return "".join(f"{sha256(members[name]).hexdigest()}  {name}\n" for name in names).encode()


def is_listed(name: str) -> bool:
    """Whether a member belongs on the list that the parties sign."""
    return name not in (SUMS, SUMS_NOTE) and not _STAMP.fullmatch(name)


def stamp_member(party: str, size: int) -> str:
    """Where the time stamp of a head stands."""
    return f"timestamps/{party}/{size}.tsr"


def sums_text(run: str, sums_file: bytes) -> str:
    """The text each party signs for a bundle. Its first line holds spaces, which no checkpoint origin may."""
    return f"tallystick bundle v{FORMAT_VERSION}\n{run}\n{base64.b64encode(sha256(sums_file).digest()).decode()}\n"


def log_members(party: str, files: LogFiles) -> dict[str, bytes]:
    """The members of a bundle that are the log of `party`."""
    folder = f"logs/{party}"
    heads = {f"{folder}/checkpoints/{size}.note": note for size, note in files.checkpoints.items()}
    return {f"{folder}/entries.jsonl": files.entries, **heads}


def _manifest(logs: Mapping[str, LogFiles], run: str, agreement: str, artefacts: int) -> bytes:
    parts = [
        {"party": party, "entries": files.entries.count(b"\n"), "checkpoints": len(files.checkpoints)}
        for party, files in sorted(logs.items())
    ]
    return encode(
        {
            "format": FORMAT,
            "v": FORMAT_VERSION,
            "run": run,
            "agreement": agreement,
            "logs": parts,
            "artefacts": artefacts,
        }
    )


def write_file(path: Path, data: bytes) -> None:
    """Put a bundle under its name when it is complete and on disk; raises BadBundle."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BadBundle(f"cannot write the bundle {path}: {error.strerror}") from None
