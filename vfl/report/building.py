"""Sections 5 to 7: how the model was made, how good it is, why it says what it says."""

from __future__ import annotations

from typing import Any

from vfl.report import afterwards
from vfl.report.blocks import Bars, Block, Line, Section, Table
from vfl.report.figures import Cell, Words, direction, exact, named, p_value, percent, plain, share, signed, three
from vfl.report.material import AGREEMENT, EVALUATION, EXPLANATION, SUMMARY, Material
from vfl.retention import ROWS, SALTS

_MODELS = ("federated", "bank_only", "pooled_lightgbm")
_FEATURES = 15  # bars of importance at most
_POINTS = 9  # rows of the convergence table at most


def development(m: Material) -> Section:
    """Section 5."""
    section, of, t = m.section(5), m.figures, m.texts
    section.blocks.append(m.say(f"s5.{m.summary['model']}"))
    rows = sorted(m.agreement["model"])
    section.blocks.append(_pairs(m, t.word("s5.parameters"), [(AGREEMENT, "model", key) for key in rows]))
    held = sorted(m.agreement["holdout"])
    section.blocks.append(_pairs(m, t.word("s5.holdout"), [(AGREEMENT, "holdout", key) for key in held]))
    versions = sorted(m.summary["versions"])
    section.blocks.append(_pairs(m, t.word("s5.versions"), [(SUMMARY, "versions", key) for key in versions]))
    section.blocks += _convergence(m)
    section.blocks += [m.say("s5.replay"), m.say("s5.replay_code", tone="code"), m.say("s5.seeds", tone="note")]
    section.blocks.append(m.say("s5.counts", entries=of.count(m.active, "entries"), party=m.name(m.active)))
    return Section(section.number, section.title, [*section.blocks, *m.statements("development")])


def _pairs(m: Material, title: Words, keys: list[tuple[str, str, str]]) -> Table:
    """Names and values in two columns of pairs; the names are those of the artefact."""
    cells: list[tuple[Line, Line]] = [
        ((m.figures.of(*key, form=named(key[2])),), (m.figures.of(*key, form=exact),)) for key in keys
    ]
    half = (len(cells) + 1) // 2
    nothing: tuple[Line, Line] = ((), ())
    rows = [[*cells[row], *(cells[row + half] if row + half < len(cells) else nothing)] for row in range(half)]
    head = [m.texts.word("words.name"), m.texts.word("words.value")] * 2
    return Table(head, rows, words=4, title=title)


def _convergence(m: Material) -> list[Block]:
    steps = m.explanation.get("convergence", [])
    if len(steps) < 2:
        return []
    of, t, last = m.figures, m.texts, len(steps) - 1
    chosen = sorted({round(last * number / (_POINTS - 1)) for number in range(_POINTS)})
    rows: list[list[Line]] = [
        [(of.of(EXPLANATION, "convergence", at, "trees"),), (of.of(EXPLANATION, "convergence", at, "auc", form=three),),
         (of.of(EXPLANATION, "convergence", at, "log_loss", form=plain),)]
        for at in chosen
    ]  # fmt: skip
    head = [t.word("s5.trees"), t.word("words.auc"), t.word("words.log_loss")]
    first, end = (of.of(EXPLANATION, "convergence", at, "log_loss", form=plain) for at in (0, last))
    drawn = m.picture("convergence", first=first, last=end)
    return [*drawn, Table(head, rows, title=t.word("s5.convergence"))]


