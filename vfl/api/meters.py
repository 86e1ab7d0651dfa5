"""What operators count: requests, decisions, partners. Told in the text format of Prometheus.

Labels are routes, codes, partners and models: never a caller's words, so that there are few of them.
"""

from __future__ import annotations

import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vfl.scoring.answers import Decision, Refused, Scorer

Labels = tuple[str, ...]
PREFIX = "tallystick_api_"
SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 10, 100, 1000, 10000)


class Histogram:
    """How often a value was at most each of some bounds, by labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, labels: Labels, value: float, times: int = 1) -> None:
        """One more value, or one that came several times."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += times
        self._sums[labels] += value * times

    def lines(self, name: str, keys: Sequence[str]) -> Iterable[str]:
        """In the text format, without its heading."""
        for labels, counts in sorted(self._counts.items()):
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                yield f"{PREFIX}{name}_bucket{_labelled((*keys, 'le'), (*labels, bound))} {total}"
            yield f"{PREFIX}{name}_sum{_labelled(keys, labels)} {self._sums[labels]:.6f}"
            yield f"{PREFIX}{name}_count{_labelled(keys, labels)} {total}"


class Meters:
    """All counts of one service since it started."""

    def __init__(self) -> None:
        self._requests: Counter[Labels] = Counter()
        self._seconds = Histogram(SECONDS)
        self._decisions: Counter[Labels] = Counter()
        self._refused: Counter[Labels] = Counter()
        self._partners: Counter[Labels] = Counter()
        self._partner_seconds = Histogram(SECONDS)
        self._rows = Histogram(ROWS)
        self._entries: dict[str, int] = {}
        self.cut = 0
        """Connections that were ended here because no whole request arrived in time, or the answer was not taken."""
        self.open = 0
        """Connections now."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request that was answered; status 499 where the caller hung up before."""
        self._requests[route, method, str(status)] += 1
        self._seconds.add((route,), seconds)

    def decided(self, made: Sequence[Decision | Refused]) -> None:
        """What was answered to a request for decisions. Those of a batch share what is the same for many."""
        self._rows.add((), len(made))
        kinds: dict[tuple[str, bool, int, int], list[Decision]] = {}
        for one in made:
            if isinstance(one, Decision):
                kinds.setdefault((one.decision, one.degraded, id(one.model), id(one.parties)), []).append(one)
            else:
                self._refused[(one.code,)] += 1
        for alike in kinds.values():
            one, times = alike[0], len(alike)
            degraded = "true" if one.degraded else "false"
            self._decisions[one.decision, degraded, one.model.name, one.model.version[:12]] += times
            for name, partner in one.parties.items():
                self._partners[name, partner.state] += times
                self._partner_seconds.add((name,), partner.ms / 1000, times)
            self.grown(one.receipt.log, one.receipt.entry + 1)

    def grown(self, log: str, entries: int) -> None:
        """A log of decisions holds at least so many entries."""
        self._entries[log] = max(entries, self._entries.get(log, 0))

    def text(self, scorer: Scorer) -> str:
        """The page /metrics."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        partners = scorer.partners()
        up: dict[Labels, float] = {(name,): float(each.state == "up") for name, each in partners.items()}
        left: dict[Labels, float] = {
            (name,): float(each.left) for name, each in partners.items() if each.left is not None
        }
        entries: dict[Labels, float] = {(log,): count for log, count in self._entries.items()}
        by_model = ("outcome", "degraded", "model", "version")
        lines = [
            *_counted("requests_total", "Requests answered.", ("route", "method", "status"), self._requests),
            *_heading("request_seconds", "histogram", "From the head of a request to its answer."),
            *self._seconds.lines("request_seconds", ("route",)),
            *_counted("decisions_total", "Decisions made.", by_model, self._decisions),
            *_counted("refused_total", "Applicants of batches without a decision.", ("code",), self._refused),
            *_heading("batch_rows", "histogram", "Applicants in a request."),
            *self._rows.lines("batch_rows", ()),
            *_counted("partner_answers_total", "How partners took part.", ("partner", "state"), self._partners),
            *_heading("partner_seconds", "histogram", "Until a partner answered, or was given up."),
            *self._partner_seconds.lines("partner_seconds", ("partner",)),
            *_gauge("partner_up", "Whether a partner's link stands.", ("partner",), up),
            *_gauge("partner_budget_left", "Answers left in a partner's budget of today.", ("partner",), left),
            *_gauge("ledger_entries", "Entries of a log of decisions.", ("log",), entries),
            *_gauge("connections", "Connections open now.", (), {(): self.open}),
            *_counted("connections_cut_total", "Connections ended for being too slow.", (), {(): self.cut}),
            *_counted("cpu_seconds_total", "CPU time of the process.", (), {(): used.ru_utime + used.ru_stime}),
            *_gauge("memory_peak_bytes", "Largest memory of the process.", (), {(): used.ru_maxrss * 1024}),
        ]
        return "\n".join(lines) + "\n"


def _heading(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {PREFIX}{name} {about}", f"# TYPE {PREFIX}{name} {kind}"]


def _counted(name: str, about: str, keys: Labels, found: Mapping[Labels, float]) -> list[str]:
    return _values(name, "counter", about, keys, found)


def _gauge(name: str, about: str, keys: Labels, found: Mapping[Labels, float]) -> list[str]:
    return _values(name, "gauge", about, keys, found)


def _values(name: str, kind: str, about: str, keys: Labels, found: Mapping[Labels, float]) -> list[str]:
    values = (f"{PREFIX}{name}{_labelled(keys, labels)} {value:.15g}" for labels, value in sorted(found.items()))
    return [*_heading(name, kind, about), *values]


def _labelled(keys: Iterable[str], values: Iterable[str]) -> str:
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in zip(keys, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
