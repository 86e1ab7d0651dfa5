"""Splits one real table among parties, as banks and partners would really hold it.

Each party gets its columns of the people it knows, in an order of its own, under telephone numbers written its own way;
partners also have customers the bank does not have. All of it follows from a fixed seed per scenario.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import compress
from pathlib import Path

import numpy as np

from vfl.randomness import Randomness

LABEL = "default"
BLANKS = ("", "   ", "NULL", "n/a", "-", "", "nan", "0")  # identifiers that each partner has for one customer each
_DIRTY_SHARE = 0.015
_FULL_WIDTH = {ord(mark): ord(mark) + 0xFEE0 for mark in "+0123456789"}  # as East Asian keyboards type them


@dataclass(frozen=True)
class Part:
    """One party's share: its columns (own name -> column of the source), its customers, how it writes numbers."""

    name: str
    id: str
    style: str
    columns: Mapping[str, str]
    label: str | None = None  # column of the source; the active party has one and knows everybody
    kept_out: tuple[str, ...] = ()  # in the table, for the fairness check, but not among the model's features
    coverage: float = 1.0  # share of the bank's customers it knows
    others: float = 0.0  # customers the bank does not have, as a share of the bank's
    suffix: str = ".csv"
    reasons: Mapping[str, str] = field(default_factory=dict)  # own name -> what a customer reads
    thin: float = 0.0  # share of its customers that it knows since lately: only the first of its columns have values
    made: str = ""  # how it came by its columns: "noise" draws them, "copy" bends those of the source

    @property
    def features(self) -> list[str]:
        """The columns the model may use."""
        return [name for name in self.columns if name not in self.kept_out]


@dataclass(frozen=True)
class Act:
    """One run of a scenario that is told in several: with these parties. liar: who rewrites its ledger afterwards."""

    name: str
    title: str
    parties: tuple[str, ...]
    liar: str = ""


@dataclass(frozen=True)
class Story:
    """A scenario: a source table, the parties among which it is split, and the model they train."""

    name: str
    title: str
    origin: str
    file: str
    country: str
    calling_code: str
    trunk: str
    first_digit: str
    codes: Mapping[str, Mapping[str, str]]  # words of a source column -> whole-number codes
    parts: tuple[Part, ...]
    duplicates: int  # rows that appear twice in each table; then the first counts
    model: Mapping[str, int | float] = field(default_factory=dict)
    where: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # column -> range of the rows that take part
    people: int | None = None  # only the first so many of these rows
    privacy: Mapping[str, str | int] = field(default_factory=dict)
    cheats: Mapping[str, str] = field(default_factory=dict)  # party -> how it cheats (`vfl.attacks.cheating`)
    settlement: Mapping[str, str | int | float] = field(default_factory=dict)
    entities: Mapping[str, str] = field(default_factory=dict)  # party -> legal entity
    acts: tuple[Act, ...] = ()


Rows = list[list[str]]


