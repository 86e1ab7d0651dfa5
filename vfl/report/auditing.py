"""Sections 13 and 15 to 17: what the ledger shows, one decision alone, the regimes, and what nobody can prove."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.entry import Entry
from vfl.decisions import STEP
from vfl.report import afterwards
from vfl.report.blocks import Bars, Block, Facts, Line, Section, Table
from vfl.report.crosswalk import Clause, Regime
from vfl.report.figures import Checked, Words, clock, megabytes, moment, seconds_of, short
from vfl.report.material import Material
from vfl.retention import ROWS, SALTS

_LIMITS = 7
_SHORTEST = 0.004  # share of the width that even the shortest phase gets


def transcript(m: Material) -> Section:
    """Section 13."""
    section, of, t = m.section(13), m.figures, m.texts
    rows: list[list[Line]] = []
    for party in m.evidence.logs:
        counts = [(of.count(party, what),) for what in ("entries", "messages")]
        last = (of.count(party, "last", form=moment),)
        rows.append([(m.name(party),), *counts, (of.count(party, "bytes", form=megabytes),),
                     (of.count(party, "checkpoints"),), last])  # fmt: skip
    keys = ("entries", "messages", "bytes", "checkpoints", "last")
    head = [t.word("words.party"), *(t.word(f"s13.{key}") for key in keys)]
    section.blocks += [m.say("s13.how"), Table(head, rows, title=t.word("s13.logs"))]
    section.blocks += _timeline(m)
    section.blocks += [m.say("s13.checks"), *afterwards.audits(m), *afterwards.purges(m)]
    return section


def _timeline(m: Material) -> list[Block]:
    """When each phase ran, as the active party's ledger has it."""
    of, t, log = m.figures, m.texts, m.evidence.logs.get(m.active)
    if log is None or not log.entries:
        return []
    phases: dict[str, list[Entry]] = {}
    for entry in log.entries:
        if entry.phase != afterwards.RETENTION:  # long after the run
            phases.setdefault(entry.phase, []).append(entry)
    begin = seconds_of(log.entries[0].ts)
    whole = max(max(seconds_of(entries[-1].ts) for entries in phases.values()) - begin, 1e-6)
    bars: list[tuple[Line, Line, float, float, int]] = []
    rows: list[list[Line]] = []
    for phase, entries in phases.items():
        name = _phase(m, phase, entries[0])
        first, last = (of.count(m.active, what, phase, form=clock) for what in ("first", "last"))
        start = (seconds_of(entries[0].ts) - begin) / whole
        long = max((seconds_of(entries[-1].ts) - seconds_of(entries[0].ts)) / whole, _SHORTEST)
        bars.append((name, t.line("words.range", low=first, high=last), min(long, 1.0 - start + _SHORTEST), start, 0))
        counts = [(of.count(m.active, what, phase),) for what in ("rounds", "messages")]
        size = (of.count(m.active, "bytes", phase, form=megabytes),)
        rows.append([name, *counts, size, (of.count(m.active, "checkpoints", phase),)])
    head = [t.word("s13.phase"), *(t.word(f"s13.{key}") for key in ("rounds", "messages", "bytes", "checkpoints"))]
    return [m.say("s13.timeline", party=m.name(m.active)), Bars(bars, t.word("s13.when")), Table(head, rows)]


def _phase(m: Material, phase: str, entry: Entry) -> Line:
    key = f"phases.{phase}"
    return (m.texts.word(key),) if key in m.texts else (m.figures.entry(m.active, entry.seq, "/phase"),)


def subject(m: Material) -> Section:
    """Section 15."""
    section, t = m.section(15), m.texts
    log = m.evidence.logs[m.active]
    found = [entry for entry in log.entries if entry.phase == "report" and entry.step == STEP]
    if not found:
        section.blocks.append(m.say("s15.none", tone="note"))
        return section
    seq = found[-1].seq
    facts = [
        (t.word("s15.count"), (m.figures.entry(m.active, seq, "/params/count"),)),
        (t.word("s15.root"), (m.figures.entry(m.active, seq, "/commit/0/digest", form=short),)),
        (t.word("words.entry"), (m.figures.entry(m.active, seq, "/seq"),)),
    ]
    gone = afterwards.removed(m, m.active) & {ROWS, SALTS}
    shown = [m.say("s15.purged", tone="note")] if gone else [m.say("s15.command", tone="code"), m.say("s15.hidden")]
    section.blocks += [m.say("s15.how"), Facts(facts), *shown]
    return section


def regimes(m: Material, found: Sequence[tuple[Regime, Sequence[tuple[Clause, str]]]]) -> Section:
    """Section 16."""
    section = m.section(16)
    section.blocks += [m.say("s16.meaning"), m.say("s16.not_advice", tone="warn")]
    for regime, clauses in found:
        section.blocks += _crosswalk(m, regime, clauses)
    return section


def _crosswalk(m: Material, regime: Regime, clauses: Sequence[tuple[Clause, str]]) -> list[Block]:
    t, language = m.texts, m.texts.language
    comma = t.word("words.comma")
    rows: list[list[Line]] = []
    for clause, state in clauses:
        links: list[Words] = []
        for number in clause.sections:
            links += [comma, Words(str(number))] if links else [Words(str(number))]
        title = clause.title[language]
        rows.append(
            [
                (Words(clause.id),),
                (Words(title), *((Words(f" ({clause.in_force})"),) if clause.in_force else ())),
                tuple(links),
                (Checked(t.word(f"status.{state}")),),
                (Words(clause.bank[language]),) if clause.bank else (t.word("words.dash"),),
            ]
        )
    head = [t.word(f"s16.{key}") for key in ("clause", "asks", "sections", "status", "bank")]
    counts = {
        state: sum(one == state for _, one in clauses) for state in ("met", "partly", "not_met", "not_applicable")
    }
    told = m.say("s16.counts", **{state: Checked(str(count)) for state, count in counts.items()})
    as_of = m.say("s16.as_of", tone="note", date=Words(regime.as_of), note=Words(regime.note[language]))
    return [m.say("s16.regime", tone="head", title=Words(regime.title[language])), told,
            Table(head, rows, words=5), as_of]  # fmt: skip


def limits(m: Material) -> Section:
    """Section 17."""
    section = m.section(17)
    section.blocks.append(m.say("s17.intro"))
    section.blocks += [m.say(f"s17.limit{number}", tone="item") for number in range(1, _LIMITS + 1)]
    section.blocks += [m.say("s17.simulation", tone="warn"), m.say("s17.time", tone="note")]
    return section
