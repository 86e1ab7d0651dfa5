"""`tallystick party` on the command line: thin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vfl.party.actions import ACTIONS

party = typer.Typer(no_args_is_help=True, help="Keys, peers and persons of one company.")
approver = typer.Typer(no_args_is_help=True, help="Persons who must approve sensitive actions.")
party.add_typer(approver, name="approver")

Folder = Annotated[Path, typer.Option("--party", metavar="DIR", help="The party's folder, or its party.toml.")]
Passphrase = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="Where the passphrase is.  [default: TALLYSTICK_PASSPHRASE, or asked]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
HERE = Path()


@party.command("init")
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the party.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="What the party is called, as in agreements.")],
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where others reach it.")],
    role_less: Annotated[
        bool, typer.Option("--role-less", help="It brings no table, for instance as a regulator.")
    ] = False,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make a party: settings, encrypted keys and a card for others."""
    from vfl import party_commands

    party_commands.init(directory, name, address, role_less, passphrase_file, as_json)


@party.command("card")
def card(
    folder: Folder = HERE,
    renew: Annotated[bool, typer.Option("--renew", help="Sign it anew, after the address has changed.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.  [default: stdout]")] = None,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Print the own card, and its fingerprint.

    The card is sent to others, the fingerprint is read out to them.
    """
    from vfl import party_commands

    party_commands.card(folder, renew, out, passphrase_file, as_json)


@party.command("trust")
def trust(
    card: Annotated[Path, typer.Argument(metavar="CARD", help="The card of another party.")],
    folder: Folder = HERE,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="DIGITS", help="The fingerprint that somebody there read out.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="The peer has made new keys for good.")] = False,
    as_json: AsJson = False,
) -> None:
    """Admit a peer, or a newer card of one.

    Shows the fingerprint and asks whether it was compared. A card with other pins needs two approvers, where the party
    has named them; one with another identity besides --replace.
    """
    from vfl import party_commands

    party_commands.trust(folder, card, fingerprint, replace, as_json)


@party.command("rotate")
def rotate(folder: Folder = HERE, passphrase_file: Passphrase = None, as_json: AsJson = False) -> None:
    """Take up the next TLS key, and announce another.

    The announcement is a new card. Peers know the key that is taken up from the card they have already, and a running
    service takes it up by itself.
    """
    from vfl import party_commands

    party_commands.rotate(folder, passphrase_file, as_json)


@party.command("passphrase")
def passphrase(
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    new_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the new one is.  [default: asked]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the passphrase of the keys."""
    from vfl import party_commands

    party_commands.change_passphrase(folder, passphrase_file, new_file, as_json)


@party.command("status")
def status(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """Show certificates, peers, runs, space and warnings."""
    from vfl import party_commands

    party_commands.status(folder, as_json)


@party.command("backup")
def backup(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Copy settings, keys, cards, agreements and runs into one signed file.

    The service may go on meanwhile. The file is as secret as the party's folder; the keys in it stay encrypted.
    """
    from vfl import party_commands

    party_commands.backup(folder, out, passphrase_file, as_json)


@party.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `tallystick party backup` wrote.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the party.")],
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make the party of a backup anew, after its folder was lost.

    Everything is checked first. Runs that were going on do not go on: to sign after an old head of a ledger would
    contradict what the party signed since, and peers could prove it.
    """
    from vfl import party_commands

    party_commands.restore(file, directory, passphrase_file, as_json)


@party.command("approve")
def approve(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"One of {', '.join(ACTIONS)}.")],
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A card, an agreement, the directory of a run, a model's version, or an approver."
        ),
    ],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The key of the person who approves.")],
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Approve a sensitive action as one of two persons.

    The approval is for this one thing, once, within seven days.
    """
    from vfl import party_commands

    party_commands.give_approval(folder, action, what, key, passphrase_file, as_json)


@approver.command("key")
def approver_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the private key goes; FILE.pub is for the party.")],
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Make a person's key, encrypted under the person's own passphrase."""
    from vfl import party_commands

    party_commands.approver_key(name, out, passphrase_file, as_json)


@approver.command("add")
def approver_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person.")],
    key: Annotated[Path, typer.Argument(metavar="KEYFILE", help="The person's public key: a .pub file.")],
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Name a person who must approve. With the second one the rule of two begins, also for this list."""
    from vfl import party_commands

    party_commands.approver_change(folder, name, key, passphrase_file, as_json)


@approver.command("remove")
def approver_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person.")],
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Take a person off the list."""
    from vfl import party_commands

    party_commands.approver_change(folder, name, None, passphrase_file, as_json)
