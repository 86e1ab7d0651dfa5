"""`tallystick settle`: what partners' data is worth, who is paid, and what a proven lie costs. Thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

settle = typer.Typer(no_args_is_help=True, help="Value partners' data, pay for it, punish lies.")

_RUN = typer.Argument(metavar="RUN", help="The directory of a finished simulated run with a clause of settlement.")
_JSON = typer.Option("--json", help="As JSON.")


@settle.command()
def value(directory: Annotated[Path, _RUN], as_json: Annotated[bool, _JSON] = False) -> None:
    """Train the models of all coalitions of partners and put their shares on record.

    Killed, the same command goes on where it was.
    """
    from vfl import settle_commands

    settle_commands.value(directory, as_json)


@settle.command("open")
def open_(
    directory: Annotated[Path, _RUN],
    chain_id: Annotated[
        int | None, typer.Option(metavar="N", help="Of a chain where the contract is to be, too.  [default: none]")
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Deploy the contract, lock every party's stake, and anchor the heads of the run's ledgers."""
    from vfl import settle_commands

    settle_commands.open_contract(directory, chain_id, as_json)


@settle.command()
def usage(directory: Annotated[Path, _RUN], as_json: Annotated[bool, _JSON] = False) -> None:
    """Meter the decisions of a scoring service from its ledger, by period."""
    from vfl import settle_commands

    settle_commands.usage(directory, as_json)


@settle.command()
def pay(
    directory: Annotated[Path, _RUN],
    period: Annotated[str | None, typer.Option(metavar="PERIOD", help="As 2026-11.  [default: this one]")] = None,
    out: Annotated[Path | None, typer.Option(metavar="CSV", help="The settlement file.  [default: in RUN]")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Settle a period: revenue by the shares in force, distributed by the contract, and a file for the bank."""
    from vfl import settle_commands

    settle_commands.pay(directory, period, out, as_json)


@settle.command()
def slash(
    evidence: Annotated[Path, typer.Argument(metavar="EVIDENCE", help="A file of evidence from the ledger.")],
    run: Annotated[Path, typer.Option(metavar="RUN", help="The directory of the run whose stakes are meant.")],
    reporter: Annotated[
        str | None, typer.Option(metavar="PARTY", help="Who brings it, and gets half.  [default: the label owner]")
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Turn evidence into a penalty. Refused unless two signatures show it alone."""
    from vfl import settle_commands

    settle_commands.slash(evidence, run, reporter, as_json)


@settle.command()
def show(
    directory: Annotated[Path, _RUN],
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw shares and payments there, as PNG and SVG.")
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Shares with their intervals, coalitions, balances, payments and penalties of a run."""
    from vfl import settle_commands

    settle_commands.show_settlement(directory, plots, as_json)


@settle.command()
def monitor(directory: Annotated[Path, _RUN], as_json: Annotated[bool, _JSON] = False) -> None:
    """Compare what partners are paid with what masking them in the model shows, without a training."""
    from vfl import settle_commands

    settle_commands.monitor(directory, as_json)


@settle.command()
def check(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A settlement bundle.")],
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Whose keys are trusted.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Recompute shares, sums and the contract's state from a bundle, alone and offline.

    Exit codes: 0 valid, 1 invalid, 2 something could not be checked.
    """
    from vfl import settle_commands

    settle_commands.check(bundle, policy, as_json)


@settle.command()
def mirror(
    directory: Annotated[Path, _RUN],
    node: Annotated[str, typer.Option(metavar="URL", help="Of an Ethereum JSON-RPC endpoint.")],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Deploy the contract on a real chain, send it every call, and compare events and balances."""
    from vfl import settle_commands

    settle_commands.mirror(directory, node, as_json)
