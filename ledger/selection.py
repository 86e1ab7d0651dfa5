"""Selective bundles: chosen entries of a run, each with its proof, for a reader who may or need not see the rest.

SHA256SUMS                          "<hex>  <member>" for every other member but time stamps, sorted
artefacts/<path>                    those that were chosen
entries/<party>/<seq>.json          canonical bytes of one entry; of every log also entry 0, with the certificate
heads/<party>/<n>.note              the newest head, and the newest cosigned one where that is another
manifest.json                       canonical JSON: format, run, agreement, digest of the full bundle, counts
policy.txt                          the producer's policy, for information; a verifier brings its own
proofs/<party>/<old>-<new>.json     canonical JSON {"path"}: the newest head continues the cosigned one (RFC 6962 2.1.2)
proofs/<party>/<seq>.json           canonical JSON {"path", "seq", "size"}: inclusion in the head of `size` (2.1.1)
source/SHA256SUMS                   of the full bundle, with
source/SHA256SUMS.note              the parties' signatures: they vouch for the artefacts
timestamps/<party>/<n>.tsr          those of the heads that are kept

Anybody who has a full bundle can make one, for nothing in it needs a new signature. The same choice from the same
bundle gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

from ledger.archive import pack
from ledger.bundle import (
    MANIFEST,
    POLICY,
    SUMS,
    SUMS_NOTE,
    Bundle,
    LogFiles,
    read_bundle,
    stamp_member,
    sums,
    write_file,
)
from ledger.canonical import Json, decode, encode
from ledger.entry import Entry
from ledger.errors import BadBundle, LedgerError
from ledger.merkle import Tree, leaf_hash
from ledger.note import Note

SELECTION = "tallystick-selection"
SELECTION_VERSION = 1
_REMEDY = "Run `python -m ledger verify` on the full bundle first."


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries and artefacts to keep. What is left empty does not narrow the choice of entries.

    `parties`: names of logs; `slots`: glob patterns, of which one must fit; `seqs`: positions; `artefacts`: glob
    patterns of artefact paths, none by default.
    """

    parties: frozenset[str] = frozenset()
    slots: tuple[str, ...] = ()
    seqs: frozenset[int] = frozenset()
    artefacts: tuple[str, ...] = ()

    def takes(self, seq: int, slot: str) -> bool:
        """Whether an entry of a chosen log is wanted."""
        fits = not self.slots or any(fnmatchcase(slot, pattern) for pattern in self.slots)
        return fits and (not self.seqs or seq in self.seqs)


def parse_seqs(text: str) -> frozenset[int]:
    """Positions as people write them: `3,5-9`. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if not 0 <= low <= high < low + 1_000_000:
            raise ValueError(f"{part!r} is no range of positions")
        found.update(range(low, high + 1))
    return frozenset(found)


def select_bundle(source: str | Path, out: str | Path, choice: Choice) -> str:
    """Write the selective bundle of `choice` from the full bundle `source`; its SHA-256 in hex.

    Raises BadBundle where the source is damaged or selective itself, or nothing in it fits the choice.
    """
    data = pack(selected(read_bundle(source), choice))
    write_file(Path(out), data)
    return sha256(data).hexdigest()


def selected(bundle: Bundle, choice: Choice) -> dict[str, bytes]:
    """The members of the selective bundle."""
    if bundle.faults:
        raise BadBundle(f"the bundle is damaged: {bundle.faults[0]}", remedy=_REMEDY)
    manifest = decode(bundle.members.get(MANIFEST, b""))
    logs = bundle.logs()
    if not isinstance(manifest, dict) or not logs:
        raise BadBundle("only a full bundle can be selected from: this one holds no whole log")
    if unknown := choice.parties - logs.keys():
        raise BadBundle(f"the bundle has no log of {', '.join(sorted(unknown))}; it has: {', '.join(sorted(logs))}")
    members: dict[str, bytes] = {}
    parts: list[Json] = []
    for party in sorted(choice.parties or logs):
        if kept := _select(party, logs[party], choice, members):
            parts.append({"party": party, "entries": len(kept)})
    if not parts:
        raise BadBundle("no entry fits the choice", remedy="See `python -m ledger show` for slots and positions.")
    for (party, size), stamp in bundle.stamps().items():
        if f"heads/{party}/{size}.note" in members:
            members[stamp_member(party, size)] = stamp
    artefacts = _artefacts(bundle, choice.artefacts)
    members |= artefacts
    for name in (SUMS, SUMS_NOTE):
        members[f"source/{name}"] = bundle.members.get(name, b"")
    members[POLICY] = bundle.members.get(POLICY, b"")
    members[MANIFEST] = encode(
        {
            "format": SELECTION,
            "v": SELECTION_VERSION,
            "run": manifest.get("run"),
            "agreement": manifest.get("agreement"),
            "source": bundle.digest,
            "logs": parts,
            "artefacts": len(artefacts),
        }
    )
    members[SUMS] = sums(members)
    return members


def inclusion_proof(seq: int, size: int, path: Iterable[bytes]) -> bytes:
    """The canonical bytes of an entry's proof."""
    return encode({"seq": seq, "size": size, "path": [node.hex() for node in path]})


