"""Champion and challenger side by side, from what the ledger of decisions commits to.

A pair is a decision of the champion's and what a challenger would have decided about the same applicant. Pairs in which
either of them was degraded are left out: then a stand-in scored. PDs are compared, for points of two models need not
mean the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from ledger.entry import Entry
from vfl.errors import UsageError
from vfl.learn.stability import score_stability
from vfl.own_ledger import own_ledger
from vfl.scoring.answers import Decision, Outcome, Refused
from vfl.scoring.drafts import beside_of, read_record
from vfl.scoring.volumes import SHADOW, VOLUMES, Entered, VolumeStore, entered_in

Reals = npt.NDArray[np.float64]
LEAST = 200
"""Pairs below which no stability index is given: of fewer, chance alone moves it by a twentieth."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass
class Pairs:
    """What both said, in order; and why others are left out, by reason."""

    champion: list[Decision] = field(default_factory=list)
    challenger: list[Decision] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, mine: Decision | Refused, other: Decision | Refused) -> None:
        """Take a pair in, or count why not."""
        if isinstance(mine, Refused) or isinstance(other, Refused):
            self.left_out["refused"] += 1
        elif mine.degraded or other.degraded:
            self.left_out["degraded"] += 1
        else:
            self.champion.append(mine)
            self.challenger.append(other)


def pairs_of(scoring: Path, champion: str, challenger: str) -> Pairs:
    """All pairs of two models, by version, in the volumes of SEAT/scoring.

    A service may go on writing meanwhile. Raises UsageError where a volume is damaged.
    """
    found = Pairs()
    with ExitStack() as ends, own_ledger():
        stores = {
            int(path.stem): ends.enter_context(closing(VolumeStore(path)))
            for path in sorted((scoring / VOLUMES).glob("*.sqlite"))
        }
        for number, store in stores.items():
            for seq in store.shadows():
                entry = Entry.from_bytes(store.row(seq).body)
                if entry.params["model"] != challenger:
                    continue
                shadow = entered_in(store, "", number, seq, SHADOW)
                assert shadow is not None
                _pair(found, shadow, stores, champion)
                found.left_out["too many waited"] += int(str(entry.params["dropped"]))
    return found


def _pair(found: Pairs, shadow: Entered, stores: Mapping[int, VolumeStore], champion: str) -> None:
    read: dict[tuple[int, int], Entered | None] = {}
    for _, body in shadow.records:
        volume, seq, place = _place(beside_of(body))
        if (volume, seq) not in read:
            read[volume, seq] = entered_in(stores[volume], "", volume, seq) if volume in stores else None
        decided = read[volume, seq]
        if decided is None or place >= len(decided.records):
            raise UsageError(f"the decision {beside_of(body)} is not on record", remedy="restore the volumes")
        mine = read_record(decided.records[place][1])[1]
        if isinstance(mine, Decision) and mine.model.version == champion:
            found.add(mine, read_record(body)[1])


def _place(decision: str) -> tuple[int, int, int]:
    volume, seq, *place = (int(part) for part in decision.split("-"))
    return volume, seq, place[0] if place else 0


def comparison(pairs: Pairs) -> dict[str, Any]:
    """What is to be told, JSON-ready; all but the counts is null without pairs."""
    counts = {"applicants": len(pairs.champion), "left_out": {k: n for k, n in pairs.left_out.items() if n}}
    if not pairs.champion:
        return {**counts, "pd": None, "decisions": None, "psi": None}
    one, other = _pds(pairs.champion), _pds(pairs.challenger)
    return {
        **counts,
        "pd": {
            "champion": _distribution(one), "challenger": _distribution(other),
            "mean_difference": float((other - one).mean()), "mean_abs_difference": float(np.abs(other - one).mean()),
        },
        "decisions": _agreement(pairs),
        "psi": _stability(one, other),
    }  # fmt: skip


def _pds(decisions: Sequence[Decision]) -> Reals:
    return np.array([each.pd for each in decisions])


def _distribution(pd: Reals) -> dict[str, float]:
    quantiles = np.quantile(pd, _QUANTILES).tolist()
    return {"mean": float(pd.mean()), **{f"p{100 * q:02.0f}": v for q, v in zip(_QUANTILES, quantiles, strict=True)}}


def _agreement(pairs: Pairs) -> dict[str, Any]:
    """`both`: by the champion's decision and the challenger's, how many."""
    both = Counter((one.decision, other.decision) for one, other in zip(pairs.champion, pairs.challenger, strict=True))
    count = both.total()
    return {
        "agree": sum(both[each, each] for each in OUTCOMES) / count,
        "both": {one: {other: both[one, other] for other in OUTCOMES} for one in OUTCOMES},
        "champion": {one: sum(both[one, other] for other in OUTCOMES) / count for one in OUTCOMES},
        "challenger": {one: sum(both[other, one] for other in OUTCOMES) / count for one in OUTCOMES},
    }


def _stability(one: Reals, other: Reals) -> dict[str, Any] | None:
    if len(one) < LEAST:
        return None
    found = score_stability(one, other, "pd")
    return {"pd": found.psi, "band": found.band}
