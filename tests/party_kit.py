"""Two parties that trust each other, made once and copied; commands of their own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ledger.keys import Identity
from vfl.agreements.drafting import Wishes, draft
from vfl.agreements.signed import SignedAgreement
from vfl.config import scenario_from_mapping
from vfl.errors import VflError
from vfl.party import founding
from vfl.party.approvers import make_key
from vfl.party.config import read_party_file
from vfl.party.state import admit, own_card

PASSPHRASE = "correct horse battery staple"
NOW = datetime.now(UTC)
PORTS = {"bank": 7443, "telecom": 7444}


def identities() -> dict[str, Identity]:
    """Keys of parties without a folder."""
    return {name: Identity(name, bytes([place]) * 32) for place, name in enumerate(PORTS, 1)}


def make_parties(folder: Path) -> Path:
    """bank and telecom under `folder`, each with the other's card; the bank holds the label."""
    secret = folder / "pw"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    for name, port in PORTS.items():
        founding.found(folder / name, name, f"127.0.0.1:{port}", PASSPHRASE, NOW, data=True)
    for name, other in (("bank", "telecom"), ("telecom", "bank")):
        admit(folder / name / "state", own_card(folder / other / "state"))
    settings = folder / "bank/party.toml"
    settings.write_text(settings.read_text().replace("# label =", "label ="))
    assert read_party_file(folder / "bank").table is not None
    for person in ("risk", "security", "legal"):
        make_key(folder / f"{person}.key", person, PASSPHRASE)
    return folder


def scenario_text(**more: str) -> str:
    """A scenario file of the two; `more` is a body for each table."""
    tables = {"privacy": "", "model": "num_iterations = 3\n", "psi": "", **more}
    told = "".join(f"[{name}]\n{body}\n" for name, body in tables.items())
    return f"""
[scenario]
name = "joint"
[party.bank]
role = "active"
table = "bank.csv"
id = "customer_id"
label = "default"
features = ["income", "age"]
[party.telecom]
role = "passive"
table = "telecom.csv"
id = "phone"
features = ["calls"]
{told}"""


def drafted(keys: dict[str, Identity] | None = None, expires: str = "2099-12-31", **tables: str) -> SignedAgreement:
    """An unsigned agreement of the two."""
    import tomllib

    scenario = scenario_from_mapping(tomllib.loads(scenario_text(**tables)), Path("joint.toml"))
    public = {name: each.public for name, each in (keys or identities()).items()}
    wishes = Wishes("joint credit model", "legitimate interest", expires, (), {"runs": 2}, {"rule": "equal"})
    return draft(scenario, public, wishes, datetime(2026, 1, 31, tzinfo=UTC))


def refused(error: VflError) -> str:
    """The error and its remedy, for a search of words."""
    return error.diagnostics()


def modes(folder: Path) -> dict[str, int]:
    """Permission bits of everything below `folder`."""
    return {str(p.relative_to(folder)): os.stat(p).st_mode & 0o777 for p in folder.rglob("*")}
