"""At the end an auditor verifies the ledgers that went through all this, alone and from a bundle."""

from __future__ import annotations

from pathlib import Path

from ledger import Code, Policy, verify_bytes
from ledger.bundle import write_bundle
from vfl import closing
from vfl.errors import VflError

from .casts import ACTIVE
from .machine import IDENTITIES, RUN, Machine
from .promises import Broken


def audit(machines: dict[str, Machine], folder: Path) -> None:
    """The last heads are countersigned as at the end of a run; then the bundle must be valid."""
    notaries = {name: machine.notary for name, machine in machines.items()}
    assert all(notary is not None for notary in notaries.values())
    bank = notaries.pop(ACTIVE)
    try:
        closing._meet(bank, list(notaries.values()))  # type: ignore[arg-type]
    except VflError as error:
        raise Broken("P3", f"the last heads are not countersigned: {error}") from error
    people = [IDENTITIES[name] for name in machines]
    policy, path = Policy.of(people, quorum="any"), folder / "audit.bundle"
    logs = [machine.notary.log for machine in machines.values() if machine.notary]
    write_bundle(path, logs, RUN, artefacts={"model.json": b"{}"}, identities=people, policy=policy)
    result = verify_bytes(path.read_bytes(), policy)
    if result.code is not Code.VALID:
        raise Broken("P9" if "dated" in result.as_text() else "P3", f"the bundle is not valid: {result.as_text()}")
