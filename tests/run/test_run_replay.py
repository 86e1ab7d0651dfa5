"""The same bytes again: after a stop, in replay, and where anything was changed."""

from __future__ import annotations

import dataclasses
import re

import msgspec
import numpy as np
import pytest
from memory_run import ACTIVE, Told, World, play, replay
from run_worlds import WORLD, WORLDS, encrypted_run

from vfl.channel import Record, digest_of
from vfl.desk import MemoryTranscript
from vfl.errors import ProtocolError, VflError
from vfl.learn.columns import Columns


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
