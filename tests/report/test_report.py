"""`tallystick report`: every figure traced and every trace true, words in both languages, one decision alone."""

from __future__ import annotations

import copy
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from run_kit import tallystick

from ledger.policy import Policy
from vfl.errors import UsageError
from vfl.report.about import About
from vfl.report.checking import check_extract, check_report, untraced
from vfl.report.crosswalk import EVIDENCE, REGIMES, read_regime, status
from vfl.report.document import Report, make
from vfl.report.evidence import Evidence
from vfl.report.figures import Words
from vfl.report.render import as_html, as_json, as_pdf, body_of, require_pdf
from vfl.report.subject import extract
from vfl.report.texts import Texts

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/spec/report.schema.json").read_text())


def test_the_report_fits_its_schema(body: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(as_json(body)))


def test_every_trace_is_true(body: dict[str, Any], evidence: Evidence) -> None:
    assert check_report(body, evidence) == len(body["figures"]) > 300
    assert {one["log"] for one in body["figures"]} == {"bank", "telecom", "payroll"}


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("value", 0.99),
        ("pointer", "/nowhere"),
        ("artefact", "summary.json"),
        ("seq", 3),
        ("size", 7),
        ("log", "telecom"),
        ("shown", "0.999"),
    ],
)
def test_a_trace_that_is_not_true_is_found(body: dict[str, Any], evidence: Evidence, field: str, other: Any) -> None:
    changed = copy.deepcopy(body)
    figure = next(one for one in changed["figures"] if one["pointer"] == "/models/federated/auc/value")
    figure[field] = other
    with pytest.raises(UsageError, match=rf"figure {figure['id']} "):
        check_report(changed, evidence)


def test_a_figure_without_a_trace_is_found(body: dict[str, Any], evidence: Evidence) -> None:
    assert untraced(body) == []
    for planted in ({"figure": 9999}, {"number": 0.83}, 0.83):
        changed = copy.deepcopy(body)
        changed["sections"][6]["blocks"][0]["paragraph"].append(planted)
        assert len(untraced(changed)) == 1
        with pytest.raises(UsageError, match="has no trace"):
            check_report(changed, evidence)
    changed = copy.deepcopy(body)
    del changed["figures"][5]["seq"]
    assert untraced(changed)


