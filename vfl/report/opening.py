"""The first page and sections 0 to 4: is it true, what is it, who is in it, on which data, how are they protected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.findings import Code
from vfl.report.blocks import Block, Facts, Line, Section, Table
from vfl.report.figures import Cell, Checked, Figure, Words, advantage, exact, moment, percent, short, signed, three
from vfl.report.material import AGREEMENT, EVALUATION, MODEL, SUMMARY, Material

_SHOWN_FINDINGS = 50


@dataclass(frozen=True)
class Cover:
    """The first page: one look says what, who, how good, and whether it holds. `verdict`: the verifier's code."""

    title: Line
    facts: list[tuple[Words, Line]]
    verdict: int
    verdict_line: Line
    tiles: list[tuple[Words, Line, Line]]
    notes: list[Line]


def cover(m: Material, missing: int, open_clauses: int) -> Cover:
    """`missing`: statements that the institution has not made; `open_clauses`: not or partly met ones."""
    of, t = m.figures, m.texts
    result = m.evidence.result
    assert result is not None
    facts = [
        (t.word("cover.run"), (of.of(SUMMARY, "run"),)),
        (t.word("cover.version"), (of.of(MODEL, "version", form=short),)),
        (t.word("cover.trained"), (of.count(m.active, "first", form=moment),)),
        (t.word("cover.parties"), listed(m, [m.name(party) for party in m.parties])),
        (t.word("cover.owner"), (m.about.get("model.owner") or t.word("words.not_stated"),)),
        (t.word("cover.use"), (m.about.get("model.intended_use") or t.word("words.not_stated"),)),
    ]
    findings = Checked(str(len(result.findings)))
    notes = [
        t.line("cover.gaps", count=Checked(str(missing))),
        t.line("cover.clauses", count=Checked(str(open_clauses))),
    ]
    return Cover(
        (of.of(SUMMARY, "scenario"),),
        facts,
        int(result.code),
        t.line(f"verdict.line{int(result.code)}", count=findings),
        _tiles(m),
        notes,
    )


def _tiles(m: Material) -> list[tuple[Words, Line, Line]]:
    of, t = m.figures, m.texts
    tiles: list[tuple[Words, Line, Line]] = []
    if m.evaluation:
        models = "models"
        for figure in ("auc", "ks"):
            value = of.of(EVALUATION, models, "federated", figure, "value", form=three)
            alone = of.of(EVALUATION, models, "bank_only", figure, "value", form=three)
            tiles.append(
                (t.word(f"words.{figure}"), (value,), t.line("cover.alone", party=m.name(m.active), value=alone))
            )
    else:
        for figure in list(m.summary["metrics"]["federated"])[:2]:
            value, alone = (of.of(SUMMARY, "metrics", who, figure) for who in ("federated", "bank_only"))
            told = t.line("cover.alone", party=m.name(m.active), value=alone)
            tiles.append((t.word(f"words.{figure}"), (value,), told))
    common, held = of.of(SUMMARY, "rows", "intersection"), of.of(SUMMARY, "rows", "holdout")
    tiles.append((t.word("cover.customers"), (common,), t.line("cover.held", count=held)))
    level = m.summary["privacy"]["level"]
    tiles.append(
        (t.word("cover.privacy"), (t.word(f"levels.{level}"),), (_advantage(m) or t.word("cover.unmeasured"),))
    )
    return tiles


def _advantage(m: Material) -> Cell | None:
    """The worst measured label inference, as a figure."""
    found = measured(m)
    if not found:
        return None
    worst = max(found, key=lambda one: float(one[2]["advantage"]))
    return m.figures.of(SUMMARY, "attacks", "node_sets", worst[0], worst[1], "advantage", form=advantage)


def measured(m: Material) -> list[tuple[str, int, dict[str, Any]]]:
    """The attack figures of this run: party, place, figures."""
    sets = m.summary.get("attacks", {}).get("node_sets", {})
    return [(party, place, one) for party, found in sets.items() for place, one in enumerate(found)]


def listed(m: Material, cells: list[Figure]) -> Line:
    """Cells with commas between."""
    comma = m.texts.word("words.comma")
    line: list[Cell] = []
    for cell in cells:
        line += [comma, cell] if line else [cell]
    return tuple(line)


def verification(m: Material) -> Section:
    """Section 0."""
    section, t, result = m.section(0), m.texts, m.evidence.result
    assert result is not None
    section.blocks.append(m.say("s0.how"))
    bundle, count = Checked(result.digest), Checked(str(len(result.findings)))
    section.blocks.append(
        Facts(
            [
                (t.word("s0.result"), (Checked(t.word(f"verdict.short{int(result.code)}")),)),
                (t.word("s0.findings"), (count,)),
                (t.word("s0.bundle"), (bundle,)),
                (t.word("s0.policy"), (Checked("policy.txt"),)),
                (t.word("s0.last"), (m.figures.count(m.active, "last", form=moment),)),
            ]
        )
    )
    if result.findings:
        rows: list[list[Line]] = [
            [(Checked(str(one.step)),), (Checked(one.party or "-"),), (Checked(one.text),)]
            for one in result.findings[:_SHOWN_FINDINGS]
        ]
        head = [t.word("s0.step"), t.word("words.party"), t.word("s0.finding")]
        section.blocks.append(Table(head, rows, words=3))
    if result.code is Code.VALID:
        section.blocks.append(m.say("s0.valid"))
    section.blocks.append(m.say("s0.again", tone="code"))
    section.blocks.append(m.say("s0.policy_note", tone="note"))
    return section


