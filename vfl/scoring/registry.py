"""Which models of a scenario may decide, and how that came to be: one file of the active party that only ever grows.

    SEAT/scoring/models.json
    {"format": "tallystick-models-v1", "noted": 2, "history": [
        {"number": 1, "time": "2026-01-31T12:00:00.000000Z", "what": "added", "version": .., "by": [..], "place": ".",
         "model": {"name": .., "agreement": .., "kind": .., "features": .., "run": ..}, "chain": ..},
        {"number": 2, "what": "promoted", "version": .., "previous": .., ...}]}

    added      a model is a challenger; the first of all is the champion      asked      a person wants a change
    share      a challenger decides about a share of applicants               promoted   a challenger is the champion
    rolled-back    the champion of before is so again                         retired    a challenger scores no more

Who is what follows from the history and stands nowhere else. chain = SHA-256(chain before || change without its chain);
`noted`: how many changes are in the ledger of decisions. SEAT is that of the run whose decisions these are: home.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ledger.clock import format_time
from vfl.clock import Clock
from vfl.errors import AgreementError, UsageError, VflError
from vfl.files import alone, refusals, write_data
from vfl.scoring.answers import Model

FILE, LOCK = "models.json", "models.lock"
FORMAT: Literal["tallystick-models-v1"] = "tallystick-models-v1"
MOST_CHANGES = 100_000
What = Literal["added", "share", "asked", "promoted", "rolled-back", "retired"]
Role = Literal["champion", "challenger", "retired"]
_RESTORE = "restore it from a backup; the ledger of decisions says what stood there"


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told of a model wherever it stands: name, agreement (digest), kind, features by party, run."""

    name: str
    agreement: str
    kind: Literal["gbdt", "scorecard"]
    features: dict[str, tuple[str, ...]]
    run: str


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of the history. by: whose doing it is.   place: directory of the run, as seen from home's.

    share: of applicants that the challenger decides about, 0 to 1.   wanted: of `asked`, the change that is wanted.
    previous: the champion until then.
    """

    number: Annotated[int, msgspec.Meta(ge=1)]
    time: str
    what: What
    version: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    by: tuple[str, ...]
    previous: str = ""
    place: str = ""
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    wanted: str = ""
    model: Described | None = None
    chain: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["tallystick-models-v1"]
    noted: Annotated[int, msgspec.Meta(ge=0)]
    history: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MOST_CHANGES)]


@dataclass(frozen=True)
class Standing:
    """How a model stands. share: of applicants that it decides about while it is a challenger."""

    version: str
    described: Described
    place: str
    role: Role
    share: float = 0.0

    @property
    def own_features(self) -> frozenset[str]:
        """Those of the active party, which callers send."""
        return frozenset(next(iter(self.described.features.values())))

    @property
    def shown(self) -> Model:
        """As an API tells it."""
        one = self.described
        return Model(one.name, self.version, one.agreement, one.kind, self.role, one.features, one.run, self.share)


@dataclass(frozen=True)
class Standings:
    """What follows from a history. models: by version, as they were added.   before: former champions, the last last.

    wishes: who asked for a change and when, since the champion changed last: by change wanted and version.
    """

    models: Mapping[str, Standing] = field(default_factory=dict)
    champion: str = ""
    before: tuple[str, ...] = ()
    wishes: Mapping[tuple[str, str, float], Mapping[str, str]] = field(default_factory=dict)

    def shown(self) -> list[Model]:
        """All models, the champion first, the retired ones last."""
        order: list[Role] = ["champion", "challenger", "retired"]
        return [one.shown for role in order for one in self.models.values() if one.role == role]

    def find(self, version: str) -> Standing:
        """The model whose version begins so. Raises UsageError unless there is exactly one."""
        found = [one for name, one in self.models.items() if len(version) >= 6 and name.startswith(version)]
        if len(found) != 1:
            raise UsageError(
                f"{len(found)} models have a version that begins with {version[:64]!r}",
                remedy="see `tallystick models list`; give at least 6 digits of a version",
            )
        return found[0]

    def after(self, change: Change) -> Standings:
        """With one change more. Raises AgreementError where that cannot be done."""
        steps = {
            "added": self._added, "share": self._shared, "asked": self._asked, "promoted": self._promoted,
            "rolled-back": self._rolled_back, "retired": self._retired,
        }  # fmt: skip
        return steps[change.what](change)

    def _added(self, change: Change) -> Standings:
        known = self.models.get(change.version)
        if change.model is None or (known is not None and known.role != "retired"):
            raise AgreementError("this model is here already", remedy="see `tallystick models list`")
        if self.champion and change.model.name != (name := self.models[self.champion].described.name):
            raise AgreementError(f"the model is of {change.model.name}, not of {name}: another scenario")
        role: Role = "challenger" if self.champion else "champion"
        found = Standing(change.version, change.model, change.place, role)
        return replace(self, models={**self.models, change.version: found}, champion=self.champion or change.version)

    def _shared(self, change: Change) -> Standings:
        one = replace(self._challenger(change.version), share=change.share)
        models = {**self.models, change.version: one}
        if (total := sum(each.share for each in models.values())) > 1.0:
            raise AgreementError(f"challengers would decide about {total:.0%} of applicants")
        if change.share and one.own_features != self.models[self.champion].own_features:
            raise AgreementError(
                "the two models do not use the same features of this company",
                remedy="callers send the champion's features: such a challenger can score beside it, and be promoted",
            )
        return replace(self, models=models, wishes={})

    def _asked(self, change: Change) -> Standings:
        about = (change.wanted, change.version, change.share)
        known = self.wishes.get(about, {})
        return replace(self, wishes={**self.wishes, about: {**known, **dict.fromkeys(change.by, change.time)}})

    def _promoted(self, change: Change) -> Standings:
        self._challenger(change.version)
        return self._crowned(change.version, (*self.before, self.champion))

    def _rolled_back(self, change: Change) -> Standings:
        if not self.before or self.before[-1] != change.version:
            raise AgreementError("no model decided before this one")
        self._challenger(change.version)
        return self._crowned(change.version, self.before[:-1])

    def _crowned(self, version: str, before: tuple[str, ...]) -> Standings:
        new = replace(self.models[version], role="champion", share=0.0)
        old = replace(self.models[self.champion], role="challenger", share=0.0)
        shares = {name: replace(one, share=0.0) for name, one in self.models.items()}  # the comparison is another one
        models = {**shares, version: new, old.version: old}
        return Standings(models, version, before)

    def _retired(self, change: Change) -> Standings:
        one = replace(self._challenger(change.version), role="retired", share=0.0)
        return replace(self, models={**self.models, change.version: one}, wishes={})

    def _challenger(self, version: str) -> Standing:
        one = self.models.get(version)
        if one is None or one.role != "challenger":
            raise AgreementError(
                f"the model {version[:12]} is {'not here' if one is None else f'{one.role}, not a challenger'}",
                remedy="see `tallystick models list`; a model that is retired can be added again",
            )
        return one


@dataclass(frozen=True)
class History:
    """All changes so far, and what follows from them. noted: how many are in the ledger of decisions."""

    changes: tuple[Change, ...] = ()
    noted: int = 0
    standings: Standings = Standings()

    def and_then(self, change: Change) -> History:
        """With one change more, numbered and chained. Raises AgreementError where it cannot be."""
        before = self.changes[-1].chain if self.changes else ""
        numbered = msgspec.structs.replace(change, number=len(self.changes) + 1, chain="")
        chained = msgspec.structs.replace(numbered, chain=_chained(before, numbered))
        return History((*self.changes, chained), self.noted, self.standings.after(chained))


class Registry:
    """The file. Whoever changes it holds its lock meanwhile; readers need none, for it is replaced as a whole."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """`folder`: SEAT/scoring."""
        self.path, self._clock = folder / FILE, clock
        self._held: tuple[object, History] | None = None

    def read(self) -> History:
        """The history, read again where the file was replaced. Raises UsageError where it is damaged."""
        if not self.path.exists():
            return History()
        stat = self.path.stat()
        mark = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if self._held is None or self._held[0] != mark:
            self._held = mark, self._parsed()
        return self._held[1]

    def enter(self, what: What, version: str, by: tuple[str, ...], **words: Any) -> Change:
        """Add a change. Raises AgreementError where it cannot be, UsageError where somebody else is writing."""
        with self._alone():
            change = Change(1, format_time(self._clock.now()), what, version, by, **words)
            history = self.read().and_then(change)
            self._write(history)
        return history.changes[-1]

    def note(self, number: int) -> None:
        """Remember that changes up to this one are in the ledger of decisions."""
        with self._alone():
            self._write(replace(self.read(), noted=number))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = self.path.with_name(LOCK)
        with refusals(self.path, "make the folder writable"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with alone(lock, f"{self.path} is being changed by somebody else"):
                yield

    def _write(self, history: History) -> None:
        body = msgspec.json.encode(_File(FORMAT, history.noted, history.changes))
        write_data(self.path, msgspec.json.format(body, indent=2) + b"\n")

    def _parsed(self) -> History:
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=_File)
            history = History(noted=found.noted)
            for change in found.history:
                history = history.and_then(change)
                if history.changes[-1] != change:
                    raise UsageError(f"change {change.number} does not follow from those before it")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, ValueError, VflError) as error:
            raise UsageError(f"{self.path} is damaged: {error}"[:300], remedy=_RESTORE) from None
        if not history.noted <= len(history.changes):
            raise UsageError(f"{self.path} is damaged: it notes changes that it lacks", remedy=_RESTORE)
        return history


def _chained(before: str, change: Change) -> str:
    return sha256(before.encode() + msgspec.json.encode(change)).hexdigest()
