"""party.toml: the template says what the defaults are, and a slip of the pen is named."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from vfl.engine import PART_ROWS
from vfl.engines import EngineConfig
from vfl.errors import UsageError
from vfl.party.config import NAME, Deadlines, PartyFile, Tls, read_party_file
from vfl.party.state import refusals_to_serve
from vfl.party.template import template


def read(folder: Path, text: str) -> PartyFile:
    (folder / NAME).write_text(text, encoding="utf-8")
    return read_party_file(folder)


def uncommented(text: str) -> str:
    """The template with every default written out."""
    return re.sub(r"^# (?=\w+ = |\[)", "", text, flags=re.M)


BARE = '[party]\nname = "bank"\naddress = "127.0.0.1:7443"\n'


def test_the_template_is_the_defaults(tmp_path: Path) -> None:
    for address in ("127.0.0.1:7443", "bank.example:443", "[2001:db8::1]:7443", "[::1]:7443"):
        bare = read(tmp_path, BARE.replace("127.0.0.1:7443", address))
        assert read(tmp_path, template("bank", address, data=False)) == bare
        assert read(tmp_path, uncommented(template("bank", address, data=False))) == bare
    assert bare.deadlines == Deadlines()
    assert bare.tls == Tls()
    assert bare.table is None


def test_the_template_has_every_option(tmp_path: Path) -> None:
    text = uncommented(template("bank", "127.0.0.1:7443", data=True))
    party = read(tmp_path, text.replace('"descending"', '"descending"').replace("[-1, 999999]", "[-1]"))
    assert party.table is not None
    assert party.table.role == "active", "whoever has a label is the active party"
    assert party.table.table == tmp_path / "customers.parquet"
    given = {each.name for each in fields(party.table)} - {"name", "role"}
    assert [name for name in given if not getattr(party.table, name)] == []
    for kind in (Deadlines, Tls):
        assert [each.name for each in fields(kind) if f"# {each.name} = " not in template("b", "h:1", data=False)] == []


def test_a_party_may_have_an_engine(tmp_path: Path) -> None:
    """The one of a scenario file: what is wrong in it is told in the same words."""
    text = template("bank", "127.0.0.1:7443", data=True)
    assert read(tmp_path, text).table.engine == EngineConfig()
    assert read(tmp_path, uncommented(text)).table.engine == EngineConfig("ray", "10.0.0.7:6379", PART_ROWS)
    for table, words in (
        ('kind = "spark"', r"\[data.engine\] kind is 'spark'.*'local', 'ray'"),
        ('address = "10.0.0.7:6379"', "address is given, but kind is 'local'"),
        ('kind = "ray"\naddress = "10.0.0.7"', r"address is '10.0.0.7'.*HOST:PORT"),
        ("partition_rows = 1", r"partition_rows is '1'.*4096"),
    ):
        with pytest.raises(UsageError) as caught:
            read(tmp_path, f"{text}[data.engine]\n{table}\n")
        assert re.search(words, caught.value.diagnostics().replace("\n", " ")), caught.value.diagnostics()


def test_without_a_label_a_party_is_passive(tmp_path: Path) -> None:
    party = read(tmp_path, template("bank", "127.0.0.1:7443", data=True))
    assert party.table is not None
    assert party.table.role == "passive"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[serves]\n", "unknown table 'serves'.*'serve'"),
        ('[serve]\nlissten = "127.0.0.1:1"\n', "unknown key 'lissten'.*'listen'"),
        ("[serve]\nverify = false\n", r"\[serve\] verify is not to be chosen: peers are asked.*remove the line"),
        ("[serve]\nverify = true\n", r"\[serve\] verify is not to be chosen"),
        ('[serve]\nlisten = "7443"\n', r"party.toml: \[serve\] listen is '7443'.*HOST:PORT"),
        ("[deadlines]\nsilence = 0\n", r"\[deadlines\] silence is '0'.*1 to 86400"),
        ("[deadlines]\nsilense = 9\n", "unknown key 'silense'.*'silence'"),
        ('[tls]\ndays = "365"\n', "days is a text.*a whole number"),
        ("[tls]\ndays = 9999\n", "days is '9999'.*1 to 825"),
        ('[data]\nrole = "active"\n', "unknown key 'role'"),
        ('[data]\ntable = "t.csv"\n', "key 'id' is missing"),
        ('[data]\ntable = "t.csv"\nid = "a"\nlabel = "a"\n', "listed more than once"),
        ('[data]\ntable = "t.csv"\nid = "a"\nweight = "w"\n', "weight 'w' at a passive party"),
        ('[data]\ntable = "t.csv"\nid = "a"\nledger = "postgresql://a:b@c/d"\n', "holds a password"),
        ("disk_free = -1\n", "disk_free is '-1'"),
        ('state = ""\n', "state is ''"),
        ('passphrase = "x"\n', "unknown key 'passphrase'"),
        ("[party]\n", "not valid TOML"),
    ],
)
def test_a_slip_is_named_with_its_remedy(tmp_path: Path, more: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, BARE + more)
    assert re.search(words, caught.value.diagnostics().replace("\n", " ")), caught.value.diagnostics()
    assert NAME in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "name = 1\n", '[party]\nname = "Bank"\naddress = "h:1"\n', '[party]\nname = "bank"\n']
)
def test_no_party(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"party.toml"):
        read(tmp_path, text)


def test_a_folder_without_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no party.toml in"):
        read_party_file(tmp_path)


# ---- what forbids to serve -------------------------------------------------------------------------------------------


def party_of(parties: Path, **words: str) -> PartyFile:
    path = parties / "bank/party.toml"
    text = path.read_text()
    for old, new in words.items():
        text = re.sub(rf"^# {old} = .*$", f"{old} = {new}", text, flags=re.M)
    path.write_text(text)
    return read_party_file(path)


def test_a_party_in_order_may_serve(parties: Path) -> None:
    party = party_of(parties)
    assert refusals_to_serve(party, party.state) == []


@pytest.mark.parametrize("place", ["keys.json", "."])
def test_loose_modes_forbid_to_serve(parties: Path, place: str) -> None:
    party = party_of(parties)
    (party.state / place).chmod(0o755)
    (why,) = refusals_to_serve(party, party.state)
    assert "others may read it" in why


def test_without_a_pin_nobody_is_served(parties: Path) -> None:
    party = party_of(parties)
    (party.state / "peers/telecom.card").unlink()
    (why,) = refusals_to_serve(party, party.state)
    assert "no peer's pin is known" in why


def test_an_altered_card_or_missing_keys_forbid_to_serve(parties: Path) -> None:
    party = party_of(parties)
    (party.state / "peers/telecom.card").write_text("no card")
    assert "telecom.card is no card" in refusals_to_serve(party, party.state)[0]
    (party.state / "keys.json").unlink()
    assert "cannot be read" in refusals_to_serve(party, party.state)[0]
