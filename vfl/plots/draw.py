"""All pictures of an evaluation: what is in each, and what its title says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vfl.learn.ranking import Ranking
from vfl.plots.style import BAD, COLOURS, FAINT, GOOD, INK, LINES, PERCENT, key, note, picture, save, styled, thin
from vfl.scores import Scores
from vfl.wording import Wording

_RELIABILITY = ("mean_pd", "bad_rate", "bad_rate_low", "bad_rate_high")


@dataclass(frozen=True, eq=False)
class Drawing:
    """An evaluation and the rankings behind it. `names`: what the models are called; `say`: in which language."""

    body: Mapping[str, Any]
    rankings: Mapping[str, Ranking]
    names: Mapping[str, str]
    say: Wording

    @classmethod
    def of(cls, body: Mapping[str, Any], scores: Scores, language: str = "en") -> Drawing:
        """From what `evaluate` said and the scores it said it of."""
        rows, labels = scores.holdout, scores.labels[scores.holdout]
        rankings = {name: Ranking.of(labels, score[rows]) for name, score in scores.scores.items()}
        say = Wording("vfl.plots", language)
        alone = say("alone", party=body["active"])
        return cls(
            body, rankings, {"federated": say("joint"), "bank_only": alone, "pooled_lightgbm": say("pooled")}, say
        )

    @property
    def models(self) -> Mapping[str, Any]:
        """Figures by model."""
        found: Mapping[str, Any] = self.body["models"]
        return found

    @property
    def where(self) -> str:
        """Whose figures these are."""
        return self.say("where", scenario=self.body["scenario"], count=f"{self.body['customers']['holdout']:,}")

    @property
    def against(self) -> str:
        """How the joint model compares with the active party alone, as a verb."""
        low, high = self.body["differences"]["bank_only"]["auc"]["interval"]
        return self.say("beats" if low > 0 else "behind" if high < 0 else "level")

    @property
    def alone(self) -> str:
        """What the active party's own model is called."""
        return self.names["bank_only"]

    def title(self, picture: str, **values: str) -> tuple[str, str]:
        """What was found and what is shown, the two lines above a picture."""
        where = {"where": self.where, "alone": self.alone, **values}
        return self.say(f"{picture}.title", **where), self.say(f"{picture}.what", **where)

    def note(self, figure: Figure, key: str = "") -> None:
        """The line at the foot, about the pooled model."""
        pooled = self.say("pooled_note")
        note(figure, self.say(key, pooled=pooled) if key else pooled)


def draw(body: Mapping[str, Any], scores: Scores, folder: Path) -> list[Path]:
    """Draw every picture into `folder`, which exists; returns the files."""
    of = Drawing.of(body, scores)
    pictures = {
        "roc": roc, "ks": ks, "gain": gain, "lift": lift, "bands": bands, "calibration": calibration,
        "trade-off": trade_off, "profit": profit,
    }  # fmt: skip
    written = []
    with styled():
        for name, made in pictures.items():
            written += save(made(of), folder, name)
    return written


def roc(of: Drawing) -> Figure:
    """Receiver operating characteristic."""
    joint, alone = (of.models[name]["auc"]["value"] for name in ("federated", "bank_only"))
    told = of.title("roc", against=of.against, joint=f"{joint:.3f}", other=f"{alone:.3f}")
    figure, (axes,) = picture(*told, height=5.4)
    labels = {}
    for name, ranking in of.rankings.items():
        bads, goods = ranking.bads, np.arange(len(ranking.bads)) - ranking.bads
        at = thin(len(bads))
        axes.plot(1.0 - goods[at] / goods[-1], 1.0 - bads[at] / bads[-1], **LINES[name])
        found = of.models[name]["auc"]
        low, high = found["interval"]
        labels[name] = f"{of.names[name]}  {found['value']:.3f}  ({low:.3f}-{high:.3f})"
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 4)))
    _shares(axes, of.say("roc.below"), of.say("roc.beside"))
    key(axes, labels, "lower right")
    of.note(figure)
    return figure


