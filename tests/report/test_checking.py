"""`tallystick report check` meets reports and bundles that somebody altered: it says so, and never falls over."""

from __future__ import annotations

import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_kit import tallystick

from ledger.archive import pack
from ledger.bundle import SUMS, Bundle, read_bundle, sums
from ledger.canonical import decode, encode
from ledger.merkle import leaf_hash
from ledger.policy import Policy
from vfl.errors import UsageError
from vfl.report.checking import check_extract, check_file, check_report
from vfl.report.evidence import Evidence
from vfl.report.received import read
from vfl.report.render import as_json
from vfl.report.subject import extract

STRANGE: list[Any] = [
    None,
    True,
    -1,
    10**40,
    1e400,
    "x",
    "\ud800",
    [],
    {},
    [[]],
    {"figure": []},
    {"figure": 1, "text": 2},
]
DEEP = b"[" * 100_000 + b"]" * 100_000


def _places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = list(body.items()) if isinstance(body, dict) else list(enumerate(body)) if isinstance(body, list) else []
    return [path] * bool(path) + [place for key, value in items for place in _places(value, (*path, key))]


def _mutated(body: Any, place: tuple[Any, ...], change: str, other: Any) -> Any:
    changed = json.loads(json.dumps(body))
    *above, last = place
    target = changed
    for key in above:
        target = target[key]
    if change == "delete":
        del target[last]
    elif change == "nest":
        for _ in range(60):
            target[last] = [target[last]]
    elif change == "double" and isinstance(target, list):
        target.append(target[last])
    else:
        target[last] = other
    return changed


@pytest.fixture(scope="module")
def small(body: dict[str, Any]) -> dict[str, Any]:
    """The report with its first figures only, so that each place has its turn."""
    few = body["figures"][:4] + body["figures"][-2:]
    used = {one["id"] for one in few}
    proofs = {one["proof"]: body["proofs"][one["proof"]] for one in few}
    sections = [{"number": 1, "title": "t", "blocks": [{"paragraph": [{"figure": few[0]["id"]}, {"text": "w"}]}]}]
    cover = {"facts": [["Run", [{"figure": one}]] for one in sorted(used)], "notes": [[{"stated": "s"}]]}
    small = {**body, "figures": few, "proofs": proofs, "sections": sections, "cover": cover}
    return json.loads(json.dumps(small))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_report_is_checked_or_refused(small: dict[str, Any], evidence: Evidence, data: st.DataObject) -> None:
    assert check_report(small, evidence) == 6  # the honest twin
    changed = small
    for _ in range(data.draw(st.integers(1, 3))):
        places = _places(changed)
        if not places:
            break
        place = data.draw(st.sampled_from(places))
        change = data.draw(st.sampled_from(("delete", "nest", "double", "swap")))
        changed = _mutated(changed, place, change, copy.deepcopy(data.draw(st.sampled_from(STRANGE))))
    try:
        told = check_report(read(json.dumps(changed).encode()), evidence)
    except UsageError:
        pass
    else:
        assert told == len(changed["figures"])
        good = {one["id"]: one for one in small["figures"]}
        assert all(good.get(one["id"], {}).get("value") == one["value"] for one in changed["figures"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_extract_proves_nothing(out: Path, data: st.DataObject) -> None:
    policy = Policy.parse((out / "policy.txt").read_bytes())
    customer = json.loads((out / "bank/decisions.jsonl").read_text().splitlines()[0])["id"]
    honest = extract(out, customer, "")
    place = data.draw(st.sampled_from(_places(honest)))
    changed = _mutated(
        honest, place, data.draw(st.sampled_from(("delete", "nest", "swap"))), data.draw(st.sampled_from(STRANGE))
    )
    check_extract(honest, policy)
    if place == ("review",) or changed == honest:
        return
    with pytest.raises(UsageError):
        check_extract(changed, policy)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DEEP, "nested too deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deep"),
        (b"[]", "no JSON object"),
        (b"\xff", "not JSON"),
        (b'{"format":"x","format":"y"}', "'format' stands twice"),
        (b'{"format":"tallystick-subject-v1"}', "missing required field `record`"),
        (b'{"format":"tallystick-report-v1"}', "missing required field `language`"),
        (b'{"format":"other"}', r"\$\.format"),
    ],
)
def test_what_is_no_report_is_refused_by_name(out: Path, tmp_path: Path, capfd: Any, data: bytes, why: str) -> None:
    file = tmp_path / "hostile.json"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=rf"hostile\.json cannot be checked: .*{why}"):
        check_file(file, out / "policy.txt", out / "audit.bundle")
    words = ("report", "check", file, "--policy", out / "policy.txt", "--bundle", out / "audit.bundle")
    ended = tallystick(capfd, *words)
    assert (ended.code, "Traceback" in ended.err) == (2, False)


def test_one_id_names_one_figure(small: dict[str, Any], evidence: Evidence) -> None:
    false = {**small["figures"][0], "shown": "0.999"}
    with pytest.raises(UsageError, match="stands twice"):
        check_report({**small, "figures": [false, *small["figures"]]}, evidence)


def _forged(honest: Bundle, last: bytes, *, added: bool) -> dict[str, bytes]:
    """The members with an entry more in the bank's log, or its last one altered, as far as one without keys can."""
    name = "logs/bank/entries.jsonl"
    entry = decode(last)
    assert isinstance(entry, dict)
    entry |= {"params": {"count": 999}}
    if added:
        entry |= {"seq": entry["seq"] + 1, "prev": leaf_hash(last).hex()}  # type: ignore[operator]
    before = honest.members[name] if added else honest.members[name].removesuffix(last + b"\n")
    members = {**honest.members, name: before + encode(entry) + b"\n"}
    return {**members, SUMS: sums(members)}


@pytest.mark.parametrize("added", [True, False])
def test_what_the_signed_head_does_not_cover_is_no_figure(
    out: Path, tmp_path: Path, body: dict[str, Any], *, added: bool
) -> None:
    honest = read_bundle(out / "audit.bundle")
    last = honest.logs()["bank"].entries.split(b"\n")[-2]
    members = _forged(honest, last, added=added)
    seq = json.loads(last)["seq"] + added
    changed = json.loads(as_json(body))
    figure = next(one for one in changed["figures"] if one["pointer"].endswith("/params/count"))
    figure |= {"pointer": f"/{seq}/params/count", "value": 999, "shown": "999"}
    data = pack(members)
    (tmp_path / "forged.bundle").write_bytes(data)
    files = {name: tmp_path / f"{name}.json" for name in ("forged", "honest")}
    files["forged"].write_bytes(as_json(changed))
    files["honest"].write_bytes(as_json(body))
    policy = out / "policy.txt"
    for file in files.values():
        with pytest.raises(UsageError, match=r"forged\.bundle does not verify: "):
            check_file(file, policy, tmp_path / "forged.bundle")
    with pytest.raises(UsageError, match=rf"figure {figure['id']} "):
        check_file(files["forged"], policy, out / "audit.bundle")
    assert check_file(files["honest"], policy, out / "audit.bundle")["checked"] == len(body["figures"])
    # Even from a bundle that nobody verified no figure comes that no head covers, or under another entry's trace.
    unverified = Evidence(Bundle(members, (), sha256(data).hexdigest()), Policy.parse(policy.read_bytes()))
    alone = {**changed, "figures": [figure], "cover": {"notes": []}, "sections": []}
    why = "no checkpoint covers" if added else "its proof is about another entry"
    with pytest.raises(UsageError, match=rf"figure {figure['id']} .*{why}"):
        check_report(alone, unverified)
