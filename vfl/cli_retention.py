"""What is kept of people, on the command line: `tallystick purge` and `tallystick decisions`. Thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_RUN = typer.Argument(metavar="RUN", help="The directory of a finished run.")
_WHAT = typer.Option(metavar="KIND,...", help="Some of salts, transcripts, shares, rows and decisions.")
_REASON = typer.Option(metavar="TEXT", help="Why; stands in the ledger.  [default: retention period ended]")
_OLDER = typer.Option(metavar="DAYS", help="With --what decisions: only those made so long ago.", min=1, max=100_000)


def purge(
    directory: Annotated[Path, _RUN],
    party: Annotated[str | None, typer.Option(metavar="NAME", help="Only this party.  [default: all]")] = None,
    what: Annotated[str, _WHAT] = "salts,transcripts,shares,rows,decisions",
    older_than: Annotated[int | None, _OLDER] = None,
    reason: Annotated[str | None, _REASON] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also before the day that the parties agreed on; needs --reason.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files that would be removed.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only say what is there and what was purged.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Remove what could open a commitment or name a customer.

    The deletion becomes a ledger entry, and the ledger still verifies. A purge that was interrupted goes on.
    """
    from vfl import purge_commands

    purge_commands.purge(directory, party, what, older_than, reason, force, yes, dry_run, status, as_json)


def decisions(
    directory: Annotated[Path, _RUN],
    identifier: Annotated[str | None, typer.Option("--id", metavar="ID", help="Of the applicant.")] = None,
    bundles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the ledgers there, for `python -m ledger verify`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with records and proofs.")] = False,
) -> None:
    """List what was decided about one applicant.

    Reads every volume of decisions; a service may go on meanwhile. With --bundles instead of --id, its ledgers become
    audit bundles: one for each volume of decisions, one for each session with a partner.
    """
    from vfl import decisions_commands

    if (identifier is None) == (bundles is None):
        raise typer.BadParameter("name an applicant, or a folder for bundles", param_hint="--id or --bundles")
    if bundles is not None:
        decisions_commands.write(directory, bundles, as_json)
    else:
        decisions_commands.decisions(directory, identifier or "", as_json)