def ks(of: Drawing) -> Figure:
    """The gap between the two classes' distributions, one panel a model."""
    joint, alone = (of.models[name]["ks"]["value"] for name in ("federated", "bank_only"))
    told = of.title("ks", joint=f"{joint:.3f}", other=f"{alone:.3f}")
    figure, panels = picture(*told, 3, width=9.6, height=4.4)
    for axes, (name, ranking) in zip(panels, of.rankings.items(), strict=True):
        counts = np.arange(len(ranking.bads))
        bads, goods = ranking.bads / ranking.bads[-1], (counts - ranking.bads) / (counts[-1] - ranking.bads[-1])
        everyone, at = counts / counts[-1], thin(len(counts))
        axes.plot(everyone[at], goods[at], color=GOOD, linewidth=2.0)
        axes.plot(everyone[at], bads[at], color=BAD, linewidth=2.0)
        widest = int(np.argmax(np.abs(goods - bads)))
        axes.vlines(everyone[widest], bads[widest], goods[widest], color=INK, linewidth=1.2)
        high = int(0.4 * counts[-1])
        axes.text(everyone[high], goods[high] + 0.06, of.say("ks.good"), color=GOOD, ha="right")
        low = int(0.75 * counts[-1])
        axes.text(everyone[low], bads[low] - 0.1, of.say("ks.bad"), color=BAD, ha="left")
        gap = f"{of.models[name]['ks']['value']:.3f}"
        axes.set_title(of.say("ks.panel", name=of.names[name], ks=gap), size=10, loc="left")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
        _shares(axes, of.say("ks.below"), of.say("ks.beside") if axes is panels[0] else "")
    of.note(figure)
    return figure


def gain(of: Drawing) -> Figure:
    """Bad customers found by looking at the riskiest first."""
    tenth = min(2, len(of.models["federated"]["lift"])) - 1
    joint, alone = (of.models[name]["lift"][tenth]["captured"] for name in ("federated", "bank_only"))
    looked = (tenth + 1) / len(of.models["federated"]["lift"])
    told = of.title("gain", looked=f"{looked:.0%}", joint=f"{joint:.0%}", other=f"{alone:.0%}")
    figure, (axes,) = picture(*told)
    for name, ranking in of.rankings.items():
        counts, at = np.arange(len(ranking.bads)), thin(len(ranking.bads))
        found = 1.0 - ranking.bads[::-1] / ranking.bads[-1]
        axes.plot(counts[at] / counts[-1], found[at], **LINES[name])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 4)))
    _shares(axes, of.say("gain.below"), of.say("gain.beside"))
    key(axes, of.names, "lower right")
    of.note(figure)
    return figure


def lift(of: Drawing) -> Figure:
    """How many times more bad customers a group has than all."""
    joint, alone = (of.models[name]["lift"][0]["lift"] for name in ("federated", "bank_only"))
    figure, (axes,) = picture(*of.title("lift", joint=f"{joint:.1f}", other=f"{alone:.1f}"))
    for name, model in of.models.items():
        lifts = [row["lift"] for row in model["lift"]]
        axes.plot(range(1, len(lifts) + 1), lifts, marker="o", markersize=5, **LINES[name])
    axes.axhline(1.0, color=FAINT, linewidth=0.8, linestyle=(0, (4, 4)))
    axes.text(
        len(of.models["federated"]["lift"]), 1.0, of.say("lift.all"), color=FAINT, size=9, va="bottom", ha="right"
    )
    axes.set_xticks(range(1, len(of.models["federated"]["lift"]) + 1))
    axes.grid(visible=False, axis="x")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(of.say("lift.below"))
    axes.set_ylabel(of.say("lift.beside"))
    key(axes, of.names, "upper right")
    of.note(figure)
    return figure


def bands(of: Drawing) -> Figure:
    """Bad rate by score band."""
    own = [row for row in of.models["federated"]["bands"] if row["bad_rate"] is not None]
    psi = of.models["federated"]["psi"]
    told = of.title(
        "bands", safest=f"{own[0]['bad_rate']:.1%}", riskiest=f"{own[-1]['bad_rate']:.0%}", psi=f"{psi['value']:.3f}",
        verdict=of.say(f"bands.{psi['verdict']}"),
    )  # fmt: skip
    figure, (axes,) = picture(*told)
    for name in reversed(list(of.models)):
        rows = [(n, r["bad_rate"]) for n, r in enumerate(of.models[name]["bands"], 1) if r["bad_rate"] is not None]
        numbers, rates = zip(*rows, strict=True)
        axes.plot(numbers, rates, marker="o", markersize=5, **LINES[name])
    axes.axhline(of.body["bad_rate"], color=FAINT, linewidth=0.8, linestyle=(0, (4, 4)))
    everyone = of.say("bands.all", rate=f"{of.body['bad_rate']:.1%}")
    axes.text(1, of.body["bad_rate"], everyone, color=FAINT, size=9, va="bottom")
    axes.set_xticks(range(1, 1 + max(len(model["bands"]) for model in of.models.values())))
    axes.grid(visible=False, axis="x")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(of.say("bands.below"))
    axes.set_ylabel(of.say("bands.beside"))
    key(axes, of.names, "upper left")
    of.note(figure)
    return figure


