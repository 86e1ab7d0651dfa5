"""`tallystick models` on the command line: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfl.cli_party import Passphrase
from vfl.cli_serve import COMPANY, NAME, require_one

models = typer.Typer(no_args_is_help=True, help="Which model decides, and who comes next.")

Home = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", help="The run on this machine that is served, or would be."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="As `models list` shows it; its first 6 digits or more.")
]


@models.command("list")
def list_models(
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """All models with their roles, and who has asked for a change that awaits another person."""
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.list_models(models_commands.served(home, config, name, passphrase_file), as_json)


@models.command("add")
def add(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a finished run of the same scenario.")],
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Have the model of another run score as a challenger. It decides about nobody.

    Trains its stand-in, if there is none yet. A running service opens it within some seconds.
    """
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.add(models_commands.served(home, config, name, passphrase_file), run, as_json)


@models.command("promote")
def promote(
    version: Version,
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    as_json: AsJson = False,
) -> None:
    """Have a challenger decide. A running service does so within a second; requests under way are not touched.

    Where a company has named approvers, two must have approved: `tallystick party approve promote VERSION`.
    """
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.change(models_commands.served(home, config, name), "promoted", version, 0.0, as_json)


@models.command("rollback")
def rollback(
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    as_json: AsJson = False,
) -> None:
    """Have the champion of before decide again, under the same rule as `promote`."""
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.rollback(models_commands.served(home, config, name), as_json)


@models.command("canary")
def canary(
    version: Version,
    share: Annotated[float, typer.Argument(metavar="SHARE", help="0 to 1; 0 ends it.", min=0.0, max=1.0)],
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    as_json: AsJson = False,
) -> None:
    """Have a challenger decide about a share of applicants, the same ones again and again.

    More than before is under the same rule as `promote`.
    """
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.change(models_commands.served(home, config, name), "share", version, share, as_json)


@models.command("retire")
def retire(
    version: Version,
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    as_json: AsJson = False,
) -> None:
    """Have a challenger score no more. Its decisions stay on record; it can be added again."""
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.change(models_commands.served(home, config, name), "retired", version, 0.0, as_json)


@models.command("compare")
def compare(
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="A challenger.  [default: the only one]", show_default=False)
    ] = "",
    home: Home = None,
    config: COMPANY = None,
    name: NAME = None,
    as_json: AsJson = False,
) -> None:
    """What a challenger would have decided beside what the champion decided, by the ledger of decisions.

    Needs `[models] shadow = true` in serving.toml while decisions are made.
    """
    require_one(home, config, name)
    from vfl import models_commands

    models_commands.compare(models_commands.served(home, config, name), version, as_json)
