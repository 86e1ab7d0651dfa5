"""Cards: what one says is what its party signed, and mail does not harm it."""

from __future__ import annotations

import re
from pathlib import Path

import party_kit
import pytest

from ledger.clock import format_time
from ledger.note import sign_note
from vfl.errors import UsageError
from vfl.party import admission
from vfl.party.addresses import is_loopback, parse_address
from vfl.party.card import Card, fingerprint
from vfl.party.certificates import Validity, new_tls_key
from vfl.party.state import admit, own_card, trusted

TLS = tuple(new_tls_key("bank", party_kit.NOW, days).certificate for days in (365, 730))


def card(name: str = "bank", address: str = "bank.example:7443", pems: tuple[bytes, ...] = TLS, day: int = 1) -> Card:
    when = format_time(party_kit.NOW.replace(year=2030, day=day))
    return Card.make(party_kit.identities()[name], address, when, pems)


CARD = card()


def test_a_card_is_read_as_it_was_made() -> None:
    assert Card.parse(CARD.note.encode(), "x") == CARD
    assert CARD.pins[0] != CARD.pins[1]
    assert CARD.public == party_kit.identities()["bank"].public
    assert re.fullmatch(r"(\d{5} ){7}\d{5}", CARD.fingerprint)


def test_mail_may_change_line_ends_and_add_blank_lines() -> None:
    assert Card.parse(b"\r\n\r\n" + CARD.note.replace("\n", "\r\n").encode() + b"\r\n\r\n", "x") == CARD
    assert max(map(len, CARD.note.splitlines())) <= 150


def test_the_fingerprint_is_of_the_identity_alone() -> None:
    assert card(address="elsewhere.example:1", pems=TLS[:1], day=2).fingerprint == CARD.fingerprint
    assert fingerprint(party_kit.identities()["telecom"].public.identity) != CARD.fingerprint


def test_every_altered_character_is_refused() -> None:
    data = CARD.note.encode()
    for place in range(0, len(data), 7):
        other = bytearray(data)
        other[place] ^= 1
        with pytest.raises(UsageError, match="here is no card"):
            Card.parse(bytes(other), "here")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("address bank.example:7443", "address evil.example:7443", "signature by bank"),
        ("name bank", "name telecom", "identity key is that of bank"),
        ("name bank\n", "", "must begin with"),
        ("tallystick-card-v1", "tallystick-card-v2", "must begin with"),
        ("pin ", "pim ", "must begin with"),
    ],
)
def test_an_altered_line_is_named(old: str, new: str, words: str) -> None:
    assert old in CARD.note
    with pytest.raises(UsageError, match=words):
        Card.parse(CARD.note.replace(old, new, 1).encode(), "here")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (f"pin {CARD.pins[0]}", f"pin {CARD.pins[1]}", "two with the same pin"),
        (f"pin {CARD.pins[0]}", "pin " + "A" * 43 + "=", "is not that of its certificate"),
        ("address bank.example:7443", "address bank.example", "its address is"),
        ("address bank.example:7443", "address 300.1.1.1:1", "its address is"),
        ("name bank", "name Bank", "party name"),
        ("bank/witness+", "other/witness+", "no card"),
        ("-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\nmore\n", "is not that of its certificate"),
    ],
    ids=[
        "one pin twice",
        "another pin",
        "no port",
        "no address",
        "no name",
        "another witness",
        "more than certificates",
    ],
)
def test_a_signature_does_not_make_nonsense_a_card(old: str, new: str, words: str) -> None:
    text = CARD.note.rpartition("\n\n")[0] + "\n"
    assert old in text
    signed = str(sign_note(text.replace(old, new, 1), [party_kit.identities()["bank"].identity]))
    with pytest.raises(UsageError, match=words):
        Card.parse(signed.encode(), "here")


def test_two_signatures_are_not_one() -> None:
    keys = party_kit.identities()
    text = CARD.note.rpartition("\n\n")[0] + "\n"
    both = str(sign_note(text, [keys["bank"].identity, keys["telecom"].identity]))
    with pytest.raises(UsageError, match="somebody else has as well"):
        Card.parse(both.encode(), "here")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"x" * 30_000, b"\n\n\n", "— bank x\n".encode()])
