"""How a party stands: what a person looks at, and what a monitor reads. No passphrase is needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from vfl.errors import UsageError
from vfl.net.pins import pin_of
from vfl.party import keystore
from vfl.party.actions import NEEDED
from vfl.party.addresses import written
from vfl.party.approvers import approvers
from vfl.party.card import Card
from vfl.party.certificates import Validity
from vfl.party.config import PartyFile
from vfl.party.state import own_card, refusals_to_serve, trusted

PARTIAL = ".partial"
_MEGABYTE = 1 << 20


def status(party: PartyFile, now: datetime) -> dict[str, Any]:
    """What `tallystick party status` tells, JSON-ready. Raises UsageError without a card."""
    state = party.state
    card = own_card(state)
    persons = approvers(state, card.identity)
    return {
        "party": party.name,
        "address": party.address,
        "listen": written(*party.listen),
        "fingerprint": card.fingerprint,
        "certificates": _certificates(card, now),
        "peers": {
            name: {"fingerprint": peer.fingerprint, "address": peer.address, "certificates": _certificates(peer, now)}
            for name, peer in trusted(state).items()
        },
        "approvers": sorted(persons),
        "rule_of_two": len(persons) >= NEEDED,
        "runs": list(_runs(party.runs)),
        "disk_free_mb": _free(state),
        "warnings": list(warnings(party, card, now)),
    }


def warnings(party: PartyFile, card: Card, now: datetime) -> Iterator[str]:
    """What somebody should do something about."""
    yield from refusals_to_serve(party, party.state)
    if party.name != card.name:
        yield f"party.toml names {party.name}, but the keys are those of {card.name}"
    with suppress(UsageError):  # a key file that does not open is among the refusals
        if (card.certificates, card.address) != (keystore.certificates(party.state), party.address):
            yield "the card does not show the present keys or address: run `tallystick party card --renew`"
    yield from _ending(card.name, card.certificates[0], "run `tallystick party rotate`", party, now)
    for name, peer in trusted(party.state).items():
        yield from _ending(name, peer.certificates[-1], f"ask {name} for its newest card", party, now)
    if party.table is not None and not party.table.table.exists():
        yield f"[data] table {party.table.table} is not there"
    if (free := _free(party.state)) < party.disk_free:
        yield f"{free} MB are free, fewer than disk_free = {party.disk_free}"


def _ending(who: str, pem: bytes, remedy: str, party: PartyFile, now: datetime) -> Iterator[str]:
    left = Validity.of(pem).days_left(now)
    if left < party.tls.warn_days:
        yield f"the certificate of {who} {f'ends in {left} days' if left >= 0 else 'has expired'}: {remedy}"


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free // _MEGABYTE


def _certificates(card: Card, now: datetime) -> list[dict[str, Any]]:
    found = []
    for pem in card.certificates:
        valid = Validity.of(pem)
        found.append({"pin": pin_of(pem), "until": valid.end.isoformat(), "days_left": valid.days_left(now)})
    return found


def _runs(folder: Path) -> Iterator[dict[str, Any]]:
    """What is known of each run without opening it."""
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.is_dir():
            stands, reached = _read(path / "status.json"), _read(path / "progress.json")
            done = "done" if not path.name.endswith(PARTIAL) else "interrupted"
            yield {
                "run": path.name.removesuffix(PARTIAL),
                "state": str(stands.get("state", done)),
                "phase": str(reached.get("phase", "")),
            }


def _read(path: Path) -> dict[str, Any]:
    """A file that may be missing, or just being written."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
