"""The shares of all parties as one model: only where the agreement says that they may be merged.

A merged model shows everybody's thresholds to whoever holds it, and can score without the partners.
"""

from __future__ import annotations

from collections.abc import Mapping

from vfl.agreement import Agreement
from vfl.errors import AgreementError, UsageError
from vfl.learn.ensemble import Ensemble
from vfl.learn.lightgbm_text import lightgbm_text
from vfl.learn.parameters import GBDTParameters
from vfl.learn.tree import SplitRecord
from vfl.models import read_ensemble, read_records, require_share


def merged_text(agreement: Agreement, parameters: GBDTParameters, shares: Mapping[str, bytes]) -> str:
    """The joint model as LightGBM's text, from the share of each party of the agreement by name.

    Features are called PARTY.FEATURE, in the order of the agreement, the active party's first.

    Raises AgreementError if the agreement does not allow it, UsageError if a share is none or they do not fit.
    """
    if agreement.privacy.get("merge_models") is not True:
        raise AgreementError(
            "the agreement does not allow to merge the parties' shares of the model",
            remedy="agree on `merge_models = true` under [privacy] and train again; each share alone can be exported "
            "as JSON",
        )
    members = (agreement.active, *agreement.passives)
    for member in members:
        require_share(shares[member.name], agreement, member.name)
    model = read_ensemble(shares[agreement.active.name])
    records = [read_records(shares[member.name]) for member in members]
    names = [[f"{member.name}.{feature}" for feature in member.features] for member in members]
    _require_one_model(agreement, model, records)
    return lightgbm_text(model, records, names, learning_rate=parameters.learning_rate)


def _require_one_model(agreement: Agreement, model: Ensemble, records: list[list[SplitRecord]]) -> None:
    """Each passive party's records are on the features that the active party chose, one by one."""
    for member, chosen, found in zip(agreement.passives, model.passive_features, records[1:], strict=True):
        if chosen != tuple(record.feature for record in found):
            raise UsageError(
                f"the model shares of {agreement.active.name} and {member.name} are not of one model",
                remedy="take both from the same run",
            )
