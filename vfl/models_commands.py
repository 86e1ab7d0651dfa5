"""What `tallystick models` does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from vfl.api.gate import LOCAL
from vfl.clock import SystemClock
from vfl.console import say, screen, show, table
from vfl.errors import UsageError
from vfl.progress import tell
from vfl.scoring.comparing import LEAST, comparison, pairs_of
from vfl.scoring.contender import described
from vfl.scoring.opening import joint_model
from vfl.scoring.registry import Change, Registry, Standing, Standings, What
from vfl.scoring.standin import stand_in_share
from vfl.seat import read_own_holding
from vfl.served import Served

_DIGITS = 12  # of a version that are shown to people
_SAID: Mapping[What, str] = {
    "added": "scores as a challenger", "share": "decides about a share of applicants", "promoted": "decides",
    "rolled-back": "decides again", "retired": "scores no more", "asked": "is wanted",
}  # fmt: skip


def served(home: Path | None, config: Path | None, name: str | None, passphrase_file: Path | None = None) -> Served:
    """What the command line names."""
    return Served.named(home, config, name, passphrase_file)


def list_models(here: Served, as_json: bool) -> None:
    """`tallystick models list`."""
    standings = _standings(here)
    wishes = [
        {"wanted": wanted, "version": version, "share": share, "by": list(by)}
        for (wanted, version, share), by in standings.wishes.items()
    ]
    if as_json:
        shown = [{**_told(one), "place": one.place} for one in _ordered(standings)]
        _write({"models": shown, "wishes": wishes, "rollback_to": standings.before[-1] if standings.before else None})
        return
    made = table("run", "version", "role", "canary", "kind")
    for one in _ordered(standings):
        share = f"{one.share:.1%}" if one.share else "-"
        made.add_row(one.described.run, one.version[:_DIGITS], one.role, share, one.described.kind)
    screen().print(made)
    for wish in wishes:
        words = _SAID[wish["wanted"]]  # type: ignore[index]
        say(screen(), f"{', '.join(wish['by'])} asked that {str(wish['version'])[:_DIGITS]} {words}")  # type: ignore[arg-type]


def add(here: Served, run: Path, as_json: bool) -> None:
    """`tallystick models add`."""
    registry = _registry(here)
    if not registry.read().changes:
        _added(here, registry, here.home)
    _tell(_added(here, registry, run), as_json)


def change(here: Served, what: What, version: str, share: float, as_json: bool) -> None:
    """`tallystick models promote`, `canary` and `retire`."""
    rule = here.rule(SystemClock())
    found = rule.registry.read().standings.find(version)
    _tell(rule.at_keyboard(what, found.version, share), as_json)


def rollback(here: Served, as_json: bool) -> None:
    """`tallystick models rollback`."""
    rule = here.rule(SystemClock())
    before = rule.registry.read().standings.before
    if not before:
        raise UsageError("no model decided before this one", remedy="see `tallystick models list`")
    _tell(rule.at_keyboard("rolled-back", before[-1]), as_json)


def compare(here: Served, version: str, as_json: bool) -> None:
    """`tallystick models compare`."""
    standings = _registry(here).read().standings
    challengers = [one for one in standings.models.values() if one.role == "challenger"]
    if not version and len(challengers) != 1:
        raise UsageError(f"there are {len(challengers)} challengers", remedy="name one of `tallystick models list`")
    challenger = standings.find(version) if version else challengers[0]
    body = comparison(pairs_of(here.scoring, standings.champion, challenger.version))
    if as_json:
        _write({"champion": standings.champion, "challenger": challenger.version, **body})
    else:
        _show_comparison(standings.models[standings.champion], challenger, body)


def _registry(here: Served) -> Registry:
    return Registry(here.scoring, SystemClock())


def _standings(here: Served) -> Standings:
    """As the registry says; before there is one, the home run's model alone."""
    found = _registry(here).read().standings
    if found.models:
        return found
    who, file = here.speaker(here.home)
    version = joint_model(who, file).version
    return Standings({version: Standing(version, described(file), ".", "champion")}, version)


def _added(here: Served, registry: Registry, run: Path) -> Change:
    who, file = here.speaker(run)
    model = joint_model(who, file)
    stand_in_share(who.seat, file, read_own_holding(who.seat, file.agreement))
    place = os.path.relpath(run.resolve(), here.home.resolve())
    return registry.enter("added", model.version, (LOCAL.name,), place=place, model=described(file))


def _ordered(standings: Standings) -> list[Standing]:
    return [standings.models[model.version] for model in standings.shown()]


def _told(one: Standing) -> dict[str, Any]:
    model = one.described
    return {
        "version": one.version, "role": one.role, "canary": one.share, "name": model.name, "kind": model.kind,
        "run": model.run, "agreement": model.agreement, "features": model.features,
    }  # fmt: skip


def _tell(done: Change, as_json: bool) -> None:
    if as_json:
        _write({"change": done.number, "what": done.what, "version": done.version, "share": done.share, "by": done.by})
        return
    share = f" ({done.share:.1%})" if done.what == "share" else ""
    tell(sys.stdout, f"{done.version[:_DIGITS]} {_SAID[done.what]}{share}; by {' and '.join(done.by)}\n")


def _show_comparison(champion: Standing, challenger: Standing, body: Mapping[str, Any]) -> None:
    console = screen()
    out = ", ".join(f"{count:,} {why}" for why, count in body["left_out"].items()) or "none"
    say(
        console,
        f"champion    {champion.version[:_DIGITS]}  {champion.described.kind}, {champion.described.run}",
        f"challenger  {challenger.version[:_DIGITS]}  {challenger.described.kind}, {challenger.described.run}",
        f"{body['applicants']:,} applicants; left out: {out}",
    )
    if not body["applicants"]:
        say(console, "Nothing to compare yet: [models] shadow = true in serving.toml has challengers score.")
        return
    show(console, "Probability of default", _pd_table(body["pd"]))
    show(console, "Decisions: the champion's down, the challenger's across", _decision_table(body["decisions"]))
    psi, difference = body["psi"], body["pd"]
    say(
        console,
        f"agree       {body['decisions']['agree']:.2%} of decisions",
        f"difference  {difference['mean_difference']:+.4f} on average, {difference['mean_abs_difference']:.4f} in size",
        f"PSI         {psi['pd']:.4f}, {psi['band']}" if psi else f"PSI         of {LEAST} applicants or more",
    )


def _pd_table(pd: Mapping[str, Any]) -> Table:
    made = table("", *pd["champion"])
    for who in ("champion", "challenger"):
        made.add_row(who, *(f"{value:.4f}" for value in pd[who].values()))
    return made


def _decision_table(decisions: Mapping[str, Any]) -> Table:
    made = table("", *decisions["both"], "share")
    for one, others in decisions["both"].items():
        made.add_row(one, *(f"{count:,}" for count in others.values()), f"{decisions['champion'][one]:.1%}")
    made.add_row("share", *(f"{share:.1%}" for share in decisions["challenger"].values()), "")
    return made


def _write(body: Mapping[str, Any]) -> None:
    tell(sys.stdout, json.dumps(body, ensure_ascii=False) + "\n")
