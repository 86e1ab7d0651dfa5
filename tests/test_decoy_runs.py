"""Whole runs with decoy rows, encrypted: the same model, nothing to tell real rows by, the same bytes again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from memory_run import ACTIVE, Told, World, agreement, holding, play, replay
from run_kit import TWO, here, verify
from run_kit import scenario as write_scenario

from vfl import summary
from vfl.bits import unpack_bits
from vfl.config import PsiConfig, Scenario, load_scenario, scenario_from_mapping
from vfl.crypto import ring
from vfl.crypto.group import split
from vfl.decoys import DECOY, Shown
from vfl.errors import ProtocolError, UsageError
from vfl.learn.rounds import Parts
from vfl.protocols.boost import NodeQuery, TrainingRows
from vfl.protocols.confirm_rows import Probes
from vfl.protocols.intersect import Positions
from vfl.protocols.score import ScoreRows
from vfl.randomness import Randomness
from vfl.scores import joint_scores
from vfl.seat import RunFile
from vfl.simulation import agree
from vfl.terms import Terms
from vfl.wire import unpack

PARTNERS = ("telecom", "retailer")


def world(
    decoys: float,
    partners: tuple[str, ...] = PARTNERS,
    common: int = 200,
    others: int = 850,
    seed: int = 1,
    **model: Any,
) -> World:
    """Every partner has `common` customers of the bank and `others`; values are few, so that bins stay the same."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=20 + common + others * len(partners))
    who = {ACTIVE: list(range(20 + common))}
    for i, name in enumerate(partners):
        first = 20 + common + i * others
        who[name] = rng.permutation([*range(20, 20 + common), *range(first, first + others)]).tolist()
    holdings = {name: holding(name, rows, signal, rng) for name, rows in who.items()}
    few = {name: np.clip(held.values.round(), -1, 1) for name, held in holdings.items()}
    holdings = {name: dataclasses.replace(held, values=few[name]) for name, held in holdings.items()}
    agreed = agreement(partners, **model)
    psi = {**agreed.psi, "max_set_size": 20_000} | ({"decoys": decoys} if decoys else {})
    privacy = {**agreed.privacy, "scheme": "lattice", "level": "hidden"}
    terms = Terms("run-7", dataclasses.replace(agreed, psi=psi, privacy=privacy))
    return World(terms, holdings, {name: seed * 10 + i for i, name in enumerate((ACTIVE, *partners))})


@pytest.fixture(scope="module")
def plain() -> Told:
    return play(world(0.0))


@pytest.fixture(scope="module")
def told() -> Told:
    return play(world(1.0))


# What comes out


EARLY = {"validation_fraction": 0.3, "early_stopping_round": 2}


@pytest.mark.parametrize(
    ("decoys", "options"),
    [
        pytest.param(4.0, EARLY, id="early-4.0"),
        *(
            pytest.param(decoys, options, marks=pytest.mark.slow, id=f"{name}-{decoys}")
            for name, options in (("", {}), ("early", EARLY))
            for decoys in (0.1, 1.0, 4.0)
            if (name, decoys) != ("early", 4.0)
        ),
    ],
)
def test_the_model_is_the_same_to_the_bit(decoys: float, options: dict[str, Any]) -> None:
    without, found = play(world(0.0, **options)), play(world(decoys, **options))
    one, other = without.outcomes[ACTIVE], found.outcomes[ACTIVE]
    assert other.shown.decoys == np.ceil(decoys * 200) > 0 == one.shown.decoys
    assert one.rows.tolist() == other.rows.tolist()
    for name in PARTNERS:  # what the promise is about: the same bins
        bins = [repr(told.outcomes[name].columns.mappers) for told in (without, found)]
        assert bins[0] == bins[1]
    assert one.model.trees
    assert any(one.model.passive_records), "a passive party owns a split"
    assert repr(one.model) == repr(other.model)
    np.testing.assert_array_equal(one.pd, other.pd)
    np.testing.assert_array_equal(one.holdout, other.holdout)
    for name in PARTNERS:
        assert [repr(r) for r in without.outcomes[name].records] == [repr(r) for r in found.outcomes[name].records]


def test_own_rows_are_real_and_stand_where_partners_have_them(told: Told) -> None:
    bank, terms = told.outcomes[ACTIVE], world(1.0)
    assert bank.rows.min() >= 0
    assert len(bank.rows) == len(bank.labels) == len(bank.columns.values) == len(bank.shown.places) == 200
    own = [terms.holdings[ACTIVE].tokens[row] for row in bank.rows]
    for name in PARTNERS:
        rows = told.outcomes[name].rows
        tokens = np.array(terms.holdings[name].tokens)[rows]
        assert tokens[bank.shown.places].tolist() == own
        decoys = np.delete(tokens, bank.shown.places)
        assert len(decoys) == 200
        assert not set(decoys) & set(terms.holdings[ACTIVE].tokens)


def test_fewer_decoys_where_a_partner_has_no_more_customers() -> None:
    found = play(world(4.0, others=25))
    assert found.outcomes[ACTIVE].shown.decoys == 25
    assert {len(found.outcomes[name].rows) for name in PARTNERS} == {225}