class _Text(HTMLParser):
    """Texts outside figures, statements, findings, section numbers and the appendix."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(f"{tag} {dict(attrs).get('class') or ''}")

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        hidden = {"a fig", "span stated", "span checked", "span no", "section appendix", "style ", "code "}
        if not hidden & set(self.open) and data.strip():
            self.found.append(data.strip())


def _smuggled(html: str, texts: Texts) -> list[str]:
    """Numbers on the page that come neither from a figure nor from a data file."""
    words = "\n".join([*texts.pieces(), *(_regime_words(texts.language))])
    page = _Text()
    page.feed(html)
    return [text for text in page.found if re.search(r"\d", text) and text not in words]


def _regime_words(language: str) -> list[str]:
    found = []
    for regime in map(read_regime, REGIMES):
        found += [regime.title[language], regime.note[language], regime.as_of]
        for one in regime.clauses:
            found += [one.id, one.title[language], f"({one.in_force})", *map(str, one.sections)]
            found += [one.bank[language]] if one.bank else []
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_number_on_the_page_is_without_origin(evidence: Evidence, language: str) -> None:
    texts = Texts(language)
    told = make(evidence, texts, About(), "all", {}, "")
    html = as_html(told, body_of(told))
    assert _smuggled(html, texts) == []
    assert _smuggled(html.replace("</h1>", "</h1><p>AUC 0.8331</p>"), texts) == ["AUC 0.8331"]
    assert not re.search(r"<script|https?://|@import|url\(", html)
    targets = set(re.findall(r'href="#([^"]+)"', html))
    assert targets <= set(re.findall(r'id="([^"]+)"', html))


def test_the_same_run_gives_the_same_bytes(out: Path, report: Report, body: dict[str, Any]) -> None:
    again = make(Evidence.of(out), Texts("en"), About(), "all", {}, "")
    assert as_json(body_of(again)) == as_json(body)
    assert as_html(again, body_of(again)) == as_html(report, body)


def test_both_languages_have_the_same_words() -> None:
    en, zh = Texts("en"), Texts("zh")
    assert en._words.keys() == zh._words.keys()
    for key, text in en._words.items():
        assert set(re.findall(r"\{[a-z_]+\}", text)) == set(re.findall(r"\{[a-z_]+\}", zh._words[key])), key


def test_clauses_ask_only_for_what_there_can_be() -> None:
    stated = {f"about:{key.removeprefix('about.')}" for key in Texts("en").keys("about")}
    run = {f"run:{name}" for name in EVIDENCE}
    for regime in map(read_regime, REGIMES):
        for clause in regime.clauses:
            assert clause.title.keys() == {"en", "zh"}, clause.id
            assert set(clause.needs) <= stated | run, clause.id
            assert clause.sections
            assert set(clause.sections) <= set(range(18))
            assert clause.seen, clause.id
            assert re.fullmatch(r"|\d{4}(-\d\d(-\d\d)?)?", clause.in_force), clause.id


def test_status_follows_the_evidence() -> None:
    clause = next(one for one in read_regime("eu-ai-act").clauses if one.id == "AI Act Art. 14, 26")
    keys = {need.removeprefix("about:") for need in clause.needs}
    assert status(clause, set(), set()) == "not_met"
    assert status(clause, set(), {keys.copy().pop()}) == "partly"
    assert status(clause, set(), keys) == "met"
    generative = read_regime("us-sr26-2").clauses[-1]
    assert status(generative, {"agreement"}, set()) == "not_applicable"


def test_statements_are_shown_as_stated_and_never_invented(evidence: Evidence, tmp_path: Path) -> None:
    file = tmp_path / "about.toml"
    file.write_text('[model]\nowner = "Head of <Risk>"\n[parties.telecom]\ncontract = "C-7"\n')
    texts = Texts("en")
    told = make(evidence, texts, About.read(file, texts, ["bank", "telecom", "payroll"]), "us-sr26-2", {}, "2026-12-01")
    html, found = as_html(told, body_of(told)), json.dumps(body_of(told))
    assert '<span class="stated">Head of &lt;Risk&gt;</span>' in html
    assert '{"stated": "C-7"}' in found
    assert "2026-12-01" in html
    file.write_text('[model]\nowners = "x"\n')
    with pytest.raises(UsageError, match=r"model\.owners"):
        About.read(file, texts, ["bank"])


def test_a_changed_artefact_makes_no_report(evidence: Evidence) -> None:
    members = dict(evidence.bundle.members)
    members["artefacts/summary.json"] = members["artefacts/summary.json"].replace(b"0", b"1", 1)
    changed = Evidence(type(evidence.bundle)(members, (), evidence.bundle.digest), evidence.policy, evidence.result)
    with pytest.raises(UsageError, match=r"is not the one that entry \d+ of bank names"):
        make(changed, Texts("en"), About(), "all", {}, "")


def test_a_bundle_that_does_not_verify_says_so_on_the_first_page(out: Path, tmp_path: Path) -> None:
    data = (out / "audit.bundle").read_bytes()
    (tmp_path / "audit.bundle").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (tmp_path / "policy.txt").write_bytes((out / "policy.txt").read_bytes())
    told = make(Evidence.of(tmp_path), Texts("en"), About(), "all", {}, "")
    assert told.cover.verdict == 1
    assert "Not valid." in as_html(told, body_of(told))


def test_pdf_comes_from_the_same_html(report: Report) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            require_pdf()
        except UsageError as error:
            pytest.skip(f"{error}: {error.remedy}")
        assert as_pdf("<h1>结论</h1>").startswith(b"%PDF-")


def _customers(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_decision_is_proven_and_nobody_else_is_shown(out: Path) -> None:
    policy, everybody = Policy.parse((out / "policy.txt").read_bytes()), _customers(out)
    chosen = everybody[3]
    found = extract(out, chosen["id"], "")
    check_extract(found, policy)
    record = json.loads(found["record"])
    assert (record["id"], record["pd"]) == (chosen["id"], chosen["pd"])
    assert len(record["reasons"]) <= 4
    used = {(one["party"], one["words"]) for one in json.loads(found["model"])["inputs"]}
    assert {(one["party"], one["words"]) for one in record["reasons"]} <= used
    assert "label" not in record
    text = json.dumps(found)
    for other in everybody:
        if other["id"] != chosen["id"]:
            assert other["id"] not in text
            assert other["pd"] == chosen["pd"] or other["pd"] not in text  # leaves are shared


def test_a_changed_byte_of_an_extract_breaks_the_proof(out: Path) -> None:
    policy, found = Policy.parse((out / "policy.txt").read_bytes()), extract(out, _customers(out)[0]["id"], "")
    raw = found["record"].encode()
    for place in range(0, len(raw), 7):
        wrong = {**found, "record": (raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]).decode("latin-1")}
        with pytest.raises(UsageError):
            check_extract(wrong, policy)
    changes = {"salt": "00" * 32, "place": 1, "count": found["count"] + 1, "model": found["model"] + " ", "seq": 1}
    for field, other in changes.items():
        with pytest.raises(UsageError):
            check_extract({**found, field: other}, policy)


def test_an_extract_for_people(out: Path, capfd: Any, tmp_path: Path) -> None:
    customer = _customers(out)[0]["id"]
    told = tallystick(capfd, "report", "subject", out, "--id", customer)
    assert told.code == 0, told.err
    assert "Human review: not stated" in told.out
    page = tallystick(
        capfd, "report", "subject", out, "--id", customer, "--format", "html", "--lang", "zh", "--review", "A"
    )
    assert "单笔决策记录" in page.out
    file = tmp_path / "x.json"
    assert tallystick(capfd, "report", "subject", out, "--id", customer, "--json", "--out", file).code == 0
    assert tallystick(capfd, "report", "check", file, "--policy", out / "policy.txt").out == "valid: 1 decision\n"
    assert tallystick(capfd, "report", "subject", out, "--id", "nobody").code == 2


def test_the_command_writes_files_that_check(out: Path, capfd: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tallystick[plots]'")
    told = tallystick(capfd, "report", out, "--regime", "cn-jrt", "--lang", "zh", "--out", tmp_path, "--json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["verification"] == "valid"
    html = (tmp_path / "report.zh.html").read_text()
    assert html.count("data:image/svg+xml;base64,") == 5
    words = ("report", "check", tmp_path / "report.zh.json", "--policy", out / "policy.txt", "--bundle")
    assert tallystick(capfd, *words, out / "audit.bundle").code == 0
    assert tallystick(capfd, "report", out, "--regime", "mars").code == 2
    assert tallystick(capfd, "report", out, "--lang", "fr").code == 2


def test_pictures_are_not_drawn_from_other_scores(out: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tallystick[plots]'")
    import shutil

    from vfl.report.pictures import drawn

    shutil.copytree(out, tmp_path / "run")
    scores = tmp_path / "run" / "scores.csv"
    scores.write_bytes(scores.read_bytes().replace(b",0.", b",0.0", 1))
    with pytest.raises(UsageError, match=r"scores\.csv is not the one"):
        drawn(tmp_path / "run", Evidence.of(tmp_path / "run"), "en")


def test_plain_text_has_no_place_in_a_report(report: Report) -> None:
    from vfl.report.render import _cell

    assert _cell(Words("x")) == {"text": "x"}
    with pytest.raises(KeyError):
        _cell("AUC 0.83")  # type: ignore[arg-type]


def test_pictures_speak_the_language_of_the_report() -> None:
    from vfl.wording import LANGUAGES, Wording

    en, zh = (Wording("vfl.plots", language).words for language in LANGUAGES)
    assert en.keys() == zh.keys()
    for key, text in en.items():
        assert set(re.findall(r"\{[a-z_]+\}", text)) == set(re.findall(r"\{[a-z_]+\}", zh[key])), key
        assert zh[key] != text, key


def test_without_a_font_pictures_are_english(out: Path, capfd: Any, monkeypatch: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tallystick[plots]'")
    from vfl.plots import style

    monkeypatch.setattr(style, "get_font_names", list)
    told = tallystick(capfd, "report", out, "--lang", "zh", "--format", "html", "--out", tmp_path)
    assert told.code == 0
    assert "pictures have English words" in told.err
