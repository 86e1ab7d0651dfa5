"""What became of a finished run: answers that an auditor had computed again, and what was purged."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.entry import Entry
from vfl.audit.drawing import SHARES, detection
from vfl.audit.result import Audited
from vfl.errors import UsageError
from vfl.report.blocks import Block, Line, Table
from vfl.report.figures import Checked, moment, percent, share, short, together
from vfl.report.material import Material

RETENTION = "retention"
_SHOWN = 12  # verdicts a party; those that differ come first


def audits(m: Material) -> list[Block]:
    """What auditors found, each verdict beside the ledger's digest."""
    blocks: list[Block] = []
    for auditor, result in m.audits:
        if result.run != m.summary["run"]:
            raise UsageError(f"the audit of {auditor} is about run {result.run}", remedy="name one of this run")
        for one in result.parties:
            blocks += _audited(m, auditor, one)
    return blocks or [m.say("s13.spot", tone="note")]


def _audited(m: Material, auditor: str, one: Audited) -> list[Block]:
    if one.party not in m.evidence.logs:
        raise UsageError(f"the audit of {auditor} is about {one.party}, which is no party of this run")
    said = {entry.slot: entry for entry in m.evidence.logs[one.party].entries}
    rows: list[list[Line]] = []
    for verdict in sorted(one.verdicts, key=lambda verdict: verdict.fits):
        entry = said.get(verdict.slot)
        if entry is None or entry.payload is None or entry.payload.digest != verdict.claimed:
            raise UsageError(f"the audit of {auditor} names {verdict.slot}, of which the ledger says otherwise")
        cells = [m.figures.entry(one.party, entry.seq, "/slot"), m.figures.entry(one.party, entry.seq, "/seq")]
        digest = m.figures.entry(one.party, entry.seq, "/payload/digest", form=short)
        fits = Checked(m.texts.word("s13.fits" if verdict.fits else "s13.differs"))
        rows.append([(cells[0],), (digest,), (cells[1],), (fits,)])
    bad = sum(not verdict.fits for verdict in one.verdicts)
    t, count = m.texts, {name: Checked(str(getattr(one, name))) for name in ("cells", "answers")}
    active = one.party == m.active
    told = m.say(
        "s13.audited_labels" if active else "s13.audited", auditor=Checked(auditor), party=m.name(one.party), **count
    )
    verdict_line = m.say("s13.otherwise", tone="warn", count=Checked(str(bad))) if bad else m.say("s13.all_fit")
    head = [t.word(f"s13.{key}") for key in ("message", "digest")] + [t.word("words.entry"), t.word("s13.again")]
    chances: list[list[Line]] = [
        [(Checked(share(false)),), (Checked(percent(detection(false, one.cells))),)] for false in SHARES
    ]
    chance = Table([t.word("s13.false"), t.word("s13.chance")], chances)
    title = m.say("s13.recomputed", tone="head")
    return [title, told, verdict_line, Table(head, rows[:_SHOWN], words=4), m.say("s13.detection"), chance]


def purges(m: Material) -> list[Block]:
    """What the parties removed of the run, as their ledgers have it."""
    t, rows = m.texts, list[list[Line]]()
    for party, entry in _removals(m):
        what, reason = (
            m.figures.entry(party, entry.seq, f"/params/{key}", form=together) for key in ("what", "reason")
        )
        when, seq = m.figures.entry(party, entry.seq, "/ts", form=moment), m.figures.entry(party, entry.seq, "/seq")
        rows.append([(m.name(party),), (when,), (what,), (reason,), (seq,)])
    if not rows:
        return []
    head = [t.word("words.party"), *(t.word(f"s13.{key}") for key in ("removed_when", "removed", "reason"))]
    table = Table([*head, t.word("words.entry")], rows, words=4, title=t.word("s13.purged"))
    return [table, m.say("s13.purged_note", tone="note")]


def removed(m: Material, party: str) -> set[str]:
    """The categories that `party` purged."""
    return {str(one) for name, entry in _removals(m) if name == party for one in _listed(entry)}


def _listed(entry: Entry) -> list[object]:
    what = entry.params.get("what")
    return list(what) if isinstance(what, list | tuple) else []


def _removals(m: Material) -> Iterator[tuple[str, Entry]]:
    for party, log in m.evidence.logs.items():
        yield from ((party, entry) for entry in log.entries if entry.phase == RETENTION)
