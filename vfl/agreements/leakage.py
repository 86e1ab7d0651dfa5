"""What a run shows to whom, as clauses: an agreement allows a list of these codes and nothing else.

They sum up the `Learns:` lines of the protocols (docs/learns.md) by what the agreement asks for.
"""

from __future__ import annotations

from collections.abc import Mapping

from vfl.agreement import Agreement
from vfl.errors import AgreementError

LEAKS: Mapping[str, str] = {
    "common-customers": "each party learns which of its own customers the active party and all others have",
    "common-customers-among-decoys": "passive parties learn rows among which the common customers are, and decoys",
    "bin-sums": "the active party learns sums of gradients in each bin of a passive party's features",
    "split-answers": "the active party learns left or right at each split of a passive party, for each customer",
    "node-members": "passive parties learn which customers are in a tree node, and so something about their labels",
    "bin-risks": "the active party learns how many customers, and bad ones, are in each bin of a passive party",
    "own-bin-risks": "passive parties learn how risky each of their own bins is",
    "column-combinations": "the active party learns weighted sums of a passive party's columns, for each customer",
    "own-correlations": "passive parties tell the correlations among their own features",
    "own-stability": "passive parties tell how stable their features are",
    "merged-model": "the shares of the model may be put together into one",
}
"""In the order of a run; each with a sentence for people."""


def leaks_of(agreement: Agreement) -> tuple[str, ...]:
    """The codes of all that a run under these clauses shows, sorted."""
    psi, privacy, model = agreement.psi, agreement.privacy, agreement.model
    found = {"common-customers-among-decoys" if psi.get("decoys") else "common-customers"}
    if model.get("kind") == "scorecard":
        found |= {"bin-risks", "column-combinations"}
        shared = (
            ("share_woe", "own-bin-risks"),
            ("share_correlation", "own-correlations"),
            ("share_psi", "own-stability"),
        )
        found |= {code for option, code in shared if model.get(option, True)}
    else:
        found |= {"bin-sums", "split-answers"}
        if privacy.get("level") != "hidden":
            found.add("node-members")
    if privacy.get("merge_models"):
        found.add("merged-model")
    return tuple(sorted(found))


def require_allowed(agreement: Agreement) -> None:
    """Raise AgreementError naming what a run would show although the agreement does not allow it."""
    assert agreement.contract is not None
    allowed = agreement.contract.leakage
    if unknown := sorted(set(allowed) - LEAKS.keys()):
        raise AgreementError(
            f"contract.leakage names {', '.join(unknown)[:200]}", remedy=f"this version knows {', '.join(LEAKS)}"
        )
    if extra := [code for code in leaks_of(agreement) if code not in allowed]:
        raise AgreementError(
            f"contract.leakage does not allow {', '.join(extra)}, which a run under these clauses shows",
            remedy="allow it, or choose other clauses of privacy, psi and model",
        )