def identity(m: Material) -> Section:
    """Section 1."""
    section, of, t = m.section(1), m.figures, m.texts
    section.blocks += [
        m.say(f"s1.{m.summary['model']}"),
        Facts(
            [
                (t.word("s1.scenario"), (of.of(SUMMARY, "scenario"),)),
                (t.word("s1.purpose"), (of.of(AGREEMENT, "purpose"),)),
                (t.word("s1.objective"), (of.of(SUMMARY, "objective"),)),
                (t.word("s1.version"), (of.of(MODEL, "version"),)),
                (t.word("s1.agreement"), (of.of(MODEL, "agreement"),)),
            ]
        ),
        Table(
            [t.word("words.party"), t.word("s1.frozen"), t.word("words.entry")],
            [
                [(m.name(party),), (of.of(MODEL, "frozen", party, "digest", form=short),),
                 (of.of(MODEL, "frozen", party, "seq"),)]
                for party in m.parties if party in m.model["frozen"]
            ],
            words=2,
        ),
        m.say("s1.version_note", tone="note"),
        *m.statements("model"),
    ]  # fmt: skip
    return section


def parties(m: Material) -> Section:
    """Section 2."""
    section, of, t = m.section(2), m.figures, m.texts
    rows: list[list[Line]] = [
        [(m.name(party),), (t.word(f"roles.{m.agreement['members'][m.member(party)]['role']}"),),
         (of.of(SUMMARY, "rows", party),)]
        for party in m.parties
    ]  # fmt: skip
    section.blocks.append(Table([t.word("words.party"), t.word("words.role"), t.word("s2.rows")], rows, words=2))
    section.blocks.append(m.say("s2.keys"))
    section.blocks += m.party_statements()
    return section


def data(m: Material) -> Section:
    """Section 3."""
    section, of, t = m.section(3), m.figures, m.texts
    parts = ("intersection", "train", "validation", "holdout")
    section.blocks.append(Facts([(t.word(f"s3.{part}"), (of.of(SUMMARY, "rows", part),)) for part in parts]))
    if m.evaluation:
        rate = of.of(EVALUATION, "bad_rate", form=percent)
        section.blocks.append(m.say("s3.bad_rate", rate=rate))
    used = {(one["party"], one["feature"]) for one in m.model["inputs"]}
    rows: list[list[Line]] = []
    for party in m.parties:
        member = m.agreement["members"][m.member(party)]
        for place, feature in enumerate(member["features"]):
            words: Cell = t.word("words.dash")
            if feature in member.get("reasons", {}):
                words = of.of(AGREEMENT, "members", m.member(party), "reasons", feature)
            name = of.of(AGREEMENT, "members", m.member(party), "features", place)
            rows.append([(m.name(party),), (name,), (words,), (t.word(f"words.{_yes((party, feature) in used)}"),)])
    head = [t.word("words.party"), t.word("words.feature"), t.word("s3.words"), t.word("s3.used")]
    section.blocks.append(Table(head, rows, words=4, title=t.word("s3.dictionary")))
    section.blocks += _commitments(m)
    section.blocks.append(m.say("s3.limits", tone="note"))
    return section


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _commitments(m: Material) -> list[Block]:
    t, rows = m.texts, list[list[Line]]()
    for party, log in m.evidence.logs.items():
        for entry in log.entries:
            if entry.phase != "commit":
                continue
            for place in range(len(entry.commit)):
                at = f"/commit/{place}"
                kind = m.figures.entry(party, entry.seq, f"{at}/kind")
                digest = m.figures.entry(party, entry.seq, f"{at}/digest", form=short)
                rows.append([(m.name(party),), (kind,), (digest,), (m.figures.entry(party, entry.seq, "/seq"),)])
    head = [t.word("words.party"), t.word("s3.what"), t.word("s3.digest"), t.word("words.entry")]
    return [m.say("s3.commitments"), Table(head, rows, words=3)] if rows else []


def privacy(m: Material) -> Section:
    """Section 4."""
    section, of, t = m.section(4), m.figures, m.texts
    terms = m.agreement["privacy"]
    section.blocks.append(m.say(f"s4.level_{terms['level']}"))
    facts = [(t.word(f"s4.{key}") if f"s4.{key}" in t else Words(key), (of.of(AGREEMENT, "privacy", key, form=exact),))
             for key in terms if key != "key_bits" or terms["scheme"] == "paillier"]  # fmt: skip
    facts.append((t.word("s4.psi"), (of.of(AGREEMENT, "psi", "protocol"),)))
    section.blocks.append(Facts(facts))
    found = measured(m)
    if found:
        at = ("attacks", "node_sets")
        rows: list[list[Line]] = [
            [(m.name(party),), (of.of(SUMMARY, *at, party, place, "known"),),
             (of.of(SUMMARY, *at, party, place, "auc_own", form=three),),
             (of.of(SUMMARY, *at, party, place, "auc_with_sets", form=three),),
             (of.of(SUMMARY, *at, party, place, "advantage", form=signed),),
             (of.of(SUMMARY, *at, party, place, "split_hint", form=signed),),
             (_metadata(m, party),)]
            for party, place, _ in found
        ]  # fmt: skip
        keys = ("known", "own", "sets", "advantage", "hint", "metadata")
        head = [t.word("words.party"), *(t.word(f"s4.{key}") for key in keys)]
        section.blocks += [m.say("s4.attacks"), Table(head, rows), m.say("s4.reading", tone="note")]
    else:
        section.blocks.append(m.say("s4.no_attacks", tone="note"))
    section.blocks += m.statements("privacy")
    return section


def _metadata(m: Material, party: str) -> Cell:
    if party not in m.summary["attacks"].get("metadata", {}):
        return m.texts.word("words.dash")
    return m.figures.of(SUMMARY, "attacks", "metadata", party, form=three)
