import copy
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_kit import START, b64, identity, two_party_world

import ledger
from ledger.checkpoint import Checkpoint, cosign, cosigners, open_checkpoint, sign_checkpoint, verify_cosignature
from ledger.errors import BadEntry, BadKey, BadNote, BadSignature
from ledger.keys import Certificate, KeyType, SigningKey, VerifyingKey, issue_certificate
from ledger.merkle import EMPTY_ROOT
from ledger.note import Note, SignatureLine, sign_note

# c2sp.org/signed-note, section "Example".
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# c2sp.org/tlog-cosignature, first example (its keys are not published).
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
# c2sp.org/signed-note, first example: text with empty lines and letters beyond ASCII.
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
BANK, TELECOM = identity("bank"), identity("telecom")
HEAD = Checkpoint("bank/run-7", 12, bytes(range(32)))


def test_published_note_verifies():
    key = VerifyingKey.parse(VKEY)
    assert (key.name, key.kind, key.id.hex(), key.vkey) == ("example.com/foo", KeyType.NOTE, "530d903a", VKEY)
    note = Note.parse(NOTE)
    assert str(note) == NOTE
    assert note.verified([key]) == [key]
    with pytest.raises(BadSignature):
        Note.parse(NOTE.replace("example message", "Example message")).verified([key])


def test_published_notes_survive_parser_and_printer():
    for text in (POEM, COSIGNED):
        assert str(Note.parse(text)) == text == str(Note.parse(text.encode()))
    assert Note.parse(POEM).text.endswith("sera.\n")
    head = Checkpoint.parse(Note.parse(COSIGNED).text)
    assert (head.origin, head.size, b64(head.root)[:8]) == ("example.com/behind-the-sofa", 20852163, "CsUYapGG")
    line = Note.parse(COSIGNED).signatures[1]
    assert len(line.blob) == 72
    assert int.from_bytes(line.blob[:8], "big") == 1679315147


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        NOTE[:-1],
        NOTE.replace("— ", "- "),
        NOTE.replace("— example.com/foo ", "— example.com/foo  "),
        NOTE.replace("example.com/foo", "example.com/+foo"),
        NOTE.replace("example.com/foo", "example.com/\u2003foo"),
        NOTE.replace("aQM=", "aQN="),
        NOTE.replace("aQM=", "aQM"),
        NOTE.replace("This", "Th\tis"),
        NOTE.replace("This", "Th\ris"),
        "text\n\n— example.com/foo Uw2QOg==\n",
        NOTE + "x",
        NOTE + 101 * NOTE.splitlines(keepends=True)[-1],
        b"\xff\n\n",
    ],
)
def test_malformed_notes_are_refused(text):
    with pytest.raises(BadNote):
        Note.parse(text)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("530d903a", "530D903A"),
        VKEY[:-1],
        VKEY.replace("+Aek", "+Aik"),
        VKEY.replace("example.com/foo", "example .com"),
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_malformed_keys_are_refused(vkey):
    with pytest.raises(BadKey):
        VerifyingKey.parse(vkey)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("12\n", "012\n"),
        lambda t: t.replace("12\n", "+12\n"),
        lambda t: t.replace("12\n", "-1\n"),
        lambda t: t.replace("12\n", "1२\n"),
        lambda t: t.replace("12\n", "1" * 25 + "\n"),
        lambda t: t[:-1],
        lambda t: t + "\n",
        lambda t: t + "extension\n",
        lambda t: t.replace("bank/run-7", ""),
        lambda t: t.replace("bank/run-7", "bank run"),
        lambda t: t.replace("AAEC", "AAE"),
        lambda t: t.replace("Hh8=", "Hh9="),
        lambda t: t.replace("12\n", "0\n"),
    ],
)
def test_malformed_checkpoints_are_refused(change):
    assert Checkpoint.parse(HEAD.text) == HEAD
    assert change(HEAD.text) != HEAD.text
    with pytest.raises(BadNote):
        Checkpoint.parse(change(HEAD.text))


def test_empty_log_has_a_checkpoint():
    assert Checkpoint.parse(Checkpoint("bank/run-7", 0, EMPTY_ROOT).text).size == 0


def test_checkpoint_signed_and_cosigned():
    line = cosign(HEAD, TELECOM.witness, datetime(2023, 3, 20, 12, 25, 47, tzinfo=UTC))
    note = sign_checkpoint(HEAD, BANK.identity).with_lines([line, line])
    assert len(note.signatures) == 2
    signed = open_checkpoint(str(note), BANK.identity.verifying)
    assert signed.head == HEAD
    assert cosigners(signed.note, [TELECOM.witness.verifying, BANK.witness.verifying]) == [TELECOM.witness.verifying]
    assert verify_cosignature(HEAD.text, line, TELECOM.witness.verifying) == 1679315147
    message = b"cosignature/v1\ntime 1679315147\n" + HEAD.text.encode()
    assert line.blob[8:] == TELECOM.witness.key.sign(message)