def write(story: Story, parts: Sequence[Part], folder: Path, kind: str = "gbdt") -> Path:
    """Write the tables of these parts and scenario.toml; the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    source = read_source(story)
    for part in parts:
        header, rows = party_rows(story, part, source)
        target = folder / f"{part.name}{part.suffix}"
        if part.suffix == ".parquet":
            _write_parquet(target, header, rows)
        else:
            _write_csv(target, header, rows)
    toml = folder / "scenario.toml"
    toml.write_text(scenario_toml(story, parts, kind), encoding="utf-8", newline="\n")
    return toml


def read_source(story: Story) -> dict[str, list[str]]:
    """The real table: column -> cells as published, words replaced by their codes, missing values empty."""
    packed = (resources.files("scenarios") / "data" / story.file).read_bytes()
    header, *records = csv.reader(io.StringIO(gzip.decompress(packed).decode()))
    columns = {name: list(cells) for name, cells in zip(header, zip(*records, strict=True), strict=True)}
    for name, codes in story.codes.items():
        columns[name] = [codes[cell] if cell else "" for cell in columns[name]]
    for name, (low, high) in story.where.items():
        inside = [low <= float(cell) <= high for cell in columns[name]]
        columns = {of: list(compress(cells, inside)) for of, cells in columns.items()}
    return {of: cells[: story.people] for of, cells in columns.items()}


def party_rows(story: Story, part: Part, source: Mapping[str, list[str]]) -> tuple[list[str], Rows]:
    """Header and rows of one party's table; the first column is the identifier."""
    rng = _seed(story).child(part.name)
    wanted = {part.id: "", **({LABEL: part.label} if part.label else {}), **part.columns}
    cells = [_own(part, source[name], rng.child(f"made/{at}")) for at, name in enumerate(wanted.values()) if name]
    people = len(cells[0])
    numbers, strangers = _numbers(story, part, people)
    known = sorted(rng.child("coverage").permutation(people)[: round(part.coverage * people)].tolist())
    style = _Style(story, part.style, rng.child("dirt"))
    rows = [[style(numbers[person]), *(column[person] for column in cells)] for person in known]
    _shorten(rows, part, rng.child("thin"))
    drawn = [_resample(column, len(strangers), rng.child(f"others/{at}")) for at, column in enumerate(cells)]
    rows += [[style(number), *values] for number, *values in zip(strangers, *drawn, strict=True)]
    if strangers:
        for row, blank in zip(rows[-len(BLANKS) :], BLANKS, strict=True):
            row[0] = blank
    twice = rng.child("duplicates").permutation(len(known))[: story.duplicates].tolist()
    rows += [[style.dirty(numbers[known[at]]), *rows[at][1:]] for at in twice]
    order = rng.child("order").permutation(len(rows)).tolist()
    return list(wanted), [rows[at] for at in order]


def _own(part: Part, cells: list[str], rng: Randomness) -> list[str]:
    """A column as the party has it: as it is, drawn anew without any meaning, or copied and bent."""
    if part.made == "noise":
        return [f"{drawn % 10_000}" for drawn in rng.uint64(len(cells)).tolist()]
    if part.made == "copy":
        return [f"{7.0 * float(cell) + 3.0:g}" if cell else "" for cell in cells]
    return cells


def _shorten(rows: Rows, part: Part, rng: Randomness) -> None:
    """Empty the later columns of those customers that the party knows since lately; columns go back in time."""
    for row in rows:
        if rng.bits(32) < part.thin * 2**32:
            known = 1 + rng.below(len(part.columns) - 1)
            row[1 + known :] = [""] * (len(row) - 1 - known)


def scenario_toml(story: Story, parts: Sequence[Part], kind: str = "gbdt") -> str:
    """The scenario file, as a user would write it."""
    lines = ["# " + story.title[0].upper() + story.title[1:], f"# {story.origin}", ""]
    lines += ["[scenario]", f'name = "{story.name}"', ""]
    for part in parts:
        lines += [f"[party.{part.name}]", f'role = "{"active" if part.label else "passive"}"']
        lines += [f'table = "{part.name}{part.suffix}"', f'id = "{part.id}"']
        lines += [f'label = "{LABEL}"'] if part.label else []
        if part.kept_out:
            lines.append(f"# {', '.join(part.kept_out)}: in the table for the fairness check, not in the model")
            listed = ", ".join(f'"{name}"' for name in part.features)
            lines.append(f"features = [{listed}]")
        if part.reasons:
            lines += ["", f"[party.{part.name}.reasons]"]
            lines += [f'{name} = "{words}"' for name, words in part.reasons.items()]
        lines.append("")
    options = story.model if kind == "gbdt" else {}  # a scorecard is made with its defaults
    lines += ["[model]", f'kind = "{kind}"', *(f"{name} = {value}" for name, value in options.items()), ""]
    if story.privacy:
        lines += ["[privacy]", *(f"{name} = {json.dumps(value)}" for name, value in story.privacy.items()), ""]
    lines += ["[psi]", f'id_rule = "phone-{story.country}@1"']
    lines += ['duplicates = "first"'] if story.duplicates else []
    lines += ["", "[holdout]", "fraction = 0.3", "seed = 5", ""]
    if story.settlement:
        lines += ["[settlement]", *(f"{name} = {json.dumps(value)}" for name, value in story.settlement.items()), ""]
        there = {part.name for part in parts}
        entities = [f"{party} = {json.dumps(name)}" for party, name in story.entities.items() if party in there]
        lines += ["[settlement.entities]", *entities, ""] if entities else []
    return "\n".join(lines)