def performance(m: Material) -> Section:
    """Section 6."""
    section = m.section(6)
    if not m.evaluation:
        section.blocks += [m.say("s6.other"), _other(m)]
        return section
    of = m.figures
    gain = ("differences", "bank_only", "auc")
    low, high = (of.of(EVALUATION, *gain, "interval", at, form=signed) for at in (0, 1))
    section.blocks.append(
        m.say(
            f"s6.{_compared(m)}",
            joint=of.of(EVALUATION, "models", "federated", "auc", "value", form=three),
            alone=of.of(EVALUATION, "models", "bank_only", "auc", "value", form=three),
            party=m.name(m.active), low=low, high=high, gain=of.of(EVALUATION, *gain, "value", form=signed),
            p=of.of(EVALUATION, "differences", "bank_only", "delong_p", form=p_value),
            held=of.of(SUMMARY, "rows", "holdout"),
        )
    )  # fmt: skip
    section.blocks += [_comparison(m), m.say("s6.pooled", tone="note")]
    auc = of.of(EVALUATION, "models", "federated", "auc", "value", form=three)
    ks = of.of(EVALUATION, "models", "federated", "ks", "value", form=three)
    section.blocks += m.picture("roc", auc=auc) + m.picture("ks", ks=ks)
    if "roc" not in m.pictures and afterwards.removed(m, m.active) & {ROWS, SALTS}:
        section.blocks.append(m.say("s6.purged", tone="note"))
    section.blocks += _calibration(m) + _bands(m)
    section.blocks.append(_approvals(m))
    section.blocks.append(m.say("s6.cutoff"))
    return section


def _compared(m: Material) -> str:
    low, high = m.evaluation["differences"]["bank_only"]["auc"]["interval"]
    return "better" if low > 0 else "worse" if high < 0 else "level"


def _other(m: Material) -> Table:
    """Of a regression or of several classes: what the summary has."""
    names = list(m.summary["metrics"]["federated"])
    rows: list[list[Line]] = [
        [_model_name(m, who), *((m.figures.of(SUMMARY, "metrics", who, name),) for name in names)]
        for who in m.summary["metrics"]
    ]
    return Table([m.texts.word("words.model"), *(m.texts.word(f"words.{name}") for name in names)], rows)


def _model_name(m: Material, who: str) -> Line:
    return m.texts.line(f"models.{who}", party=m.name(m.active))


def _comparison(m: Material) -> Table:
    of, t, rows = m.figures, m.texts, list[list[Line]]()
    for who in _MODELS:
        row: list[Line] = [_model_name(m, who)]
        for figure in ("auc", "ks", "gini"):
            row.append((of.of(EVALUATION, "models", who, figure, "value", form=three),))
            if figure == "auc":
                low, high = (of.of(EVALUATION, "models", who, figure, "interval", at, form=three) for at in (0, 1))
                row.append(t.line("words.range", low=low, high=high))
        row.append((of.of(EVALUATION, "models", who, "calibration", "brier", form=three),))
        row.append((of.of(EVALUATION, "models", who, "psi", "value", form=three),))
        rows.append(row)
    keys = ("model", "auc", "interval", "ks", "gini", "brier", "psi")
    return Table([t.word(f"words.{key}") for key in keys], rows)


def _calibration(m: Material) -> list[Block]:
    of, at = m.figures, ("models", "federated", "calibration")
    p = m.evaluation["models"]["federated"]["calibration"]["hosmer_lemeshow"]["p_value"]
    key = "s6.calibrated" if p is not None and p >= 0.05 else "s6.uncalibrated"
    said = m.say(
        key,
        mean=of.of(EVALUATION, *at, "mean_pd", form=percent), rate=of.of(EVALUATION, *at, "bad_rate", form=percent),
        p=of.of(EVALUATION, *at, "hosmer_lemeshow", "p_value", form=p_value),
        slope=of.of(EVALUATION, *at, "slope", form=three), brier=of.of(EVALUATION, *at, "brier", form=three),
    )  # fmt: skip
    return [said, *m.picture("calibration", p=of.of(EVALUATION, *at, "hosmer_lemeshow", "p_value", form=p_value))]


def _bands(m: Material) -> list[Block]:
    of, t, at = m.figures, m.texts, ("models", "federated", "bands")
    rows: list[list[Line]] = []
    for number, band in enumerate(m.evaluation["models"]["federated"]["bands"]):
        here = (*at, number)
        edges = {
            edge: of.of(EVALUATION, *here, edge, form=percent) for edge in ("low", "high") if band[edge] is not None
        }
        key = "words.range" if len(edges) == 2 else "words.up_to" if "high" in edges else "words.from"
        rate = of.of(EVALUATION, *here, "bad_rate", form=percent)
        counts = ((of.of(EVALUATION, *here, key),) for key in ("customers", "bads"))
        cumulative = of.of(EVALUATION, *here, "cumulative_bad_rate", form=percent)
        rows.append([t.line(key, **edges), *counts, (rate,), (cumulative,)])
    head = [t.word("s6.band"), t.word("s6.customers"), t.word("s6.bads"), t.word("s6.rate"), t.word("s6.cumulative")]
    psi = of.of(EVALUATION, "models", "federated", "psi", "value", form=three)
    verdict = m.evaluation["models"]["federated"]["psi"]["verdict"]
    said = m.say("s6.stability", psi=psi, verdict=t.word(f"verdicts.{verdict}"))
    return [*m.picture("bands", psi=psi), Table(head, rows, title=t.word("s6.bands")), said]


