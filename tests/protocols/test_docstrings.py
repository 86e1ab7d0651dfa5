"""The script at the head of every protocol is what is said: arrows against a recorded run, and no message untold."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Collection, Iterable
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from clear_shares import ClearShares

from vfl import protocols
from vfl.learn.feature_parameters import SelectionParameters
from vfl.protocols import boost, correlate, correlate_partners, logistic, woe
from vfl.wire import Message

from . import (
    boosting,
    correlating,
    fitting,
    test_bystand,
    test_confirm_rows,
    test_freeze,
    test_handshake,
    test_intersect,
    test_points,
    test_resemble,
    test_score,
    test_score_online,
    test_standard_errors,
    weighing,
)
from .arrows import Arrow, recorded, written
from .hostile import Tape, message_classes, record

MODULES = [importlib.import_module(f"vfl.protocols.{found.name}") for found in pkgutil.iter_modules(protocols.__path__)]


@cache
def run_of(name: str) -> dict[str, Tape]:
    """A run in which every message of the protocol is said; those in `ROWS_SENT` say either scheme's."""
    pair = [("bank", "telecom")]
    match name:
        case "bystand":
            return test_bystand.run()
        case "confirm_rows":
            return test_confirm_rows.alone(test_confirm_rows.CUSTOMERS, test_confirm_rows.ROWS)
        case "freeze":
            return record({"bank": test_freeze.bank(), "telecom": test_freeze.telecom()}, pair)
        case "handshake":
            return record({"bank": test_handshake.bank(), "telecom": test_handshake.telecom()}, pair)
        case "intersect":
            return record({"bank": test_intersect.bank(), "telecom": test_intersect.partner()}, pair)
        case "kkrt":
            terms = dataclasses.replace(test_intersect.TERMS, protocol="kkrt")
            bank, telecom = test_intersect.bank(terms=terms), test_intersect.partner(terms=terms)
            return record({"bank": bank, "telecom": telecom}, pair)
        case "points":
            return test_points.run()
        case "resemble":
            return test_resemble.run(boosting.clear(False))
        case "standard_errors":
            return fitting.with_errors(test_standard_errors.FEW, ClearShares(False))
        case "score":
            return test_score.run(test_score.ROWS, telecom=test_score.LEFT)
        case "score_online":
            return test_score_online.run()
    raise AssertionError(f"no recorded run of {name}: add one here")


def first_time(arrows: Iterable[Arrow]) -> list[Arrow]:
    """Each arrow once, where it comes first: a loop is written once."""
    return list(dict.fromkeys(arrows))


def own_messages(module: ModuleType) -> list[str]:
    """Classes that the module sends: its messages that no other message is derived from."""
    kinds = [kind for kind in message_classes(Message).values() if kind.__module__ == module.__name__]
    return [kind.__name__ for kind in kinds if not kind.__subclasses__()]


def section(module: ModuleType, title: str) -> str:
    """The text under `title:` up to the next section."""
    found = re.search(rf"^{title}:(.*?)(?=^[A-Z]\w+:|\Z)", module.__doc__ or "", re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def assert_arrows(module: ModuleType, tapes: dict[str, Tape], *, without: Collection[str] = ()) -> None:
    """The script's arrows are what was said, each once and in its order."""
    own = own_messages(module)
    said = [arrow for arrow in first_time(recorded(tapes["bank"].transcript.all, "telecom")) if arrow[1] in own]
    assert [arrow for arrow in first_time(written(module)) if arrow[1] not in without] == said
    # The passive party may speak at the same time, so its own order can differ; not who says what.
    turned = {">": "<", "<": ">"}
    heard = recorded(tapes["telecom"].transcript.all, "bank")
    assert {(turned[way], name) for way, name in heard if name in own} == set(said)


ROWS_SENT: dict[ModuleType, dict[str, tuple[str, ...]]] = {
    boost: {"lattice": ("HintBlock", "QueryBlock"), "paillier": ("TreeBlock",)},
    woe: {"lattice": ("PreBinHint", "LabelQuery"), "paillier": ("LabelBlock",)},
    correlate: {"lattice": ("CandidateHint", "ColumnQuery"), "paillier": ("ColumnBlock",)},
    correlate_partners: {"lattice": ("PartnerHint", "PartnerQuery"), "paillier": ("PartnerRows",)},
    logistic: {"lattice": ("FitHint", "CountQuery", "CountSums", "ResidualQuery"), "paillier": ("ResidualBlock",)},
}
"""Messages that only one of the schemes says."""


def run_under(module: ModuleType, scheme: str) -> dict[str, Tape]:
    """A run of a protocol of `ROWS_SENT`."""
    clear = boosting.clear(scheme == "paillier")
    if module is woe:
        return weighing.weigh(weighing.credit(60), clear)
    if module is correlate:
        features = correlating.Comparison(weighing.credit(60, (3, 1)), SelectionParameters(min_iv=0.0))
        return correlating.compare(features, clear)
    if module is correlate_partners:
        return correlating.compare(correlating.three_partners(), clear)
    if module is logistic:
        return fitting.fit(test_standard_errors.FEW, ClearShares(scheme == "paillier"))
    return boosting.train(boosting.credit(60, (1, 2), num_leaves=5), clear)


@pytest.mark.parametrize("module", [module for module in MODULES if module not in ROWS_SENT], ids=short)
def test_arrows_are_what_is_said(module: ModuleType) -> None:
    assert_arrows(module, run_of(short(module)))


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
@pytest.mark.parametrize("module", ROWS_SENT, ids=short)
def test_arrows_are_what_is_said_under_each_scheme(module: ModuleType, scheme: str) -> None:
    """The script has both schemes: a message that only one of them says is marked with its name."""
    (other,) = ROWS_SENT[module].keys() - {scheme}
    assert_arrows(module, run_under(module, scheme), without=ROWS_SENT[module][other])
    script = (module.__doc__ or "").splitlines()
    for name, messages in ROWS_SENT[module].items():
        for message in messages:
            lines = [line for line in script if re.search(rf"\b{message}\b", line)]
            assert lines
            assert all(f"({name})" in line for line in lines)


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_every_message_is_in_the_script(module: ModuleType) -> None:
    assert sorted({name for _, name in written(module)}) == sorted(own_messages(module))


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_what_each_side_learns_and_pays_is_written_down(module: ModuleType) -> None:
    learns = section(module, "Learns")
    assert re.search(r"^\s*active\s+-> \S", learns, re.MULTILINE)
    assert re.search(r"^\s*passive\s+-> \S", learns, re.MULTILINE)
    assert re.search(r"\d", section(module, "Cost"))


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_both_roles_are_there(module: ModuleType) -> None:
    assert module.active.__code__.co_flags & module.passive.__code__.co_flags & 0x80, "roles are `async def`"
    assert module.active.__doc__
    assert module.passive.__doc__


def test_the_reader_of_arrows_sees_what_is_written() -> None:
    script = ModuleType(
        "script", "Title.\n\n    active    passive\n    Ask  x  -->\n      <--  Tell  y\n    Ask  -->\n"
    )
    assert written(script) == [(">", "Ask"), ("<", "Tell"), (">", "Ask")]
    assert np.array_equal(first_time(written(script)), [(">", "Ask"), ("<", "Tell")])
