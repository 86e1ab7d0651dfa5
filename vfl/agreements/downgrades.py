"""Where an agreement protects less than the one before it, or than the defaults: what two persons must look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vfl.agreement import Agreement, Scalar
from vfl.agreements.leakage import leaks_of
from vfl.config import RECEIPTS, PrivacyConfig, PsiConfig

_LEVELS = ("disclosed", "hidden")
# Clause -> how much it protects; a clause that is absent has its default.
_PRIVACY: Mapping[str, Callable[[Any], float]] = {
    "level": lambda level: _LEVELS.index(level) if level in _LEVELS else -1,
    "key_bits": float,
    "min_bin_population": float,
    "min_intersection": float,
    "cell_noise": float,
    "merge_models": lambda on: -float(on),
    "masked_scores": float,
    "receipts": lambda kind: RECEIPTS.index(kind) if kind in RECEIPTS else -1,
}
_PSI: Mapping[str, Callable[[Any], float]] = {
    "decoys": float,
    "max_set_size": lambda most: -float(most),
}


def downgrades(agreement: Agreement, before: Agreement | None) -> list[str]:
    """Each clause that protects less, with both values. `before`: the last one signed; None compares with defaults."""
    old_privacy = before.privacy if before else vars(PrivacyConfig())
    old_psi = before.psi if before else vars(PsiConfig())
    found = list(_weaker("privacy", agreement.privacy, old_privacy, vars(PrivacyConfig()), _PRIVACY))
    found += _weaker("psi", agreement.psi, old_psi, vars(PsiConfig()), _PSI)
    return [*found, *(_wider(agreement, before) if before else ())]


def _weaker(
    table: str,
    new: Mapping[str, Scalar],
    old: Mapping[str, Any],
    defaults: Mapping[str, Any],
    worth: Mapping[str, Callable[[Any], float]],
) -> Iterator[str]:
    for clause, of in worth.items():
        now, then = (side.get(clause, defaults[clause]) for side in (new, old))
        if of(now) < of(then):
            yield f"{table}.{clause} is {now}, and was {then}"


def _wider(agreement: Agreement, before: Agreement) -> Iterator[str]:
    """More is shown, to more parties, of more columns, or more often."""
    allowed, had = (set(one.contract.leakage if one.contract else leaks_of(one)) for one in (agreement, before))
    yield from (f"contract.leakage allows {code}" for code in sorted(allowed - had))
    columns = {member.name: set(member.features) for member in before.members}
    for member in agreement.members:
        if member.name not in columns:
            yield f"members[{member.name}] is new"
        elif extra := [name for name in member.features if name not in columns[member.name]]:
            yield f"members[{member.name}].features has {', '.join(extra)[:200]} besides"
    if agreement.contract and before.contract:
        new, old = agreement.contract.budgets, before.contract.budgets
        for name, most in old.items():
            if new.get(name, most + 1) > most:
                yield f"contract.budgets.{name} is {new.get(name, 'without bound')}, and was {most}"
