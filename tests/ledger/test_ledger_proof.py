"""Proofs of single entries (c2sp.org/tlog-proof)."""

import pytest
from ledger_kit import identity, two_party_world

from ledger import Policy
from ledger.errors import BadKey, BadNote, BadProof, BadSignature, LedgerError
from ledger.keys import VerifyingKey
from ledger.proof import EntryProof, prove

# c2sp.org/tlog-proof, the example, up to its signatures, which are elided there.
PUBLISHED = """c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

"""
LINE = "— example.com/fancylog hI2DJ2Vhc3kgdG8gc2VlIHRoYXQgdGhpcyBpcyBub25l\n"


def entry(world, seq=2, party="bank"):
    return list(world.logs[party].entries())[seq]


def test_published_example_is_read():
    proof = EntryProof.parse(PUBLISHED + LINE)
    assert (proof.index, len(proof.hashes)) == (73894, 5)
    assert proof.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.gz")
    assert str(proof) == PUBLISHED + LINE


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("@v1", "@v2"),
        lambda t: t.replace("index 7", "index 07"),
        lambda t: t.replace("index 7", "index -7"),
        lambda t: t.replace("index 73894\n", ""),
        lambda t: t.replace("extra ", "extra  "),
        lambda t: t.replace("gSKy", "gSK"),
        lambda t: t.replace("PlQ=", "PlR="),
        lambda t: t.replace("PlQ=\n", "PlQ=\r\n"),
        lambda t: t.replace("\n\nexample", "\nexample"),
        lambda t: t.replace("PlQ=\n", "PlQ=\n" + 60 * "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"),
        lambda t: t[:-1],
    ],
)
def test_malformed_proofs_are_refused(change):
    assert change(PUBLISHED + LINE) != PUBLISHED + LINE
    with pytest.raises((BadProof, BadNote)):
        EntryProof.parse(change(PUBLISHED + LINE))


def test_every_entry_is_proven_alone():
    world = two_party_world(3)
    for party, log in world.logs.items():
        for one in log.entries():
            text = str(prove(log, one))
            proven = EntryProof.parse(text.encode()).verify(world.policy)
            assert proven.entry == one
            assert [key.name for key in proven.cosigners] == [f"{n}/witness" for n in world.logs if n != party]


def test_any_changed_byte_is_refused():
    world = two_party_world(2)
    data = str(prove(world.logs["bank"], entry(world))).encode()
    for at in range(len(data)):
        with pytest.raises(LedgerError):
            EntryProof.parse(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]).verify(world.policy)


def test_entry_beside_the_proof():
    world = two_party_world(2)
    whole = prove(world.logs["bank"], entry(world))
    bare = EntryProof(whole.index, whole.hashes, whole.note)
    assert "extra" not in str(bare)
    assert bare.verify(world.policy, whole.extra).entry == entry(world)
    with pytest.raises(BadProof, match="carries no entry"):
        bare.verify(world.policy)
    with pytest.raises(BadProof, match="position 2"):
        bare.verify(world.policy, entry(world, 3).to_bytes())
    with pytest.raises(BadSignature, match="not signed by telecom"):
        bare.verify(world.policy, entry(world, 2, "telecom").to_bytes())


def test_quorum_and_coverage():
    world = two_party_world(1)
    proof = prove(world.logs["bank"], entry(world))
    with pytest.raises(BadSignature, match="quorum"):
        proof.verify(Policy.of(world.people.values(), [identity("regulator")]))
    with pytest.raises(BadSignature, match="no log key"):
        proof.verify(Policy.of([identity("telecom")]))
    world.say("bank", "telecom", "late", b"x", 5)
    with pytest.raises(BadProof, match="no checkpoint covers"):
        prove(world.logs["bank"], entry(world, -1))


@pytest.mark.parametrize(("code", "says"), [(2, "ECDSA"), (5, "tree heads"), (6, "ML-DSA-44"), (99, "unknown")])
def test_key_types_that_are_not_supported_are_named(code, says):
    import base64

    text = base64.b64encode(bytes([code]) + bytes(32)).decode()
    with pytest.raises(BadKey, match=says):
        VerifyingKey.parse(f"log.example+00000000+{text}")
