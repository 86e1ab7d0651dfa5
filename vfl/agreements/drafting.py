"""An agreement is drafted: the clauses of a scenario, the cards of all parties, and what only companies need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.keys import PublicIdentity
from vfl.agreement import Agreement, Member, Scalar
from vfl.agreements.leakage import leaks_of
from vfl.agreements.signed import SignedAgreement
from vfl.clauses import Contract
from vfl.config import PartyConfig, Scenario
from vfl.errors import UsageError
from vfl.holding import read_holding
from vfl.labels import LabelKind
from vfl.simulation import member_of, model_clauses, scenario_clauses


@dataclass(frozen=True)
class Wishes:
    """What the drafting party asks for besides the scenario. `allow`: codes of leakage; empty for what is needed."""

    purpose: str
    legal_basis: str
    expires: str
    allow: Sequence[str]
    budgets: Mapping[str, int]
    revenue: Mapping[str, int | str]


def draft(scenario: Scenario, parties: Mapping[str, PublicIdentity], wishes: Wishes, now: datetime) -> SignedAgreement:
    """The unsigned agreement. Raises UsageError for a member without a card, or AgreementError for a clause."""
    members = [party.name for party in scenario.parties]
    if missing := [name for name in members if name not in parties]:
        raise UsageError(f"there is no card of {', '.join(missing)}", remedy="name each card: --with CARD")
    if not wishes.purpose.strip():
        raise UsageError("--purpose is blank", remedy="say what the model is for")
    privacy, psi, holdout = scenario_clauses(scenario)
    model: dict[str, Scalar] = dict(model_clauses(scenario))
    named = tuple(_member(scenario, party, psi, holdout, model) for party in (scenario.active, *scenario.passive))
    bare = Agreement(scenario.name, wishes.purpose, named, model, privacy, psi, holdout)
    contract = Contract(
        parties={name: (keys.identity.vkey, keys.witness.vkey) for name, keys in parties.items()},
        legal_basis=wishes.legal_basis,
        expires=wishes.expires,
        leakage=tuple(sorted(set(wishes.allow))) or leaks_of(bare),
        budgets=wishes.budgets,
        revenue=wishes.revenue,
    )
    contract.check()
    agreement = Agreement(
        scenario.name, wishes.purpose, named, model, privacy, psi, holdout, contract, scenario.settlement
    )
    signed = SignedAgreement.decode(SignedAgreement(agreement).encode())
    signed.require_acceptable(now)
    return signed


def _member(
    scenario: Scenario,
    party: PartyConfig,
    psi: Mapping[str, Scalar],
    holdout: Mapping[str, Scalar],
    model: Mapping[str, Scalar],
) -> Member:
    """A partner's table is elsewhere: its columns are those that the scenario lists, or of a table that is here."""
    if party.features is not None:
        return member_of(scenario, party, party.features)
    if not party.table.exists():
        raise UsageError(
            f"{scenario.source.name}: [party.{party.name}] lists no features, and {party.table.name} is not here",
            remedy='Ask which columns it brings, and write features = ["..."].',
        )
    return member_of(scenario, party, read_holding(party, psi, holdout, LabelKind.of(model)).names)
