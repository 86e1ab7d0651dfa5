"""Hints on disk: what was kept comes back, damage and foreign names do not, and other bins never share masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vfl.crypto.lattice import LatticeEvaluator, LatticeKeyHolder, LatticeParameters
from vfl.crypto.scheme import CellLayout, Lanes
from vfl.errors import BrokenPromise
from vfl.hints import HintFolder
from vfl.randomness import Randomness

NAME = bytes(range(32))
BLOCKS = [b"first" * 1000, b"", b"second"]


def seed(number: int) -> Randomness:
    return Randomness(bytes([number]) * 32)


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    folder = HintFolder([tmp_path / "nowhere", tmp_path], tmp_path)
    assert folder.find(NAME) is None
    assert list(folder.keep(NAME, iter(BLOCKS))) == BLOCKS
    assert list(folder.find(NAME) or ()) == BLOCKS
    assert folder.find(bytes(32)) is None
    assert list(HintFolder([tmp_path], None).keep(bytes(32), iter(BLOCKS))) == BLOCKS
    assert folder.find(bytes(32)) is None, "a folder to read only keeps nothing"


def test_a_hint_that_was_not_taken_whole_is_not_there(tmp_path: Path) -> None:
    folder = HintFolder([tmp_path], tmp_path)
    assert next(iter(folder.keep(NAME, iter(BLOCKS)))) == BLOCKS[0]
    assert folder.find(NAME) is None


def test_a_damaged_hint_counts_as_absent(tmp_path: Path) -> None:
    folder = HintFolder([tmp_path], tmp_path)
    list(folder.keep(NAME, iter(BLOCKS)))
    (path,) = tmp_path.glob("*.hint")
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert folder.find(NAME) is None
    path.write_bytes(whole[:-1])
    assert folder.find(NAME) is None


class Side:
    """A key holder and an evaluator with folders of their own."""

    def __init__(self, codes: np.ndarray, root: Path, kept: bool) -> None:
        self.layout = CellLayout((5, 4))
        parameters = LatticeParameters(Lanes(len(codes), 1 << 12, 1 << 12), 9, 100)
        here, there = (HintFolder([root / name] if kept else [], root / name) for name in ("active", "passive"))
        self.holder = LatticeKeyHolder(parameters, b"run", seed(1), here)
        self.evaluator = LatticeEvaluator(self.holder.public(), parameters, b"run", there)
        self.blocks = self.evaluator.hint(codes, self.layout, seed(2))
        self.due = self.holder.expect_hint("telecom", self.layout, self.evaluator.hint_name)
        for _ in range(self.due):
            self.holder.accept_hint("telecom", next(iter(self.blocks)))
        list(self.blocks)

    def sums(self, g: np.ndarray) -> np.ndarray:
        self.holder.open_tree(g, np.abs(g), seed(3))
        members = np.ones((1, len(g)), np.bool_)
        self.evaluator.open_query(None, 1)
        for block in self.holder.query(members, seed(4)):
            self.evaluator.absorb(block)
        return self.holder.decrypt("telecom", self.evaluator.answer(seed(5)), self.layout)


def test_a_second_training_on_the_same_bins_sends_no_hint_and_has_the_same_sums(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    codes = np.column_stack([draw.integers(0, 5, 300), draw.integers(0, 4, 300)]).astype(np.uint8)
    g = draw.integers(-100, 100, 300)
    first, second = Side(codes, tmp_path, kept=False), Side(codes, tmp_path, kept=True)
    assert (first.due, second.due) == (1, 0)
    assert first.evaluator.hint_name == second.evaluator.hint_name
    assert np.array_equal(first.sums(g), second.sums(g))
    assert second.sums(g)[0, :5, 0].sum() == g.sum()
    assert len(list(tmp_path.glob("*/*.hint"))) == 2


def test_other_bins_have_another_name_and_other_masks(tmp_path: Path) -> None:
    """Two hints with the same masks and noise would differ by what the bins differ in, for all to see."""
    codes = np.zeros((300, 2), np.uint8)
    other = codes.copy()
    other[7, 1] = 3
    first, second = Side(codes, tmp_path, kept=False), Side(other, tmp_path, kept=True)
    assert second.due == 1
    assert first.evaluator.hint_name != second.evaluator.hint_name
    assert (first.evaluator._masks != second.evaluator._masks).any(axis=1).all()


def test_a_name_of_another_length_is_refused(tmp_path: Path) -> None:
    side = Side(np.zeros((10, 2), np.uint8), tmp_path, kept=False)
    with pytest.raises(BrokenPromise, match="a hint's name of 5 bytes"):
        side.holder.expect_hint("payroll", side.layout, b"../..")
