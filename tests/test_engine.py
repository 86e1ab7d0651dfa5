"""Engines and the size of parts change no byte that a party says, no result and no error."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from crypto.test_lattice import Pair, random_case
from engine_kit import WITHOUT_RAY, Elsewhere
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_run import World, play
from protocols.hostile import Tape, record

from vfl import ray_engine
from vfl.config import PartyConfig, scenario_from_mapping
from vfl.crypto import lattice, ring
from vfl.crypto.masking import mask_twice
from vfl.crypto.set_digest import hmacs, merkle_root, set_commitment, table_root
from vfl.engine import HERE, Engine, Here, Queue, mapped
from vfl.engines import EngineConfig
from vfl.errors import BrokenPromise, TransportError, UsageError
from vfl.files import alone
from vfl.ids import usable
from vfl.protocols import intersect
from vfl.protocols.intersect import PsiTerms
from vfl.randomness import Randomness
from vfl.ray_engine import RayEngine
from vfl.secret import Secret
from vfl.texts import Texts, first_places

X = [f"1380000{i:05d}" for i in range(700)]
Y = [f"1380000{i:05d}" for i in range(300, 1100)]
needs_ray = pytest.mark.skipif(WITHOUT_RAY, reason="ray is not installed")


@pytest.fixture(scope="module")
def ray() -> Iterator[RayEngine]:
    engine = RayEngine(4096, workers=2)
    yield engine
    engine.close()


def with_engines(small: int) -> list[Any]:
    return [Here(small), Elsewhere(small), Elsewhere(4 * small, ahead=0)]


def tapes(protocol: str, engine: Engine, other: Engine = HERE) -> dict[str, Tape]:
    terms = PsiTerms("run-1", "text@1", 2000, 1, protocol)
    return record(
        {
            "bank": lambda p: intersect.active(p, X, terms, Randomness(bytes(32)), engine=engine),
            "telecom": lambda p: intersect.passive(p["bank"], Y, terms, Randomness(b"\1" * 32), engine=other),
        },
        [("bank", "telecom")],
    )


def said(found: dict[str, Tape]) -> list[object]:
    """Every byte that was heard, and the rows."""
    return [(tape.frames, tape.result[0].tolist()) for tape in found.values()]


def answers(engine: Engine) -> list[object]:
    """Hint and answers of the lattice over six blocks; messages of three and of one begin and end inside parts."""
    codes, g, h, member = random_case(3, 5 * ring.N + 17, (9, 4))
    with mock.patch.object(lattice, "QUERY_VECTORS", 6):
        pair = Pair(codes, (9, 4), engine=engine)
        assert np.array_equal(pair.sums(g, h, member), pair.plain(g, h, member))
        return [pair.hint, pair.answers(np.stack([member, ~member, member]), "three")]


# ---- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["x25519", "kkrt"])
def test_the_intersection_says_the_same_bytes(protocol: str) -> None:
    plain = said(tapes(protocol, HERE))
    for engine in with_engines(64):
        assert said(tapes(protocol, engine, engine)) == plain


def test_the_evaluator_says_the_same_bytes() -> None:
    plain = answers(HERE)
    for engine in with_engines(ring.N):
        assert answers(engine) == plain


def test_a_whole_run_says_the_same_bytes_and_makes_the_same_model() -> None:
    plain = World.of(customers=60)
    engine = Elsewhere(4096)
    changed = plain
    for mine in plain.holdings.values():
        changed = changed.with_holding(replace(mine, engine=engine))
    one, other = play(plain).essence(), play(changed).essence()
    assert engine.started > 10
    assert one == other


def test_ids_are_what_they_are_in_one_part() -> None:
    raw = ["Anna ", "b", "", "anna", "nan", "ü" * 3, "B", "c\x00", *(f"id {i}" for i in range(50))]
    plain = usable(raw, "text@1", "first", 0.5)
    for engine in with_engines(7):
        found = usable(raw, "text@1", "first", 0.5, engine=engine)
        assert (found.tokens, found.rows.tolist(), found.report) == (plain.tokens, plain.rows.tolist(), plain.report)
        with pytest.raises(UsageError, match=r"2 rows repeat .* data rows 1 and 4, 2 and 7"):
            usable(raw, "text@1", "error", 0.5, engine=engine)
        with pytest.raises(UsageError, match=r"3 of 58 .*1 blank, 1 null-like, 1 invalid; first data rows 3, 5, 8"):
            usable(raw, "text@1", "first", 0.01, engine=engine)


@pytest.mark.parametrize("count", [1, 5, 8, 9, 31, 33])
def test_digests_of_parts_make_the_digest_of_all(count: int) -> None:
    tokens, key = X[:count], bytes(range(32))
    rows = hmacs(key, (row.to_bytes(8, "big") + token.encode() for row, token in enumerate(tokens)))
    leaves = sorted(hmacs(key, (f"active:{token}".encode() for token in tokens)))
    wanted = hashlib.sha256(b"tallystick-set-v1" + b"".join(leaves)).digest()
    for engine in with_engines(5):  # parts of a tree have the power of two below
        assert table_root(key, tokens, engine) == merkle_root(rows)
        assert set_commitment("active", tokens, Secret(key), engine) == wanted


@needs_ray
@pytest.mark.slow
def test_ray_says_the_same_bytes(ray: RayEngine) -> None:
    assert answers(ray) == answers(HERE)
    for protocol in ("x25519", "kkrt"):
        assert said(tapes(protocol, ray)) == said(tapes(protocol, HERE))
    raw = [f" Id {i}" for i in range(9000)]
    assert usable(raw, "text@1", engine=ray).tokens == usable(raw, "text@1").tokens


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_results_come_in_order_and_errors_as_they_are() -> None:
    engine, taken = Elsewhere(4096), []
    assert list(mapped(engine, divmod, ((i, 3) for i in range(20)))) == [divmod(i, 3) for i in range(20)]
    queue = Queue(engine, divmod, taken.append)
    for i in range(9):
        queue.add(i, 2)
    queue.finish()
    assert taken == [divmod(i, 2) for i in range(9)]
    queue.add(1, 0)
    with pytest.raises(ZeroDivisionError):
        queue.finish()
    with pytest.raises(BrokenPromise, match="point 0 has large order"):
        engine.start(mask_twice, bytes(32), b"\1" * 32, 12)()


@needs_ray
@pytest.mark.slow
def test_an_error_of_work_on_ray_is_raised_as_it_is(ray: RayEngine) -> None:
    with pytest.raises(BrokenPromise, match="point 0 has large order"):
        ray.start(mask_twice, bytes(32), b"\1" * 32, 12)()


@needs_ray
@pytest.mark.slow
def test_ray_keeps_strangers_out_and_leaves_nothing(ray: RayEngine) -> None:
    assert ray.start(divmod, 7, 2)() == (3, 1)
    (folder,) = own_folders()
    assert folder.stat().st_mode & 0o077 == 0
    ray.close()
    assert not folder.exists()
    assert ray.start(divmod, 7, 2)() == (3, 1)  # it starts again where there is more work


def own_folders() -> list[Path]:
    """Folders that a Ray of this process may have."""
    return [path for path in Path(tempfile.gettempdir()).glob("tally-*") if path.stat().st_uid == os.getuid()]


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("tally-left", "tally-used", "tally-new", "other"):
        (tmp_path / name / "ray").mkdir(parents=True)
        (tmp_path / name / "ray" / "spilled").write_text("bins of customers")
    for name in ("tally-left", "tally-used", "other"):
        (tmp_path / name / "lock").touch()
    (tmp_path / "tally-file").touch()
    (tmp_path / "tally-link").symlink_to(tmp_path / "other")
    with alone(tmp_path / "tally-used" / "lock", "held"):
        ray_engine._sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other", "tally-file", "tally-link", "tally-new", "tally-used",
    ]  # fmt: skip
    assert (tmp_path / "other" / "ray" / "spilled").exists()


KILLED = """\
import sys
from vfl.ray_engine import RayEngine
print(RayEngine(4096, workers=1).start(divmod, 7, 2)(), flush=True)
sys.stdin.read()
"""


@needs_ray
@pytest.mark.slow
def test_a_killed_process_takes_its_ray_with_it_and_the_next_one_cleans_up() -> None:
    with tempfile.TemporaryDirectory(prefix="t") as short:  # Ray's sockets do not fit below a long path
        place = {"env": {**os.environ, "TMPDIR": short}, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        left: list[set[Path]] = []
        for end in (subprocess.Popen.kill, lambda process: process.stdin.close()):
            with subprocess.Popen([sys.executable, "-c", KILLED], **place) as process:  # type: ignore[call-overload]
                assert process.stdout.readline() == b"(3, 1)\n"
                left.append(set(Path(short).glob("tally-*")))
                end(process)
        assert [len(folders) for folders in left] == [1, 1]
        assert left[0] != left[1], "what was left of the killed one went"
        deadline = time.monotonic() + 20
        while found := [task for task in Path("/proc").glob("[0-9]*") if short.encode() in said_by(task)]:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        assert not list(Path(short).glob("tally-*"))


def said_by(task: Path) -> bytes:
    try:
        return (task / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_cluster_that_is_not_there_or_lets_everybody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="the engine ray is not installed") as found:
        EngineConfig("ray").engine()
    assert "tallystick[ray]" in found.value.remedy
    monkeypatch.setattr(ray_engine.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(UsageError, match=r"RAY_AUTH_MODE is not set to token.*10\.0\.0\.7:6379"):
        EngineConfig("ray", "10.0.0.7:6379").engine()


@needs_ray
def test_an_unreachable_cluster_is_nobodys_fault(ray: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.close()  # a process is on one Ray at a time
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(TransportError, match=r"the engine ray at 127\.0\.0\.1:1: .*refused") as found:
        EngineConfig("ray", "127.0.0.1:1").engine().keep(1)
    assert "--resume" in found.value.remedy


# ---- the file --------------------------------------------------------------------------------------------------------


def party(**table: object) -> PartyConfig:
    parties = {
        "bank": {"role": "active", "table": "b.csv", "id": "a", "label": "bad", **table},
        "telecom": {"role": "passive", "table": "t.csv", "id": "a"},
    }
    raw = {"scenario": {"name": "s"}, "party": parties}
    return scenario_from_mapping(raw, Path("s.toml")).active


def test_a_scenario_names_engines() -> None:
    assert party().engine == EngineConfig("local", None, 1 << 20)
    assert isinstance(party().engine.engine(), Here)
    found = party(engine={"kind": "ray", "address": "ray.bank.example:6379", "partition_rows": 65_536})
    assert found.engine == EngineConfig("ray", "ray.bank.example:6379", 65_536)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "spark"}, r"s\.toml: \[party\.bank\.engine\] kind is 'spark'"),
        ({"kind": 7}, r"\[party\.bank\.engine\] kind is"),
        ({"rows": 7}, r"\[party\.bank\.engine\]: unknown key 'rows'"),
        ({"partition_rows": 1}, r"partition_rows is '1'"),
        ({"partition_rows": 2**40}, r"partition_rows is '1099511627776'"),
        ({"partition_rows": True}, r"partition_rows is"),
        ({"address": "10.0.0.7:6379"}, r"address is given, but kind is 'local'"),
        ({"kind": "ray", "address": "http://x:1/;rm"}, r"address is 'http://x:1/;rm'"),
        ({"kind": "ray", "address": "host:99999"}, r"address is 'host:99999'"),
    ],
)
def test_what_an_engine_table_must_not_hold(table: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        party(engine=table)
    assert found.value.remedy


# ---- texts -----------------------------------------------------------------------------------------------------------

LISTS = st.lists(st.text(st.characters(), max_size=5), max_size=20)


@settings(max_examples=60, deadline=None)
@given(LISTS, st.data())
def test_texts_are_a_sequence_of_texts(texts: list[str], data: st.DataObject) -> None:
    found = Texts.of(iter(texts))
    assert list(found) == texts
    assert found == texts
    assert found != [*texts, "x"]
    assert len(found) == len(texts)
    assert [found[i] for i in range(-len(texts), len(texts))] == [*texts, *texts]
    cut = data.draw(st.slices(len(texts)))
    assert found[cut] == texts[cut]
    assert pickle.loads(pickle.dumps(found[cut])) == texts[cut]
    rows = np.array(data.draw(st.permutations(range(len(texts)))), np.int64)
    assert found.take(rows) == [texts[row] for row in rows]
    assert Texts.joined([found, found[cut], found]) == [*texts, *texts[cut], *texts]
    with pytest.raises(IndexError):
        found[len(texts)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "", "ab", "ü"]), max_size=12))
def test_first_places_are_those_of_equal_texts(texts: list[str]) -> None:
    assert first_places(Texts.of(texts)).tolist() == [texts.index(text) for text in texts]
