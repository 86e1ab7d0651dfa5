"""A party is made, its TLS key is rotated, and its card is written anew."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from ledger.clock import format_time
from vfl.config import check_name
from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.party import keystore
from vfl.party.addresses import parse_address
from vfl.party.card import Card
from vfl.party.certificates import new_tls_key
from vfl.party.config import NAME, PartyFile, Tls
from vfl.party.keystore import Keys
from vfl.party.state import keep_own_card, make
from vfl.party.template import template
from vfl.randomness import fresh_seed


def require_new(folder: Path, name: str, address: str) -> None:
    """Raise UsageError unless a party of that name can be made in `folder`."""
    check_name(name, "--name")
    parse_address(address, "--address")
    for path in (folder / NAME, folder / "state"):
        if path.exists():
            raise UsageError(f"{path} exists already", remedy="name another folder, or remove it")


def found(folder: Path, name: str, address: str, passphrase: str, now: datetime, *, data: bool) -> Card:
    """Make a party in `folder`: settings, keys and card. Nothing is left of it if that fails."""
    require_new(folder, name, address)
    state, fresh = folder / "state", not folder.exists()
    try:
        make(state)
        # The next key is made with the first: its pin is known to all before it is ever used.
        tls = [new_tls_key(name, now, Tls.days), new_tls_key(name, now, 2 * Tls.days)]
        keys = keystore.create(state, name, fresh_seed(), tls, passphrase)
        card = renew_card(state, keys, address, now)
        with refusals(folder, "name another folder"):
            write_data(folder / NAME, template(name, address, data=data).encode())
    except BaseException:
        shutil.rmtree(folder if fresh else state, ignore_errors=True)
        raise
    return card


def rotate(party: PartyFile, keys: Keys, now: datetime) -> Card:
    """The next TLS key becomes the current one, and a new next one is announced in a new card."""
    days = party.tls.days
    tls = [keys.tls[1], new_tls_key(keys.name, now, 2 * days)]
    return renew_card(party.state, keystore.replace_tls(party.state, keys, tls), party.address, now)


def renew_card(state: Path, keys: Keys, address: str, now: datetime) -> Card:
    """A card with the address and certificates of now."""
    card = Card.make(keys.identity, address, format_time(now), tuple(one.certificate for one in keys.tls))
    keep_own_card(state, card)
    return card
