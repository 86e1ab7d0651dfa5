"""The command line: thin. Exit codes: 0 done, 2 fix the input, 3 a party misbehaved, 4 try again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="tallystick",
    help="Joint credit models across companies, under encryption, with ledgers that a regulator can verify alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
EXIT_USAGE, EXIT_PROTOCOL, EXIT_TRANSPORT = 2, 3, 4


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A shipped scenario (see `tallystick scenarios`) or a .toml file.")],
    out: Annotated[Path | None, typer.Option(help="Directory for the results; default runs/NAME-TIME.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on stdout, and nothing else.")
    ] = False,
    config_check: Annotated[bool, typer.Option(help="Check the scenario and its tables, then stop.")] = False,
    processes: Annotated[bool, typer.Option(help="Run every party as its own process over loopback sockets.")] = False,
    parties: Annotated[str | None, typer.Option(help="Only these parties, comma-separated: bank,telecom.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the interrupted run of this --out.")] = False,
    seed: Annotated[str | None, typer.Option(help="Derive all randomness from this text: for tests only.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds without any word between processes.", min=1.0)] = 600.0,
) -> None:
    """Run all parties of a scenario: align, train, score, and write the audit bundle."""
    from vfl import commands  # imported late: `--help` must not pay for numpy

    commands.run(scenario, out, as_json, config_check, processes, parties, resume, seed, timeout)


@app.command()
def scenarios(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the scenarios that ship with the package."""
    from scenarios import describe, scenario_names

    found = {name: describe(name) for name in scenario_names()}
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, text in found.items():
        typer.echo(f"{name:12} {text}")


@app.command()
def replay(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    party: Annotated[str, typer.Option(help="Whose part to run again.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Run one party again from its data, seed and received messages; every sent byte must come out the same."""
    from vfl import commands

    commands.replay(directory, party, as_json)


@app.command()
def version() -> None:
    """Print the version."""
    from vfl import __version__

    typer.echo(__version__)


def main() -> None:
    """Entry point: errors become sentences and exit codes."""
    from vfl.errors import AgreementError, ProtocolError, UsageError, VflError

    try:
        app()
    except VflError as error:
        typer.echo(f"error: {error}", err=True)
        if error.remedy:
            typer.echo(f"  to do: {error.remedy}", err=True)
        if isinstance(error, UsageError | AgreementError):
            sys.exit(EXIT_USAGE)
        sys.exit(EXIT_PROTOCOL if isinstance(error, ProtocolError) else EXIT_TRANSPORT)


if __name__ == "__main__":
    main()
