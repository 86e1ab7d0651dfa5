"""`tallystick agreement` on the command line: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfl.cli_party import AsJson, Folder, Passphrase

agreement = typer.Typer(no_args_is_help=True, help="What companies sign before they compute anything together.")
_File = Annotated[Path, typer.Argument(metavar="FILE", help="An agreement.")]


@agreement.command("draft")
def draft(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A .toml file, or a scenario that ships: columns and parameters.")
    ],
    cards: Annotated[
        list[Path], typer.Option("--with", metavar="CARD", help="The card of a party; once for each of them.")
    ],
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="What the model is for.")],
    legal_basis: Annotated[str, typer.Option(metavar="TEXT", help="The ground in law.")],
    expires: Annotated[str, typer.Option(metavar="DAY", help="The last day, as 2027-12-31 (UTC).")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it.")],
    party: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The own party, in place of --with its card.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="What may leak; may be repeated.  [default: what these clauses need]"),
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COUNT", help="runs=3 or scores=100000; may be repeated.")
    ] = None,
    revenue: Annotated[
        str, typer.Option(metavar="RULE", help="none, equal, contribution, or percents: bank=60,telecom=40.")
    ] = "none",
    parties: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these of the scenario, for instance bank,telecom.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="KIND", help="gbdt or scorecard, for a scenario that ships.  [default: gbdt]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an agreement that nobody has signed yet.

    Columns are those that the scenario lists, or of tables that are here.
    """
    from vfl import agreement_commands
    from vfl.agreement_commands import Source

    agreement_commands.make_draft(
        Source(scenario, parties, model),
        cards,
        party,
        purpose,
        legal_basis,
        expires,
        allow or [],
        budget or [],
        revenue,
        out,
        as_json,
    )


@agreement.command("sign")
def sign(
    file: _File,
    folder: Folder = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    less_privacy: Annotated[
        bool, typer.Option("--less-privacy", help="With --yes: also if it protects less than the one before.")
    ] = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Show an agreement, ask, and sign it for the party.

    Refused unless all keys in it are those of trusted cards. Less privacy than in the last agreement of that name, or
    than the defaults, needs two approvers, where the party has named them.
    """
    from vfl import agreement_commands

    agreement_commands.sign(file, folder, yes, less_privacy, passphrase_file, as_json)


@agreement.command("merge")
def merge(
    first: Annotated[Path, typer.Argument(metavar="A", help="A copy of an agreement.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another copy, signed by others.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.  [default: A]")] = None,
    as_json: AsJson = False,
) -> None:
    """Put the signatures of two copies of one agreement together.

    Refused where a clause differs or a signature does not fit. Nothing is signed by it.
    """
    from vfl import agreement_commands

    agreement_commands.merge(first, second, out, as_json)


@agreement.command("show")
def show(file: _File, as_json: AsJson = False) -> None:
    """Show an agreement in plain words, and who has signed it."""
    from vfl import agreement_commands

    agreement_commands.show(file, as_json)


@agreement.command("diff")
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="An agreement.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Compare two agreements clause by clause."""
    from vfl import agreement_commands

    agreement_commands.diff(first, second, as_json)


@agreement.command("check")
def check(
    file: _File,
    party: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also that its keys are those this party trusts.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that an agreement is fully signed and in force.

    It must also allow everything that a run under it shows.
    """
    from vfl import agreement_commands

    agreement_commands.check(file, party, as_json)
