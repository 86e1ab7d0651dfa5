"""Who decides about whom in a batch: the champion, but for those whom a challenger with a canary share is drawn for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vfl.scoring.answers import Applicant, Refused
from vfl.scoring.contender import Contender
from vfl.scoring.lineup import Lineup
from vfl.scoring.own_table import LookedUp


@dataclass(frozen=True, eq=False)
class Turn:
    """A model and whom it decides about. places: theirs in the batch.   found: the same of them, looked up."""

    contender: Contender
    places: Sequence[int]
    found: LookedUp


def turns_of(lineup: Lineup, applicants: Sequence[Applicant]) -> tuple[list[Turn], Mapping[int, Refused]]:
    """Whose turn it is, and by place in the batch who cannot be scored.

    Whom the champion can score and a challenger cannot, the champion decides about.
    """
    champion = lineup.champion
    found = champion.table.look_up(applicants)
    places = [place for place in range(len(applicants)) if place not in found.refused]
    if not lineup.draws:
        return [Turn(champion, places, found)] if places else [], found.refused
    drawn: dict[Contender, list[int]] = {}
    for place, identifier in zip(places, found.identifiers, strict=True):
        drawn.setdefault(lineup.chosen(identifier), []).append(place)
    mine, turns = drawn.pop(champion, []), []
    for contender, its in drawn.items():
        own = contender.table.look_up([applicants[place] for place in its])
        mine += [its[at] for at in own.refused]
        if own.identifiers:
            turns.append(Turn(contender, [place for at, place in enumerate(its) if at not in own.refused], own))
    if mine:
        turns.append(Turn(champion, mine, champion.table.look_up([applicants[place] for place in mine])))
    return turns, found.refused
