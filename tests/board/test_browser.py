"""The pages in a real browser, on a real ledger: what holds is green, and every change is named."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from board_kit import BANK, WITNESS, Books
from browser_kit import Browser
from conftest import Service
from msgspec.structs import replace as changed
from selenium.webdriver.common.keys import Keys

from ledger import Identity
from ledger.canonical import encode
from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.entry import Entry
from ledger.keys import KeyType, VerifyingKey
from ledger.merkle import Tree, leaf_hash
from ledger.note import Note, SignatureLine
from vfl.party.card import fingerprint
from vfl.scoring.answers import Decision, LedgerPart, Proof

OTHER = Identity("bank", sha256(b"somebody else").digest())
BATCH = "000002-5-3"
Bend = Callable[[Decision, Proof], tuple[Decision, Proof]]


def test_what_holds_is_green_and_nothing_else_is_asked_for(browser: Browser, service: Service) -> None:
    browser.open(f"{service.at}/board/decisions/{BATCH}")
    state, _, words = browser.verdict()
    assert (state, words) == ("ok", "Everything holds: this decision stands in the signed ledger as shown.")
    assert browser.steps() == {
        "browser": "ok", "key": "ok", "pin": "note", "head": "ok", "witnesses": "ok", "entry": "ok", "inclusion": "ok",
        "record": "ok", "receipt": "ok", "shown": "ok",
    }  # fmt: skip
    browser.open(f"{service.at}/board/ledger")
    assert browser.verdict()[0] == "ok"
    assert browser.steps()["pin"] == "ok"
    assert [mark.text for mark in browser.driver.find_elements("css selector", "[data-is=mark]")] == ["holds"] * 25
    browser.one("button[data-is=whole]").click()
    size = len(service.scorer.books[-1].log)
    assert browser.verdict("whole-verdict")[2] == f"Whole: all {size} entries link, and their root is the signed one."
    browser.open(service.at)
    assert browser.verdict()[2] == "newest 8 checked here"
    asked = browser.asked()
    assert len(asked) > 8
    assert all(address.startswith(service.at) for address in asked), asked
    assert browser.complaints() == []


# ---- a proof that was tampered with ----------------------------------------------------------------------------------


def flipped(text: str, at: int = 10) -> str:
    """With another hex digit."""
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def proof(**fields: Callable[[Proof], Any]) -> Bend:
    return lambda made, given: (made, changed(given, **{name: make(given) for name, make in fields.items()}))


def signed(text: str, who: Identity = BANK) -> str:
    return str(sign_checkpoint(Checkpoint.parse(text), who.identity))


def other_root(given: Proof) -> str:
    origin, size, root, rest = given.checkpoint.split("\n", 3)
    raw = bytearray(base64.b64decode(root))
    raw[0] ^= 1
    return f"{origin}\n{size}\n{base64.b64encode(raw).decode()}\n{rest}"


def other_signature(given: Proof, name: str) -> str:
    note = Note.parse(given.checkpoint)
    lines = [
        SignatureLine(line.name, line.key_id, line.blob[:-1] + bytes([line.blob[-1] ^ 1]))
        if line.name == name
        else line
        for line in note.signatures
    ]
    return str(Note(note.text, tuple(lines)))


ANYBODYS = VerifyingKey(BANK.identity.name, KeyType.NOTE, bytes([1, *bytes(31)]))
"""The neutral point: with R = B and s = 1 everything is signed by it."""


def by_anybody(given: Proof) -> str:
    blob = bytes([0x58, *[0x66] * 31, 1, *bytes(31)])
    return str(Note(Note.parse(given.checkpoint).text, (SignatureLine(ANYBODYS.name, ANYBODYS.id, blob),)))


TAMPERED: dict[str, tuple[Bend, str, str]] = {
    "record": (proof(record=lambda g: g.record.replace('"band":"B"', '"band":"A"')), "record.root", "record"),
    "salt": (proof(salt=lambda g: flipped(g.salt)), "record.root", "record"),
    "path": (proof(path=lambda g: (flipped(g.path[0]), *g.path[1:])), "record.root", "record"),
    "path too short": (proof(path=lambda g: g.path[:-1]), "record.short", "record"),
    "path too long": (proof(path=lambda g: (*g.path, "0" * 64)), "record.long", "record"),
    "place": (proof(place=lambda g: g.place - 1), "record.root", "record"),
    "place outside": (proof(place=lambda g: g.count), "record.range", "record"),
    "no hash": (proof(path=lambda g: ("x" * 64, *g.path[1:])), "hex.form", "record"),
    "entry byte": (proof(entry=lambda g: g.entry.replace('"round":5', '"round":6')), "inclusion.root", "inclusion"),
    "entry spaced": (proof(entry=lambda g: g.entry.replace(":", ": ")), "entry.form", "entry"),
    "entry doubled": (proof(entry=lambda g: '{"v":1,' + g.entry[1:]), "entry.form", "entry"),
    "entry moved": (proof(index=lambda g: g.index + 1), "entry.place", "entry"),
    "inclusion": (
        proof(inclusion=lambda g: (flipped(g.inclusion[0]), *g.inclusion[1:])),
        "inclusion.root",
        "inclusion",
    ),
    "inclusion short": (proof(inclusion=lambda g: g.inclusion[1:]), "inclusion.short", "inclusion"),
    "root": (proof(checkpoint=other_root), "head.signature", "head"),
    "root signed": (proof(checkpoint=lambda g: signed(Note.parse(other_root(g)).text)), "inclusion.root", "inclusion"),
    "size": (
        proof(checkpoint=lambda g: g.checkpoint.replace(f"\n{g.size}\n", f"\n{g.size + 1}\n")),
        "head.signature",
        "head",
    ),
    "signature": (proof(checkpoint=lambda g: other_signature(g, "bank")), "head.signature", "head"),
    "cosignature": (
        proof(checkpoint=lambda g: other_signature(g, "telecom/witness")),
        "witness.signature",
        "witnesses",
    ),
    "unsigned": (proof(checkpoint=lambda g: signed(Note.parse(g.checkpoint).text, OTHER)), "head.unsigned", "head"),
    "no note": (proof(checkpoint=lambda g: "x"), "note.form", "head"),
    "no line": (proof(checkpoint=lambda g: g.checkpoint + "— x\n"), "note.line", "head"),
    "four lines": (proof(checkpoint=lambda g: g.checkpoint.replace("\n\n", "\nx\n\n")), "head.form", "head"),
    "key": (proof(key=lambda g: g.key[:-3] + "AAA"), "key.hash", "key"),
    "no key": (proof(key=lambda g: "bank"), "key.form", "key"),
    "key of small order": (proof(key=lambda _: ANYBODYS.vkey, checkpoint=by_anybody), "head.signature", "head"),
    "key of a witness": (proof(key=lambda g: WITNESS.witness.verifying.vkey), "key.kind", "key"),
    "other log": (
        proof(checkpoint=lambda g: signed("bank/x" + Note.parse(g.checkpoint).text[19:])),
        "entry.log",
        "entry",
    ),
    "receipt": (lambda made, g: (changed(made, receipt=changed(made.receipt, leaf="0" * 64)), g), "receipt", "receipt"),
    "shown": (lambda made, g: (changed(made, pd=made.pd / 2), g), "shown", "shown"),
}


# The eight of a ledger's parts are quick; their variations are for thorough rounds.
QUICK = {"record", "salt", "path", "entry byte", "root", "signature", "key", "key of small order"}


@pytest.mark.parametrize(
    "what", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TAMPERED]
)
def test_what_was_changed_is_named(browser: Browser, service: Service, what: str) -> None:
    service.scorer.bend, code, step = TAMPERED[what]
    browser.open(f"{service.at}/board/decisions/{BATCH}")
    state, found, words = browser.verdict()
    assert (state, found) == ("fault", code), words
    assert browser.steps()[step] == "fault"
    assert not re.search(r"\{\w+\}|\?", words)


def test_the_fault_names_hash_and_entry(browser: Browser, service: Service) -> None:
    service.scorer.bend = TAMPERED["entry byte"][0]
    browser.open(f"{service.at}/board/decisions/{BATCH}")
    leaf = leaf_hash(service.scorer.books[-1].proof(BATCH)[1].entry.replace('"round":5', '"round":6').encode()).hex()
    assert f"Entry 5 with leaf {leaf[:16]}… leads to root " in browser.verdict()[2]


# ---- a stretch of the log --------------------------------------------------------------------------------------------


def rewritten(part: LedgerPart, log: Any, change: Callable[[Entry], Entry]) -> LedgerPart:
    """The log with entry 20 changed, what follows linked to it, and everything signed anew by the bank itself."""
    entries = list(log.entries())
    entries[20] = change(entries[20])
    tree, previous = Tree(), bytes(32)
    for seq, entry in enumerate(entries):
        if seq > 20:
            entries[seq] = replace(entry, prev=previous.hex())
        previous = entries[seq].leaf()
        tree.append(previous)
    shown = range(part.start, part.start + len(part.entries))
    head = Checkpoint(log.origin, len(entries), tree.root())
    note = sign_checkpoint(head, BANK.identity).with_lines([cosign(head, WITNESS.witness, log._clock.now())])
    paths = tuple(tuple(node.hex() for node in tree.inclusion_proof(seq)) for seq in shown)
    texts = tuple(entries[seq].to_bytes().decode() for seq in shown)
    return changed(part, checkpoint=str(note), entries=texts, inclusion=paths)


def test_a_broken_link_is_named_though_everything_is_signed(browser: Browser, service: Service) -> None:
    log = service.scorer.books[-1].log
    service.scorer.bend_part = lambda part: rewritten(part, log, lambda e: replace(e, prev="0" * 64))
    browser.open(f"{service.at}/board/ledger")
    state, code, words = browser.verdict()
    assert (state, code) == ("fault", "entry.prev")
    assert "Entry 20 names 0000000000000000… as the hash before it, but entry 19 has " in words
    marks = browser.driver.execute_script(
        "return [...document.querySelectorAll('tr [data-is=mark]')].filter((m) => m.dataset.state !== 'ok')"
        ".map((m) => m.closest('tr').dataset.entry)"
    )
    assert marks == ["20"]
    browser.one("button[data-is=whole]").click()
    assert browser.verdict("whole-verdict")[:2] == ("fault", "entry.prev")


@pytest.mark.slow
def test_a_changed_entry_of_the_store_is_named(browser: Browser, service: Service) -> None:
    log = service.scorer.books[-1].log
    at = len(log) - 5

    def bend(part: LedgerPart) -> LedgerPart:
        return changed(part, entries=tuple(text.replace(f'"round":{at},', '"round":0,') for text in part.entries))

    service.scorer.bend_part = bend
    browser.open(f"{service.at}/board/ledger")
    assert browser.verdict()[:2] == ("fault", "entry.prev")
    assert browser.steps()["inclusion"] == "fault"
    browser.open(f"{service.at}/board/ledger?entry={at}")
    assert browser.verdict()[:2] == ("fault", "inclusion.root")
    browser.open(service.at)
    assert browser.verdict()[0] == "fault"


@pytest.mark.slow
def test_a_whole_log_of_another_root_is_named(browser: Browser, service: Service) -> None:
    log = service.scorer.books[-1].log
    browser.open(f"{service.at}/board/ledger")
    whole = service.scorer.books[-1].part(["x"], 0, 100)
    forged = rewritten(whole, log, lambda e: replace(e, round=99))
    service.scorer.bend_part = lambda part: changed(part, checkpoint=forged.checkpoint)
    browser.forget()
    browser.one("button[data-is=whole]").click()
    assert browser.verdict("whole-verdict")[:2] == ("fault", "whole.root")
    service.scorer.bend_part = lambda part: changed(part, start=part.start, entries=(), inclusion=())
    browser.forget()
    browser.driver.refresh()
    browser.one("button[data-is=whole]").click()
    assert browser.verdict("whole-verdict")[:2] == ("fault", "whole.gap")


def test_two_heads_of_one_size_shout(browser: Browser, service: Service) -> None:
    browser.open(f"{service.at}/board/ledger")
    assert browser.verdict()[0] == "ok"
    log = service.scorer.books[-1].log
    service.scorer.bend_part = lambda part: rewritten(part, log, lambda e: replace(e, round=99))
    browser.driver.refresh()
    assert browser.verdict()[:2] == ("fault", "head.fork")
    assert browser.one("#alarm").text.startswith(f"TWO HEADS OF {log.origin} for {len(log)} entries")


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_another_key_shouts_until_its_digits_are_compared(browser: Browser, service: Service) -> None:
    browser.open(f"{service.at}/board/decisions/{BATCH}")
    assert browser.verdict()[0] == "ok"
    kept, books = service.scorer.books, Books("scoring-000009", OTHER)
    service.scorer.books = [books]
    try:
        name = books.keep([service.scorer.latest[0][1]], "x")[0].decision_id
        browser.open(f"{service.at}/board/decisions/{name}")
        assert browser.verdict()[:2] == ("fault", "key.changed")
        mine, theirs = fingerprint(BANK.identity.verifying), fingerprint(OTHER.identity.verifying)
        alarm = browser.one("#alarm")
        assert alarm.get_attribute("role") == "alert"
        assert alarm.text.startswith("THE KEY OF bank CHANGED.")
        assert mine in alarm.text
        assert theirs in alarm.text
        browser.one(".check summary").click()
        browser.one("#digits").send_keys(mine, Keys.ENTER)
        browser.until(lambda: browser.one("[data-is=pinned]").text == "These are other digits. Do not trust this page "
                      "before you know why.")  # fmt: skip
        assert browser.verdict()[0] == "fault"
        browser.one("#digits").clear()
        browser.one("#digits").send_keys(theirs.replace(" ", ""), Keys.ENTER)
        browser.until(lambda: browser.verdict()[0] == "ok")
        assert browser.steps()["pin"] == "ok"
        assert not browser.one("#alarm").is_displayed()
    finally:
        service.scorer.books = kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("crypto", "code"),
    [
        ("SubtleCrypto.prototype.importKey = () => Promise.reject(new Error('NotSupported'))", "cannot.ed25519"),
        ("SubtleCrypto.prototype.verify = () => Promise.resolve(true)", "cannot.ed25519"),
        ("Object.defineProperty(Crypto.prototype, 'subtle', {value: undefined})", "cannot.crypto"),
    ],
)
def test_a_browser_that_cannot_check_says_so(browser: Browser, service: Service, crypto: str, code: str) -> None:
    driver = browser.driver
    made = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": crypto})
    try:
        for page in (f"/board/decisions/{BATCH}", "/board/ledger", "/"):
            browser.open(service.at + page)
            assert browser.verdict()[:2] == ("cannot", code)
        assert set(browser.steps().values()) <= {"fault", "skipped"}
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


@pytest.mark.slow
def test_without_scripts_everything_is_shown_and_nothing_is_green(browser: Browser, service: Service) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(f"{service.at}/board/decisions/{BATCH}")
        words = browser.one("[data-is=verdict]").text
        assert words == "Not checked: the checks are made by the browser and need JavaScript."
        assert "holds" not in browser.one("main").text
        browser.open(service.at)
        assert "not checked" in browser.one(".strip").text
        browser.one("#id").send_keys("c7", Keys.ENTER)
        browser.until(lambda: browser.driver.find_elements("css selector", ".answer"))
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# ---- hashes against the Python ones ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_paths_and_roots_are_those_of_rfc_6962(browser: Browser) -> None:
    cases = []
    for size in (*range(1, 34), 64, 100):
        leaves = [leaf_hash(b"%d" % n) for n in range(size)]
        tree = Tree(leaves)
        paths = [[node.hex() for node in tree.inclusion_proof(n)] for n in range(size)]
        cases.append([[leaf.hex() for leaf in leaves], paths, tree.root().hex()])
    assert browser.module(
        """
        let wrong = 0, checked = 0;
        for (const [leaves, paths, root] of given[0]) {
          const growing = new verify.Growing();
          for (const [n, leaf] of leaves.entries()) {
            const path = paths[n].map((one) => verify.fromHex(one));
            wrong += verify.hex(await verify.rootOf(verify.fromHex(leaf), n, leaves.length, path, "x")) !== root;
            await growing.add(verify.fromHex(leaf));
            checked += 1;
          }
          wrong += verify.hex(await growing.root()) !== root;
        }
        return [wrong, checked, verify.hex(await new verify.Growing().root())];
        """,
        cases,
    ) == [0, sum(len(case[0]) for case in cases), sha256().hexdigest()]


@pytest.mark.slow
def test_one_form_is_that_of_the_ledger(browser: Browser) -> None:
    values = [
        {"seq": 0, "log": "x", "t": text}
        for text in ("", "é", "\u2028", "\x7f", "\x00\b\f\n\r\t\"\\/", "😀", "日本")
    ]  # fmt: skip
    values.append({"seq": 0, "log": "x", "10": 1, "9": [None, True, -(2**53) + 1, {}], "__proto__": "p"})
    texts = [encode(value).decode() for value in values]
    good = [*texts, *(text.replace(":", ": ") for text in texts), '{"log":"x","seq":0,"a":1}', '{"log":"x","seq":0.0}']
    assert browser.module(
        "const said = []; for (const text of given[0]) {"
        "said.push(await verify.readEntry(text, 0, 'x').then(() => 'ok', (e) => e.code)); } return said;",
        good,
    ) == ["ok"] * len(texts) + ["entry.form"] * (len(texts) + 2)


# ---- people ----------------------------------------------------------------------------------------------------------


def test_the_form_by_keyboard_alone(browser: Browser, service: Service) -> None:
    browser.open(service.at)
    driver = browser.driver

    def press(*keys: str) -> Any:
        driver.switch_to.active_element.send_keys(*keys)
        return driver.switch_to.active_element

    first = press(Keys.TAB)
    assert first.text == "Skip to the content"
    assert first.is_displayed()
    press(Keys.ENTER)
    while press(Keys.TAB).get_attribute("id") != "id":
        pass
    press("keyboard-1")
    assert press(Keys.TAB).get_attribute("id") == "feature.amount"
    outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(Keys.CONTROL, "a")
    press("250")
    press(Keys.ENTER)
    browser.until(lambda: driver.title.startswith("Decision: "))
    applicant = service.scorer.asked[-1][0]
    assert (applicant.id, applicant.features and applicant.features["amount"]) == ("keyboard-1", 250.0)
    link = browser.one(".answer .more")
    link.send_keys(Keys.ENTER)
    assert browser.verdict()[0] == "ok"


@pytest.mark.slow
def test_the_language_is_switched_and_stays(browser: Browser, service: Service) -> None:
    browser.open(f"{service.at}/board/ledger?entry=5")
    browser.one("a[hreflang=zh-Hans]").click()
    assert browser.driver.current_url.endswith("entry=5&lang=zh")
    assert browser.verdict()[2] == "全部成立：这些条目如所示载于已签名的账本。"
    browser.open(service.at)
    assert browser.driver.execute_script("return document.documentElement.lang") == "zh-Hans"
    assert browser.verdict()[2] == "最新 8 条已在此核验"
    browser.one("a[hreflang=en]").click()
    assert browser.verdict()[2] == "newest 8 checked here"


@pytest.mark.slow
def test_the_first_page_stays_current_unless_paused(browser: Browser, service: Service) -> None:
    browser.open(service.at)
    driver = browser.driver
    driver.execute_script("document.querySelector('#pause').click()")
    name = service.scorer.record(0.2).decision_id
    assert driver.execute_script("return document.querySelector('#pause').ariaPressed") == "true"
    driver.execute_async_script("setTimeout(arguments[0], 5500)")
    assert name not in browser.one("#live-recent").text
    driver.execute_script("document.querySelector('#pause').click()")
    browser.until(lambda: name in browser.one("#live-recent").text)
    size = len(service.scorer.books[-1].log)
    browser.until(lambda: browser.one("[data-is=size]").text == f"{size} entries")
    assert browser.complaints() == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, service: Service, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for page in ("/", "/board/model", "/board/ledger", "/board/ledger?entry=5", f"/board/decisions/{BATCH}"):
            browser.open(service.at + page)
            assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width, page
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_names_for_whoever_cannot_see(browser: Browser, service: Service) -> None:
    """Whatever can be used has a name, and there is one heading of the first level, in Chromium's own view."""
    for page in ("/", "/board/model", "/board/ledger", f"/board/decisions/{BATCH}"):
        browser.open(service.at + page)
        nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        seen = [n for n in nodes if not n.get("ignored")]
        roles = [n["role"]["value"] for n in seen]
        for node in seen:
            if node["role"]["value"] in (
                "link",
                "button",
                "textbox",
                "searchbox",
                "combobox",
                "image",
                "table",
                "progressbar",
            ):
                assert node.get("name", {}).get("value", "").strip(), json.dumps(node)
        for landmark in ("banner", "main", "navigation", "contentinfo"):
            assert landmark in roles, (page, landmark)
