"""Time stamps in a bundle: an outside authority's word that a signed head was there.

    timestamps/<party>/<n>.tsr     the authority's answer (RFC 3161), over checkpoint n of the party's log

What is stamped is the head as the log signed it: its text and the log's own line. Cosignatures come later and have
times of their own. A stamp proves itself to whoever trusts the authority, so it is not on the list that the parties
sign, and whoever has a bundle may have its heads stamped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ledger.archive import pack
from ledger.authority import Authority
from ledger.bundle import Bundle, read_bundle, stamp_member, write_file
from ledger.checkpoint import Checkpoint
from ledger.clock import format_time
from ledger.entry import Entry
from ledger.errors import BadBundle, LedgerError
from ledger.evidence.entries import CLOCK_ERROR
from ledger.findings import Code, Finding, Stamped
from ledger.note import Note

STEP = 13
Entries = Mapping[str, Iterable[tuple[int, Entry]]]
Heads = Mapping[str, Mapping[int, Note]]


def stamped_bytes(note: Note, party: str) -> bytes:
    """What a stamp of a head is over: its text and the lines of the log itself."""
    return str(Note(note.text, tuple(line for line in note.signatures if line.name == party))).encode()


def stamp_bundle(source: Path, out: Path, url: str, authority: Authority) -> list[Stamped]:
    """Have the newest head of every log in `source` stamped, and write the bundle with the stamps to `out`.

    A head that holds a stamp of this authority keeps it. Raises BadBundle or StampError; `out` is then untouched.
    """
    bundle = read_bundle(source)
    if bundle.faults:
        raise BadBundle(f"the bundle is damaged: {bundle.faults[0]}", remedy="Run `python -m ledger verify` on it.")
    members, found = dict(bundle.members), []
    for party, note in _newest_heads(bundle).items():
        size, data = Checkpoint.parse(note.text).size, stamped_bytes(note, party)
        name = stamp_member(party, size)
        if name not in members or not _holds(authority, members[name], data):
            members[name] = authority.ask(url, data)
        found.append(Stamped(party, size, format_time(authority.time_of(members[name], data))))
    write_file(out, pack(members))
    return found


def check_stamps(
    bundle: Bundle, heads: Heads, entries: Entries, authority: Authority | None
) -> tuple[list[Stamped], list[Finding]]:
    """Step (13): what the stamps of a bundle say of its valid heads, and what is wrong with them.

    Without an `authority` nothing but their places is checked.
    """
    stamps, findings = [], []
    for (party, size), data in sorted(bundle.stamps().items()):
        note, time = heads.get(party, {}).get(size), None
        if note is None:
            text = f"a time stamp is there for checkpoint {size}, but no such valid checkpoint"
            findings.append(Finding(Code.INVALID, STEP, text, party))
            continue
        if authority is not None:
            try:
                moment = authority.time_of(data, stamped_bytes(note, party))
            except LedgerError as error:
                findings.append(Finding(Code.INVALID, STEP, f"the time stamp of checkpoint {size}: {error}", party))
                continue
            time = format_time(moment)
            findings += _dated_later(party, size, entries.get(party, ()), format_time(moment + CLOCK_ERROR), time)
        stamps.append(Stamped(party, size, time))
    for party in sorted(heads) if authority is not None else ():
        if all(one.party != party for one in stamps):
            findings.append(Finding(Code.POLICY, STEP, "no checkpoint has a time stamp of the named authority", party))
    return stamps, findings


def _dated_later(
    party: str, size: int, entries: Iterable[tuple[int, Entry]], latest: str, time: str
) -> Iterable[Finding]:
    """The first entry under a stamped head that is dated after the stamp."""
    for seq, entry in entries:
        if seq < size and entry.ts > latest:
            text = f"entry {seq} is dated {entry.ts}, but was there when checkpoint {size} was stamped at {time}"
            yield Finding(Code.INVALID, STEP, text, party, entry.slot, seq)
            return


def _newest_heads(bundle: Bundle) -> dict[str, Note]:
    found = {}
    for party, files in sorted(bundle.logs().items()):
        if not files.checkpoints:
            raise BadBundle(f"the bundle holds no checkpoint of {party}")
        found[party] = Note.parse(files.checkpoints[max(files.checkpoints)])
    if not found:
        raise BadBundle("only a full bundle can be stamped: this one holds no whole log")
    return found


def _holds(authority: Authority, stamp: bytes, data: bytes) -> bool:
    try:
        authority.time_of(stamp, data)
    except LedgerError:
        return False
    return True
