"""How many examples a property is tried on: few in `make test`, many in `make test-all`."""

from __future__ import annotations

from hypothesis import settings


def examples(quick: int, thorough: int) -> settings:
    """For properties whose examples are dear; `thorough` with `--hypothesis-profile=thorough`."""
    known = settings.get_current_profile_name()
    return settings(deadline=None, max_examples=thorough if known == "thorough" else quick)
