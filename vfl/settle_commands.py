"""What `tallystick settle` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from ledger.errors import LedgerError
from ledger.policy import Policy
from vfl.clock import SystemClock
from vfl.console import say, screen, show, table
from vfl.errors import UsageError
from vfl.files import read_json, refusals
from vfl.progress import tell
from vfl.seat import RunFile
from vfl.settle import checking, mirroring, monitoring, settling
from vfl.settle.account import account_of
from vfl.settle.book import FOLDER
from vfl.settle.coalitions import Measured
from vfl.settle.contribution import FILE, SHARES, Contribution
from vfl.settle.desk import Desk, at_desk, balances
from vfl.settle.engines.node import Node
from vfl.settle.history import ordered
from vfl.settle.payments import written
from vfl.settle.replica import Played, plain
from vfl.settle.usage import PERIODS, Usage


@contextmanager
def _desk(directory: Path) -> Iterator[Desk]:
    with at_desk(directory, RunFile.read(directory), SystemClock()) as desk:
        yield desk


def value(directory: Path, as_json: bool) -> None:
    """`tallystick settle value`."""

    def told(done: int, of: int, one: Measured) -> None:
        among = " + ".join(one.parties) or "nobody"
        tell(sys.stderr, f"{done} of {of} coalitions: {among}{' and noise' if one.null else ''}, AUC {one.auc:.4f}\n")

    with _desk(directory) as desk:
        found = settling.value_run(desk, told)
        if as_json:
            _write(found.shares)
            return
        _show_shares(desk, found.shares, found.contribution.to_json())
        say(screen(), "On record and cosigned; anyone can check it:", _check_line(directory))


def open_contract(directory: Path, chain_id: int | None, as_json: bool) -> None:
    """`tallystick settle open`."""
    with _desk(directory) as desk:
        settling.open_contract(desk, chain_id)
        body = {"contract": desk.replica.contract.address, "chain_id": desk.replica.genesis.chain_id,
                "job": desk.job.hex(), "balances": balances(desk)}  # fmt: skip
        if as_json:
            _write(body)
            return
        stake = f"{written(desk.clause.stake, desk.clause.currency)} {desk.clause.currency}"
        say(screen(), f"Contract {body['contract']} is open; each of {', '.join(desk.parties)} has {stake} at stake.")


def usage(directory: Path, as_json: bool) -> None:
    """`tallystick settle usage`."""
    with _desk(directory) as desk:
        found = settling.usage_of(desk)
        if as_json:
            _write({"price": desk.clause.price, "currency": desk.clause.currency,
                    "periods": [asdict(one) | {"amount": one.amount(desk.clause.price)} for one in found]})  # fmt: skip
            return
        if not found:
            say(screen(), "no decisions yet: `tallystick serve` or `tallystick score` make them")
            return
        _show_usage(desk, found)


def pay(directory: Path, period: str | None, out: Path | None, as_json: bool) -> None:
    """`tallystick settle pay`."""
    with _desk(directory) as desk:
        now = SystemClock().now().isoformat()[: PERIODS[desk.clause.period]]
        found = settling.pay(desk, period or now, out)
        if as_json:
            _write({"usage": asdict(found.usage), "amount": found.amount, "file": str(found.file),
                    "payments": [asdict(one) for one in found.payments], "balances": balances(desk)})  # fmt: skip
            return
        _show_usage(desk, [found.usage])
        made = table("paid to", "amount")
        for one in found.payments:
            made.add_row(f"{one.party} ({one.entity})", written(one.amount, desk.clause.currency))
        show(screen(), f"Payments of {found.usage.period}, {desk.clause.currency}", made)
        say(screen(), f"Settlement file: {found.file}", f"Check:           {_check_line(directory)}")


def slash(evidence: Path, run: Path, reporter: str | None, as_json: bool) -> None:
    """`tallystick settle slash`."""
    try:
        data = evidence.read_bytes()
    except OSError as error:
        raise UsageError(f"{evidence} cannot be read: {error.strerror}", remedy="name a file of evidence") from None
    with _desk(run) as desk:
        who = reporter or desk.payer
        if who not in desk.parties:
            raise UsageError(f"{who} is no party of this run", remedy=f"name one of {', '.join(desk.parties)}")
        played = settling.slash(desk, data, who)
        body = {"events": _events(desk, played), "balances": balances(desk)}
        if as_json:
            _write(body)
            return
        _show_penalties(desk, played)
        _show_balances(desk)


def show_settlement(directory: Path, plots: Path | None, as_json: bool) -> None:
    """`tallystick settle show`."""
    with _desk(directory) as desk:
        drawn = _draw(directory, desk.policy, plots) if plots is not None else []
        folder = directory / FOLDER
        there = (folder / SHARES).exists()
        shares = settling.valued(desk) if there else {}
        contribution = json.loads((folder / FILE).read_text(encoding="utf-8")) if there else {}
        played = desk.replica.played if desk.replicas else []
        if as_json:
            _write({"shares": shares, "coalitions": contribution.get("coalitions", []),
                    "usage": [asdict(one) for one in settling.usage_of(desk)], "events": _events(desk, played),
                    "balances": balances(desk) if desk.replicas else {}})  # fmt: skip
            return
        if there:
            _show_shares(desk, shares, contribution)
        if found := settling.usage_of(desk):
            _show_usage(desk, found)
        if desk.replicas:
            _show_penalties(desk, played)
            _show_balances(desk)
        if drawn:
            say(screen(), *(f"drawn: {path}" for path in drawn))
        if not there and not desk.replicas:
            say(screen(), "nothing is settled yet: tallystick settle value RUN")


def monitor(directory: Path, as_json: bool) -> None:
    """`tallystick settle monitor`."""
    with _desk(directory) as desk:
        shares = settling.valued(desk)
        contribution = Contribution.from_json(read_json(directory / FOLDER / FILE, "a contribution"))
        found = monitoring.monitor(desk, contribution, shares["ppm"])
        settling.write_files(desk)
        if as_json:
            _write({"players": [one.to_json() for one in found]})
            return
        made = table("", "paid", "masked at first", "now", "95 % interval", "")
        for one in found:
            each = (f"{100 * share:.1f}" for share in (one.paid, one.first, one.masked, one.low, one.high))
            paid, first, now, low, high = each
            mark = "drifted" if one.drifted else ""
            made.add_row(one.name, f"{paid} %", f"{first} %", f"{now} %", f"{low} to {high}", mark)
        show(screen(), "What is paid, and what masking a partner in the model shows", made)
        say(screen(), "Masking favours whom the model leans on: drift is a reason to value again, never a price.")


def _draw(directory: Path, policy: Policy, folder: Path) -> list[Path]:
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib, which is not installed", remedy="pip install 'tallystick[plots]'")
    from vfl.plots.settlement import draw  # noqa: PLC0415 - an extra

    account = account_of(directory, policy)
    if account is None:
        raise UsageError(f"{directory} has no settlement to draw", remedy="tallystick settle value RUN")
    with refusals(folder, "name another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        return draw(account, folder)


def check(bundle: Path, policy: Path | None, as_json: bool) -> None:
    """`tallystick settle check`."""
    try:
        data = bundle.read_bytes()
        trusted = Policy.parse(policy.read_bytes()) if policy else None
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from None
    except LedgerError as error:
        raise UsageError(f"{policy} is no policy: {error}") from None
    found = checking.check(data, trusted)
    if as_json:
        _write({**vars(found), "code": found.code})
    else:
        marks = (("ok     ", found.passed), ("skipped", found.skipped), ("WRONG  ", found.faults))
        say(screen(), *(f"{mark} {line}" for mark, lines in marks for line in lines))
        verdict = {0: "The settlement holds.", 1: "The settlement does NOT hold.", 2: "Not everything was checked."}
        say(screen(), verdict[found.code])
    raise typer.Exit(found.code)


def mirror(directory: Path, node: str, as_json: bool) -> None:
    """`tallystick settle mirror`."""
    with _desk(directory) as desk:
        replica, entries = desk.replica, ordered(desk.entries(), desk.payer)
        found = mirroring.mirror(replica, entries, Node(node), desk.key)
        if as_json:
            _write(asdict(found))
        else:
            same = "the same events and balances" if not found.differences else "DIFFERENT:"
            say(screen(), f"{found.calls} calls to {found.address}, {found.gas:,} gas: {same}", *found.differences)
    if found.differences:
        raise typer.Exit(1)


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _show_shares(desk: Desk, shares: Mapping[str, Any], contribution: Mapping[str, Any]) -> None:
    money, of = desk.clause.value == "profit", shares["customers"]
    unit = f"{desk.clause.currency} a customer" if money else "rate of bads"
    made = table("", unit, "95 % interval", "share", "paid")
    for one in [*shares["players"], {"name": "noise (null)", **shares["null"]}]:
        numbers = [float(_fraction(one["value"])), float(one["low"]), float(one["high"])]
        shown = [_amount(number, of, money) for number in numbers]
        paid = sum(shares["ppm"].get(party, 0) for party in one.get("parties", ()))
        made.add_row(
            one["name"], shown[0], f"{shown[1]} to {shown[2]}", f"{100 * float(one['share'][0]):.1f} %",
            f"{paid / 10_000:.2f} %" if one.get("parties") else "never",
        )  # fmt: skip
    show(screen(), f"What partners' data is worth, by {of:,} customers held out", made)
    models = table("joint with", "AUC", "KS", "bads approved")
    for one in contribution["coalitions"]:
        name = " + ".join(one["parties"]) or "nobody"
        bads = f"{100 * one['bads'] / max(one['approved'], 1):.1f} %"
        models.add_row(f"{name}{' + noise' if one['null'] else ''}", one["auc"][:6], one["ks"][:6], bads)
    show(screen(), f"Models of {desk.payer}, {desk.clause.approve:.0%} approved", models)


def _amount(number: float, customers: int, money: bool) -> str:
    return f"{number / customers / 100:.2f}" if money else f"{number:.4f}"


def _fraction(text: str) -> float:
    above, _, below = text.partition("/")
    return int(above) / int(below or 1)


def _show_usage(desk: Desk, found: Sequence[Usage]) -> None:
    made = table("period", "decisions", "degraded", "price", "amount")
    for one in found:
        each = desk.clause.price, one.amount(desk.clause.price)
        price, amount = (written(value, desk.clause.currency) for value in each)
        made.add_row(one.period, f"{one.decisions:,}", f"{one.degraded:,}", price, amount)
    show(screen(), f"Usage, {desk.clause.currency}", made)


def _show_balances(desk: Desk) -> None:
    made = table("party", "credit", "stake")
    for party, own in balances(desk).items():
        made.add_row(party, *(written(amount, desk.clause.currency) for amount in own.values()))
    booked, withdrawn = desk.replica.totals()
    show(screen(), f"Balances, {desk.clause.currency}", made)
    sums = (written(amount, desk.clause.currency) for amount in (booked, withdrawn))
    say(screen(), "booked {}, paid out {}".format(*sums))


def _show_penalties(desk: Desk, played: Sequence[Played]) -> None:
    for event in _events(desk, played):
        if event["name"] == "Slashed":
            amount = written(int(event["amount"]), desk.clause.currency)
            say(screen(), f"{event['accused']} lost {amount} {desk.clause.currency}: {event['ground']}, "
                f"reported by {event['reporter']}")  # fmt: skip


def _events(desk: Desk, played: Sequence[Played]) -> list[dict[str, Any]]:
    """With names for addresses."""
    addresses = {address.lower(): party for party, address in desk.replica.genesis.addresses.items()} if played else {}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(one) for one in value]
        return addresses.get(value.lower(), value) if isinstance(value, str) else value

    return [
        {"name": event.name, **{key: named(each) for key, each in plain(event.values).items()}}
        for one in played
        for event in one.events
    ]


def _check_line(directory: Path) -> str:
    return f"tallystick settle check {directory}/{FOLDER}/{settling.BUNDLE} --policy {directory}/policy.txt"


def _write(body: Mapping[str, Any]) -> None:
    tell(sys.stdout, json.dumps(body, indent=2, ensure_ascii=False) + "\n")