def calibration(of: Drawing) -> Figure:
    """Predicted against found, one panel a model."""
    found = of.models["federated"]["calibration"]
    p = found["hosmer_lemeshow"]["p_value"]
    told = of.title(
        "calibration", fit=of.say("calibration.fits" if p >= 0.05 else "calibration.off"), p=f"{p:.3f}",
        expected=f"{found['mean_pd']:.1%}", found=f"{found['bad_rate']:.1%}",
        confidence=f"{of.body['parameters']['confidence']:.0%}",
    )  # fmt: skip
    figure, panels = picture(*told, 3, width=9.6, height=4.4)
    bins = {name: model["calibration"]["reliability"] for name, model in of.models.items()}
    top = max(row["bad_rate_high"] for rows in bins.values() for row in rows)
    for axes, (name, rows) in zip(panels, bins.items(), strict=True):
        x, y, low, high = (np.array([row[column] for row in rows]) for column in _RELIABILITY)
        colour = FAINT if name == "pooled_lightgbm" else COLOURS[name]
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 4)))
        axes.errorbar(x, y, [y - low, high - y], fmt="o", color=colour, markersize=5, linewidth=1.2)
        figures = of.models[name]["calibration"]
        chance = f"{figures['hosmer_lemeshow']['p_value']:.3f}"
        brier, slope = f"{figures['brier']:.3f}", f"{figures['slope']:.2f}"
        words = of.say("calibration.panel", brier=brier, slope=slope, p=chance)
        axes.text(0.04, 0.96, words, transform=axes.transAxes, va="top", size=9)
        axes.set_title(of.names[name], size=10, loc="left")
        axes.set_xlim(0, min(1.0, top * 1.05))
        axes.set_ylim(0, min(1.0, top * 1.05))
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel(of.say("calibration.below"))
    panels[0].set_ylabel(of.say("calibration.beside"))
    of.note(figure, "calibration.note")
    return figure


def trade_off(of: Drawing) -> Figure:
    """Bad rate among the approved by how many are approved."""
    half = {name: next(r for r in model["approvals"] if r["approved"] >= 0.499) for name, model in of.models.items()}
    joint, alone = half["federated"]["bad_rate"], half["bank_only"]["bad_rate"]
    figure, (axes,) = picture(*of.title("trade_off", joint=f"{joint:.1%}", other=f"{alone:.1%}"))
    for name, ranking in of.rankings.items():
        counts = np.arange(1, len(ranking.bads))
        # The first few customers' rate is chance: the line starts where it says something.
        at = [n for n in thin(len(counts)) if counts[n] >= 0.02 * len(counts)]
        axes.plot(counts[at] / counts[-1], ranking.bads[1:][at] / counts[at], **LINES[name])
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(of.say("trade_off.below"))
    axes.set_ylabel(of.say("trade_off.beside"))
    key(axes, of.names, "upper left")
    of.note(figure)
    return figure


def profit(of: Drawing) -> Figure:
    """Expected profit by how many are approved, with the best cut-offs."""
    best, money = {name: model["best_cutoff"] for name, model in of.models.items()}, of.body["parameters"]
    joint, alone = (best[name]["profit"] for name in ("federated", "bank_only"))
    told = of.title(
        "profit", joint=f"{joint:.4f}", other=f"{alone:.4f}", good=f"{money['profit_good']:g}",
        bad=f"{money['loss_bad']:g}",
    )  # fmt: skip
    figure, (axes,) = picture(*told)
    for name, ranking in of.rankings.items():
        found = ranking.at_shares(np.linspace(0, 1, 401), money["profit_good"], money["loss_bad"])
        axes.plot(found.approved, found.profit, **LINES[name])
        axes.plot(best[name]["approved"], best[name]["profit"], "o", color=COLOURS[name], markersize=8, zorder=5)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(of.say("profit.below"))
    axes.set_ylabel(of.say("profit.beside"))
    labels = {
        name: of.say("profit.best", name=of.names[name], approved=f"{best[name]['approved']:.0%}") for name in of.models
    }
    key(axes, labels, "lower left")
    of.note(figure, "profit.note")
    return figure


def _shares(axes: Axes, below: str, beside: str) -> None:
    """Both axes are shares from 0 to 1."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