def _approvals(m: Material) -> Table:
    of, t, rows = m.figures, m.texts, list[list[Line]]()
    for number in range(len(m.evaluation["models"]["federated"]["approvals"])):
        row: list[Line] = [(of.of(EVALUATION, "models", "federated", "approvals", number, "approved", form=share),)]
        row += [
            (of.of(EVALUATION, "models", who, "approvals", number, "bad_rate", form=percent),)
            for who in ("federated", "bank_only")
        ]
        row.append((of.of(EVALUATION, "models", "federated", "approvals", number, "cutoff", form=percent),))
        rows.append(row)
    head: list[Cell] = [t.word(f"s6.{key}") for key in ("approved", "joint_rate", "alone_rate", "cut")]
    return Table(head, rows, title=t.word("s6.trade_off"))


def explainability(m: Material) -> Section:
    """Section 7."""
    section, of, t = m.section(7), m.figures, m.texts
    if not m.explanation:
        section.blocks.append(m.say(f"s7.none_{m.summary['model']}", tone="note"))
        return section
    section.blocks.append(m.say("s7.how", count=of.of(EXPLANATION, "customers")))
    shares = m.explanation["contribution"]
    most = max(shares.values()) or 1.0
    bars: list[tuple[Line, Line, float, float, int]] = [
        ((m.name(party),), (of.of(EXPLANATION, "contribution", party, form=percent),), shares[party] / most, 0.0, place)
        for place, party in enumerate(m.parties)
    ]
    section.blocks += [Bars(bars, t.word("s7.contribution")), m.say("s7.contribution_note", tone="note")]
    features = m.explanation["features"][:_FEATURES]
    top = max((one["mean_abs_shap"] for one in features), default=0.0) or 1.0
    importance: list[tuple[Line, Line, float, float, int]] = []
    for place, one in enumerate(features):
        at = ("features", place)
        label = t.line(
            "s7.feature", words=of.of(EXPLANATION, *at, "words"), party=of.of(EXPLANATION, *at, "party"),
        )  # fmt: skip
        value = of.of(EXPLANATION, *at, "mean_abs_shap", form=three)
        importance.append((label, (value,), one["mean_abs_shap"] / top, 0.0, m.parties.index(one["party"])))
    section.blocks.append(Bars(importance, t.word("s7.importance")))
    section.blocks.append(m.say("s7.importance_note", tone="note"))
    section.blocks += [_reason_map(m), m.say("s7.reasons")]
    monotone = [(party, feature) for party in m.parties for feature in _member(m, party).get("monotone", {})]
    where = AGREEMENT, "members"
    if monotone:
        rows: list[list[Line]] = [
            [(m.name(party),), (of.of(*where, m.member(party), "monotone", feature, form=named(feature)),),
             (of.of(*where, m.member(party), "monotone", feature, form=direction),)]
            for party, feature in monotone
        ]  # fmt: skip
        head = [t.word("words.party"), t.word("words.feature"), t.word("s7.direction")]
        section.blocks.append(Table(head, rows, words=2, title=t.word("s7.monotone")))
    return section


def _member(m: Material, party: str) -> dict[str, Any]:
    found: dict[str, Any] = m.agreement["members"][m.member(party)]
    return found


def _reason_map(m: Material) -> Table:
    """Which feature makes which reason."""
    of, t, rows = m.figures, m.texts, list[list[Line]]()
    for place in range(len(m.model["inputs"])):
        cells = (of.of("model.json", "inputs", place, key) for key in ("party", "feature", "words"))
        rows.append([(cell,) for cell in cells])
    head = [t.word("words.party"), t.word("words.feature"), t.word("s7.told")]
    return Table(head, rows, words=3, title=t.word("s7.map"))
