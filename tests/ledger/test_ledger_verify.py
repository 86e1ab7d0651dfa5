"""The verifier's verdict: honest runs, the policy, sums and manifest; each exit code is reached."""

import pytest
from ledger_kit import AGREEMENT, RUN, World, found, identity, pretty

from ledger import (
    Code,
    Policy,
    read_bundle,
    verify_bundle,
    verify_bytes,
)
from ledger.archive import pack
from ledger.bundle import MANIFEST, SUMS, SUMS_NOTE, sums_text
from ledger.canonical import decode, encode
from ledger.note import sign_note


def test_an_honest_run_is_valid(world, tmp_path):
    path = world.write(tmp_path / "run.bundle")
    result = verify_bundle(path, str(world.policy))
    assert result.code is Code.VALID, result.as_text()
    assert result.findings == []
    assert "RESULT: valid (exit code 0)" in result.as_text()
    assert result.as_json()["logs"][0] == {
        "party": "bank",
        "entries": 5,
        "checkpoints": 2,
        "root": world.logs["bank"].root().hex(),
    }
    assert path.read_bytes() == pack(read_bundle(path).members)


def test_three_parties_a_regulator_and_a_resent_message_are_valid(tmp_path):
    world = World(("bank", "bureau", "telecom"))
    world.say("bank", "telecom", "hello", b"1")
    world.say("bank", "bureau", "hello", b"1")
    world.end_round()
    world.logs["bank"].append(phase="end", round=1, step="done", slot="end/1/done/bank/0", dir="local", refs=[0, 1])
    world.end_round()
    world.policy = Policy.of(world.people.values(), quorum="2")
    assert verify_bundle(world.write(tmp_path / "x"), world.policy).code is Code.VALID


def test_the_kit_can_forge_without_a_trace(world, members):
    world.forge(members, "bank", lambda entries: entries)
    assert world.verify(members).code is Code.VALID, pretty(world.verify(members))


def test_the_most_severe_comes_first(world, members):
    members["logs/bank/checkpoints/3.note"] = world.head("bank", 3, bytes(32), cosigning=[]).encode()
    members["artefacts/model.json"] = b"changed"
    result = verify_bytes(pack(members), world.policy)
    assert [int(f.code) for f in result.findings] == sorted(
        (int(f.code) for f in result.findings), key=[4, 1, 3, 2].index
    )
    assert result.code is Code.MISBEHAVIOUR
    assert AGREEMENT in decode(members[MANIFEST])["agreement"]


# -- (1) policy -------------------------------------------------------------------------------------------------------


def test_a_bad_policy(world, tmp_path):
    result = verify_bundle(world.write(tmp_path / "x"), "quorum nobody\n")
    assert (result.code, result.findings[0].step) == (Code.POLICY, 1)


def test_a_policy_without_one_party(world, tmp_path):
    policy = Policy.of([identity("bank")])
    result = verify_bundle(world.write(tmp_path / "x"), policy)
    assert result.code is Code.POLICY
    assert "no log key" in found(result, Code.POLICY, party="telecom", step=5)[0]


def test_a_policy_with_another_key_of_the_same_name(world, tmp_path):
    other = type(identity("bank"))("bank", bytes(32))
    result = verify_bundle(world.write(tmp_path / "x"), Policy.of([other, identity("telecom")]))
    assert result.code is Code.INVALID
    assert found(result, Code.INVALID, party="bank", step=5, seq=0)
    assert found(result, Code.INVALID, party="bank", step=6)


# -- (2) sums and manifest --------------------------------------------------------------------------------------------


def test_a_changed_artefact_is_named(world, members):
    members["artefacts/model.json"] = b"{ }"
    result = verify_bytes(pack(members), world.policy)
    assert found(result, Code.INVALID, step=2) == [
        "member artefacts/model.json was changed: it does not fit its digest in SHA256SUMS"
    ]


def test_added_and_removed_members_are_named(world, members):
    data = members.pop("artefacts/model.json")
    result = verify_bytes(pack(members), world.policy)
    assert found(result, Code.INCOMPLETE, step=2) == ["member artefacts/model.json is listed in SHA256SUMS but missing"]
    members |= {"artefacts/model.json": data, "artefacts/more.json": data}
    result = verify_bytes(pack(members), world.policy)
    assert "member artefacts/more.json is not listed in SHA256SUMS" in found(result, Code.INVALID, step=2)


def test_sums_must_be_signed_by_every_party(world, members):
    result = world.verify(members, ["bank"])
    assert result.code is Code.INCOMPLETE
    assert found(result, Code.INCOMPLETE, party="telecom", step=2)
    world.seal(members)
    for note in (b"", str(sign_note(sums_text("run-8", members[SUMS]), [world.people["bank"].identity])).encode()):
        members[SUMS_NOTE] = note
        assert "SHA256SUMS.note is" in found(verify_bytes(pack(members), world.policy), Code.INVALID, step=2)[0]


def test_sums_have_one_form(world, members):
    world.seal(members)
    members[SUMS] = b"".join(reversed(members[SUMS].splitlines(keepends=True)))
    keys = [who.identity for who in world.people.values()]
    members[SUMS_NOTE] = str(sign_note(sums_text(RUN, members[SUMS]), keys)).encode()
    assert "one form" in found(verify_bytes(pack(members), world.policy), Code.INVALID, step=2)[0]


@pytest.mark.parametrize(
    "change", [{"artefacts": 9}, {"v": 2}, {"logs": []}, {"logs": {}}, {"run": 7}, {"agreement": "00" * 32}, {"x": 1}]
)
def test_a_false_manifest(world, members, change):
    members[MANIFEST] = encode(decode(members[MANIFEST]) | change)
    assert world.verify(members).code is Code.INVALID


def test_a_manifest_that_names_a_log_more(world, members):
    for name in [name for name in members if name.startswith("logs/telecom/")]:
        del members[name]
    result = world.verify(members)
    assert result.code is Code.INCOMPLETE
    texts = found(result, Code.INCOMPLETE, party="telecom")
    assert any("manifest names its log" in text for text in texts)
    assert any("does not hold its log" in text for text in texts)


def test_a_bundle_without_manifest_or_logs(world, members):
    del members[MANIFEST]
    result = world.verify(members)
    assert {finding.step for finding in result.findings} == {2}
    assert result.code is Code.INVALID
    assert verify_bytes(pack({}), world.policy).code is Code.INVALID
