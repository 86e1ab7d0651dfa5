"""A whole run from every seat: the pooled model, the same bytes again, and nothing on the wire that should not be."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from memory_run import ACTIVE, Told, World, agreement, clear_schemes, fingerprint, play, replay

from ledger.errors import BadProof
from vfl.agreement import Agreement
from vfl.bits import pack_bits
from vfl.channel import Record, digest_of
from vfl.commitments import commit_seeds, open_block
from vfl.crypto.paillier import PaillierKeyHolder
from vfl.crypto.paillier_keys import PrivateKey
from vfl.desk import MemoryTranscript
from vfl.errors import AgreementError, BrokenPromise, ProtocolError, UsageError, VflError
from vfl.holding import Holding
from vfl.learn.columns import Columns
from vfl.learn.objective import sigmoid
from vfl.learn.reference import train_reference
from vfl.models import read_ensemble, read_records
from vfl.protocols.boost import HintBlock, NodeHistograms, NodeQuery, SplitsChosen, TrainingRows, TreeBlock
from vfl.protocols.handshake import Hello
from vfl.randomness import Randomness
from vfl.terms import Terms
from vfl.wire import pack, unpack

PARTNERS = ("telecom", "retailer")
WORLDS = {scheme: World.of(PARTNERS, scheme=scheme) for scheme in ("lattice", "paillier")}
WORLD = WORLDS["lattice"]
PAILLIER = WORLDS["paillier"]


@pytest.fixture
def encrypted() -> None:
    """For tests that run with real keys."""


@pytest.fixture(autouse=True)
def _scheme(request: pytest.FixtureRequest) -> Iterator[None]:
    if {"encrypted", "real", "paillier"} & set(request.fixturenames):
        yield
        return
    with clear_schemes():
        yield


@pytest.fixture(scope="module")
def told() -> Told:
    with clear_schemes():
        return play(WORLD)


@cache
def encrypted_run(scheme: str) -> Told:
    told = play(WORLDS[scheme])
    keys = {unpack(TrainingRows, body).scheme for slot, body in told.said if "/TrainingRows/" in slot}
    assert keys == {scheme}, "a test with real keys asks for the fixture `encrypted`"
    return told


@pytest.fixture(scope="module")
def paillier() -> Told:
    return encrypted_run("paillier")


@pytest.fixture(params=list(WORLDS))
def real(request: pytest.FixtureRequest) -> tuple[World, Told]:
    """A run with real keys, under each scheme."""
    return WORLDS[request.param], encrypted_run(request.param)


# What comes out


def customers(world: World, told: Told, name: str) -> list[str]:
    return [world.holdings[name].tokens[row] for row in told.outcomes[name].rows]


def pooled(world: World, told: Told) -> np.ndarray:
    order = [ACTIVE, *world.partners]
    return np.column_stack([world.holdings[name].values[told.outcomes[name].rows] for name in order])


def assert_pooled_model(world: World, told: Told) -> None:
    bank, values = told.outcomes[ACTIVE], pooled(world, told)
    train, watched = bank.parts.train, bank.parts.validation
    valid = (values[watched], bank.labels[watched]) if watched.any() else None
    bins = [m for name in (ACTIVE, *world.partners) for m in told.outcomes[name].columns.mappers]
    bits = world.terms.scheme.bits(int(train.sum()))
    parameters = dataclasses.replace(world.terms.parameters, gradient_bits=bits)
    oracle = train_reference(values[train], bank.labels[train], parameters, valid=valid, mappers=bins)
    assert oracle.trees
    np.testing.assert_array_equal(bank.pd, sigmoid(oracle.predict_raw(values[bank.holdout])))


@pytest.mark.parametrize("partners", [("telecom",), ("telecom", "retailer"), ("retailer", "telecom")])
@pytest.mark.parametrize("named", [True, False], ids=["named", "hidden"])
def test_a_run_comes_to_the_pooled_model(partners: tuple[str, ...], named: bool) -> None:
    world = World.of(partners)
    with clear_schemes(named):
        told = play(world)
    aligned = customers(world, told, ACTIVE)
    assert all(customers(world, told, name) == aligned for name in partners)
    assert set(aligned) == set.intersection(*(set(holding.tokens) for holding in world.holdings.values()))
    assert_pooled_model(world, told)


def test_early_stopping_on_rows_chosen_by_the_agreement() -> None:
    world = World.of(
        ("telecom",), 120, validation_fraction=0.3, early_stopping_round=2, num_iterations=20, learning_rate=1.0
    )
    told = play(world)
    bank = told.outcomes[ACTIVE]
    assert len(bank.model.trees) < len(bank.model.validation_losses) < 20
    assert not (bank.parts.validation & bank.holdout).any()
    assert_pooled_model(world, told)


def test_encryption_changes_neither_model_nor_scores(real: tuple[World, Told]) -> None:
    world, found = real
    assert_pooled_model(world, found)
    with clear_schemes(world is PAILLIER):
        plain = play(world)
    for name, outcome in plain.outcomes.items():
        assert found.outcomes[name].share == outcome.share
    np.testing.assert_array_equal(found.outcomes[ACTIVE].pd, plain.outcomes[ACTIVE].pd)


@pytest.mark.usefixtures("encrypted")
def test_schemes_come_to_the_same_scores() -> None:
    """So few rows afford the lattice scheme all the gradient bits that were asked for."""
    bits = {world.terms.scheme.bits(28) for world in WORLDS.values()}
    assert bits == {WORLD.terms.parameters.gradient_bits}
    scores = [encrypted_run(scheme).outcomes[ACTIVE].pd for scheme in WORLDS]
    np.testing.assert_array_equal(*scores)


@pytest.mark.usefixtures("encrypted")
def test_fewer_gradient_bits_where_the_flood_needs_the_room() -> None:
    """Both sides come to the same bits; the model is the pooled one of those bits."""
    world = World.of(("telecom",), gradient_bits=32, num_iterations=40, max_bin=4096, num_leaves=3)
    assert 24 < world.terms.scheme.bits(28) < 32
    assert_pooled_model(world, play(world))


def test_shares_hold_the_model(told: Told) -> None:
    bank = told.outcomes[ACTIVE]
    model = read_ensemble(bank.share)
    decisions = [
        told.outcomes[name].columns.left_values(read_records(told.outcomes[name].share)) for name in told.commits
    ]
    raw = model.predict_raw([left[:, bank.holdout] for left in decisions])
    np.testing.assert_array_equal(sigmoid(raw), bank.pd)


def test_the_same_seeds_give_the_same_run(told: Told) -> None:
    assert play(WORLD).essence() == told.essence()


@pytest.mark.usefixtures("encrypted")
def test_the_order_of_hashes_changes_nothing() -> None:
    code = "import memory_run; print(memory_run.fingerprint())"
    here = Path(__file__).parent
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(here)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert found == {fingerprint()}


# What was put on record before anything was learned


def test_commitments_open_with_the_party_s_own_seed(told: Told) -> None:
    holding, outcome = WORLD.holdings["telecom"], told.outcomes["telecom"]
    values, committed = holding.values[outcome.rows], told.commits["telecom"]["aligned"]
    rng = Randomness(hashlib.sha256(b"seed" + bytes([WORLD.seeds["telecom"]])).digest())
    for place, name in enumerate(holding.names):
        salts = rng.child("commit").child(f"column/{name}")
        open_block(values[:, place], salts, 0).verify(committed[f"column/{name}"])
        wrong = values[:, place].copy()
        wrong[3] += 1
        with pytest.raises(BadProof):
            open_block(wrong, salts, 0).verify(committed[f"column/{name}"])
    seeds = [rng.child("boost").child(f"tree/{number}") for number in range(committed["seeds/rounds"].count)]
    assert committed["seeds/rounds"] == commit_seeds("seeds/rounds", seeds)
    assert committed["seeds/protocol"] == commit_seeds("seeds/protocol", [rng])


def test_columns_labels_holdout_and_seeds_are_committed_to_before_and_scores_after(told: Told) -> None:
    columns = {f"column/{name}" for name in WORLD.holdings[ACTIVE].names}
    assert {step: set(made) for step, made in told.commits[ACTIVE].items()} == {
        "aligned": {*columns, "labels", "holdout", "seeds/rounds", "seeds/hint", "seeds/protocol"},
        "scored": {"pd"},
    }


# Agreements and parts that cannot be


def one_class(holding: Holding, part: np.ndarray) -> Holding:
    assert holding.labels is not None
    return dataclasses.replace(holding, labels=np.where(part, 1, holding.labels).astype(np.int8))


@pytest.mark.parametrize("part", ["training", "hold-out"])
def test_a_part_with_one_class_is_refused(part: str) -> None:
    bank = WORLD.holdings[ACTIVE]
    assert bank.holdout is not None
    with pytest.raises(UsageError, match=f"the {part} part has .* all with label 1"):
        play(WORLD.with_holding(one_class(bank, bank.holdout if part == "hold-out" else ~bank.holdout)))


@pytest.mark.parametrize(("held", "sentence"), [(False, "no common customer is held out"), (True, "left to train on")])
def test_an_empty_part_is_refused(held: bool, sentence: str) -> None:
    bank = WORLD.holdings[ACTIVE]
    assert bank.holdout is not None
    with pytest.raises(UsageError, match=sentence):
        play(WORLD.with_holding(dataclasses.replace(bank, holdout=np.full_like(bank.holdout, held))))


def test_terms_are_read_from_the_agreement() -> None:
    terms = Terms("run-7", agreement(("telecom",), gradient_bits=20))
    assert terms.parameters.num_leaves == 4
    assert terms.psi.min_intersection == 10
    assert terms.min_bin_population == 1
    assert (terms.scheme.scheme, terms.scheme.run, terms.scheme.key_bits) == ("lattice", "run-7", 2048)
    assert (terms.scheme.lanes(30).g_max, terms.scheme.lanes(30).h_max) == (2**20, 2**18)


def test_the_flood_is_computed_from_the_widest_partner_and_all_trees() -> None:
    terms = Terms("run-7", agreement(PARTNERS, num_iterations=7, num_leaves=5, max_bin=9)).scheme
    assert (terms.cells, terms.queries) == (2 * 9, 7 * 5)


def other_terms(name: str, changed: Agreement) -> Any:
    """A world in which one party holds another agreement."""

    @dataclasses.dataclass(frozen=True)
    class Split(World):
        def role(self, who: str, channels: Any, commits: Any) -> Any:
            if who != name:
                return super().role(who, channels, commits)
            return World(Terms(self.terms.run, changed), self.holdings, self.seeds).role(who, channels, commits)

    return Split(WORLD.terms, WORLD.holdings, WORLD.seeds)


@pytest.mark.parametrize("name", ["bank", "telecom", "retailer"])
def test_another_agreement_at_any_party_ends_the_run_at_once(name: str) -> None:
    changed = agreement(("telecom", "retailer"), num_leaves=5)
    with pytest.raises(AgreementError, match=r"model\.num_leaves: ours [45], theirs [45]"):
        play(other_terms(name, changed))


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize(
    ("agreed", "changes", "offered"),
    [
        ("paillier", {"key_bits": 3072}, "paillier"),
        ("paillier", {}, "other"),
        ("paillier", {}, "lattice"),
        ("lattice", {}, "paillier"),
        ("lattice", {}, "lattice "),
        ("lattice", {"scheme": "paillier"}, "lattice"),
    ],
)
def test_a_key_that_was_not_agreed_on_is_refused(agreed: str, changes: dict[str, Any], offered: str) -> None:
    terms = WORLDS[agreed].terms.scheme
    public = terms.key_holder(28, Randomness(bytes(32))).public()
    assert terms.evaluator(agreed, public, 28)
    with pytest.raises(BrokenPromise, match=r"were agreed|was agreed"):
        dataclasses.replace(terms, **changes).evaluator(offered, public, 28)


@pytest.mark.usefixtures("encrypted")
def test_a_key_of_another_scheme_under_the_agreed_name_is_refused() -> None:
    for agreed, other in (("lattice", "paillier"), ("paillier", "lattice")):
        public = WORLDS[other].terms.scheme.key_holder(28, Randomness(bytes(32))).public()
        with pytest.raises(BrokenPromise):
            WORLDS[agreed].terms.scheme.evaluator(agreed, public, 28)


# The same bytes again


def test_every_party_says_the_same_bytes_again(told: Told) -> None:
    for name, outcome in told.outcomes.items():
        again, commits = replay(WORLD, told, name)
        assert again.share == outcome.share
        assert commits == told.commits[name]


def test_every_party_says_the_same_ciphertexts_again(real: tuple[World, Told]) -> None:
    world, found = real
    for name, outcome in found.outcomes.items():
        assert replay(world, found, name)[0].share == outcome.share


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("scheme", WORLDS)
def test_an_encrypted_run_that_was_stopped_goes_on(scheme: str, share: float) -> None:
    world, whole = WORLDS[scheme], encrypted_run(scheme)
    kept = {name: records[: round(share * len(records))] for name, records in whole.records.items()}
    resumed = play(world, lambda who: MemoryTranscript(kept[who]))
    assert resumed.essence() == whole.essence()
    told = dict(whole.said)
    assert all(told[slot] == body for slot, body in resumed.said)


def shown(world: World, told: Told, name: str) -> str:
    """How a replay shows that something changed: the error, or that the commitments differ; empty if it does not."""
    try:
        outcome, commits = replay(world, told, name)
    except ProtocolError as error:
        return str(error)
    assert outcome.share == told.outcomes[name].share, "another model, and no message shows it"
    return "" if commits == told.commits[name] else "commitment"


def test_any_other_label_shows_in_replay(told: Told) -> None:
    bank, outcome = WORLD.holdings[ACTIVE], told.outcomes[ACTIVE]
    assert bank.labels is not None
    for place, row in enumerate(outcome.rows.tolist()):
        labels = bank.labels.copy()
        labels[row] ^= 1
        fate = shown(WORLD.with_holding(dataclasses.replace(bank, labels=labels)), told, ACTIVE)
        if outcome.parts.train[place]:
            assert re.match(r"bank at train/0/TreeBlock/bank>telecom/\d+: did not say this", fate)
        else:
            # Labels of the hold-out are in no message: what was committed to before shows them.
            assert fate == "commitment"


@pytest.mark.parametrize("name", ["telecom", "retailer"])
def test_any_value_in_another_bin_shows_in_replay(told: Told, name: str) -> None:
    holding, outcome = WORLD.holdings[name], told.outcomes[name]
    train, steps = told.outcomes[ACTIVE].parts.train, []
    for place, row in enumerate(outcome.rows.tolist()):
        for feature, mapper in enumerate(outcome.columns.mappers):
            values = holding.values.copy()
            code = int(outcome.columns.codes[place, feature])
            values[row, feature] = mapper.threshold((code + 1) % len(mapper.upper))
            fate = shown(WORLD.with_holding(dataclasses.replace(holding, values=values)), told, name)
            assert fate, f"customer {place}, feature {feature}"
            terms, columns = WORLD.terms, outcome.columns
            again = Columns.fit(columns.names, values[outcome.rows], train, terms.parameters, terms.min_bin_population)
            # Bins are fitted again: they may take another customer in exchange, and none of the sums tells.
            alone = (again.codes[train] != columns.codes[train]).any(axis=1).sum() == 1
            if alone or fate != "commitment":
                assert re.match(rf"{name} at \w+/\d+/\w+/{name}>bank/\d+: did not say this", fate)
                steps.append(fate.split("/")[2])
    assert steps.count("NodeHistograms") > 5


def test_another_value_of_the_active_party_shows_in_replay(told: Told) -> None:
    bank, outcome = WORLD.holdings[ACTIVE], told.outcomes[ACTIVE]
    for row in outcome.rows.tolist():
        values = bank.values.copy()
        values[row] = 3.0 if np.isnan(values[row]).any() else -values[row]
        assert shown(WORLD.with_holding(dataclasses.replace(bank, values=values)), told, ACTIVE)


@pytest.mark.parametrize("name", ["bank", "telecom", "retailer"])
def test_another_seed_shows_in_replay(told: Told, name: str) -> None:
    fate = shown(WORLD.with_seed(name, 99), told, name)
    assert re.match(rf"{name} at psi/0/Declare/{name}>\w+/\d+: did not say this", fate)


@pytest.mark.parametrize("name", ["bank", "telecom", "retailer"])
def test_any_changed_record_shows_in_replay(told: Told, name: str) -> None:
    rng = np.random.default_rng(1)
    for place, record in enumerate(told.records[name]):
        if record.sent:
            damaged = msgspec.structs.replace(record, digest=flip(record.digest, rng))
        else:
            damaged = msgspec.structs.replace(record, body=flip(record.body, rng))
        records = [*told.records[name]]
        records[place] = damaged
        with pytest.raises(ProtocolError) as caught:
            replay(WORLD, changed(told, name, records), name)
        assert caught.value.peer == name
        assert caught.value.step == record.slot
        due = "did not say this: the bytes" if record.sent else "the recorded message was altered"
        assert due in str(caught.value)


def test_a_message_altered_with_its_digest_is_refused_or_changes_nothing(told: Told) -> None:
    """Such a change contradicts the ledger; whatever the role makes of it must still be a known error."""
    rng = np.random.default_rng(2)
    for place, record in enumerate(told.records[ACTIVE]):
        if record.sent:
            continue
        body = flip(record.body, rng)
        records = [*told.records[ACTIVE]]
        records[place] = msgspec.structs.replace(record, body=body, digest=digest_of(body))
        try:
            replay(WORLD, changed(told, ACTIVE, records), ACTIVE)
        except VflError:
            continue


@pytest.mark.parametrize("name", ["bank", "telecom"])
def test_records_left_out_or_put_elsewhere_show_in_replay(told: Told, name: str) -> None:
    records = told.records[name]
    for place in range(len(records)):
        with pytest.raises((ProtocolError, AssertionError)):
            replay(WORLD, changed(told, name, records[:place] + records[place + 1 :]), name)
    with pytest.raises(ProtocolError, match=rf"{name} at .*: (says|expects) more than is on record"):
        replay(WORLD, changed(told, name, records[:-1]), name)
    mine = [place for place, record in enumerate(records) if record.sent]
    a, b = mine[2], mine[3]
    swapped = [*records]
    swapped[a], swapped[b] = swapped[b], swapped[a]
    with pytest.raises(ProtocolError, match=f"^{name} at "):
        replay(WORLD, changed(told, name, swapped), name)


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def changed(told: Told, name: str, records: list[Record]) -> Told:
    return dataclasses.replace(told, transcripts={**told.transcripts, name: MemoryTranscript(records)})


# What no wire may carry


def forms_of_number(value: int) -> list[bytes]:
    size = (value.bit_length() + 7) // 8
    return [
        value.to_bytes(size, "big"),
        value.to_bytes(size, "little"),
        str(value).encode(),
        b"%x" % value,
        b"%X" % value,
    ]


def forms_of_bytes(data: bytes) -> list[bytes]:
    return [data, data[::-1], data.hex().encode(), base64.b64encode(data).rstrip(b"=")]


def forms_of_id(token: str) -> list[bytes]:
    data = token.encode()
    hashes = [hashlib.new(name, data).digest() for name in ("sha256", "sha1", "md5", "sha512", "blake2b")]
    return [*forms_of_bytes(data), *hashes, *(digest.hex().encode() for digest in hashes)]


def forms_of_real(value: float) -> list[bytes]:
    exact = np.float64(value)
    return [exact.tobytes(), exact.byteswap().tobytes(), np.float32(value).tobytes(), repr(float(value)).encode()]


def own_randomness(world: World, name: str) -> Randomness:
    return Randomness(hashlib.sha256(b"seed" + bytes([world.seeds[name]])).digest())


def key_of(world: World, told: Told) -> PrivateKey:
    """The active party's key, drawn again from its seed."""
    rows = int(told.outcomes[ACTIVE].parts.train.sum())
    holder = world.terms.scheme.key_holder(rows, own_randomness(world, ACTIVE).child("key"))
    assert isinstance(holder, PaillierKeyHolder)
    return holder.key


