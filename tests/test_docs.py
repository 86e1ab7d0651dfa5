"""The documentation is true: generated parts are current, examples run, links lead somewhere, nothing is left out."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import typer

from ledger.findings import _WORDS, Code
from vfl import config, desk, errors
from vfl.channel import digest_of
from vfl.cli import app
from vfl.config import load_scenario
from vfl.learn.parameters import GBDTParameters
from vfl.protocols.boost import TreeClosed
from vfl.wire import unpack

ROOT = Path(__file__).resolve().parent.parent
TOP = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
GUIDE = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/guide").glob("*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
HEADINGS = ["Question", "Decision", "Rejected", "Consequences"]
NOT_FOR_READERS = re.compile(
    r"/home/|/root/|/tmp/|\bTODO\b|\bFIXME\b|\bseamless|\bcutting-edge|\bblazing|\brevolution|\bpowerful\b|"
    r"\beffortless|\bstate-of-the-art\b|\bworld-class\b|\bgame-chang|\bunlock\b|\bleverag",
    re.I,
)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """`docs.generate`, by path: the folder is no installed package."""
    place = ROOT / "docs/generate"
    spec = importlib.util.spec_from_file_location(
        "docs_generate", place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["docs_generate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The README's own-data scenario and Python example, executed; its names and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    (toml,), (source,) = blocks(README, "toml"), blocks(README, "python")
    (folder / "my-bank.toml").write_text(toml, encoding="utf-8")
    printed: list[str] = []
    names: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(source, "README.md", "exec"), names)
    return {**names, "folder": folder, "printed": printed}


# ---- generated parts -------------------------------------------------------------------------------------------------


def test_generated_blocks_are_current(generate: ModuleType) -> None:
    assert generate.stale() == [], "run `make docs`"


def test_every_generated_block_is_used_and_every_page_known(generate: ModuleType) -> None:
    used = {name: page for page in PAGES for name in re.findall(r"<!-- generated: (\S+) -->", page.read_text("utf-8"))}
    assert used.keys() == generate.BLOCKS.keys()
    assert {ids(page) for page in used.values()} == set(generate.PAGES)


def test_a_stale_page_is_seen(generate: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for page in generate.PAGES:
        copy = tmp_path / page
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / page).read_text("utf-8"), encoding="utf-8")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 0
    (tmp_path / "docs/learns.md").write_text(
        (ROOT / "docs/learns.md").read_text("utf-8").replace("cost:", "price:"), encoding="utf-8"
    )
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert (tmp_path / "docs/learns.md").read_text("utf-8") == (ROOT / "docs/learns.md").read_text("utf-8")


def test_every_protocol_side_is_in_the_learns_table(generate: ModuleType) -> None:
    scripts = generate.scripts()
    found = {path.stem for path in (ROOT / "vfl/protocols").glob("*.py")} - {"__init__"}
    assert {script.name for script in scripts} == found
    table = (ROOT / "SECURITY.md").read_text("utf-8")
    for script in scripts:
        assert script.cost
        for side in ("active", "passive"):
            assert f"| {script.name} | {side} | {script.learns[side]} |".replace("|X|", "\\|X\\|") in table


def test_the_picture_can_be_drawn(generate: ModuleType, example: dict[str, Any]) -> None:
    image = generate.picture(example["folder"] / "runs/my-bank")
    shipped = (ROOT / "docs/images/demo.svg").read_text("utf-8")
    for one in (image, shipped):
        assert one.startswith("<svg")
        assert re.findall(r"https?://[^\s\"]+", one) == ["http://www.w3.org/2000/svg"]
        for words in ("AUC", "KS", "Gini", "joint", "pooled", "Ledger", "total"):
            assert words in one


# ---- examples --------------------------------------------------------------------------------------------------------


def test_readme_example(example: dict[str, Any]) -> None:
    metrics = example["summary"]["metrics"]
    assert [line.split()[0] for line in example["printed"][:3]] == list(metrics)
    assert metrics["federated"]["auc"] > metrics["bank_only"]["auc"] + 0.05
    assert len(example["predictions"]) == example["summary"]["rows"]["holdout"]
    assert len(blocks(README, "python")[0].splitlines()) <= 30


def test_readme_scenario_is_the_tour_of_the_file(example: dict[str, Any]) -> None:
    scenario = load_scenario(example["folder"] / "my-bank.toml")
    assert [party.name for party in scenario.parties] == ["bank", "telecom"]


def test_every_key_of_the_summary_is_explained(example: dict[str, Any]) -> None:
    text = (ROOT / "docs/guide/results.md").read_text("utf-8")
    summary = json.loads((example["folder"] / "runs/my-bank/summary.json").read_text("utf-8"))
    for key, value in summary.items():
        assert f"`{key}" in text, key
        if isinstance(value, dict) and key in ("rows", "metrics", "ledger"):
            named = [inner for inner in value if inner not in ("bank", "telecom")]
            assert [inner for inner in named if f"`{key}.{inner}`" not in text] == []
    phases = [phase for phase in {**summary["seconds"], **summary["bytes"]} if phase != "total"]
    assert [phase for phase in phases if f"`{phase}`" not in text] == []
    listed = set(re.findall(r"^\| `([a-z_]+)[`.]", text[text.index("## summary.json") :], re.M))
    assert listed == summary.keys() | {"scorecard"}, "the page explains keys that a summary does not have"


def test_every_file_of_a_run_is_explained(example: dict[str, Any]) -> None:
    text = (ROOT / "docs/guide/results.md").read_text("utf-8")
    run = example["folder"] / "runs/my-bank"
    found = {"NAME.hint" if path.suffix == ".hint" else path.name for path in run.rglob("*") if path.is_file()}
    table = text[text.index("## Files") : text.index("## The model")]
    listed = set(re.findall(r"^\| `([\w.]+)/?`", table, re.M))
    assert listed - {"tables"} == found


def test_own_data_example_is_a_scenario(tmp_path: Path) -> None:
    (toml,) = blocks((ROOT / "docs/guide/own-data.md").read_text("utf-8"), "toml")
    (tmp_path / "my-bank.toml").write_text(toml, encoding="utf-8")
    scenario = load_scenario(tmp_path / "my-bank.toml")
    assert scenario.privacy == config.PrivacyConfig(min_bin_population=50)
    assert set(tomllib.loads(toml)) == {"scenario", "party", "model", "privacy", "psi", "holdout"}


# ---- nothing left out ------------------------------------------------------------------------------------------------


def with_parts(name: str, command: Any) -> dict[str, Any]:
    """A command and the parts of those that have some, by name."""
    named = {name: command}
    for part, found in getattr(command, "commands", {}).items():
        named |= with_parts(f"{name} {part}", found)
    return named


def tallystick_commands() -> dict[str, list[str]]:
    """Every command with its long options."""
    named = with_parts("tallystick", typer.main.get_command(app))
    return {
        name: [option for p in command.params for option in p.opts if option.startswith("--")]
        for name, command in named.items()
    }


def ledger_commands(generate: ModuleType) -> dict[str, list[str]]:
    """The same for `python -m ledger`."""
    return {
        name: [o for a in parser._actions for o in a.option_strings if o.startswith("--")]
        for name, parser in generate.ledger_parsers()
    }


def test_every_command_and_option_is_documented(generate: ModuleType) -> None:
    page = (ROOT / "docs/guide/commands.md").read_text("utf-8")
    for command, options in {**tallystick_commands(), **ledger_commands(generate)}.items():
        section = page[page.index(f"## `{command}`") :].split("\n## ")[0]
        assert [o for o in options if o != "--help" and not re.search(rf"`{o}[ `]", section)] == [], command
        assert command in GUIDE.replace(page, ""), f"{command} is in no other page of the guide"


def test_commands_in_the_pages_exist(generate: ModuleType) -> None:
    known = {**tallystick_commands(), **ledger_commands(generate)}
    for page in PAGES:
        for line in "".join(blocks(page.read_text("utf-8"), "sh")).splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] == "make":
                targets = (ROOT / "Makefile").read_text("utf-8")
                assert all(re.search(rf"^{target}:", targets, re.M) for target in words[1:]), line
                continue
            words[0] = words[0].removeprefix(".venv/bin/")
            command = max((name for name in known if words[: len(name.split())] == name.split()), key=len, default="")
            assert command, f"{ids(page)}: {line}"
            assert len(words) > 1, f"{ids(page)}: {line}"
            used = [word for word in words if word.startswith("--")]
            assert [option for option in used if option not in known[command]] == [], f"{ids(page)}: {line}"


def test_every_error_and_exit_code_is_documented() -> None:
    page = (ROOT / "docs/guide/errors.md").read_text("utf-8")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.VflError)]
    assert [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in page] == []
    verify = (ROOT / "docs/guide/verify.md").read_text("utf-8")
    for code in Code:
        assert f"| {code.value} | {_WORDS[code]} |" in verify


def test_the_privacy_page_says_which_levels_there_are() -> None:
    page = (ROOT / "docs/guide/privacy.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)`(, the default)? \|", page, re.M)
    assert {scheme: level for level, scheme, _ in rows} == config.SCHEMES
    assert [scheme for _, scheme, default in rows if default] == [config.PrivacyConfig().scheme]


def test_every_model_parameter_and_alias_is_documented() -> None:
    page = (ROOT / "docs/guide/own-data.md").read_text("utf-8")
    for option in fields(GBDTParameters):
        assert all(f"`{name}`" in page for name in (option.name, *option.metadata["aliases"]))


# ---- the wire --------------------------------------------------------------------------------------------------------


def test_the_wire_example_is_what_the_code_reads() -> None:
    page = (ROOT / "docs/spec/wire.md").read_text("utf-8")
    (example,) = [block for block in blocks(page, "text") if block.startswith("00 00")]
    data = bytes.fromhex(" ".join(line[:71] for line in example.splitlines()))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    envelope = msgspec.msgpack.decode(data[4:], type=desk.Frame)
    assert isinstance(envelope, desk.Envelope)
    assert envelope.slot == "train/3/TreeClosed/bank>telecom/41"
    assert unpack(TreeClosed, envelope.body) == TreeClosed(False, True)
    assert f"SHA-256 of the body: `{digest_of(envelope.body).hex()}`" in page
    assert f"    {data[:8].hex(' ')} ..." in page
    name = b"telecom"
    assert f"    {(len(name).to_bytes(4, 'big') + name).hex(' ')}  " in page


# ---- the pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?://", target):
            path, _, anchor = target.partition("#")
            assert (page.parent / path).exists(), target
            assert not anchor, "a link to a heading breaks when the heading is reworded"


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((ROOT / "docs/generate").glob("*.py")), ROOT / "docs/images/demo.svg"], ids=ids
)
def test_pages_are_for_readers(page: Path) -> None:
    found = [match[0] for match in NOT_FOR_READERS.finditer(page.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("page", DECISIONS, ids=ids)
def test_decisions_have_one_form(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.match(rf"# {page.name[:4]} \S.*\n\nStatus: (accepted|replaced by \d{{4}})", text)
    assert re.findall(r"^## (.*)$", text, re.M) == HEADINGS
    rejected = text[text.index("## Rejected") : text.index("## Consequences")]
    assert len(re.findall(r"^\* \*\*", rejected, re.M)) >= 2
    assert len(text.splitlines()) <= 60, "one page"


def test_decisions_are_numbered_and_listed() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{n:04}" for n in range(1, len(DECISIONS) + 1)]
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    for page in DECISIONS:
        title = page.read_text("utf-8").splitlines()[0].removeprefix(f"# {page.name[:4]} ")
        assert f"| [{page.name[:4]}]({page.name}) | {title} |" in index


def test_every_page_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text("utf-8")):
            if not target.startswith("http"):
                todo.append((page.parent / target).resolve())
    assert [ids(page) for page in PAGES if page not in seen] == []


def test_licence_is_the_whole_text() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.split()[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    for number in range(1, 10):
        assert re.search(rf"^   {number}\. [A-Z]", text, re.M)
    assert "END OF TERMS AND CONDITIONS" in text
