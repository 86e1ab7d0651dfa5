"""What `tallystick party` does."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from ledger.errors import LedgerError
from vfl.agreements.signed import SignedAgreement
from vfl.clock import SystemClock
from vfl.console import say, table
from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.party import admission, approvers, founding, keystore
from vfl.party.actions import ACTIONS, NEEDED
from vfl.party.approvals import Deed, approve, approved
from vfl.party.backup import back_up
from vfl.party.card import Card
from vfl.party.config import PartyFile, read_party_file
from vfl.party.keystore import Keys, unlock
from vfl.party.passphrase import passphrase
from vfl.party.restore import restore as restored
from vfl.party.state import admit, card_of
from vfl.party.status import status as found_status
from vfl.seat import RunFile


def init(folder: Path, name: str, address: str, role_less: bool, file: Path | None, as_json: bool) -> None:
    """`tallystick party init`."""
    founding.require_new(folder, name, address)
    secret = passphrase(file, "New passphrase", new=True)
    card = founding.found(folder, name, address, secret, SystemClock().now(), data=not role_less)
    lines = [
        f"{folder / 'party.toml'}: the settings; look through them" + ("" if role_less else " and name your table"),
        f"{folder / 'state'}: keys, encrypted under the passphrase. Back both up: nobody can restore them",
        f"{folder / 'state' / 'card.txt'}: the card for those you work with",
        f"fingerprint, to be read out to them: {card.fingerprint}",
    ]
    _tell({"party": name, "folder": str(folder), "fingerprint": card.fingerprint}, lines, as_json)


def card(folder: Path, renew: bool, out: Path | None, file: Path | None, as_json: bool) -> None:
    """`tallystick party card`."""
    party = read_party_file(folder)
    shown = card_of(party)
    if renew:
        shown = founding.renew_card(party.state, _unlocked(party, file), party.address, SystemClock().now())
    if out is not None:
        with refusals(out, "name another --out"):
            write_data(out, shown.note.encode())
    if as_json:
        _tell({"party": shown.name, "fingerprint": shown.fingerprint, "card": shown.note}, [], True)
        return
    if out is None:
        sys.stdout.write(shown.note)  # as it is, so that it can be sent to a file or a mail
    sys.stderr.write(f"fingerprint: {shown.fingerprint}\n")


def trust(folder: Path, path: Path, heard: str | None, replace: bool, as_json: bool) -> None:
    """`tallystick party trust`."""
    party = read_party_file(folder)
    state, shown = party.state, Card.read(path)
    card_of(party)
    found = admission.examine(state, shown)
    if found.new_identity and not replace:
        assert found.before is not None
        raise UsageError(
            f"the card of {shown.name} has ANOTHER IDENTITY: fingerprint {shown.fingerprint}, and trusted is "
            f"{found.before.fingerprint}",
            remedy="ask somebody you know there; if they did make new keys, say --replace",
        )
    if heard is not None:
        admission.require_heard(shown, heard)
    elif found.before is None or found.sensitive:
        _ask_for_fingerprint(shown, found.words)
    if not found.sensitive:
        admit(state, shown)
    else:
        with approved(state, Deed.trusting(shown), SystemClock().now()):
            admit(state, shown)
    lines = [f"{shown.name} is trusted: {found.words}", f"fingerprint {shown.fingerprint}, at {shown.address}"]
    _tell({"peer": shown.name, "fingerprint": shown.fingerprint, "change": found.words}, lines, as_json)


def rotate(folder: Path, file: Path | None, as_json: bool) -> None:
    """`tallystick party rotate`."""
    party = read_party_file(folder)
    card_of(party)
    shown = founding.rotate(party, _unlocked(party, file), SystemClock().now())
    lines = [
        "The next TLS key is now the current one; a service that runs takes it up by itself.",
        f"Give everybody the new card, {party.state / 'card.txt'}, before you rotate again: it announces the next key.",
        f"Peers with the card of before still know the current one. fingerprint, as ever: {shown.fingerprint}",
    ]
    _tell({"party": shown.name, "pins": shown.pins, "fingerprint": shown.fingerprint}, lines, as_json)


def change_passphrase(folder: Path, file: Path | None, new: Path | None, as_json: bool) -> None:
    """`tallystick party passphrase`."""
    party = read_party_file(folder)
    keystore.read(party.state)
    old = passphrase(file)
    unlock(party.state, old)
    keystore.change_passphrase(party.state, old, passphrase(new, "New passphrase", new=True, env=False))
    lines = ["The passphrase is changed. Copies of the key file from before still open with the old one."]
    _tell({"party": party.name, "changed": True}, lines, as_json)


def backup(folder: Path, out: Path, file: Path | None, as_json: bool) -> None:
    """`tallystick party backup`."""
    party = read_party_file(folder)
    card_of(party)
    made = back_up(party, _unlocked(party, file), out, SystemClock().now())
    lines = [
        f"{made.path}: {made.files} files, {made.size:,} bytes",
        "Keep it as safe as the folder itself, and the passphrase elsewhere. It needs the passphrase of today.",
    ]
    _tell({"party": party.name, "file": str(made.path), "files": made.files, "bytes": made.size}, lines, as_json)


def restore(path: Path, folder: Path, file: Path | None, as_json: bool) -> None:
    """`tallystick party restore`."""
    found = restored(path, folder, passphrase(file), SystemClock().now())
    ended = [run.run for run in found.runs if run.ended]
    lines = [
        f"{found.name} is in {folder} as it was at {found.made}; fingerprint, as ever: {found.fingerprint}",
        *(f"  {run.run}: {run.state}, {_entries(run.entries)}" for run in found.runs),
        "Make sure that the old one is gone for good: two copies that sign contradict each other.",
        "Ask peers for their newest cards. If you rotated keys since, rotate again and send them yours.",
        "Approvals are to be given anew. What was purged since is back: purge it again.",
    ]
    if ended:
        lines.append(f"Not to go on, for peers may hold later heads of their ledgers: {', '.join(ended)}. Start anew.")
    body = {"party": found.name, "made": found.made, "fingerprint": found.fingerprint}
    _tell({**body, "runs": [asdict(run) for run in found.runs]}, lines, as_json)


def _entries(count: int | None) -> str:
    return "its ledger is in a database" if count is None else f"{count:,} entries"


def status(folder: Path, as_json: bool) -> None:
    """`tallystick party status`."""
    party = read_party_file(folder)
    body = found_status(party, SystemClock().now())
    if as_json:
        _tell(body, [], True)
        return
    console = Console()
    say(console, f"{body['party']} at {body['address']}, listens at {body['listen']}")
    say(console, f"fingerprint {body['fingerprint']}")
    shown = table("certificates of", "pin", "until", "days left")
    for name, one in [(body["party"], body), *body["peers"].items()]:
        for each in one["certificates"]:
            shown.add_row(name, each["pin"][:16] + "..", each["until"][:10], str(each["days_left"]))
    console.print(shown)
    if not body["peers"]:
        say(console, "No peer is trusted yet: tallystick party trust CARD")
    if body["runs"]:
        runs = table("run", "state", "phase")
        for run in body["runs"]:
            runs.add_row(run["run"], run["state"], run["phase"])
        console.print(runs)
    two = f"{NEEDED} of {', '.join(body['approvers'])} approve sensitive actions" if body["rule_of_two"] else ""
    say(console, two or "The rule of two is off: no two approvers are named.", f"{body['disk_free_mb']} MB are free.")
    say(console, *[f"warning: {each}" for each in body["warnings"]] or ["No warnings."])


def approver_key(name: str, out: Path, file: Path | None, as_json: bool) -> None:
    """`tallystick party approver key`."""
    with _ledger_words():
        vkey = approvers.make_key(out, name, passphrase(file, f"New passphrase of {name}", new=True))
    lines = [f"{out}: the key of {name}, encrypted; only {name} keeps it", f"{out}.pub: for the party"]
    _tell({"name": name, "file": str(out), "key": vkey.vkey}, lines, as_json)


def approver_change(folder: Path, name: str, key: Path | None, file: Path | None, as_json: bool) -> None:
    """`tallystick party approver add`, and with no key `remove`."""
    party = read_party_file(folder)
    own = card_of(party)
    present = dict(approvers.approvers(party.state, own.identity))
    if key is None:
        if name not in present:
            raise UsageError(
                f"{name} is no approver of {own.name}", remedy=f"there are: {', '.join(present) or 'none'}"
            )
        vkey = present.pop(name)
    else:
        vkey = approvers.read_public(key)
        if vkey.name != name:
            raise UsageError(f"{key} is the key of {vkey.name}, not of {name}")
        if name in present or any(vkey.public == other.public for other in present.values()):
            raise UsageError(f"{name}, or somebody with the same key, is an approver already")
        present[name] = vkey
    deed = Deed.listing(vkey, add=key is not None)
    with approved(party.state, deed, SystemClock().now()):
        approvers.keep(party.state, _unlocked(party, file).identity.identity, present)
    rule = f"{NEEDED} of them must approve sensitive actions" if len(present) >= NEEDED else "the rule of two is off"
    _tell({"approvers": sorted(present)}, [f"approvers: {', '.join(sorted(present)) or 'none'}; {rule}"], as_json)


def give_approval(folder: Path, action: str, what: str, key: Path, file: Path | None, as_json: bool) -> None:
    """`tallystick party approve`."""
    party = read_party_file(folder)
    deed, words = _deed(party, action, what)
    signer = approvers.open_key(key, passphrase(file, f"Passphrase of {key.name}"))
    path = approve(party.state, deed, signer, SystemClock().now())
    lines = [f"{signer.name} approves {ACTIONS[action]}: {words}"]
    _tell({"action": action, "subject": deed.subject, "by": signer.name, "file": str(path)}, lines, as_json)


def _deed(party: PartyFile, action: str, what: str) -> tuple[Deed, str]:
    """What is to be approved, and what it is for people."""
    if action == "pins":
        shown = Card.read(Path(what))
        change = admission.examine(party.state, shown).words
        return Deed.trusting(shown), f"{shown.name}, fingerprint {shown.fingerprint}: {change}"
    if action == "agreement":
        digest = SignedAgreement.read(Path(what)).agreement.digest
        return Deed(action, digest), digest
    if action in ("release", "purge"):
        run = RunFile.read(Path(what), needs=()).run
        return Deed(action, run), run
    if action == "promote":
        if not re.fullmatch("[0-9a-f]{64}", what):
            raise UsageError(
                f"{what!r:.80} is no version of a model", remedy="name all 64 digits: `tallystick models list`"
            )
        return Deed.promoting(what), what
    if action == "approver":
        present = approvers.approvers(party.state, card_of(party).identity)
        if what in present:
            return Deed.listing(present[what], add=False), f"{what} is removed"
        vkey = approvers.read_public(Path(what))
        return Deed.listing(vkey, add=True), f"{vkey.name} is added"
    raise UsageError(f"there is no action {action!r:.40}", remedy=f"name one of {', '.join(ACTIONS)}")


def _ask_for_fingerprint(shown: Card, words: str) -> None:
    """Have a person compare it; a program must give the digits that somebody heard."""
    sys.stderr.write(f"card of {shown.name} at {shown.address}: {words}\nfingerprint {shown.fingerprint}\n")
    if not sys.stdin.isatty():
        raise UsageError(
            f"nobody has compared the fingerprint of {shown.name}",
            remedy="have it read out to you, and give the digits: --fingerprint DIGITS",
        )
    if not typer.confirm("Did somebody you know there read out the same digits?", err=True):
        raise UsageError(f"{shown.name} is not trusted")


def _unlocked(party: PartyFile, file: Path | None) -> Keys:
    keystore.read(party.state)  # what is wrong with the file is said before anybody types
    return unlock(party.state, passphrase(file))


class _ledger_words:  # noqa: N801  # reads as the statement it is
    """Turns what the ledger says of a name or a key into an error of the command line."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LedgerError):
            raise UsageError(str(error), remedy=error.remedy) from None


def _tell(body: dict[str, Any], lines: list[str], as_json: bool) -> None:
    sys.stdout.write(json.dumps(body) + "\n" if as_json else "\n".join(lines) + "\n")