def keys(world: World, told: Told) -> dict[str, list[bytes]]:
    """What decrypts, in every form."""
    if world is not PAILLIER:
        # The secrets of a query are drawn for it; what they are drawn from would give them all.
        return {"key's randomness": forms_of_bytes(own_randomness(world, ACTIVE).child("key").bytes(32))}
    found: dict[str, list[bytes]] = {}
    key = key_of(world, told)
    private = key.expose()
    assert private.p * private.q == key.public.n
    for name in ("p", "q", "hp", "hq", "p_inverse"):
        found[f"private key, {name}"] = forms_of_number(int(getattr(private, name)))
    phi = (private.p - 1) * (private.q - 1)
    found["private key, phi"] = forms_of_number(int(phi))
    return found


def canaries(world: World, told: Told) -> dict[str, list[bytes]]:
    """By what it is, every form in which a secret could show."""
    bank = told.outcomes[ACTIVE]
    found: dict[str, list[bytes]] = {}
    labels = {"aligned": bank.labels, "training": bank.labels[bank.parts.train], "held out": bank.labels[bank.holdout]}
    own = world.holdings[ACTIVE].labels
    assert own is not None
    for what, column in (labels | {"own": own}).items():
        for values, name in ((column, "label"), (1 - column, "opposite of label")):
            text = "".join(map(str, values)).encode()
            found[f"{name}, {what}"] = [values.tobytes(), text, *forms_of_bytes(pack_bits(values > 0))[:1]]
    for name, holding in world.holdings.items():
        for value in holding.values[~np.isnan(holding.values)].tolist():
            found[f"value of {name}: {value}"] = forms_of_real(value)
        for token in holding.tokens:
            found[f"id of {name}: {token}"] = forms_of_id(token)
        seed = hashlib.sha256(b"seed" + bytes([world.seeds[name]])).digest()
        found[f"seed of {name}"] = forms_of_bytes(seed)
    return found | keys(world, told)


