"""`tallystick api-key` on the command line: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

api_key = typer.Typer(no_args_is_help=True, help="Keys and certificates of those who call the scoring API.")

Folder = Annotated[
    Path,
    typer.Option("--folder", metavar="DIR", help="The served folder: of a run, or of a party. Holds api-keys.json."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
HERE = Path()


@api_key.command("new")
def new(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="Who calls with it, for instance loan-desk.")],
    scope: Annotated[
        list[str], typer.Option(metavar="NAME", help="score, read or admin; may be repeated.", show_default=False)
    ],
    folder: Folder = HERE,
    days: Annotated[int, typer.Option(metavar="DAYS", help="How long it counts.", min=1, max=3650)] = 365,
    per_minute: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Requests a minute at most.  [default: 60000]", min=1)
    ] = None,
    per_day: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Decisions a day at most.  [default: no bound]", min=1)
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Know the client by this certificate (PEM), not by a key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and show it this once.

    A client may have several: make the next one, have it taken up, then revoke the one before.
    """
    from vfl import api_commands

    api_commands.new(folder, client, scope, days, per_minute, per_day, certificate, as_json)


@api_key.command("list")
def list_keys(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """All keys, with what they are good for: never the keys themselves."""
    from vfl import api_commands

    api_commands.list_keys(folder, as_json)


@api_key.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `api-key list` shows it.")],
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Withdraw a key for good: a running service sees that within a second."""
    from vfl import api_commands

    api_commands.revoke(folder, which, as_json)
