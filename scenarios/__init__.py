"""Bank-partner stories on real public credit data, each of which becomes a folder in the user's own format.

folder = materialise("pos-loan", Path("demo"))        # bank.csv, bureau.csv, ..., and scenario.toml
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from scenarios import card_limit, cheating_partner, consortium, pos_loan, thin_file
from scenarios.split import Act, Story, write
from vfl.errors import UsageError
from vfl.table import closest, shown

_ALL = (pos_loan.STORY, card_limit.STORY, thin_file.STORY, cheating_partner.STORY, consortium.STORY)
_STORIES = {story.name: story for story in _ALL}


def scenario_names() -> list[str]:
    """Names of the shipped scenarios."""
    return list(_STORIES)


def describe(name: str) -> str:
    """What the scenario is about, who holds which columns, and where the data come from: a few lines of text."""
    story = _story(name)
    lines = [f"{story.name}: {story.title}", f"Data: {story.origin}"]
    for part in story.parts:
        share = "holds the label" if part.label else f"knows {part.coverage:.0%} of the bank's customers"
        lines.append(f"  {part.name} ({share}): {', '.join(part.features)}")
        if part.kept_out:
            lines.append(f"    in its table, not in the model: {', '.join(part.kept_out)}")
        if part.name in story.cheats:
            lines.append("    cheats, so that you see it caught: the run ends with exit code 3")
    return "\n".join(lines)


def cheats(name: str) -> Mapping[str, str]:
    """Which parties of the scenario cheat, and how (`vfl.attacks.cheating`); of any other name, nobody."""
    return _STORIES[name].cheats if name in _STORIES else {}


def acts(name: str) -> tuple[Act, ...]:
    """The runs in which the scenario is told; of any other name, none."""
    return _STORIES[name].acts if name in _STORIES else ()


def readme(name: str) -> str:
    """The story of the scenario, as Markdown: the business, what to look at, what it costs in privacy."""
    return (resources.files("scenarios") / "stories" / f"{_story(name).name}.md").read_text(encoding="utf-8")


def materialise(name: str, folder: Path, parties: list[str] | None = None, kind: str = "gbdt") -> Path:
    """Write the party tables and `scenario.toml` into the folder; the path of `scenario.toml`.

    `kind`: of the model, gbdt or scorecard. `parties` keeps these parties only; the one with the label must be among
    them. The same call writes the same bytes.
    Raises UsageError for an unknown scenario or party, or a folder that cannot be written.
    """
    story = _story(name)
    names = [part.name for part in story.parts]
    for party in parties or ():
        if party not in names:
            raise UsageError(f"no party {shown(party)} in scenario {name!r}", remedy=closest(party, names))
    kept = [part for part in story.parts if parties is None or part.name in parties]
    bank = next(part.name for part in story.parts if part.label)
    if bank not in [part.name for part in kept] or len(kept) < 2:
        others = ", ".join(other for other in names if other != bank)
        raise UsageError(
            f"scenario {name!r} needs {bank!r}, which holds the label, and at least one partner",
            remedy=f"Choose {bank} and one or more of {others}.",
        )
    try:
        return write(story, kept, Path(folder), kind)
    except OSError as error:
        raise UsageError(
            f"folder {shown(folder)} cannot be written: {error.strerror}", remedy="Choose another folder."
        ) from None


def _story(name: str) -> Story:
    if name not in _STORIES:
        raise UsageError(f"no scenario {shown(name)}", remedy=closest(name, _STORIES))
    return _STORIES[name]
