"""Writes the parts of the documentation that repeat the code, between markers, and checks that they are current.

    python -m docs.generate                               rewrite what is stale
    python -m docs.generate --check                       say what is stale; exit code 1 if anything is
    python -m docs.generate --picture runs/demo           draw docs/images/demo.svg from the summary of a finished run
    python -m docs.report_picture runs/demo               docs/images/report.png, by a browser
    python -m docs.console_picture ADDRESS                docs/images/console.png, of a service that runs

A generated block stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; everything else is by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .api import api_problems, api_scopes
from .commands import commands, ledger_parsers
from .outcomes import error_example, error_families, exit_codes, verification_steps
from .picture import picture
from .protocol_scripts import learns_page, learns_table, scripts
from .scenario_file import aliases, feature_parameters, scorecard_parameters, toml_reference
from .wire_format import frames, limits, messages, transcript_fields, wire_example

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ("SECURITY.md", "docs/learns.md", "docs/guide/own-data.md", "docs/guide/features.md", "docs/guide/scorecard.md",
         "docs/guide/commands.md", "docs/guide/verify.md", "docs/guide/errors.md", "docs/guide/scoring.md",
         "docs/spec/wire.md")  # fmt: skip
__all__ = ["BLOCKS", "PAGES", "ROOT", "ledger_parsers", "main", "picture", "rewritten", "scripts", "stale"]
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end of \2 -->\n)", re.S)

BLOCKS: Mapping[str, Callable[[], str]] = {
    "learns-table": learns_table,
    "learns-page": learns_page,
    "toml-reference": toml_reference,
    "aliases": aliases,
    "feature-parameters": feature_parameters,
    "scorecard-parameters": scorecard_parameters,
    "commands": commands,
    "verification-steps": verification_steps,
    "exit-codes": exit_codes,
    "error-example": error_example,
    "error-families": error_families,
    "api-problems": api_problems,
    "api-scopes": api_scopes,
    "wire-example": wire_example,
    "wire-limits": limits,
    "wire-frames": frames,
    "wire-messages": messages,
    "transcript-fields": transcript_fields,
}


def rewritten(page: str) -> str:
    """The text of `page` with every generated block as it should be. Raises ValueError if it has none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    new, count = _BLOCK.subn(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)
    if not count or count != text.count("<!-- generated:"):
        raise ValueError(f"{page} has no generated block, or one without its end")
    return new


def stale() -> list[str]:
    """Pages whose generated blocks are not what the code says."""
    return [page for page in PAGES if rewritten(page) != (ROOT / page).read_text(encoding="utf-8")]


def main(words: Sequence[str]) -> int:
    """The command line; see the package's docstring."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="Keep the documentation true.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is stale")
    parser.add_argument("--picture", metavar="DIR", type=Path, help="draw docs/images/demo.svg from this run")
    options = parser.parse_args(words)
    if options.picture:
        (ROOT / "docs/images/demo.svg").write_text(picture(options.picture), encoding="utf-8")
    found = stale()
    for page in found:
        if not options.check:
            (ROOT / page).write_text(rewritten(page), encoding="utf-8")
        sys.stdout.write(f"{page}: {'stale' if options.check else 'rewritten'}\n")
    return 1 if options.check and found else 0
