"""Bad input gets a clear error, exit code 2, an empty stdout, and leaves no directory behind.

Every message names the file, column or parameter, the value found where there is one, and what to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_kit import TWO, apart, frames, scenario, tallystick

from vfl.agreement import Agreement, Member
from vfl.channel import lockstep
from vfl.clock import SystemClock
from vfl.config import load_scenario
from vfl.desk import Desk, MemoryTranscript, NoNotary, memory_links
from vfl.errors import AgreementError
from vfl.protocols import handshake
from vfl.simulation import prepare

Tables = dict[str, pd.DataFrame]
Change = Callable[[Tables], None]


def refused(capfd: Any, folder: Path, words: tuple[str, ...], *line: object) -> None:
    """Run and demand a clear refusal that leaves nothing in `folder`."""
    before = sorted(folder.rglob("*"))
    ended = tallystick(capfd, "run", *line, "--out", folder / "out")
    assert ended.code == 2, ended.err
    assert ended.out == ""
    check_told(ended.err, words)
    assert sorted(folder.rglob("*")) == before, "nothing half-written is left"


def check_told(said: str, words: tuple[str, ...]) -> None:
    assert "Traceback" not in said
    error = next(line for line in said.splitlines() if line.startswith("error: "))
    remedy = said.partition("  to do: ")[2].strip()
    assert remedy
    for word in words:
        assert word in f"{error}\n{remedy}", said


# ---- the scenario file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('table = "bank.csv"', 'table = "banc.csv"', ("'banc.csv'", "'bank.csv'")),
        ('table = "telecom.parquet"', 'table = "none/telecom.parquet"', ("telecom.parquet", "path")),
        ('id = "customer_id"', 'id = "customer"', ("bank.csv", "id column 'customer'", "'customer_id'")),
        ('id = "phone"', 'id = "fone"', ("telecom.parquet", "id column 'fone'", "'phone'")),
        ('label = "default"', 'label = "defualt"', ("bank.csv", "label column 'defualt'", "'default'")),
        ('id = "phone"', 'id = "phone"\nfeatures = ["call"]', ("telecom.parquet", "column 'call'", "'calls'")),
        ('label = "default"\n', "", ("[party.bank]", "no label", "label =")),
        ('role = "passive"', 'role = "active"\nlabel = "x"', ("2 active parties", "exactly one")),
        ("num_leaves = 4", "num_leavs = 4", ("[model]", "'num_leavs'", "'num_leaves'")),
        ("num_leaves = 4", "num_leaves = 1", ("'num_leaves'", "is 1", "2 <= num_leaves")),
        ("num_leaves = 4", 'num_leaves = "four"', ("'num_leaves'", "'four'", "whole number")),
        ("learning_rate = 0.3", "learning_rate = 0", ("'learning_rate'", "is 0", "0.0 < learning_rate")),
        ("max_bin = 16", "max_bin = 1000000", ("'max_bin'", "1000000", "65535")),
        ("min_intersection = 100", "min_intersection = 3", ("min_intersection", "'3'", "20 to")),
        ("min_intersection = 100", "min_intersections = 100", ("[privacy]", "'min_intersections'", "Did you mean")),
        ("[privacy]", '[privacy]\nscheme = "rot13"', ("[privacy] scheme", "'rot13'", "'lattice'", "'paillier'")),
        ("[privacy]", '[privacy]\nscheme = "paillier"\nlevel = "hidden"', ("level is 'hidden'", "scheme 'paillier'")),
        ("[privacy]", "[privacy]\nkey_bits = 512", ("[privacy] key_bits", "'512'", "2048")),
        ("phone-es@1", "phone-xx@1", ("id_rule", "'phone-xx@1'", "'phone-es@1'")),
        ("fraction = 0.3", "fraction = 1.5", ("[holdout] fraction", "'1.5'", "0.9")),
        ("fraction = 0.3\nseed = 5", 'column = "is_test"', ("bank.csv", "'is_test'", "Known here")),
        ("[holdout]", "[houldout]", ("'houldout'", "'holdout'")),
        ('name = "my-bank"', 'name = "my bank/../.."', ("[scenario] name", "my bank/../..", "letters")),
        ('name = "my-bank"', "name = my-bank", ("scenario.toml", "not valid TOML")),
    ],
)
def test_a_wrong_scenario_file(capfd: Any, tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    assert old in TWO
    refused(capfd, tmp_path, words, scenario(tmp_path, TWO.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("pos-lone",), ("'pos-lone'", "'pos-loan'")),
        (("nothing-like-it",), ("'nothing-like-it'", "pos-loan", "card-limit", ".toml")),
        (("nowhere.toml",), ("'nowhere.toml'", "path")),
        (("pos-loan", "--parties", "bank,telekom"), ("'telekom'", "'telecom'")),
        (("pos-loan", "--parties", "telecom,bureau"), ("'bank'", "label")),
        (("pos-loan", "--parties", "bank"), ("bank", "partner")),
        (("pos-loan", "--parties", ""), ("no party ''",)),
    ],
)
def test_a_wrong_name_on_the_command_line(
    capfd: Any, tmp_path: Path, line: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(capfd, tmp_path, words, *line)


def test_a_wrong_party_of_a_file(capfd: Any, tmp_path: Path) -> None:
    refused(capfd, tmp_path, ("'payroll'", "bank, telecom"), scenario(tmp_path), "--parties", "bank,payroll")


# ---- the tables ------------------------------------------------------------------------------------------------------


def text_in_a_feature(tables: Tables) -> None:
    tables["bank"]["income"] = tables["bank"]["income"].astype(object)
    tables["bank"].loc[41, "income"] = "plenty"


def text_in_the_label(tables: Tables) -> None:
    tables["bank"]["default"] = np.where(tables["bank"]["default"] == 1, "yes", "no")


def a_third_class(tables: Tables) -> None:
    tables["bank"].loc[7, "default"] = 2


def one_class(tables: Tables) -> None:
    tables["bank"]["default"] = 0


def a_missing_label(tables: Tables) -> None:
    tables["bank"]["default"] = tables["bank"]["default"].astype(float)
    tables["bank"].loc[3, "default"] = np.nan


def one_class_among_the_common(tables: Tables) -> None:
    known = set(tables["telecom"]["phone"].str[4:])
    tables["bank"].loc[tables["bank"]["customer_id"].str[3:].isin(known), "default"] = 0
    assert tables["bank"]["default"].nunique() == 2


def twice_the_same(tables: Tables) -> None:
    tables["bank"] = pd.concat([tables["bank"], tables["bank"].head(3)], ignore_index=True)


def the_same_in_another_spelling(tables: Tables) -> None:
    again = tables["telecom"].head(1).assign(phone=lambda frame: "+" + frame["phone"].str[2:])
    tables["telecom"] = pd.concat([tables["telecom"], again], ignore_index=True)


def nobody_in_common(tables: Tables) -> None:
    tables["telecom"]["phone"] = tables["telecom"]["phone"].str.replace("00342", "00346", n=1)


def too_few_in_common(tables: Tables) -> None:
    tables["telecom"] = tables["telecom"].head(60)


def ids_of_another_kind(tables: Tables) -> None:
    tables["telecom"]["phone"] = [f"customer {row}" for row in range(len(tables["telecom"]))]


def no_rows(tables: Tables) -> None:
    tables["bank"] = tables["bank"].head(0)


def no_features(tables: Tables) -> None:
    tables["telecom"] = tables["telecom"][["phone"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (text_in_a_feature, ("bank.csv", "'income'", "'plenty'", "data row 42")),
        (text_in_the_label, ("bank.csv", "'default'", "not 0/1")),
        (a_third_class, ("bank.csv", "'default'", "data row 8 holds 2")),
        (one_class, ("bank.csv", "'default'", "one class only", "0")),
        (a_missing_label, ("bank.csv", "'default'", "data row 4")),
        (one_class_among_the_common, ("training part", "all with label 0", "both classes")),
        (twice_the_same, ("bank.csv", "customer_id", "3 rows repeat", "1 and 601", "duplicates")),
        (the_same_in_another_spelling, ("telecom.parquet", "phone", "1 rows repeat", "phone-es@1")),
        (nobody_in_common, ("0 customers in common", "at least 100", "min_intersection")),
        (too_few_in_common, ("customers in common", "at least 100", "min_intersection")),
        (ids_of_another_kind, ("telecom.parquet", "phone", "580 of 580", "id_rule")),
        (no_rows, ("bank.csv", "no rows")),
        (no_features, ("telecom.parquet", "no feature columns")),
    ],
)
def test_a_table_that_will_not_do(capfd: Any, tmp_path: Path, change: Change, words: tuple[str, ...]) -> None:
    tables = frames()
    change(tables)
    refused(capfd, tmp_path, words, scenario(tmp_path, TWO, tables))


def test_a_table_that_is_something_else(capfd: Any, tmp_path: Path) -> None:
    path = scenario(tmp_path)
    for data, word in (
        (b"", "empty"),
        (b"\xff\xfe\x00a\x00b", "bank.csv"),
        (b"PAR1", "bank.csv"),
        (b"a;b;c\n", "commas"),
    ):
        (tmp_path / "bank.csv").write_bytes(data)
        refused(capfd, tmp_path, ("bank.csv", word), path)


def test_no_identifier_is_shown_in_a_refusal(capfd: Any, tmp_path: Path) -> None:
    tables = frames()
    twice_the_same(tables)
    ended = tallystick(capfd, "run", scenario(tmp_path, TWO, tables), "--out", tmp_path / "out")
    assert not [raw for raw in tables["bank"]["customer_id"] if raw in ended.err or raw[3:] in ended.err]


# ---- the agreement ---------------------------------------------------------------------------------------------------


def terms(**changes: Any) -> Agreement:
    members = (Member("bank", "active", ("income",)), Member("telecom", "passive", ("calls",)))
    model = {"kind": "gbdt", "num_leaves": 4}
    plain = {"model": model, "privacy": {"min_intersection": 100}, "psi": {"id_rule": "text@1"}, "holdout": {"seed": 5}}
    return Agreement("my-bank", "credit", **{"members": members, **plain, **changes})


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"model": {"kind": "gbdt", "num_leaves": 8}}, "model.num_leaves: ours 4, theirs 8"),
        ({"privacy": {"min_intersection": 20}}, "privacy.min_intersection: ours 100, theirs 20"),
        ({"psi": {"id_rule": "phone@1"}}, 'psi.id_rule: ours "text@1", theirs "phone@1"'),
        ({"holdout": {"seed": 5, "fraction": 0.2}}, "holdout.fraction: ours null, theirs 0.2"),
    ],
)
def test_parties_with_different_agreements_both_name_the_clause(changes: dict[str, Any], clause: str) -> None:
    here, there = memory_links()
    bank, telecom = (Desk(name, MemoryTranscript(), NoNotary()) for name in ("bank", "telecom"))
    told: dict[str, AgreementError] = {}

    async def ending(name: str, role: Any) -> None:
        try:
            await role
        except AgreementError as error:
            told[name] = error

    mine, theirs = terms().encode(), terms(**changes).encode()
    lockstep(
        {
            "bank": ending("bank", handshake.active(bank.channel("telecom", here), "run", mine, "1")),
            "telecom": ending("telecom", handshake.passive(telecom.channel("bank", there), "run", theirs, "1")),
        }
    )
    assert clause in str(told["bank"])
    assert clause.partition(":")[0] in str(told["telecom"])
    assert "the agreement of telecom differs" in str(told["bank"])
    assert told["bank"].remedy


def test_a_party_whose_agreement_was_edited_stops_the_run(tmp_path: Path) -> None:
    """Two parties over sockets, each with a run file of its own."""
    path = scenario(tmp_path / "own")
    file = prepare(load_scenario(path), tmp_path / "here", b"\1" * 32, SystemClock())
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for other in (tmp_path / "there").rglob("*.json"):
        other.write_text(other.read_text().replace('\\"num_leaves\\":4', '\\"num_leaves\\":5'))
    assert file.agreement.model["num_leaves"] == 4
    words = [sys.executable, "-m", "vfl.processes"]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*words, str(tmp_path / "here"), "bank", "20", "0"], **pipes) as bank:  # type: ignore[call-overload]
        port = json.loads(bank.stdout.readline())["port"]
        line = [*words, str(tmp_path / "there"), "telecom", "20", str(port)]
        telecom = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        said = bank.communicate(timeout=60)[0]
    for ended in (said, telecom.stdout):
        assert "AgreementError" in ended
        assert "model.num_leaves" in ended


# ---- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit", [3_000, *(pytest.param(limit, marks=pytest.mark.slow) for limit in (200, 30_000, 60_000))]
)
def test_a_disk_that_is_full_at_any_moment(tmp_path: Path, limit: int) -> None:
    path = scenario(tmp_path / "own")
    ended = apart(
        "run", path, "--out", tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    check_told(ended.stderr, (str(tmp_path / "out.partial"),))
    assert [found.name for found in tmp_path.iterdir()] == ["own"]


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, where we may make one."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not (mount and umount and hasattr(os, "geteuid") and os.geteuid() == 0):
        pytest.skip("only root makes a small file system")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this machine lets nobody make a small file system")
    try:
        yield folder
    finally:
        subprocess.run([umount, folder], check=True)


@pytest.mark.parametrize("size", ["200k", pytest.param("64k", marks=pytest.mark.slow)])
def test_a_disk_that_is_really_full(tmp_path: Path, size: str) -> None:
    path = scenario(tmp_path / "own")
    with small_disk(tmp_path / "disk", size) as disk:
        ended = apart("run", path, "--out", disk / "out")
        assert ended.returncode == 2, ended.stderr
        assert ended.stdout == ""
        check_told(ended.stderr, (str(disk / "out.partial"), "space"))
        assert not list(disk.iterdir())


def test_a_full_disk_keeps_what_a_resumed_run_had_reached(tmp_path: Path, capfd: Any) -> None:
    path = scenario(tmp_path / "own")
    prepare(load_scenario(path), tmp_path / "out.partial", b"\1" * 32, SystemClock())
    ended = apart(
        "run", path, "--out", tmp_path / "out", "--resume",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )  # fmt: skip
    assert ended.returncode == 2
    assert "nothing is kept" not in ended.stderr
    assert tallystick(capfd, "run", path, "--out", tmp_path / "out", "--resume").code == 0


def test_a_place_that_cannot_be_written_to(capfd: Any, tmp_path: Path) -> None:
    path = scenario(tmp_path / "own")
    (tmp_path / "file").write_text("in the way")
    refused_there(capfd, path, tmp_path / "file" / "out")
    if Path("/proc/self").exists():
        refused_there(capfd, path, Path("/proc/self/out"))


def refused_there(capfd: Any, path: Path, out: Path) -> None:
    ended = tallystick(capfd, "run", path, "--out", out)
    assert (ended.code, ended.out) == (2, "")
    check_told(ended.err, (str(out.parent), "--out"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(capfd: Any, tmp_path: Path) -> None:
    path = scenario(tmp_path / "own")
    (tmp_path / "locked").mkdir(mode=0o500)
    refused_there(capfd, path, tmp_path / "locked" / "out")
