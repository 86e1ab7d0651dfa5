"""One browser for all tests of this folder that need one, and a service for it to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import browser_kit
import pytest
from board_kit import FakeScorer, Hands, application, points_of, serving

from vfl.board.observed import Observed


@dataclass
class Service:
    """A running console. `at` is its address."""

    scorer: FakeScorer
    observed: Observed
    at: str


@pytest.fixture(scope="session")
def window() -> Iterator[browser_kit.Browser]:
    if not browser_kit.here():
        pytest.skip(f"no Chromium: {browser_kit.MISSING}")
    browser = browser_kit.Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    observed = Observed(Hands(), [points_of(0.02 + n / 2000) for n in range(500)])
    scorer = FakeScorer(observed, volumes=2)
    for number in range(40):
        scorer.record(0.03 + number / 200, f"applicant-{number}", count=5 if number == 4 else 1)
    with serving(application(scorer, observed)) as at:
        yield Service(scorer, observed, at)


@pytest.fixture
def browser(window: browser_kit.Browser, service: Service) -> browser_kit.Browser:
    """At the service for the first time."""
    window.open(service.at + "/board/model?lang=en")
    window.forget()
    window.asked()
    window.complaints()
    service.scorer.bend = lambda made, proof: (made, proof)
    service.scorer.bend_part = lambda part: part
    return window
