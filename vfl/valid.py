"""Audit bundles that are believed only once the verifier finds nothing in them."""

from __future__ import annotations

from pathlib import Path

from ledger.bundle import Bundle, read_bundle
from ledger.errors import LedgerError
from ledger.findings import Code
from ledger.policy import Policy
from ledger.verify import verify_bundle
from vfl.errors import UsageError


def read_policy(path: Path) -> Policy:
    """The policy file of whoever checks. Raises UsageError."""
    try:
        return Policy.parse(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except LedgerError as error:
        raise UsageError(f"{path}: {error}", remedy=error.remedy) from None


def read_valid(path: Path, policy: Path) -> tuple[Bundle, Policy]:
    """The whole bundle at `path`. Raises UsageError naming the first finding of the verifier, if it has any."""
    rules = read_policy(policy)
    result = verify_bundle(path, rules)
    if result.code is not Code.VALID:
        raise UsageError(
            f"{path} does not verify: {result.findings[0]}",
            remedy=f"see all of it: python -m ledger verify {path} --policy {policy}",
        )
    bundle = read_bundle(path)
    if result.form != "full" or bundle.digest != result.digest:
        raise UsageError(
            f"{path} is only a part of a run's bundle", remedy="name the whole bundle, and let nobody write to it"
        )
    return bundle, rules
