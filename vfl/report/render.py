"""A report as JSON, as one self-contained HTML file, and as PDF from the same HTML.

JSON (docs/spec/report.schema.json): every cell says what it is ({"figure": 12}, {"text": ".."}, {"stated": ".."},
{"checked": ".."}); `figures` holds value and trace of each, `proofs` what the traces lead to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from vfl import templates
from vfl.errors import UsageError
from vfl.report.blocks import Bars, Block, Facts, Gaps, Line, Paragraph, Picture, Table
from vfl.report.document import Report
from vfl.report.figures import Cell, Checked, Figure, Stated, Words

FORMAT = "tallystick-report-v1"
FORMATS = ("html", "json", "pdf")
PDF_REMEDY = (
    "pip install 'tallystick[pdf]', and on Debian "
    "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-noto-cjk"
)


def body_of(report: Report) -> dict[str, Any]:
    """The report as JSON-ready data."""
    m = report.material
    result = m.evidence.result
    assert result is not None
    figures, evidence = m.figures.all, m.evidence
    traces = {figure.trace.proof: figure.trace for figure in figures}
    cover = report.cover
    return {
        "format": FORMAT,
        "language": m.texts.language,
        "dated": report.dated or None,
        "run": m.summary["run"],
        "verification": result.as_json(),
        "cover": {
            "title": _line(cover.title),
            "verdict": cover.verdict,
            "verdict_line": _line(cover.verdict_line),
            "facts": [[str(name), _line(line)] for name, line in cover.facts],
            "tiles": [[str(name), _line(line), _line(below)] for name, line, below in cover.tiles],
            "notes": [_line(line) for line in cover.notes],
        },
        "sections": [
            {"number": one.number, "title": str(one.title), "blocks": [_block(block) for block in one.blocks]}
            for one in report.sections
        ],
        "crosswalk": [
            {
                "regime": regime.name,
                "as_of": regime.as_of,
                "clauses": [
                    {"id": clause.id, "title": clause.title[m.texts.language], "source": clause.source,
                     "seen": list(clause.seen),
                     "in_force": clause.in_force or None, "sections": list(clause.sections),
                     "needs": list(clause.needs), "status": state}
                    for clause, state in clauses
                ],
            }
            for regime, clauses in report.crosswalk
        ],
        "figures": [
            {"id": one.number, "value": one.value, "shown": one.shown, **vars_of(one), "proof": one.trace.proof}
            for one in figures
        ],
        "proofs": {
            name: evidence.logs[trace.log].proof(trace.seq, trace.size) for name, trace in sorted(traces.items())
        },
    }  # fmt: skip


def vars_of(figure: Figure) -> dict[str, Any]:
    """The trace of a figure as fields."""
    trace = figure.trace
    return {
        "artefact": trace.artefact,
        "pointer": trace.pointer,
        "log": trace.log,
        "seq": trace.seq,
        "size": trace.size,
    }


def as_json(body: dict[str, Any]) -> bytes:
    """The same data, the same bytes."""
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_html(report: Report, body: dict[str, Any]) -> str:
    """One file without scripts and without anything from elsewhere."""
    m = report.material
    page: str = environment().get_template("report.html.j2").render(
        report=report, t=m.texts.word, lang=templates.tag(m.texts.language), body=body, figures=m.figures.all,
        drawn=bool(m.pictures) or not (m.evaluation or m.explanation),
    )  # fmt: skip
    return page


def as_pdf(html: str) -> bytes:
    """The HTML on paper. Raises UsageError without WeasyPrint."""
    require_pdf()
    import weasyprint  # noqa: PLC0415 - an extra
    from weasyprint.urls import URLFetcher  # noqa: PLC0415

    fetcher = URLFetcher(allowed_protocols=("data",))  # a report fetches nothing
    made: bytes = weasyprint.HTML(string=html, url_fetcher=fetcher).write_pdf(pdf_identifier=b"tallystick")
    return made


def require_pdf() -> None:
    """Raise UsageError where PDF cannot be written."""
    if find_spec("weasyprint") is None:
        raise UsageError("--format pdf needs WeasyPrint, which is not installed", remedy=PDF_REMEDY)
    try:
        import weasyprint  # noqa: F401, PLC0415
    except OSError as error:
        raise UsageError(f"--format pdf needs a library that is not installed: {error}", remedy=PDF_REMEDY) from None


def environment() -> Any:
    """Jinja2 on the templates of this package; whatever it prints is escaped."""
    env = templates.environment("vfl.report")
    env.filters["kind"] = kind
    env.tests["figure"] = lambda cell: isinstance(cell, Figure)
    return env


def kind(thing: object) -> str:
    """What a block or a cell is, for the template."""
    return type(thing).__name__.lower()


def _line(line: Line) -> list[dict[str, Any]]:
    return [_cell(cell) for cell in line]


def _cell(cell: Cell) -> dict[str, Any]:
    if isinstance(cell, Figure):
        return {"figure": cell.number}
    names = {Words: "text", Stated: "stated", Checked: "checked"}
    return {names[type(cell)]: str(cell)}  # a plain str has no place in a report: KeyError


def _lines(lines: Sequence[Line]) -> list[list[dict[str, Any]]]:
    return [_line(line) for line in lines]


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Paragraph():
            return {"paragraph": _line(block.line), "tone": block.tone}
        case Facts():
            return {"facts": [[str(name), _line(line)] for name, line in block.rows]}
        case Table():
            head = [_cell(cell) for cell in block.head]
            return {
                "table": [_lines(row) for row in block.rows],
                "head": head,
                "title": block.title and str(block.title),
            }
        case Bars():
            rows = [[_line(label), _line(value)] for label, value, *_ in block.rows]
            return {"bars": rows, "title": block.title and str(block.title)}
        case Picture():
            return {"picture": block.name, "caption": _line(block.caption)}
        case Gaps():
            return {"not_stated": [str(key) for _, key in block.missing]}
