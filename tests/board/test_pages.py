"""What the pages say, to whom, in which language, and what they refuse."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any, get_args, get_type_hints

import pytest
from board_kit import AGREEMENT, FEATURES, WITNESS, FakeScorer, Hands, about, application, ask
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request

from vfl.board.about import About
from vfl.board.answering import MOST_BYTES, number_of
from vfl.board.observed import Observed
from vfl.errors import UsageError
from vfl.scoring.answers import KeyInUse, KeyReused, Model, Outcome, PartnerAway, PartnerHealth, State
from vfl.wording import LANGUAGES, Wording

PAGES = ("/", "/board/model", "/board/ledger", "/board/ledger?entry=2", "/board/decisions/000001-1", "/board/live")
JSON = ("/board/observed.json", "/board/ledger.json?last=3")


@pytest.fixture
def scorer() -> FakeScorer:
    made = FakeScorer(Observed(Hands()), volumes=2)
    made.books[0].keep([made.record(0.1, "first")] * 2, "x")
    for number in range(30):
        made.record(0.03 + number / 200, f"applicant-{number}", count=3 if number == 4 else 1)
    return made


@pytest.fixture
def app(scorer: FakeScorer) -> Starlette:
    assert scorer.observed is not None
    return application(scorer, scorer.observed)


def inputs(html: str) -> dict[str, str]:
    return dict(re.findall(r'<input[^>]* name="([^"]+)" value="([^"]*)"', html))


# ---- every page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_pages_are_whole_in_each_language(app: Starlette, page: str, lang: str) -> None:
    page = page.replace("000001-1", "000002-1")
    answer = ask(app, page + ("&" if "?" in page else "?") + f"lang={lang}")
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "{" not in re.sub(
        r"<(pre|template|code|div class=\"two proofs\")[^>]*>.*?</\1>|<[^>]*>", "", answer.text, flags=re.S
    )
    if page != "/board/live":
        assert f'<html lang="{"zh-Hans" if lang == "zh" else "en"}">' in answer.text
        assert re.findall(r"<(h1)\b", answer.text) == ["h1"]
        assert '<main id="content"' in answer.text
        assert all("<caption" in table for table in re.findall(r"<table.*?</table>", answer.text, re.S))
        ids = re.findall(r' id="([^"]+)"', answer.text)
        assert len(ids) == len(set(ids))
        for used in re.findall(r'(?:aria-labelledby|aria-describedby|for)="([^"]+)"', answer.text):
            assert set(used.split()) <= set(ids), used


@pytest.mark.parametrize("page", [*PAGES, *JSON, "/board/static/verify.js", "/board/static/style.css"])
def test_nothing_inline_and_nothing_from_elsewhere(app: Starlette, page: str) -> None:
    answer = ask(app, page.replace("000001-1", "000002-1"))
    assert answer.status == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == ("no-cache" if "static" in page else "no-store")
    if answer.headers["content-type"].startswith("text/html"):
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", answer.text)
    assert not re.search(r"(?:src|href|action|url\(|fetch\(|import )[=\"'(` ]*(?:https?:)?//", answer.text)


def test_everybody_else_is_kept_out(scorer: FakeScorer) -> None:
    def nobody(request: Request) -> str:
        raise HTTPException(401, "who are you")

    app = application(scorer, Observed(Hands()), caller=nobody)
    for page in (*PAGES, *JSON):
        assert ask(app, page).status == 401
    assert ask(app, "/", {"id": "x"}).status == 401
    assert scorer.asked == []
    assert ask(app, "/board/static/style.css").status == 200


def test_contrast_is_that_of_wcag_aa() -> None:
    css = files("vfl.board").joinpath("static/style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+):(#\w+)", block)) for block in re.findall(r":root\{(.*?)\}", css)[:2])
    pairs = [
        ("ink", "page"), ("ink", "card"), ("ink", "wash"), ("soft", "page"), ("soft", "card"), ("soft", "wash"),
        ("blue", "card"), ("blue", "page"), ("on-blue", "blue"), ("good", "card"), ("good", "good-wash"),
        ("warn", "card"), ("warn", "warn-wash"), ("bad", "card"), ("bad", "bad-wash"), ("page", "bad"),
    ]  # fmt: skip
    for colours in (light, dark):
        for front, back in pairs:
            assert contrast(colours[front], colours[back]) >= 4.5, (front, back)
        assert contrast(colours["bar"], colours["card"]) >= 3


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


# ---- words -----------------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_words_with_the_same_places() -> None:
    en, zh = (Wording("vfl.board", language).words for language in LANGUAGES)
    assert en.keys() == zh.keys()
    for key in en:
        assert set(re.findall(r"\{(\w+)\}", en[key])) == set(re.findall(r"\{(\w+)\}", zh[key])), key


def test_every_word_is_used_and_every_name_has_its_words() -> None:
    folder = files("vfl.board")
    sources = "".join(
        one.read_text() for part in ("templates", "static", ".") for one in folder.joinpath(part).iterdir()
        if one.name.endswith((".j2", ".js", ".py"))
    )  # fmt: skip
    looked_up = {f"decision.{name}" for name in (*get_args(Outcome), *get_args(State))}
    looked_up |= {f"status.{name.replace(' ', '_')}" for name in _names_of(PartnerHealth, "state")}
    looked_up |= {f"model.{name}" for name in (*_names_of(Model, "kind"), *_names_of(Model, "role"))}
    looked_up |= {
        f"charts.{name}" for name in ("stable", "shifted", "unstable", *re.findall(r'Chart\("(\w+)"', sources))
    }
    looked_up |= {f"check.step.{name}" for name in re.findall(r'(?:make|each)\(\s*"(\w+)"', sources)}
    looked_up |= {f"check.state.{name}" for name in ("ok", "note", "fault", "skipped")}
    looked_up |= {f"check.ok.pin_{name}" for name in ("first", "seen", "compared", "forgotten")}
    words = {key for key in Wording("vfl.board", "en").words if not key.startswith("check.fault.")}
    assert looked_up <= words
    assert {key for key in words - looked_up if f'"{key.removeprefix("check.")}"' not in sources} == set()


def _names_of(struct: type, field: str) -> tuple[str, ...]:
    return get_args(get_type_hints(struct)[field])


def test_every_fault_of_the_scripts_has_words() -> None:
    folder = files("vfl.board").joinpath("static")
    words = Wording("vfl.board", "en").words
    found = set()
    for script in ("verify.js", "memory.js", "check.js"):
        found |= set(re.findall(r'Fault\(\s*"([\w.]+)"', folder.joinpath(script).read_text()))
    found |= {f"{tree}.{what}" for tree in ("inclusion", "record") for what in ("range", "long", "short")}
    assert len(found) > 25
    assert found == {key.removeprefix("check.fault.") for key in words if key.startswith("check.fault.")}


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"), ("de, en;q=0.7, zh;q=0.3", "en"), ("fr", "en"),
        ("en;q=0.2,zh-TW;q=0.9", "zh-Hans"), (";;;,q=,zh;q=..", "zh-Hans"),
    ],
)  # fmt: skip
def test_the_browser_says_the_language(app: Starlette, header: str, wanted: str) -> None:
    assert f'<html lang="{wanted}">' in ask(app, "/board/model", accept_language=header).text


def test_the_chosen_language_is_remembered_and_this_page_kept(app: Starlette) -> None:
    answer = ask(app, "/board/ledger?below=9&lang=zh", accept_language="en")
    assert answer.headers["set-cookie"].startswith("lang=zh;")
    assert 'href="/board/ledger?below=9&amp;lang=en"' in answer.text
    assert '<html lang="zh-Hans">' in ask(app, "/", cookie="lang=zh", accept_language="en").text
    assert '<html lang="en">' in ask(app, "/?lang=xx", cookie="lang=yy").text
    assert "set-cookie" not in ask(app, "/?lang=xx").headers


# ---- the form --------------------------------------------------------------------------------------------------------


def test_the_form_shows_examples_and_words_of_the_agreement(app: Starlette) -> None:
    html = ask(app, "/").text
    assert 'placeholder="e.g. 1000"' in html
    assert 'placeholder="e.g. +34600000000"' in html
    assert set(inputs(html)) == {"key", "id", *(f"feature.{name}" for name in FEATURES["bank"])}
    assert inputs(html)["feature.amount"] == ""
    assert [name for name in inputs(html) if name.startswith("feature.")] == [f"feature.{n}" for n in FEATURES["bank"]]
    assert "Amount of the loan</label>" in html


def test_values_are_scored_and_shown(app: Starlette, scorer: FakeScorer) -> None:
    fields = {"key": "k1", "id": " c7 ", "feature.amount": "12.5", "feature.price": "", "feature.home": "-1e2"}
    answer = ask(app, "/", fields, sec_fetch_site="same-origin")
    assert answer.status == 200
    applicant, caller, key = scorer.asked[-1]
    assert applicant.features == {"amount": 12.5, "price": None, "term": None, "home": -100.0}
    assert (applicant.id, caller, key) == ("c7", "console", "k1")
    decision = scorer.answers["k1"]
    for said in (f"{decision.points}</dd>", f"{100 * decision.pd:.2f}%", decision.decision_id, decision.receipt.leaf):
        assert said in answer.text
    assert inputs(answer.text)["feature.amount"] == "12.5"
    again = ask(app, "/", fields)
    assert decision.decision_id in again.text
    assert len(scorer.answers) == 1


def test_no_values_take_the_stored_row(app: Starlette, scorer: FakeScorer) -> None:
    ask(app, "/", {"id": "c7", "feature.amount": " "})
    assert scorer.asked[-1][0].features is None


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1_0", "0x1", "true", "1,5", "<b>", "٣", "1" + "0" * 400])
def test_what_is_no_number_is_marked_and_not_scored(app: Starlette, scorer: FakeScorer, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text[:40])):
        number_of(text)
    answer = ask(app, "/", {"id": "c7", "feature.term": text})
    assert answer.status == 422
    assert scorer.asked == []
    assert '<p class="fault" id="feature.term-fault">' in answer.text
    assert 'aria-describedby="feature.term-fault fresh-hint"' in answer.text
    assert "<b>" not in re.sub(r"<b>[^<]*</b>", "", answer.text)


@pytest.mark.parametrize("who", ["", "  ", "x" * 257])
def test_an_applicant_needs_an_id(app: Starlette, scorer: FakeScorer, who: str) -> None:
    answer = ask(app, "/", {"id": who})
    assert answer.status == 422
    assert 'id="id-fault"' in answer.text
    assert scorer.asked == []


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("the model has no <feature>"), 422, "the model has no &lt;feature&gt;"),
        (PartnerAway(), 503, "refuse rather than to fall back"),
        (KeyReused(), 422, "sent before"),
        (KeyInUse(), 409, "under way"),
    ],
)
def test_refusals_are_told(app: Starlette, scorer: FakeScorer, error: Exception, status: int, words: str) -> None:
    scorer.raises = error
    answer = ask(app, "/", {"id": "c7", "feature.amount": "3"})
    assert answer.status == status
    assert words in answer.text
    assert 'role="alert"' in answer.text
    assert inputs(answer.text)["id"] == "c7"


def test_an_unknown_applicant_is_told(app: Starlette) -> None:
    answer = ask(app, "/", {"id": "nobody <i>"})
    assert answer.status == 404
    assert "no such applicant" in answer.text
    assert "<i>" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": "http://evil.example"},
        {"origin": "null"}, {"origin": "http://127.0.0.1:81"},
    ],
)  # fmt: skip
def test_pages_elsewhere_cannot_decide(app: Starlette, scorer: FakeScorer, headers: dict[str, str]) -> None:
    assert ask(app, "/", {"id": "c7"}, **headers).status == 403
    assert scorer.asked == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"id=" + b"x" * MOST_BYTES, {}), (b"{}", {"content_type": "application/json"}), (b"id=%ff", {}),
        (b"\xff", {}), (b"&".join([b"a=b"] * 2001), {}),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(app: Starlette, scorer: FakeScorer, body: bytes, headers: dict[str, str]) -> None:
    answer = ask(app, "/", body, **headers)
    assert answer.status == 422
    assert "form" in answer.text
    assert scorer.asked == []


# ---- model, decisions, ledger ----------------------------------------------------------------------------------------


def test_the_model_card_says_what_was_given_and_no_more(app: Starlette, scorer: FakeScorer) -> None:
    html = ask(app, "/board/model").text
    for said in ("0.833", "0.804 – 0.855", "bank alone", AGREEMENT.digest, "640 and more", "550 to 589", "challenger"):
        assert said in html, said
    bare = ask(application(scorer, Observed(Hands()), About()), "/board/model").text
    for said in ("No summary", "No bands", "refuses to decide"):
        assert said in bare, said
    assert ask(application(scorer, Observed(Hands()), About()), "/").status == 200


def test_a_witness_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(UsageError, match="is no witness"):
        about(witnesses=[WITNESS.identity.verifying.vkey])
    with pytest.raises(UsageError, match="is no key"):
        about(witnesses=["telecom"])


def test_a_decision_of_a_batch_has_its_path(app: Starlette, scorer: FakeScorer) -> None:
    name = next(name for name in scorer.books[-1].kept if re.fullmatch(r"\d+-\d+-2", name))
    html = ask(app, f"/board/decisions/{name}").text
    assert 'data-place="2" data-count="3"' in html
    decision, proof = scorer.books[-1].proof(name)
    for part in (*proof.path, *proof.inclusion, proof.salt, proof.key):
        assert part in html
    assert decision.receipt.leaf in html
    assert ask(app, "/board/decisions/000009-1").status == 404


def where(answer: Any) -> str:
    assert answer.status == 303, answer.text
    return str(answer.headers["location"])


def test_one_box_finds_numbers_hashes_and_decisions(app: Starlette, scorer: FakeScorer) -> None:
    log = scorer.books[-1].log
    entry = list(log.entries())[7]
    place = "/board/ledger?log=bank%2Fscoring-000002&entry=7"
    for words in ("7", entry.leaf().hex(), entry.leaf().hex()[:8].upper(), str(entry.commit[0]["digest"])):
        assert where(ask(app, f"/board/ledger?q={words}")) == place
    assert where(ask(app, "/board/ledger?q=000002-7")) == "/board/decisions/000002-7"
    assert ask(app, "/board/ledger?q=31").status == 303
    for words in ("32", "000002-99", "f" * 64, "%3Cb%3E", "deadbee", "١"):
        assert ask(app, f"/board/ledger?q={words}").status == 404, words
    assert "<b>" not in ask(app, "/board/ledger?q=%3Cb%3E").text


def test_a_search_ends_and_goes_on_from_there(
    app: Starlette, scorer: FakeScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vfl.board import ledgers

    monkeypatch.setattr(ledgers, "MOST_SEARCHED", 12)
    monkeypatch.setattr(ledgers, "AT_ONCE", 5)
    leaf = list(scorer.books[-1].log.entries())[3].leaf().hex()
    for below in (20, 8):
        answer = ask(app, f"/board/ledger?q={leaf}" + ("&below=20" if below == 8 else ""))
        assert answer.status == 404
        further = re.search(r'href="(/board/ledger\?[^"]*below=\d+)"', answer.text)
        assert further is not None
        assert further[1].endswith(f"below={below}")
    assert where(ask(app, further[1].replace("&amp;", "&"))).endswith("entry=3")


def test_the_explorer_pages_through_a_log(app: Starlette) -> None:
    html = ask(app, "/board/ledger").text
    assert re.findall(r'<tr data-entry="(\d+)"', html) == [str(n) for n in range(31, 6, -1)]
    assert "below=7" in html
    html = ask(app, "/board/ledger?log=bank%2Fscoring-000002&below=7").text
    assert re.findall(r'<tr data-entry="(\d+)"', html) == [str(n) for n in range(6, -1, -1)]
    assert "<option selected>bank/scoring-000002</option>" in html
    assert re.findall(r'<tr data-entry="(\d+)"', ask(app, "/board/ledger?log=bank/scoring-000001").text) == ["1", "0"]


@pytest.mark.parametrize("query", ["log=x", "below=x", "below=-1", "entry=1e3", "entry=99", "entry=99999999999999999"])
def test_what_is_not_there_is_404(app: Starlette, query: str) -> None:
    assert ask(app, f"/board/ledger?{query}").status == 404


def test_the_first_entry_has_none_before(app: Starlette) -> None:
    html = ask(app, "/board/ledger?entry=0").text
    assert re.findall(r'data-entry="(\d+)"', html) == ["0"]
    assert "there is none before" in html


def test_json_for_the_scripts(app: Starlette) -> None:
    part = json.loads(ask(app, "/board/ledger.json?last=3").body)
    assert (part["start"], part["size"], len(part["entries"])) == (29, 32, 3)
    part = json.loads(ask(app, "/board/ledger.json?log=bank/scoring-000001&start=1&count=9999").body)
    assert (part["start"], len(part["entries"])) == (1, 1)
    assert ask(app, "/board/ledger.json?log=x").status == 422
    assert ask(app, "/board/ledger.json?start=x").status == 422
    look = json.loads(ask(app, "/board/observed.json").body)
    assert look["day"]["count"] == 33
