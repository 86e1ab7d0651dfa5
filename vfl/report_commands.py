"""What `tallystick report` does."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.report.texts import Texts

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def make_report(
    directory: Path,
    regime: str,
    lang: str,
    formats: str,
    about: Path | None,
    out: Path | None,
    date: str,
    as_json: bool,
    policy: Path | None = None,
    audits: Sequence[Path] = (),
) -> None:
    """`tallystick report DIR`: files into `out`, by default DIR/report."""
    from vfl.audit.result import read_result  # noqa: PLC0415
    from vfl.report import pictures, render  # noqa: PLC0415 - a subject's extract needs none of it
    from vfl.report.document import about_of, make  # noqa: PLC0415
    from vfl.report.evidence import Evidence  # noqa: PLC0415
    from vfl.settle.account import account_of  # noqa: PLC0415

    texts, wanted = Texts(lang), _formats(formats, render.FORMATS)
    if date and not DATE.fullmatch(date):
        raise UsageError(f"--date is {date!r}", remedy="write it as 2026-01-31")
    if "pdf" in wanted:
        render.require_pdf()
    evidence = Evidence.of(directory, policy)
    account = account_of(directory, evidence.policy)
    drawn = pictures.drawn(directory, evidence, lang, account)
    if find_spec("matplotlib") is None:
        sys.stderr.write(f"no pictures: {pictures.REMEDY}\n")
    elif pictures.spoken(lang) != lang:
        sys.stderr.write(f"pictures have English words: no font for {lang}; on Debian apt-get install fonts-noto-cjk\n")
    found = [read_result(path, evidence.policy) for path in audits]
    report = make(evidence, texts, about_of(about, evidence, texts), regime, drawn, date, found, account)
    body = render.body_of(report)
    html = render.as_html(report, body) if {"html", "pdf"} & set(wanted) else ""
    target, written = out or directory / "report", []
    with refusals(target, remedy="name another --out"):
        target.mkdir(parents=True, exist_ok=True)
        for form in wanted:
            data = render.as_json(body) if form == "json" else html.encode() if form == "html" else render.as_pdf(html)
            path = target / f"report.{lang}.{form}"
            write_data(path, data)
            written.append(path)
    result = body["verification"]["result"]
    if as_json:
        told = {"files": list(map(str, written)), "verification": result, "figures": len(body["figures"])}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        lines = "".join(f"  {path}\n" for path in written)
        sys.stdout.write(f"Verification: {result}. {len(body['figures'])} figures, each with its proof.\n{lines}")


def subject(directory: Path, customer: str, lang: str, form: str, review: str, out: Path | None) -> None:
    """`tallystick report subject`: to stdout, or into a file."""
    from vfl.report.subject import extract, shown  # noqa: PLC0415

    texts = Texts(lang)
    data = shown(extract(directory, customer, review), form, texts)
    if out is None:
        sys.stdout.write(data)
        return
    with refusals(out, remedy="name another --out"):
        write_data(out, data.encode())


def check(file: Path, policy: Path, bundle: Path | None, as_json: bool) -> None:
    """`tallystick report check`."""
    from vfl.report.checking import check_file  # noqa: PLC0415

    told = check_file(file, policy, bundle)
    sys.stdout.write(json.dumps(told) + "\n" if as_json else f"valid: {told['checked']} {told['what']}\n")


def template(lang: str, directory: Path | None, as_json: bool) -> None:
    """`tallystick report template`."""
    from vfl.report.about import keys as keys_of  # noqa: PLC0415
    from vfl.report.about import tables, template  # noqa: PLC0415

    texts, parties = Texts(lang), ["NAME"]
    if directory is not None:
        from vfl.seat import RunFile  # noqa: PLC0415

        parties = [member.name for member in RunFile.read(directory, needs=()).agreement.members]
    if as_json:
        keys = [key for table in tables(texts) for key in keys_of(texts, table, parties)]
        sys.stdout.write(json.dumps(keys) + "\n")
    else:
        sys.stdout.write(template(texts, parties))


def _formats(given: str, known: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(one.strip() for one in given.split(",")))
    for one in wanted:
        if one not in known:
            raise UsageError(f"--format is {one!r}", remedy=f"This version has {', '.join(known)}.")
    return wanted
