"""Pictures of a settlement: what partners' data is worth, and who was paid what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from vfl.plots.style import BAD, COLOURS, FAINT, PERCENT, picture, save, styled
from vfl.settle.account import Account
from vfl.settle.payments import digits_of, written
from vfl.wording import Wording

_PARTIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
_MOST_PERIODS = 12


def draw(account: Account, folder: Path, language: str = "en") -> list[Path]:
    """Every picture there is data for, as PNG and SVG; the files written."""
    written_: list[Path] = []
    with styled(language):
        for name, made in pictures(account, language).items():
            written_ += save(made, folder, name)
    return written_


def pictures(account: Account, language: str = "en") -> Mapping[str, Figure]:
    """By name: `contribution`, `payments`."""
    say, found = Wording("vfl.plots", language), dict[str, Figure]()
    if account.players:
        found["contribution"] = _contribution(account, say)
    if account.payments:
        found["payments"] = _payments(account, say)
    return found


def _contribution(account: Account, say: Wording) -> Figure:
    assert account.null is not None
    assert account.contribution is not None
    best = max(account.players, key=lambda one: one.share[0])
    paid = sum(one.ppm > 0 for one in account.players)
    title = say("contribution.title", best=best.name, share=f"{best.share[0]:.0%}")
    what = say("contribution.what", customers=f"{account.contribution.patterns.customers:,}", paid=str(paid),
               players=str(len(account.players)))  # fmt: skip
    rows = [*((one.name, one, COLOURS["federated"] if one.ppm else BAD) for one in account.players),
            (say("contribution.null"), account.null, FAINT)]  # fmt: skip
    longest = max(len(name) for name, *_ in rows)
    figure, (axes,) = picture(title, what, height=2.4 + 0.5 * len(rows))
    figure.subplots_adjust(left=min(0.45, 0.1 + 0.012 * longest))
    for place, (_, one, colour) in enumerate(rows):
        share, low, high = one.share
        axes.errorbar(share, -place, xerr=[[share - low], [high - share]], fmt="o", color=colour, markersize=7,
                      linewidth=2.0, capsize=3)  # fmt: skip
        axes.annotate(f"{share:.1%}", (share, -place), (0, 8), textcoords="offset points", ha="center", size=9)
    axes.axvline(0, color=FAINT, linewidth=1.0)
    axes.set_yticks([-place for place in range(len(rows))], [name for name, *_ in rows])
    axes.set_ylim(0.6 - len(rows), 0.6)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(say("contribution.below"))
    return figure


def _payments(account: Account, say: Wording) -> Figure:
    periods = list(dict.fromkeys(one.period for one in account.payments))[-_MOST_PERIODS:]
    parties = list(dict.fromkeys(one.party for one in account.payments))
    amounts = {
        (period, party): sum(one.amount for one in account.payments if (one.period, one.party) == (period, party))
        for period in periods
        for party in parties
    }
    total = written(sum(amounts.values()), account.currency)
    title = say("payments.title", total=total, currency=account.currency)
    figure, (axes,) = picture(title, say("payments.what", periods=str(len(periods))), height=4.0)
    unit, bottoms = 10 ** digits_of(account.currency), [0.0] * len(periods)
    for number, party in enumerate(parties):
        heights = [amounts[period, party] / unit for period in periods]
        axes.bar(periods, heights, 0.6, bottom=bottoms, color=_PARTIES[number % len(_PARTIES)], label=party)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xlim(-1, max(len(periods), 2))
    axes.set_ylim(0, max(bottoms) * 1.25)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(account.currency)
    axes.legend(loc="upper right", frameon=False, ncols=min(4, len(parties)))
    return figure