def shows(wire: bytes, found: dict[str, list[bytes]], least: int = 4) -> list[str]:
    return [what for what, forms in found.items() if any(form in wire for form in forms if len(form) >= least)]


def test_no_secret_is_in_any_message(real: tuple[World, Told]) -> None:
    world, heard = real
    found = canaries(world, heard)
    wire = b"\0".join([body for _, body in heard.said] + [slot.encode() for slot, _ in heard.said])
    bodies = {record.body for records in heard.records.values() for record in records if not record.sent}
    assert bodies == {body for _, body in heard.said}
    assert sum(map(len, bodies)) > 50_000
    # Four given bytes are somewhere in megabytes of ciphertext by chance; six are not.
    assert shows(wire, found, 4 if world is PAILLIER else 6) == []
    bulk = ("HintBlock", "NodeQuery", "NodeHistograms")
    rest = b"\0".join(body for slot, body in heard.said if slot.split("/")[2] not in bulk)
    assert shows(rest, found) == []


@pytest.mark.parametrize("least", [4, 6])
def test_the_search_finds_what_is_planted(real: tuple[World, Told], least: int) -> None:
    found = canaries(*real)
    for what in list(found)[:: max(1, len(found) // 40)]:
        assert any(len(form) >= least for form in found[what])
        for form in found[what]:
            if len(form) >= least:
                assert what in shows(os.urandom(500) + form + os.urandom(500), found, least)


def test_the_clear_scheme_would_be_found_out(told: Told) -> None:
    """Without encryption the gradients tell the labels: the run above must not pass for lack of trying."""
    bank = told.outcomes[ACTIVE]
    block = next(unpack(TreeBlock, body).rows for slot, body in told.said if "/TreeBlock/" in slot)
    g = np.frombuffer(block, "<i8").reshape(-1, 2)[:, 0]
    assert ((g < 0) == (bank.labels[bank.parts.train] == 1)).all()


@pytest.mark.usefixtures("encrypted")
def test_every_ciphertext_is_random_and_used_once(paillier: Told) -> None:
    bank = paillier.outcomes[ACTIVE]
    n = key_of(PAILLIER, paillier).public.n
    blobs = [unpack(TreeBlock, body).rows for slot, body in paillier.said if "/TreeBlock/bank>telecom" in slot]
    blobs += answers_of([body for slot, body in paillier.said if "/NodeHistograms/" in slot])
    assert all(len(blob) % 512 == 0 for blob in blobs)
    found = [int.from_bytes(blob[i : i + 512], "big") for blob in blobs for i in range(0, len(blob), 512)]
    assert len(found) > 2 * int(bank.parts.train.sum())
    assert len(set(found)) == len(found)
    assert all(c % n != 1 and 0 < c < n * n for c in found)


@pytest.mark.usefixtures("encrypted")
def test_hidden_rows_are_random_and_no_query_names_any() -> None:
    heard = encrypted_run("lattice")
    said = {kind: [body for slot, body in heard.said if slot.split("/")[2] == kind] for kind in KINDS}
    assert not said["TreeBlock"]
    assert not any(unpack(NodeQuery, body).rows for body in said["NodeQuery"])
    assert {split.rows for body in said["SplitsChosen"] for split in unpack(SplitsChosen, body).splits} == {b""}
    assert len(said["NodeQuery"]) == len(said["NodeHistograms"]) > 4
    assert not said["QueryBlock"], "so few rows fit into the query itself"
    # Both partners are sent the same query; queries, the hints of the partners and answers never repeat an element.
    blobs = {unpack(NodeQuery, body).block for body in said["NodeQuery"]}
    assert 2 * len(blobs) == len(said["NodeQuery"])
    elements = [blob[i : i + 14] for blob in blobs for i in range(0, len(blob), 14)]
    elements += [s[i : i + 14] for s in answers_of(said["NodeHistograms"]) for i in range(0, len(s), 14)]
    assert len(set(elements)) == len(elements)
    hints = b"".join(unpack(HintBlock, body).hint for body in said["HintBlock"])
    words = np.frombuffer(hints, "<u8")
    assert len(np.unique(words)) == len(words)
    for data in (b"".join(blobs), hints):
        top = np.frombuffer(data, np.uint8).reshape(-1, 14 if data is not hints else 8)[:, :6]
        ones = np.unpackbits(top).mean()
        assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(top.size * 8)


KINDS = ("TreeBlock", "NodeQuery", "SplitsChosen", "QueryBlock", "NodeHistograms", "HintBlock")


def answers_of(bodies: list[bytes]) -> list[bytes]:
    return [one for body in bodies for one in unpack(NodeHistograms, body).sums]


def test_messages_of_one_kind_do_not_tell_labels_by_their_size(real: tuple[World, Told]) -> None:
    world, heard = real
    bank = world.holdings[ACTIVE]
    assert bank.labels is not None
    other = play(world.with_holding(dataclasses.replace(bank, labels=(1 - bank.labels).astype(np.int8))))
    for kind in ("TreeBlock",) if world is PAILLIER else ("NodeQuery",):
        sizes = [{len(body) for slot, body in of.said if f"/{kind}/bank>" in slot} for of in (heard, other)]
        assert sizes[0] == sizes[1] != set()
    for kind in ("HintBlock", "NodeHistograms"):
        sizes = [{len(body) for slot, body in of.said if f"/{kind}/" in slot} for of in (heard, other)]
        assert sizes[0] == sizes[1]


def test_a_run_says_who_it_is_first(told: Told) -> None:
    slot, body = told.said[0]
    assert slot == "handshake/0/Hello/bank>telecom/0"
    hello = unpack(Hello, body)
    assert pack(hello) == body
    assert hello.agreement == WORLD.terms.agreement.encode()