def _seed(story: Story) -> Randomness:
    return Randomness(hashlib.sha256(f"tallystick scenario {story.name} 1".encode()).digest())


def _numbers(story: Story, part: Part, people: int) -> tuple[list[str], list[str]]:
    """National numbers, 9 digits each, all different: of the bank's customers, and of this party's others."""
    shares = {other.name: round(other.others * people) for other in story.parts}
    total = people + sum(shares.values())
    rng = _seed(story).child("numbers")
    distinct: dict[str, None] = {}
    while len(distinct) < total:
        distinct.update((f"{story.first_digit}{drawn % 10**8:08d}", None) for drawn in rng.uint64(total).tolist())
    numbers = list(distinct)
    start = people + sum(shares[other.name] for other in story.parts[: story.parts.index(part)])
    return numbers[:people], numbers[start : start + shares[part.name]]


def _resample(column: Sequence[str], count: int, rng: Randomness) -> list[str]:
    """`count` cells of the column, each drawn independently."""
    return [column[drawn % len(column)] for drawn in rng.uint64(count).tolist()]


class _Style:
    """Writes a national number in the party's way; a small share of them in another."""

    def __init__(self, story: Story, style: str, rng: Randomness) -> None:
        self._story = story
        self._style = style
        self._rng = rng

    def __call__(self, number: str) -> str:
        clean = self._rng.bits(32) >= _DIRTY_SHARE * 2**32
        return self._write(number, self._style) if clean else self.dirty(number)

    def dirty(self, number: str) -> str:
        """The number in a form the party does not usually write."""
        usual = self._write(number, self._style)
        forms = [f" {usual}", f"{usual}  ", usual.translate(_FULL_WIDTH), f"({number[:3]}) {number[3:]}"]
        forms += [self._write(number, style) for style in ("e164", "spaced", "zeros", "dashed") if style != self._style]
        if self._story.trunk:
            forms[3] = f"({self._story.trunk}{number[:2]}) {number[2:]}"
        return forms[self._rng.below(len(forms))]

    def _write(self, number: str, style: str) -> str:
        code, national = self._story.calling_code, self._story.trunk + number
        if style == "e164":
            return f"+{code}{number}"
        if style == "zeros":
            return f"00{code}{number}"
        mark = " " if style == "spaced" else "-"
        head = len(national) - 6
        return mark.join((national[:head], national[head : head + 3], national[head + 3 :]))


def _write_csv(path: Path, header: list[str], rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_parquet(path: Path, header: list[str], rows: Rows) -> None:
    """Identifiers as text, everything else as double, missing as null."""
    import duckdb  # noqa: PLC0415 - slow to import

    ids, *columns = zip(*rows, strict=True)
    table = {header[0]: np.array(ids, dtype=object)}
    for name, cells in zip(header[1:], columns, strict=True):
        table[name] = np.array([float(cell) if cell else np.nan for cell in cells])
    target = str(path).replace("'", "''")
    with duckdb.connect(":memory:", config={"threads": 1}) as database:
        database.register("party", table)
        database.execute(f"COPY party TO '{target}' (FORMAT parquet)")