def test_bins_hold_the_agreed_number_of_customers_without_decoys_on_average() -> None:
    terms = world(1.5).terms
    assert (terms.min_bin_population, terms.min_shown_population) == (1, 3)
    assert world(0.0).terms.min_shown_population == 1


# The same bytes again


def test_every_party_says_the_same_bytes_again(told: Told) -> None:
    for name, outcome in told.outcomes.items():
        again, commits = replay(world(1.0), told, name)
        assert again.share == outcome.share
        assert commits == told.commits[name]


def test_another_seed_draws_other_decoys_and_shows(told: Told) -> None:
    with pytest.raises(ProtocolError, match="did not say this"):
        replay(world(1.0).with_seed(ACTIVE, 99), told, ACTIVE)


def test_an_option_that_is_off_changes_no_message(plain: Told) -> None:
    terms = world(0.0).terms
    off = dataclasses.replace(terms.agreement, psi={**terms.agreement.psi, "decoys": 0.0})
    found = play(dataclasses.replace(world(0.0), terms=Terms(terms.run, off)))
    names_it = ("Hello", "ModelShare")  # the agreement itself, or its digest
    said = [[m for m in told.said if m[0].split("/")[2] not in names_it] for told in (plain, found)]
    assert said[0] == said[1]
    assert not any("/Probes/" in slot or "/Replies/" in slot for slot, _ in plain.said)


# What a passive party sees


def heard(told: Told, kind: type[Any]) -> list[Any]:
    """The messages of a kind that the telecom received."""
    records = told.records["telecom"]
    return [unpack(kind, r.body) for r in records if not r.sent and r.slot.split("/")[2] == kind.__name__]


def seen(told: Told, scene: World) -> np.ndarray:
    """A row for each agreed row: all that the telecom was told of it, and what it knows of it itself."""
    count = len(told.outcomes["telecom"].rows)
    rows, place = told.outcomes["telecom"].rows, np.frombuffer(heard(told, Positions)[0].items, "<u4")
    (training,), (scored,), (probes,) = heard(told, TrainingRows), heard(told, ScoreRows), heard(told, Probes)
    train, validation = unpack_bits(training.train, count), unpack_bits(training.validation, count)
    held = unpack_bits(scored.rows, count)
    assert (train ^ validation ^ held).all()
    points = np.frombuffer(b"".join(split(probes.points)), np.uint8).reshape(count, 32).astype(float)
    queries = np.full((count, 4), np.nan)
    flat = ring.from_wire(heard(told, NodeQuery)[0].block[: 28 * int(train.sum())])
    assert flat is not None
    queries[train] = np.concatenate([words.reshape(-1, 2) for words in flat], axis=1).astype(float)
    known = [np.arange(count), place, rows, np.argsort(np.argsort(place)), train, validation, held]
    near = [np.roll(bits, shift) for bits in (train, validation, held, place, rows) for shift in (-2, -1, 1, 2)]
    return np.column_stack([*known, *near, points, queries, scene.holdings["telecom"].values[rows]])


