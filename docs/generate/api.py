"""What the scoring API answers when something is wrong."""

from __future__ import annotations

from vfl.api.keys import SCOPES
from vfl.api.problems import KINDS

from .markdown import table


def api_problems() -> str:
    """Every code."""
    rows = [(str(kind.status), f"`{code}`", kind.title, kind.remedy) for code, kind in KINDS.items()]
    return table(("status", "code", "what it means", "what to do"), sorted(rows))


def api_scopes() -> str:
    """What keys are good for."""
    return table(("scope", "who has it may"), [(f"`{scope}`", about) for scope, about in SCOPES.items()])
