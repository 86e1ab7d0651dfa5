"""`tallystick score` on the command line: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfl.cli_party import Passphrase
from vfl.cli_serve import COMPANY, DIRECTORY, NAME, POLICY, require_one


def score(
    applicants: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet: id, and own features or none.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new CSV file for the decisions.")],
    directory: DIRECTORY = None,
    config: COMPANY = None,
    name: NAME = None,
    policy: POLICY = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the job with this --out stopped.")] = False,
    passphrase_file: Passphrase = None,
    as_json: Annotated[bool, typer.Option("--json", help="The counts as JSON.")] = False,
) -> None:
    """Score a file of applicants, however long.

    Each block of 10,000 is one message to each partner and one entry on the ledger. An interrupted job goes on with
    --resume, and decides nothing twice.
    """
    require_one(directory, config, name)
    from vfl import serve_commands

    serve_commands.score(applicants, out, directory, config, name, policy, resume, passphrase_file, as_json)