def precision(seeds: int) -> float:
    """How often a guesser that has seen other runs is right about the half of all rows that it takes for real."""
    options = {"num_iterations": 1, "num_leaves": 3, "validation_fraction": 0.2}
    known, real = [], []
    for seed in range(seeds):
        scene = world(1.0, ("telecom",), 800, 2_000, seed, **options)
        told = play(scene)
        known.append(seen(told, scene))
        real.append(np.zeros(len(known[-1]), np.bool_))
        real[-1][told.outcomes[ACTIVE].shown.places] = True
    half = seeds // 2
    training = lightgbm.Dataset(np.vstack(known[:half]), np.concatenate(real[:half]))
    guesser = lightgbm.train({"objective": "binary", "verbosity": -1, "seed": 1}, training, 50)
    right = []
    for features, member in zip(known[half:], real[half:], strict=True):
        guessed = np.argsort(-np.asarray(guesser.predict(features)))[: len(member) // 2]
        right.append(member[guessed].mean())
    return float(np.mean(right))


@pytest.mark.slow
def test_the_best_guess_of_membership_is_right_half_the_time() -> None:
    assert precision(10) == pytest.approx(0.5, abs=0.02)


def test_the_guesser_would_see_decoys_that_are_put_in_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Shown.of.__func__  # type: ignore[attr-defined]

    def careless(cls: type[Shown], rows: Any, agreed: Any, parts: Parts, rng: Randomness) -> Shown:
        found: Shown = of(cls, rows, agreed, parts, rng)
        decoy = agreed == DECOY
        return Shown(found.places, found.train | decoy, found.validation & ~decoy, found.holdout & ~decoy)

    monkeypatch.setattr(Shown, "of", classmethod(careless))
    assert precision(2) > 0.55


@pytest.mark.parametrize("decoys", [7, 50, 130])
def test_parts_have_the_same_share_of_decoys_and_no_pattern(decoys: int) -> None:
    real = 50
    part = np.repeat([0, 1, 2], [30, 10, 10])
    parts, rows = Parts(part == 0, part == 1), np.arange(100, 100 + real)[::-1]
    agreed = np.random.default_rng(3).permutation(np.concatenate([rows, np.full(decoys, DECOY)]))
    shown = [Shown.of(rows, agreed, parts, Randomness(bytes([i]) * 32)) for i in range(40)]
    for found in shown:
        assert agreed[found.places].tolist() == rows.tolist()
        assert found.train[found.places].tolist() == parts.train.tolist()
        assert found.validation[found.places].tolist() == parts.validation.tolist()
        assert (found.train.astype(int) + found.validation + found.holdout == 1).all()
        if decoys >= real:
            decoy = agreed == DECOY
            assert found.train[decoy].mean() == pytest.approx(0.6, abs=0.15)
    assert np.mean([found.train[agreed == DECOY].mean() for found in shown]) == pytest.approx(0.6, abs=0.06)
    trains = np.mean([found.train[agreed == DECOY] for found in shown], axis=0)
    assert trains.std() < 0.2, "which decoy trains is drawn"


# A run directory


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More decoys are agreed on than the telecom has other customers."""
    folder = tmp_path_factory.mktemp("run")
    toml = TWO.replace("[psi]", "[psi]\ndecoys = 1")
    ended = here("run", write_scenario(folder / "own", toml), "--out", folder / "out", "--seed", "x")
    assert ended.returncode == 0, ended.stderr
    assert "40" in next(line for line in ended.stdout.splitlines() if line.startswith("decoys"))
    assert "500 decoys fewer than agreed" in ended.stdout
    return folder / "out"


def test_the_summary_counts_decoys_apart(out: Path) -> None:
    body = json.loads((out / "summary.json").read_text())
    rows = body["rows"]
    assert rows["train"] + rows["validation"] + rows["holdout"] == rows["intersection"] == 540
    assert rows["decoys"] == 40
    assert body["decoys_note"].startswith("500 decoys fewer")
    assert len(np.load(out / "bank" / "rows.npy")) == len(np.load(out / "bank" / "parts.npy")) == 540
    assert len(np.load(out / "telecom" / "rows.npy")) == 580
    frame = pd.read_csv(out / "predictions.csv")
    assert len(frame) == rows["holdout"]
    # Comparisons take the same customers of both parties: of rows astray the telecom's columns would say nothing.
    metrics = body["metrics"]
    assert metrics["pooled_lightgbm"]["auc"] > metrics["bank_only"]["auc"] + 0.05
    assert metrics["federated"]["auc"] > metrics["bank_only"]["auc"] + 0.05


def test_scores_of_trained_customers_leave_decoys_out(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put together from the shares, the hold-out scores are the run's: each row is the same customer at every party."""
    kept: dict[str, Any] = {}
    monkeypatch.setattr(summary, "joint_scores", lambda *words: kept.setdefault("all", joint_scores(*words)))
    scores = summary._scores(out, RunFile.read(out))
    order = np.argsort(np.load(out / "bank" / "rows.npy"))
    assert kept["all"][order].tolist() == scores.scores["federated"].tolist()


@pytest.mark.parametrize("party", ["bank", "telecom"])
def test_a_party_of_a_run_directory_is_replayed(out: Path, party: str) -> None:
    ended = here("replay", out, "--party", party)
    assert ended.returncode == 0, ended.stderr
    assert verify(out).returncode == 0


def test_an_agreement_without_decoys_does_not_name_them(tmp_path: Path) -> None:
    scene = load_scenario(write_scenario(tmp_path, TWO))
    assert "decoys" not in agree(scene, lambda holding: None).psi
    with_them = dataclasses.replace(scene, psi=dataclasses.replace(scene.psi, decoys=0.5))
    assert agree(with_them, lambda holding: None).psi["decoys"] == 0.5


# The scenario file


def scenario(privacy: dict[str, Any], **psi: Any) -> Scenario:
    parties = {
        "bank": {"role": "active", "table": "a.csv", "id": "id", "label": "y"},
        "telecom": {"role": "passive", "table": "b.csv", "id": "id"},
    }
    return scenario_from_mapping(
        {"scenario": {"name": "x"}, "party": parties, "privacy": privacy, "psi": psi}, Path("x.toml")
    )


def test_decoys_are_off_unless_asked_for() -> None:
    assert PsiConfig().decoys == scenario({}).psi.decoys == 0.0
    assert scenario({"scheme": "lattice"}, decoys=1).psi.decoys == 1.0
    assert scenario({"scheme": "paillier"}, decoys=0).psi.decoys == 0.0


@pytest.mark.parametrize("privacy", [{"scheme": "paillier"}, {"level": "disclosed"}])
def test_decoys_need_a_scheme_that_hides_membership(privacy: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"\[psi\] decoys is 0\.5, but scheme 'paillier' is 'disclosed'") as caught:
        scenario(privacy, decoys=0.5)
    assert "lattice" in caught.value.remedy


@pytest.mark.parametrize("decoys", [-0.1, 4.01, float("inf"), float("nan"), "1", True])
def test_shares_out_of_range_are_refused(decoys: Any) -> None:
    with pytest.raises(UsageError, match=r"\[psi\] decoys is "):
        scenario({}, decoys=decoys)
