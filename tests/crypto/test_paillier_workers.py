"""Worker processes and work done ahead: the same bytes, no process left behind, no secret let go."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfl.crypto.paillier import PaillierEvaluator, PaillierKeyHolder
from vfl.crypto.paillier_workers import WORKERS_VARIABLE, Crew, worker_count
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.errors import UsageError
from vfl.randomness import Randomness

ROWS, CONTEXT = 700, b"run 7"
LAYOUT = CellLayout((40, 3, 17))


def seeded(name: str) -> Randomness:
    return Randomness(hashlib.sha256(name.encode()).digest())


Step = Callable[[PaillierKeyHolder, PaillierEvaluator], object]


def transcript(workers: int = 1, step: Step = lambda holder, evaluator: None, **options: Any) -> list[bytes]:
    """Everything that leaves either side in three trees of three nodes; `step` runs before every message."""
    draw = np.random.default_rng(2)
    codes = np.stack([draw.integers(0, bins, ROWS) for bins in LAYOUT.n_bins], axis=1).astype(np.uint8)
    codes[draw.random(codes.shape) < 0.6] = 0
    lanes = Lanes(ROWS, 1 << 24, 1 << 22)
    trees = options.pop("trees", 3)
    holder = PaillierKeyHolder(
        lanes, CONTEXT, seeded("active"), bits=512, trees=trees, workers=workers, small_keys_for_tests=True, **options
    )
    evaluator = PaillierEvaluator(
        holder.public(), lanes, CONTEXT, queries=3 * trees, workers=workers, small_keys_for_tests=True
    )
    list(evaluator.hint(codes, LAYOUT, seeded("hint")))
    holder.expect_hint("telecom", LAYOUT)
    said = [holder.public()]
    for tree in range(3):
        g, h = draw.integers(-(1 << 24), 1 << 24, ROWS), draw.integers(0, 1 << 22, ROWS)
        step(holder, evaluator)
        blocks = holder.open_tree(g, h, seeded(f"tree/{tree}"))
        evaluator.open_tree(blocks)
        said += blocks
        for node in range(3):
            step(holder, evaluator)
            member = draw.random(ROWS) < 0.7 - 0.3 * node
            evaluator.open_query(np.array([member]), 1)
            said += evaluator.answer(seeded(f"node/{tree}/{node}"))
            sums = holder.decrypt("telecom", said[-1:], LAYOUT)[0]
            for feature, offset in enumerate(LAYOUT.offsets):
                wanted = np.zeros(LAYOUT.n_bins[feature], dtype=np.int64)
                np.add.at(wanted, codes[member, feature], g[member])
                assert np.array_equal(sums[offset : offset + len(wanted), 0], wanted)
    holder.close()
    evaluator.close()
    return said


def fully_idle(holder: PaillierKeyHolder, evaluator: PaillierEvaluator) -> None:
    while holder.idle() | evaluator.idle():
        pass


def test_any_number_of_processes_says_the_same_bytes() -> None:
    alone = transcript()
    assert transcript(2) == alone
    assert transcript(3, fully_idle) == alone


@pytest.mark.parametrize("ahead", [False, True])
def test_work_done_ahead_changes_no_byte(ahead: bool) -> None:
    at_once = transcript(ahead=ahead)
    calls = iter(range(10**9))

    def now_and_then(holder: PaillierKeyHolder, evaluator: PaillierEvaluator) -> None:
        if next(calls) % 3:
            holder.idle()
            evaluator.idle()

    assert transcript(step=fully_idle, ahead=ahead) == transcript(step=now_and_then, ahead=ahead) == at_once
    # Tables are of another size for other expectations; what they give is not.
    assert transcript(trees=50, ahead=ahead) == at_once


def test_idle_work_ends_with_the_run() -> None:
    left: list[tuple[bool, bool]] = []
    transcript(step=lambda holder, evaluator: left.append((holder.idle(), evaluator.idle())), ahead=True)
    assert left[0] == (False, True)
    assert any(holder for holder, _ in left)
    assert not any(holder for holder, _ in left[-3:])


def test_idle_work_is_for_one_tree_at_most() -> None:
    def made(trees: int) -> int:
        lanes = Lanes(ROWS, 1 << 24, 1 << 22)
        holder = PaillierKeyHolder(lanes, CONTEXT, seeded("active"), bits=512, small_keys_for_tests=True)
        options = {"queries": 24, "trees": trees, "small_keys_for_tests": True}
        evaluator = PaillierEvaluator(holder.public(), lanes, CONTEXT, **options)
        list(evaluator.hint(np.zeros((ROWS, 3), np.uint8), LAYOUT, seeded("hint")))
        while evaluator.idle():
            pass
        assert evaluator._randomisers is not None
        return evaluator._randomisers.ahead

    whole = made(1)
    assert whole > 24
    assert [made(trees) for trees in (2, 4, 24)] == [whole // 2, whole // 4, whole // 24]


def test_only_the_values_of_trees_before_make_the_rows_of_an_early_tree() -> None:
    def blocks(first: int, ahead: bool) -> list[list[bytes]]:
        lanes, g = Lanes(4, 100, 100), np.array([first, 2, 3, 4])
        holder = PaillierKeyHolder(
            lanes, CONTEXT, seeded("active"), bits=512, trees=9, ahead=ahead, small_keys_for_tests=True
        )
        return [holder.open_tree(values, abs(values), seeded("same")) for values in (g, g * 2, g * 2)]

    one, other = blocks(1, True), blocks(5, True)
    assert one[0] != other[0]
    assert one[1] != one[2]
    assert one[1] != other[1]
    # Without `ahead` the stream is the caller's, bound to the values.
    late = blocks(1, False)
    assert late[0] == one[0]
    assert late[1] == late[2]


def test_a_crew_of_one_where_no_process_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = transcript()

    def refused(*arguments: object, **options: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", refused)
    assert transcript(2) == alone


class Adder:
    """A worker that keeps a number and can die."""

    def __init__(self, start: int) -> None:
        self.number, self.home = start, os.getpid()

    def keep(self, number: int) -> None:
        self.number = number

    def add(self, other: int) -> int:
        return self.number + other

    def pid(self, _: int) -> int:
        return os.getpid()

    def die(self, home: int) -> int:
        if os.getpid() != home:
            os.kill(os.getpid(), signal.SIGKILL)
        return home


def crew(workers: int) -> Crew:
    return Crew(Adder(1), Adder, lambda: (1,), workers)


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_children_share_the_work_know_what_was_told_and_end() -> None:
    own = crew(3)
    own.tell("keep", 10)
    assert own.map("add", [(number,) for number in range(8)]) == list(range(10, 18))
    own.tell("keep", 20)
    assert own.map("add", [(number,) for number in range(8)]) == list(range(20, 28))
    found = own.map("pid", [(number,) for number in range(6)])
    assert len(set(found)) == 3
    assert found[0] == found[3] == os.getpid()
    own.close()
    own.close()
    assert all(gone(pid) for pid in set(found) - {os.getpid()})
    assert own.map("pid", [(number,) for number in range(2)]) == [os.getpid()] * 2


def test_one_piece_of_work_starts_no_process() -> None:
    own = crew(4)
    assert own.map("add", [(1,)]) == [2]
    assert own._children == []
    assert own.size == 4


def test_a_lost_child_is_replaced_by_this_process() -> None:
    own = crew(2)
    assert own.map("die", [(os.getpid(),)] * 4) == [os.getpid()] * 4
    assert own.size == 1
    assert own.map("add", [(1,), (2,)]) == [2, 3]


def test_children_end_when_the_crew_is_forgotten() -> None:
    own = crew(2)
    other = own.map("pid", [(0,), (1,)])[1]
    del own
    assert gone(other)


def test_children_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal\n"
        "from tests.crypto.test_paillier_workers import crew\n"
        "if __name__ == '__main__':\n"
        "    print(crew(2).map('pid', [(0,), (1,)])[1], flush=True)\n"
        "    own = crew(2)\n"
        "    print(own.map('pid', [(0,), (1,)])[1], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    pids = [int(line) for line in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    assert all(gone(pid) for pid in pids)


def test_the_count_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKERS_VARIABLE, raising=False)
    assert (worker_count(None), worker_count(3)) == (1, 3)
    monkeypatch.setenv(WORKERS_VARIABLE, "2")
    assert (worker_count(None), worker_count(1)) == (2, 1)
    for wrong in ("0", "-1", "two", "", "65", "\u0662"):
        monkeypatch.setenv(WORKERS_VARIABLE, wrong)
        with pytest.raises(UsageError, match="allowed: 1 to 64"):
            worker_count(None)
    with pytest.raises(UsageError, match="workers is '0'"):
        PaillierKeyHolder(Lanes(1, 1, 1), CONTEXT, seeded("active"), workers=0)


def test_the_factors_reach_children_by_message_only() -> None:
    """Nothing that a crew keeps in this process holds them outside the key."""
    holder = PaillierKeyHolder(
        Lanes(600, 1, 1), CONTEXT, seeded("active"), bits=512, workers=2, small_keys_for_tests=True
    )
    holder.open_tree(np.zeros(600, dtype=np.int64), np.zeros(600, dtype=np.int64), seeded("tree"))
    children = holder._crew._children
    assert len(children) == 1
    p = int(holder.key.expose().p)
    assert not any(str(p) in repr(vars(child)) for child in children)
    assert not children[0]._pending_work_items
    with pytest.raises(TypeError):
        holder._crew.__reduce__()
    holder.close()
