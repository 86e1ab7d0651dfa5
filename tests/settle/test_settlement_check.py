"""Whatever somebody changes in a settlement's bundle, whoever checks it says what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_kit import here
from settling_kit import bundle_of, changed, checked, entry

Change = tuple[str, Callable[[bytes], bytes]]


def of_json(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def bent(data: bytes) -> bytes:
        body = json.loads(data)
        change(body)
        return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    return bent


def one_more(body: dict[str, Any]) -> None:
    body["patterns"][0][2] += 1


def better(body: dict[str, Any]) -> None:
    body["ppm"]["telecom"], body["ppm"]["payroll"] = body["ppm"]["payroll"] + 1, body["ppm"]["telecom"] - 1


def swap(params: dict[str, Any]) -> None:
    params["calls"][0], params["calls"][1] = params["calls"][1], params["calls"][0]


ARTEFACTS: list[tuple[Change, str]] = [
    (("artefacts/contribution.json", of_json(one_more)), "record: contribution.json is not the file"),
    (("artefacts/contribution.json", lambda _: b"{}\n"), "record: contribution.json is not the file"),
    (("artefacts/shares.json", of_json(better)), "record: shares.json is not the file"),
    (("artefacts/head.note", lambda data: data.replace(b"bank/", b"bonk/", 1)), "record: head.note is not the file"),
    (("artefacts/contract/consortium.json", of_json(lambda b: b.update(bytecode=b["bytecode"][:-2] + "00"))),
     "contract: the bytecode of consortium is not that of the ledger"),
]  # fmt: skip
ENTRIES: list[tuple[Change, str]] = [
    (entry("bank", lambda e: e["params"].update(amount=e["params"]["amount"] + 1), "usage"), "usage: entry"),
    (entry("bank", lambda e: e["params"].update(seed="00" * 32), "value"), "seed: the seed is not the hash"),
    (entry("bank", lambda e: e["params"]["ppm"].update(bank=7), "value"), "shares: entry"),
    (entry("telecom", lambda e: e["params"].update(digest="00" * 32), "state"),
     "contract: telecom put another state on record than"),
    (entry("bank", lambda e: e["params"].update(data=e["params"]["data"][:-2] + "ff"), "call"), "contract:"),
    (entry("bank", lambda e: swap(e["params"]), "order", 0), "contract: bank put another state"),
    (entry("bank", lambda e: e["params"]["calls"].append(e["params"]["calls"][0]), "order"), "no call that waits"),
    (entry("bank", lambda e: e["params"].update(calls=7), "order"), "is an order of another form"),
    (entry("bank", lambda e: e["params"].update(threshold=1), "genesis"), "contract: "),
]  # fmt: skip


def ids(cases: list[tuple[Change, str]]) -> list[str]:
    return [f"{number}: {said}" for number, (_, said) in enumerate(cases)]


@pytest.mark.parametrize(("change", "said"), [*ARTEFACTS, *ENTRIES], ids=ids([*ARTEFACTS, *ENTRIES]))
def test_a_change_is_named_and_the_ledgers_do_not_verify(settled_made: Path, change: Change, said: str) -> None:
    found = checked(changed(bundle_of(settled_made), *change), settled_made)
    assert found.code == 1
    assert any(said in fault for fault in found.faults), found.faults
    assert any(fault.startswith("ledgers: the verifier ends with code") for fault in found.faults), found.faults


@pytest.mark.parametrize(("change", "said"), ENTRIES, ids=ids(ENTRIES))
def test_even_whoever_does_not_look_at_signatures_sees_it(settled_made: Path, change: Change, said: str) -> None:
    found = checked(changed(bundle_of(settled_made), *change))
    assert found.code == 1
    assert any(said in fault for fault in found.faults), found.faults


def test_without_a_policy_it_is_incomplete(settled_made: Path) -> None:
    found = checked(bundle_of(settled_made))
    assert (found.code, found.faults) == (2, [])
    assert "nobody's signature was checked" in found.skipped[0]
    told = here("settle", "check", settled_made / "settlement" / "settlement.bundle", "--json")
    assert told.returncode == 2
    assert json.loads(told.stdout)["code"] == 2


def test_without_the_extra_the_contract_is_not_played(settled_made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfl.settle.engines.engine._PACKAGES", ("no_such_machine",))
    found = checked(bundle_of(settled_made), settled_made)
    assert found.code == 2
    assert (
        "a contract needs what is not installed: no_such_machine; pip install 'tallystick[chain]'" in found.skipped[0]
    )


def test_what_is_no_bundle_is_said(settled_made: Path, tmp_path: Path) -> None:
    torn = bundle_of(settled_made)[:-100]
    assert checked(torn, settled_made).code == 1
    (tmp_path / "x").write_bytes(b"nothing")
    told = here("settle", "check", tmp_path / "x", "--policy", settled_made / "policy.txt")
    assert told.returncode == 1
    assert "does NOT hold" in told.stdout
    assert "cannot be read" in here("settle", "check", tmp_path / "none").stderr
    assert "is no policy" in here("settle", "check", tmp_path / "x", "--policy", tmp_path / "x").stderr