def test_wrong_checkpoint_signatures_are_refused():
    with pytest.raises(BadSignature, match="not signed by"):
        open_checkpoint(str(sign_checkpoint(HEAD, TELECOM.identity)), BANK.identity.verifying)
    line = cosign(HEAD, TELECOM.witness, START)
    later = SignatureLine(line.name, line.key_id, b"\0" * 7 + b"\1" + line.blob[8:])
    for wrong in (
        later,
        SignatureLine(line.name, line.key_id, line.blob[:-1]),
        SignatureLine(line.name, line.key_id, bytes(72)),
    ):
        with pytest.raises(BadSignature):
            cosigners(sign_checkpoint(HEAD, BANK.identity).with_lines([wrong]), [TELECOM.witness.verifying])
    with pytest.raises(BadSignature):
        cosign(HEAD, TELECOM.identity, START)
    with pytest.raises(BadSignature):
        cosign(HEAD, TELECOM.witness, datetime(1960, 1, 1, tzinfo=UTC))
    with pytest.raises(BadSignature):
        sign_note(HEAD.text, [TELECOM.witness])
    doubled = sign_checkpoint(HEAD, BANK.identity)
    second = SignatureLine("bank", doubled.signatures[0].key_id, bytes(64))
    with pytest.raises(BadSignature):
        open_checkpoint(str(doubled.with_lines([second])), BANK.identity.verifying)


def test_private_keys_do_not_leave():
    key = SigningKey(bytes(32))
    assert key.public.hex() in repr(key)
    assert "SigningKey" in repr(BANK.identity)
    for secret in (key, BANK, BANK.identity):
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            if leave is copy.copy and secret is BANK.identity:
                continue
            with pytest.raises(TypeError):
                leave(secret)
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(BadKey):
            SigningKey(seed)


def test_every_use_has_its_own_key():
    keys = [BANK.identity.key, BANK.witness.key, BANK.entry_key("a"), BANK.entry_key("b"), TELECOM.identity.key]
    assert len({key.public for key in keys}) == 5
    assert BANK.entry_key("a").public == identity("bank").entry_key("a").public
    for name in ("", "a b", "../a", "a/b", "é", "-a", "a" * 64):
        with pytest.raises(BadKey):
            identity(name)


def test_certificates():
    good = BANK.certify("run-7", START, START + timedelta(hours=1))
    good.verify(BANK.identity.verifying)
    assert Certificate.from_json(good.to_json()) == good
    assert good.covers(good.not_before)
    assert not good.covers("2026-01-31T12:00:00.000000Z")
    for key in (TELECOM.identity.verifying, BANK.witness.verifying):
        with pytest.raises(BadSignature):
            good.verify(key)
    for name, value in [("run", "run-8"), ("key", "00" * 32), ("not_after", "2027-01-31T12:00:00.000000Z")]:
        with pytest.raises(BadSignature):
            Certificate.from_json(good.to_json() | {name: value}).verify(BANK.identity.verifying)
    for wrong in (
        None,
        {},
        good.to_json() | {"v": 2},
        good.to_json() | {"key": "xy"},
        good.to_json() | {"purpose": "Two words"},
    ):
        with pytest.raises(BadKey):
            Certificate.from_json(wrong)
    with pytest.raises(BadKey, match="never valid"):
        issue_certificate(BANK.identity, "run-7", bytes(32), START, START)


def test_specification_shows_real_bytes(world):
    page = (Path(ledger.__file__).parent.parent / "docs" / "spec" / "ledger.md").read_text(encoding="utf-8")
    page = "".join(line.removeprefix("    ") for line in page.splitlines())
    log = two_party_world(1).logs["bank"]
    entry = list(log.entries())[1]
    note = log.checkpoints()[0].note
    for shown in (
        entry.to_bytes().decode(),
        entry.leaf().hex(),
        entry.envelope().message().decode(),
        note,
        str(world.policy),
    ):
        assert shown.replace("\n", "") in page


def test_limits_of_notes_and_clocks():
    with pytest.raises(BadNote, match="1000000"):
        Note.parse("x" * 1_000_001)
    with pytest.raises(BadNote, match="UTF-8"):
        Note.parse("\ud800")
    with pytest.raises(BadSignature, match="no cosignature"):
        verify_cosignature(HEAD.text, cosign(HEAD, TELECOM.witness, START), BANK.witness.verifying)
    with pytest.raises(BadEntry, match="time zone"):
        BANK.certify("run-7", datetime(2026, 1, 1), START)
    with pytest.raises(BadKey, match="31 bytes"):
        VerifyingKey("bank", KeyType.NOTE, bytes(31))
    with pytest.raises(BadKey, match="seed has 32"):
        identity("bank").__class__("bank", b"short")
    assert str(BANK.identity.verifying) == BANK.identity.verifying.vkey
    with pytest.raises(BadKey, match="validity"):
        Certificate.from_json(BANK.certify("r", START, START + timedelta(1)).to_json() | {"not_after": "soon"})