def test_rubbish_is_no_card(data: bytes) -> None:
    with pytest.raises(UsageError, match="here is no card"):
        Card.parse(data, "here")


def test_a_trusted_card_that_was_altered_is_noticed(parties: Path) -> None:
    state = parties / "bank/state"
    assert list(trusted(state)) == ["telecom"]
    path = state / "peers/telecom.card"
    path.rename(state / "peers/bureau.card")
    with pytest.raises(UsageError, match=r"bureau.card is the card of telecom"):
        trusted(state)
    (state / "peers/bureau.card").write_text(path.name)
    with pytest.raises(UsageError, match=r"bureau.card is no card"):
        trusted(state)


def newer(
    parties: Path, *, name: str = "telecom", seeds: str = "telecom", pems: tuple[bytes, ...] | None = None
) -> Card:
    """Another card of a party, made by its own keys or by others."""
    from vfl.party.keystore import unlock

    keys = unlock(parties / seeds / "state", party_kit.PASSPHRASE)
    shown = pems or tuple(one.certificate for one in keys.tls)
    return Card.make(keys.identity, "127.0.0.1:9", format_time(party_kit.NOW.replace(year=2031)), shown)


def test_what_a_card_changes(parties: Path) -> None:
    state = parties / "bank/state"
    present = trusted(state)["telecom"]
    assert admission.examine(state, present).words == "nothing; it is trusted already"
    moved = newer(parties)
    assert (admission.examine(state, moved).words, admission.examine(state, moved).sensitive) == (
        "another address",
        False,
    )
    other = newer(parties, pems=(new_tls_key("telecom", party_kit.NOW, 9).certificate,))
    assert admission.examine(state, other).sensitive
    fewer = newer(parties, pems=present.certificates[:1])
    assert admission.examine(state, fewer).sensitive, "a pin that no longer counts is a change as well"
    admit(state, moved)
    with pytest.raises(UsageError, match="a newer one"):
        admission.examine(state, present)


def test_somebody_else_under_a_known_name_is_another_identity(parties: Path) -> None:
    state = parties / "bank/state"
    impostor = Card.make(
        party_kit.identities()["telecom"],
        "127.0.0.1:9",
        format_time(party_kit.NOW),
        (new_tls_key("telecom", party_kit.NOW, 9).certificate,),
    )
    found = admission.examine(state, impostor)
    assert found.new_identity
    assert found.sensitive
    with pytest.raises(UsageError, match="not the one given"):
        admission.require_heard(impostor, own_card(parties / "telecom/state").fingerprint)


def test_a_peer_has_keys_of_its_own(parties: Path) -> None:
    state = parties / "bank/state"
    with pytest.raises(UsageError, match="this party's own name"):
        admission.examine(state, own_card(state))
    taken = trusted(state)["telecom"].certificates
    from ledger.keys import Identity

    bureau = Card.make(Identity("bureau", bytes(32)), "127.0.0.1:9", format_time(party_kit.NOW), taken)
    with pytest.raises(UsageError, match="bureau has a key of telecom"):
        admission.examine(state, bureau)


def test_validity_counts_whole_days() -> None:
    valid = Validity.of(TLS[0])
    assert valid.days_left(party_kit.NOW) in (364, 365)
    assert valid.days_left(party_kit.NOW.replace(year=party_kit.NOW.year + 2)) < 0


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", "host:0", "host:65536", ":80", "a b:80", "1.2.3:80", "[::g]:80", "-a:80", "a..b:80", "h:80 "],
)
def test_no_address(text: str) -> None:
    with pytest.raises(UsageError, match=r"--address is .*") as caught:
        parse_address(text, "--address")
    assert "HOST:PORT" in caught.value.remedy


def test_addresses() -> None:
    assert parse_address("[2001:db8::1]:7443", "x") == ("2001:db8::1", 7443)
    assert parse_address("bank.example:1", "x") == ("bank.example", 1)
    assert [is_loopback(h) for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "127.0.0.1.example")] == [
        False
    ] * 5
