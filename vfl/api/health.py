"""The routes for operators: alive, ready, and how it is doing."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from vfl import __version__
from vfl.api.calls import Answer, Call
from vfl.api.gate import Gate
from vfl.api.meters import Meters
from vfl.api.operation import Operation
from vfl.api.scoring import READ
from vfl.errors import VflError
from vfl.scoring.answers import PartnerHealth, Scorer

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Alive(msgspec.Struct, frozen=True):
    """That the process answers. `authentication`: off where everybody on this machine may call."""

    status: str
    version: str
    authentication: str


class Ready(msgspec.Struct, frozen=True):
    """Whether requests are answered, and whether jointly.

    degraded: some partner is away.   partners: their links, for those who may read.
    """

    ready: bool
    degraded: bool
    partners: Mapping[str, PartnerHealth]


class Health:
    """What the routes do. `needs_partners`: whether the policy is to refuse where a partner is away."""

    def __init__(self, scorer: Scorer, gate: Gate, meters: Meters, needs_partners: bool) -> None:
        self._scorer, self._gate, self._meters, self._needs = scorer, gate, meters, needs_partners

    def ready(self) -> bool:
        """Whether a request would be answered with a decision."""
        partners = self._scorer.partners().values()
        champion = any(model.role == "champion" for model in self._scorer.models())
        away = any(each.state != "up" for each in partners)
        return champion and not any(each.state == "refuses" for each in partners) and not (self._needs and away)

    async def healthz(self, call: Call, _: None) -> Alive:
        """The process answers."""
        return Alive("alive", __version__, "on" if self._gate.ring else "off")

    async def readyz(self, call: Call, _: None) -> Answer:
        """The state of everything that a decision needs."""
        ready, partners = self.ready(), self._scorer.partners()
        degraded = any(each.state != "up" for each in partners.values())
        shown = partners if self._gate.known(call.scope, READ) else {}
        return Answer(msgspec.json.encode(Ready(ready, degraded, shown)), 200 if ready else 503)

    async def metrics(self, call: Call, _: None) -> Answer:
        """Everything that is counted."""
        try:
            part = await self._scorer.ledger(None, 0, 1)
            self._meters.grown(part.log, part.size)
        except VflError:  # no decision was made yet: there is no log
            pass
        return Answer(self._meters.text(self._scorer).encode(), media=_TEXT.encode())

    def operations(self) -> tuple[Operation, ...]:
        """The routes."""
        return (
            Operation(
                method="GET",
                path="/healthz",
                name="healthz",
                about="Answers while the process does.",
                act=self.healthz,
                answer=Alive,
            ),
            Operation(
                method="GET",
                path="/readyz",
                name="readyz",
                about="200 while requests are answered with decisions, else 503; each partner's state.",
                act=self.readyz,
                answer=Ready,
                status=(200, 503),
            ),
            Operation(
                method="GET",
                path="/metrics",
                name="metrics",
                about="Counts in the text format of Prometheus.",
                act=self.metrics,
                scopes=READ,
                media=_TEXT,
            ),
        )
