"""Sections 8 to 12 and 14: what people decide around a model. A run knows little of it; the institution states it."""

from __future__ import annotations

from vfl.report.blocks import Bars, Facts, Section
from vfl.report.figures import exact, percent
from vfl.report.material import AGREEMENT, EXPLANATION, MODEL, Material
from vfl.report.settlement import settlement


def fairness(m: Material) -> Section:
    """Section 8."""
    return _stated(m, 8, "fairness")


def validation(m: Material) -> Section:
    """Section 9."""
    return _stated(m, 9, "validation")


def oversight(m: Material) -> Section:
    """Section 10."""
    return _stated(m, 10, "oversight")


def operation(m: Material) -> Section:
    """Section 11."""
    return _stated(m, 11, "operation")


def changes(m: Material) -> Section:
    """Section 12."""
    section, t, terms = m.section(12), m.texts, m.agreement["model"]
    section.blocks.append(Facts([(t.word("s1.version"), (m.figures.of(MODEL, "version"),))]))
    if "init_model" in terms:
        section.blocks.append(m.say("s12.went_on", earlier=m.figures.of(AGREEMENT, "model", "init_model", form=exact)))
    else:
        section.blocks.append(m.say("s12.first"))
    section.blocks += m.statements("changes")
    return section


def revenue(m: Material) -> Section:
    """Section 14."""
    section = m.section(14)
    if m.account is not None:
        section.blocks += [*settlement(m, m.account), *m.statements("contribution")]
        return section
    if m.explanation:
        shares = m.explanation["contribution"]
        most = max(shares.values()) or 1.0
        bars = [
            (
                (m.name(party),),
                (m.figures.of(EXPLANATION, "contribution", party, form=percent),),
                shares[party] / most, 0.0, place,
            )
            for place, party in enumerate(m.parties)
        ]  # fmt: skip
        section.blocks += [m.say("s14.shares"), Bars(bars)]
    section.blocks += [m.say("s14.none", tone="note"), *m.statements("contribution")]
    return section


def _stated(m: Material, number: int, table: str) -> Section:
    section = m.section(number)
    section.blocks += [m.say(f"s{number}.run"), *m.statements(table)]
    return section
