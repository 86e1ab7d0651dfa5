"""Time stamps of heads by a local authority: what they prove, and every way in which they do not."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta

import ledger_kit
import pytest
import second_verifier
from authority_kit import LocalAuthority, answering
from ledger_kit import START, World, found, two_party_world

from ledger import Choice, Code, read_bundle, select_bundle, verify_bundle, verify_bytes
from ledger.__main__ import main
from ledger.archive import pack
from ledger.authority import Authority
from ledger.errors import BadStamp, StampError
from ledger.log import Log
from ledger.note import Note
from ledger.posting import MAX_ANSWER_BYTES
from ledger.stamping import stamp_bundle, stamped_bytes

client = pytest.importorskip("rfc3161_client", reason="needs pip install 'tallystick[timestamp]'")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
STAMP = "timestamps/bank/5.tsr"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return LocalAuthority(tmp_path_factory.mktemp("tsa") / "local")


@pytest.fixture(scope="module")
def stamped(local, tmp_path_factory):
    """A world and its bundle, stamped."""
    world, path = two_party_world(), tmp_path_factory.mktemp("stamped") / "run.bundle"
    world.write(path)
    with answering(local.answer) as url:
        stamp_bundle(path, path, url, Authority([local.root]))
    return world, path


@pytest.fixture
def members(stamped):
    return dict(read_bundle(stamped[1]).members)


def verified(world, members, *files):
    return verify_bytes(pack(members), world.policy, Authority(files))


def asked(local, data, *more):
    request = client.TimestampRequestBuilder().data(data).hash_algorithm(client.HashAlgorithm.SHA256).build()
    return local.answer(request.as_bytes(), *more)


def head(members, party="bank", size=5):
    return stamped_bytes(Note.parse(members[f"logs/{party}/checkpoints/{size}.note"]), party)


def test_a_stamped_bundle_is_valid_and_tells_the_time(stamped, local):
    world, path = stamped
    result = verify_bundle(path, world.policy, tsa=Authority([local.root]))
    assert result.code is Code.VALID, result.as_text()
    assert [(one.party, one.size) for one in result.stamps] == [("bank", 5), ("telecom", 5)]
    assert "stamp  bank: 5 entries, there at 20" in result.as_text()
    assert result.as_json()["timestamps"][0]["time"] == result.stamps[0].time
    # Whoever names no authority is told that there is something to check.
    plain = verify_bundle(path, world.policy)
    assert plain.code is Code.VALID
    assert "not checked (name the authority with --tsa)" in plain.as_text()
    assert second_verifier.check(path.read_bytes(), str(world.policy)) == (0, "")


def test_cosignatures_that_come_later_leave_a_stamp_valid(stamped, local, members):
    note = Note.parse(members["logs/bank/checkpoints/5.note"])
    assert len(note.signatures) == 2
    assert stamped_bytes(note, "bank").count("—".encode()) == 1
    assert stamped_bytes(Note(note.text, note.signatures[:1]), "bank") == stamped_bytes(note, "bank")


def test_a_part_of_a_run_keeps_the_stamps_of_its_heads(stamped, local, tmp_path):
    world, path = stamped
    select_bundle(path, tmp_path / "part", Choice(parties=frozenset({"bank"}), seqs=frozenset({2})))
    result = verify_bundle(tmp_path / "part", world.policy, tsa=Authority([local.root]))
    assert result.code is Code.VALID, result.as_text()
    assert [(one.party, one.size) for one in result.stamps] == [("bank", 5)]
    members = dict(read_bundle(tmp_path / "part").members)
    members[STAMP] = members[STAMP][:-1]
    assert found(verified(world, members, local.root), Code.INVALID, step=13, party="bank")


def test_every_byte_of_a_stamped_bundle_is_covered(stamped, local):
    world, path = stamped
    data = path.read_bytes()
    start = data.index(STAMP.encode())
    for position in range(start, start + 1200, 5):
        flipped = data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]
        assert verify_bytes(flipped, world.policy).code is Code.INVALID, position


def test_no_bit_of_a_stamp_changes_what_it_says(stamped, local, members):
    """Whoever packs the archive anew with a bit changed in a stamp is refused, or has changed nothing that is said."""
    authority, data, stamp = Authority([local.root]), head(members), members[STAMP]
    moment, refused = authority.time_of(stamp, data), 0
    for position in range(len(stamp)):
        changed = stamp[:position] + bytes([stamp[position] ^ 1 << position % 8]) + stamp[position + 1 :]
        try:
            assert authority.time_of(changed, data) == moment
        except BadStamp:
            refused += 1
    assert refused > 0.95 * len(stamp)


@pytest.mark.parametrize(
    "junk", [b"", b"0", b"\x30\x80", b"\x30\x03\x02\x01\x00", b"x" * 5000, b"\x30\x84\xff\xff\xff\xff"]
)
def test_garbage_is_refused_in_words(stamped, local, members, junk):
    result = verified(stamped[0], members | {STAMP: junk}, local.root)
    (text,) = found(result, Code.INVALID, step=13)
    assert text.startswith("bank: the time stamp of checkpoint 5: the answer is no time stamp in DER")


def test_a_stamp_over_another_head(stamped, local, members):
    world = stamped[0]
    for wrong in (head(members, size=3), head(members, party="telecom"), b"else"):
        result = verified(world, members | {STAMP: asked(local, wrong)}, local.root)
        assert found(result, Code.INVALID, step=13) == [
            "bank: the time stamp of checkpoint 5: the time stamp is over something else"
        ]
    elsewhere = members | {"timestamps/bank/4.tsr": members[STAMP]}
    assert "no such valid checkpoint" in found(verified(world, elsewhere, local.root), Code.INVALID, step=13)[0]
    # That needs no authority to be seen.
    assert verify_bytes(pack(elsewhere), world.policy).code is Code.INVALID


def test_another_authority_of_the_same_name(stamped, local, members, tmp_path):
    other = LocalAuthority(tmp_path / "other")
    result = verified(stamped[0], members, other.root)
    assert len(found(result, Code.INVALID, step=13)) == 2
    assert "not signed by the named authority" in result.as_text()
    forged = members | {STAMP: asked(other, head(members))}
    assert len(found(verified(stamped[0], forged, local.root), Code.INVALID, step=13)) == 1
    assert verified(stamped[0], forged, local.root, other.root).code is Code.VALID


def test_the_certificate_must_be_valid_at_the_stamped_time_and_for_stamps(stamped, members, tmp_path):
    for name, case in {
        "expired": {"days": (-40, -10)},
        "early": {"days": (10, 40)},
    }.items():
        wrong = LocalAuthority(tmp_path / name, **case)
        result = verified(stamped[0], members | {STAMP: asked(wrong, head(members))}, wrong.root)
        assert "certificates valid at the stamped time" in found(result, Code.INVALID, step=13, party="bank")[0]


def test_a_named_signer_is_the_only_one(stamped, local, members, tmp_path):
    other = LocalAuthority(tmp_path / "other")
    assert verified(stamped[0], members, local.root, local.leaf).code is Code.VALID
    assert verified(stamped[0], members, local.root, other.leaf, other.root).code is Code.INVALID


def test_a_log_without_a_stamp_does_not_meet_what_was_asked(stamped, local, members):
    del members[STAMP]
    result = verified(stamped[0], members, local.root)
    assert result.code is Code.POLICY
    assert found(result, Code.POLICY, step=13) == ["bank: no checkpoint has a time stamp of the named authority"]


def test_an_entry_dated_after_the_stamp_that_covers_it(local, tmp_path, monkeypatch):
    world = World()
    monkeypatch.setattr(ledger_kit, "START", START + timedelta(days=30 * 365))
    monkeypatch.setattr(Log, "_moment", lambda log: log._clock.now())  # an honest log refuses such a clock
    world.say("bank", "telecom", "late", b"x")
    world.end_round()
    with answering(local.answer) as url:
        stamp_bundle(world.write(tmp_path / "x"), tmp_path / "x", url, Authority([local.root]))
    result = verify_bundle(tmp_path / "x", world.policy, tsa=Authority([local.root]))
    (text,) = found(result, Code.INVALID, step=13, party="bank")
    assert f"is dated {START.year + 30}-" in text
    assert "was there when checkpoint 2 was stamped" in text


def test_the_command_asks_checks_and_shows(stamped, local, tmp_path, capsys):
    world = stamped[0]
    bundle, tsa, policy = world.write(tmp_path / "run.bundle"), tmp_path / "tsa.pem", tmp_path / "policy.txt"
    tsa.write_bytes(local.root + local.leaf)
    policy.write_text(str(world.policy))
    with answering(local.answer) as url:
        assert main(["timestamp", str(bundle), url, "--tsa", str(tsa), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [one["party"] for one in told["timestamps"]] == ["bank", "telecom"]
    # What is stamped already is not asked for again: nobody listens any more.
    before = bundle.read_bytes()
    assert main(["timestamp", str(bundle), url, "--tsa", str(tsa)]) == 0
    assert bundle.read_bytes() == before
    assert main(["verify", str(bundle), "--policy", str(policy), "--tsa", str(tsa)]) == 0
    assert "there at" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "options", "says"),
    [
        (lambda query: b"no", {}, "no time stamp in DER"),
        (lambda query: b"no", {"status": 503}, "answered 503"),
        (lambda query: b"no", {"kind": "text/html"}, "with text/html"),
        (lambda query: bytes(MAX_ANSWER_BYTES + 1), {}, "more than"),
        # openssl refuses a query that it cannot read with an answer in due form.
        ("refuses", {}, "the authority refused with status 2"),
        ("repeats", {}, "answers another request"),
        ("chain", {}, "not in DER's order"),
    ],
)
def test_what_an_authority_may_answer_instead(stamped, local, tmp_path, answer, options, says):
    world = stamped[0]
    path = world.write(tmp_path / "run.bundle")
    before, note = path.read_bytes(), head(read_bundle(path).members)
    answers = {
        "refuses": lambda query: local.answer(b"junk"),
        "repeats": lambda query: asked(local, note),
        "chain": lambda query: local.answer(query, "-chain", "root.pem"),
    }
    with answering(answers.get(answer, answer), **options) as url, pytest.raises(StampError, match=says):
        stamp_bundle(path, path, url, Authority([local.root]))
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["", "tsa", "ftp://x", "http://", "http://x:y", "http://x/?q", "http://127.0.0.1:1/"])
def test_addresses_where_nobody_is(stamped, local, url, tmp_path, capsys):
    path, tsa = stamped[0].write(tmp_path / "run.bundle"), tmp_path / "tsa.pem"
    tsa.write_bytes(local.root)
    assert main(["timestamp", str(path), url, "--tsa", str(tsa)]) == 1
    assert "time-stamping authority" in capsys.readouterr().err


def test_what_is_no_certificate(stamped, local, tmp_path, capsys):
    policy, tsa = tmp_path / "policy.txt", tmp_path / "tsa.pem"
    policy.write_text(str(stamped[0].policy))
    for content, says in (
        (b"", "no PEM file"),
        (local.root[:200], "no PEM file"),
        (local.leaf, "no root certificate"),
        (b"\xff\x00" * 99, "no PEM file"),
    ):
        tsa.write_bytes(content)
        assert main(["verify", str(stamped[1]), "--policy", str(policy), "--tsa", str(tsa)]) == 64
        assert says in capsys.readouterr().err
    assert main(["verify", str(stamped[1]), "--policy", str(policy), "--tsa", str(tmp_path / "none")]) == 64


WITHOUT = """
import sys
sys.modules["rfc3161_client"] = None
from ledger.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_verifier_works_without_the_package_and_says_what_is_missing(stamped, local, tmp_path):
    policy, tsa = tmp_path / "policy.txt", tmp_path / "tsa.pem"
    policy.write_text(str(stamped[0].policy))
    tsa.write_bytes(local.root)
    words = [sys.executable, "-c", WITHOUT, "verify", str(stamped[1]), "--policy", str(policy)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not checked" in done.stdout
    done = subprocess.run([*words, "--tsa", str(tsa)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert "pip install 'tallystick[timestamp]'" in done.stderr
