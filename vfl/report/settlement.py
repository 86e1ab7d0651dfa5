"""Section 14 of a run that was settled: what partners' data is worth, what was used and paid, what is at stake.

All of it is from the settlement's own bundle, checked while the report is made, as `tallystick settle check` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vfl.report.blocks import Block, Facts, Line, Table
from vfl.report.figures import Checked, percent
from vfl.report.material import Material
from vfl.settle.account import Account, Player
from vfl.settle.payments import written


def settlement(m: Material, account: Account) -> list[Block]:
    """What a settlement comes to."""
    t = m.texts
    holds = not account.checked.faults
    verdict = t.word("s14.holds" if holds else "s14.broken")
    blocks: list[Block] = [
        m.say("s14.settled"),
        Facts([
            (t.word("s14.bundle"), (Checked(account.digest),)),
            (t.word("s14.result"), (Checked(verdict),)),
            (t.word("s14.again"), (t.word("s14.command"),)),
        ]),
    ]  # fmt: skip
    blocks += [m.say("s14.fault", tone="warn", fault=Checked(fault)) for fault in account.checked.faults]
    blocks += [m.say("s14.skipped", tone="note", what=Checked(what)) for what in account.checked.skipped]
    if account.players:
        blocks += _worth(m, account)
    if account.usage:
        blocks += _paid(m, account)
    if account.stakes:
        blocks += _stakes(m, account)
    return blocks


def _worth(m: Material, account: Account) -> list[Block]:
    found, t = account.contribution, m.texts
    assert found is not None
    assert account.null is not None
    clause = found.clause
    told = m.say(
        f"s14.value_{clause.value.replace('-', '_')}", customers=Checked(f"{found.patterns.customers:,}"),
        approved=Checked(f"{clause.approve:.0%}"), good=Checked(written(clause.profit_good, clause.currency)),
        bad=Checked(written(clause.loss_bad, clause.currency)), currency=Checked(clause.currency),
    )  # fmt: skip
    head = [t.word(f"s14.{key}") for key in ("partner", "share", "low", "high", "paid_share")]
    rows = [_row(one.name, one, f"{one.ppm / 10_000:.2f} %") for one in account.players]
    rows.append(_row(t.word("s14.null"), account.null, "-"))
    models = [t.word(f"s14.{key}") for key in ("with", "auc", "ks", "bads")]
    measured: list[list[Line]] = [
        [(Checked(_names(m, one)),), (Checked(str(one["auc"])[:6]),), (Checked(str(one["ks"])[:6]),),
         (Checked(percent(one["bads"] / max(one["approved"], 1))),)]
        for one in found.coalitions
    ]  # fmt: skip
    return [
        told, Table(head, rows), *m.picture("contribution"), m.say("s14.null_note", tone="note"),
        m.say("s14.models", tone="head"), Table(models, measured),
    ]  # fmt: skip


def _names(m: Material, coalition: Mapping[str, Any]) -> str:
    named = list(coalition["parties"]) or [m.texts.word("s14.nobody")]
    return " + ".join([*named, *([m.texts.word("s14.noise")] if coalition["null"] else [])])


def _row(name: str, one: Player, paid: str) -> Sequence[Line]:
    return [(Checked(name),), *((Checked(f"{100 * each:.1f} %"),) for each in one.share), (Checked(paid),)]


def _paid(m: Material, account: Account) -> list[Block]:
    t, currency = m.texts, account.currency
    head = [t.word(f"s14.{key}") for key in ("period", "decisions", "degraded", "price", "amount")]
    rows: list[list[Line]] = [
        [
            (Checked(str(one["period"])),), (Checked(f"{one['decisions']:,}"),), (Checked(f"{one['degraded']:,}"),),
            (Checked(f"{written(one['price'], currency)} {currency}"),),
            (Checked(f"{written(one['amount'], currency)} {currency}"),),
        ]
        for one in account.usage
    ]  # fmt: skip
    paid: list[list[Line]] = [
        [(Checked(one.period),), (Checked(one.party),), (Checked(f"{written(one.amount, currency)} {currency}"),)]
        for one in account.payments
    ]
    payments = Table([t.word(f"s14.{key}") for key in ("period", "party", "amount")], paid, words=2)
    return [
        m.say("s14.used", tone="head"), Table(head, rows), m.say("s14.degraded_note", tone="note"),
        m.say("s14.payments", tone="head"), payments, *m.picture("payments"),
    ]  # fmt: skip


def _stakes(m: Material, account: Account) -> list[Block]:
    t, currency = m.texts, account.currency
    rows: list[list[Line]] = [
        [(Checked(party),), (Checked(f"{written(stake, currency)} {currency}"),),
         (Checked(f"{written(account.credits[party], currency)} {currency}"),)]
        for party, stake in account.stakes.items()
    ]  # fmt: skip
    blocks: list[Block] = [
        m.say("s14.stakes", tone="head"), Table([t.word(f"s14.{key}") for key in ("party", "stake", "credit")], rows),
    ]  # fmt: skip
    for one in account.penalties:
        amount = Checked(f"{written(one.amount, currency)} {currency}")
        who = {"party": Checked(one.accused), "reporter": Checked(one.reporter), "ground": Checked(one.ground)}
        blocks.append(m.say("s14.slashed", tone="warn", amount=amount, **who))
    blocks += [
        m.say("s14.disputed", tone="note", party=Checked(party), period=Checked(period))
        for period, party in account.disputes
    ]
    return blocks if account.penalties or account.disputes else [*blocks, m.say("s14.peace", tone="note")]
