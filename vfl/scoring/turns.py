"""Who decides about whom in a batch: the champion, but for those whom a challenger with a canary share is drawn for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vfl.scoring.answers import Applicant
from vfl.scoring.contender import Contender
from vfl.scoring.drafts import Drafts
from vfl.scoring.lineup import Lineup
from vfl.scoring.own_table import LookedUp
from vfl.scoring.verdicts import Verdicts


@dataclass(frozen=True, eq=False)
class Turn:
    """A model and whom it decides about. places: theirs in the batch.   found: the same of them, looked up."""

    contender: Contender
    places: Sequence[int]
    applicants: Sequence[Applicant]
    found: LookedUp

    async def drafts(self) -> Drafts:
        """What it decides."""
        found, one = self.found, self.contender
        verdicts = await one.bench.judge(found.identifiers, found.values) if found.identifiers else Verdicts.none()
        return Drafts(self.applicants, found.refused, verdicts, one.grades, one.scored)


def turns_of(lineup: Lineup, applicants: Sequence[Applicant]) -> list[Turn]:
    """Whose turn it is, the champion's last; with it who cannot be scored.

    Whom the champion can score and a challenger cannot, the champion decides about.
    """
    champion, everybody = lineup.champion, range(len(applicants))
    found = champion.table.look_up(applicants)
    if not lineup.draws:
        return [Turn(champion, everybody, applicants, found)]
    drawn: dict[Contender, list[int]] = {}
    good = (place for place in everybody if place not in found.refused)
    for place, identifier in zip(good, found.identifiers, strict=True):
        drawn.setdefault(lineup.chosen(identifier), []).append(place)
    mine, turns = {*found.refused, *drawn.pop(champion, [])}, []
    for contender, places in drawn.items():
        own = contender.table.look_up([applicants[place] for place in places])
        mine |= {places[at] for at in own.refused}
        if its := [place for place in places if place not in mine]:
            turns.append(_turn(contender, its, applicants))
    return [*turns, _turn(champion, sorted(mine), applicants)] if mine else turns


def _turn(contender: Contender, places: Sequence[int], applicants: Sequence[Applicant]) -> Turn:
    its = [applicants[place] for place in places]
    return Turn(contender, places, its, contender.table.look_up(its))
