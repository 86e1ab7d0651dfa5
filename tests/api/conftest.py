"""Looks at files and connections come more often here, so that tests need not wait a second for each."""

from collections.abc import Iterator

import pytest

from vfl.api import keys, server


@pytest.fixture(scope="session", autouse=True)
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_LOOK", 20_000_000)  # nanoseconds
        patch.setattr(server, "_LOOK", 1)  # ticks
        patch.setattr(server, "_KEEP", 3)
        yield
