"""`tallystick serve` on the command line: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfl.cli_party import Passphrase

PORT = 8321
DIRECTORY = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", help="A finished run on this machine; partners become processes here."),
]
COMPANY = Annotated[
    Path | None, typer.Option("--config", "--party", metavar="FILE", help="A company's party.toml, or its folder.")
]
NAME = Annotated[
    str | None, typer.Option("--name", metavar="RUN", help="With --config: which run, as `runs list` shows it.")
]
POLICY = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="serving.toml: cut-off, bands, deadlines.")
]


def require_one(directory: Path | None, config: Path | None, name: str | None) -> None:
    """Either a run on this machine, or a company's."""
    if (directory is None) == (config is None) or (config is None and name is not None):
        raise typer.BadParameter("name either a run on this machine, or --config with --name", param_hint="--run")


def serve(
    directory: DIRECTORY = None,
    config: COMPANY = None,
    name: NAME = None,
    policy: POLICY = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="0 takes a free one.", min=0, max=65535)] = PORT,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="PEM; with --tls-key. TLS 1.3.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM, readable by you alone.")] = None,
    require_client: Annotated[
        bool, typer.Option("--require-client-certificate", help="Let in registered certificates alone.")
    ] = False,
    jobs: Annotated[
        Path | None, typer.Option("--jobs", metavar="DIR", help="Let callers have files in this folder scored.")
    ] = None,
    passphrase_file: Passphrase = None,
) -> None:
    """Score applicants jointly, by an API and a console.

    Every decision is on the ledger before it is answered. Callers need a key as soon as there is one (`tallystick
    api-key new`); outside loopback there must be. Writes JSON lines about requests to stderr.
    """
    require_one(directory, config, name)
    if (certificate is None) != (key is None):
        raise typer.BadParameter("goes with --tls-key", param_hint="--tls-certificate")
    from vfl import serve_commands

    files = None if certificate is None or key is None else (certificate, key, require_client)
    serve_commands.serve(directory, config, name, policy, host, port, files, jobs, passphrase_file)