def head_for(seq: int, files: LogFiles) -> int:
    """The size of the head under which an entry is shown: the newest cosigned one where that covers it.

    Raises BadBundle when no head covers it.
    """
    newest, cosigned = _newest(files)
    size = cosigned if seq < cosigned else newest
    if seq >= size:
        raise BadBundle(f"entry {seq} is not under a checkpoint, so nothing proves it")
    return size


def leaves_of(files: LogFiles) -> list[bytes]:
    """The canonical bytes of a full bundle's entries."""
    return files.entries.split(b"\n")[:-1]


def _select(party: str, files: LogFiles, choice: Choice, members: dict[str, bytes]) -> list[int]:
    """Add what was chosen of one log to `members`; the positions kept, none if nothing fits."""
    bodies = leaves_of(files)
    try:
        chosen = [seq for seq, body in enumerate(bodies) if choice.takes(seq, Entry.from_bytes(body).slot)]
    except LedgerError as error:
        raise BadBundle(f"the log of {party} cannot be read: {error}", remedy=_REMEDY) from error
    if not chosen:
        return []
    chosen = sorted({0, *chosen})
    tree = Tree(map(leaf_hash, bodies))
    newest, cosigned = _newest(files)
    if newest > len(tree):
        raise BadBundle(f"the log of {party} lacks entries that its checkpoint covers", remedy=_REMEDY)
    for seq in chosen:
        size = head_for(seq, files)
        members[f"entries/{party}/{seq}.json"] = bodies[seq]
        members[f"proofs/{party}/{seq}.json"] = inclusion_proof(seq, size, tree.inclusion_proof(seq, size))
    for size in {newest, cosigned} - {0}:
        members[f"heads/{party}/{size}.note"] = files.checkpoints[size]
    if 0 < cosigned < newest:
        path: list[Json] = [node.hex() for node in tree.consistency_proof(cosigned, newest)]
        members[f"proofs/{party}/{cosigned}-{newest}.json"] = encode({"path": path})
    return chosen


def _newest(files: LogFiles) -> tuple[int, int]:
    """Sizes of the newest head, and of the newest with more than the log's own signature; 0 where there is none."""
    signatures = {size: _signatures(note) for size, note in files.checkpoints.items()}
    cosigned = [size for size, count in signatures.items() if count > 1]
    return max(signatures, default=0), max(cosigned, default=0)


def _signatures(note: bytes) -> int:
    try:
        return len(Note.parse(note).signatures)
    except LedgerError as error:
        raise BadBundle(f"a checkpoint cannot be read: {error}", remedy=_REMEDY) from error


def _artefacts(bundle: Bundle, patterns: Sequence[str]) -> dict[str, bytes]:
    found = {
        name: data
        for name, data in bundle.members.items()
        if name.startswith("artefacts/") and any(fnmatchcase(name.removeprefix("artefacts/"), p) for p in patterns)
    }
    if patterns and not found:
        raise BadBundle(f"the bundle has no artefact that fits {' or '.join(patterns)}")
    return found
