"""What sections are written from: the run's artefacts, the words, the statements of the institution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vfl.audit.result import AuditResult
from vfl.report.about import PARTIES, About, keys, label
from vfl.report.blocks import Block, Facts, Gaps, Line, Paragraph, Picture, Section
from vfl.report.evidence import Evidence
from vfl.report.figures import Cell, Figure, Figures, Words
from vfl.report.texts import Texts
from vfl.settle.account import Account

SUMMARY, EVALUATION, EXPLANATION, MODEL = "summary.json", "evaluation.json", "explanation.json", "model.json"
AGREEMENT = "agreement.json"
WIDE = ("ks", "calibration")


@dataclass
class Material:
    """All that goes into a report. `pictures`: drawn ones by name; `audits`: by whom, and what was found.

    account: of the run's settlement, if there is one."""

    evidence: Evidence
    texts: Texts
    about: About
    regimes: Sequence[str]
    pictures: dict[str, str] = field(default_factory=dict)
    audits: Sequence[tuple[str, AuditResult]] = ()
    account: Account | None = None

    def __post_init__(self) -> None:
        self.figures = Figures(self.evidence)
        self.agreement: dict[str, Any] = self.evidence.artefact(AGREEMENT)
        self.summary: dict[str, Any] = self.evidence.artefact(SUMMARY)
        self.model: dict[str, Any] = self.evidence.artefact(MODEL)
        has = self.evidence.has
        self.evaluation: dict[str, Any] = self.evidence.artefact(EVALUATION) if has(EVALUATION) else {}
        self.explanation: dict[str, Any] = self.evidence.artefact(EXPLANATION) if has(EXPLANATION) else {}
        members = self.agreement["members"]
        self.active = next(member["name"] for member in members if member["role"] == "active")
        self.parties: list[str] = [self.active, *(m["name"] for m in members if m["role"] != "active")]

    def member(self, party: str) -> int:
        """The party's place among the agreement's members."""
        return next(place for place, member in enumerate(self.agreement["members"]) if member["name"] == party)

    def name(self, party: str) -> Figure:
        """A party's name."""
        return self.figures.of(AGREEMENT, "members", self.member(party), "name")

    def section(self, number: int) -> Section:
        """An empty section with its title."""
        return Section(number, self.texts.word(f"sections.s{number}"))

    def say(self, key: str, tone: str = "plain", **values: Cell | Line) -> Paragraph:
        """A paragraph of fixed words with values in their places."""
        return Paragraph(self.texts.line(key, **values), tone)

    def picture(self, name: str, **values: Cell | Line) -> list[Block]:
        """A drawn picture with its caption, if it was drawn."""
        if name not in self.pictures:
            return []
        caption = self.texts.line(f"pictures.{name}", **values)
        return [Picture(name, self.pictures[name], caption, name in WIDE)]

    def statements(self, *tables: str) -> list[Block]:
        """What the institution states under these tables, and what it leaves open."""
        wanted = [key for table in tables if table != PARTIES for key in keys(self.texts, table, [])]
        return self._stated(wanted)

    def party_statements(self) -> list[Block]:
        """What is stated about each party, and what is left open: one line where it is left open for all."""
        blocks, every = list[Block](), list[tuple[Words, Words]]()
        open_for: dict[str, list[str]] = {}
        for party in self.parties:
            said = self._stated(keys(self.texts, PARTIES, [party]))
            if facts := [block for block in said if isinstance(block, Facts)]:
                blocks += [self.say("s2.about", tone="head", party=self.name(party)), *facts]
            for label_of, key in (one for block in said if isinstance(block, Gaps) for one in block.missing):
                every.append((label_of, key))
                open_for.setdefault(key.rpartition(".")[2], []).append(party)
        short: list[tuple[Words, Words]] = []
        for name, whose in open_for.items():
            party = "NAME" if len(whose) == len(self.parties) else ",".join(whose)
            short.append((self.texts.word(f"about.{PARTIES}.{name}"), Words(f"{PARTIES}.{party}.{name}")))
        return [*blocks, Gaps(every, short)] if every else blocks

    def all_keys(self) -> list[str]:
        """Every key of the --about file for this run."""
        tables = dict.fromkeys(key.split(".")[1] for key in self.texts.keys("about"))
        return [key for table in tables for key in keys(self.texts, table, self.parties)]

    def _stated(self, wanted: Sequence[str]) -> list[Block]:
        said = [(label(self.texts, key), (self.about.said[key],)) for key in wanted if key in self.about.said]
        missing = [(label(self.texts, key), Words(key)) for key in wanted if key not in self.about.said]
        blocks: list[Block] = [Facts(said)] if said else []
        return blocks + ([Gaps(missing)] if missing else [])
