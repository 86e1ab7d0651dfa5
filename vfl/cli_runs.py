"""The commands about runs between services, for `vfl.cli`: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfl.cli_party import HERE, AsJson, Passphrase, party

Folder = Annotated[
    Path, typer.Option("--config", "--party", metavar="FILE", help="The party's party.toml, or its folder.")
]
_RUN = typer.Argument(metavar="RUN", help="Its name, as `runs list` shows it.")

runs = typer.Typer(no_args_is_help=True, help="See, watch and end a party's runs with others.")


def require_alone(others: bool) -> None:
    """Nothing of a run on one desk is asked of a run between companies."""
    if others:
        raise typer.BadParameter(
            "goes with --config, --run, --patience, --passphrase-file and --json only", param_hint="--agreement"
        )


def run(
    agreement: Path,
    config: Path,
    name: str | None,
    passphrase_file: Path | None,
    patience: int | None,
    as_json: bool,
) -> None:
    """`tallystick run --agreement`."""
    from vfl import runs_commands

    runs_commands.run_agreement(agreement, config, name, passphrase_file, patience, as_json)


@party.command("serve")
def serve(
    config: Folder = HERE,
    passphrase_file: Passphrase = None,
    metrics_port: Annotated[
        int, typer.Option(metavar="PORT", help="Loopback port of /healthz, /readyz and /metrics.", min=0, max=65535)
    ] = 9464,
) -> None:
    """Take part in runs that trusted peers start.

    Every peer is known by its pinned key, and a run needs an agreement that all signed. Writes JSON lines to stderr.
    """
    from vfl import runs_commands

    runs_commands.serve_party(config, passphrase_file, metrics_port)


@runs.command("list")
def list_runs(config: Folder = HERE, as_json: AsJson = False) -> None:
    """All runs and where they stand."""
    from vfl import runs_commands

    runs_commands.list_runs(config, as_json)


@runs.command("show")
def show_run(run: Annotated[str, _RUN], config: Folder = HERE, as_json: AsJson = False) -> None:
    """Everything about one run."""
    from vfl import runs_commands

    runs_commands.show_run(config, run, as_json)


@runs.command("watch")
def watch_run(run: Annotated[str, _RUN], config: Folder = HERE, as_json: AsJson = False) -> None:
    """Follow a run until it ends: a line for each change."""
    from vfl import runs_commands

    runs_commands.watch_run(config, run, as_json)


@runs.command("cancel")
def cancel_run(
    run: Annotated[str, _RUN],
    config: Folder = HERE,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: all parties are told.")] = "cancelled",
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """End a run for good: for all, at whichever party.

    Where neither a service nor `tallystick run` is up that would do it, it is done here, and needs the passphrase.
    """
    from vfl import runs_commands

    runs_commands.cancel_run(config, run, reason, passphrase_file, as_json)
