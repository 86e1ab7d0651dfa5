"""The steps of a settlement at one desk, each on record, and the bundle that shows them all.

    value      what each partner's data is worth             no contract needed
    open       the contract, stakes, the heads of the run's logs
    pay        usage of a period, shares, revenue, payments
    slash      evidence, a penalty

RUN/settlement/    contribution.json, shares.json, payments-PERIOD.csv, settlement.bundle
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ledger.bundle import read_bundle, write_bundle
from ledger.checkpoint import Checkpoint
from ledger.errors import LedgerError
from ledger.note import Note
from vfl.errors import UsageError
from vfl.files import NO_RUN, read_json, refusals, write_data
from vfl.own_ledger import own_ledger
from vfl.seat import identity_of, open_ledger, read_seed
from vfl.settle.book import FOLDER, USAGE, VALUE, item, job_of
from vfl.settle.contract.artefact import CONTRACTS
from vfl.settle.contract.artefact import path as artefact_path
from vfl.settle.contribution import FILE, SHARES, Contribution, Result, digest_of, result_of
from vfl.settle.desk import Desk
from vfl.settle.payments import Payment, write_settlement
from vfl.settle.penalties import penalty_of
from vfl.settle.replica import Played
from vfl.settle.usage import Usage, decided, meter
from vfl.settle.valuing import Told, contribution_bytes, seed_of, value

BUNDLE, HEAD = "settlement.bundle", "head.note"
"""HEAD: the artefact whose SHA-256 is the seed of the valuation."""


@dataclass(frozen=True)
class Valued:
    """What a valuation came to."""

    contribution: Contribution
    result: Result
    shares: Mapping[str, Any]


@dataclass(frozen=True)
class Paid:
    """Of one period: what was used, what came of the calls, and the file for the bank's payment system."""

    usage: Usage
    amount: int
    played: Sequence[Played]
    payments: Sequence[Payment]
    file: Path


def folder_of(desk: Desk) -> Path:
    """Where files of the settlement lie."""
    found = desk.directory / FOLDER
    with refusals(desk.directory, "make the directory of the run writable"):
        found.mkdir(exist_ok=True)
    return found


def value_run(desk: Desk, told: Told) -> Valued:
    """Value the partners, put the result on record, and have everybody cosign it. Raises UsageError."""
    note = _head_of(desk, desk.payer)
    contribution = value(desk.directory, desk.file, desk.clause, seed_of(note), told)
    data, result = contribution_bytes(contribution), result_of(contribution)
    shares = result.to_json(contribution, digest_of(data))
    files = {FILE: data, SHARES: _json(shares), HEAD: note.encode()}
    folder = folder_of(desk)
    for name, content in files.items():
        write_data(folder / name, content)
    commit = [item("artefact", name, digest_of(content)) for name, content in sorted(files.items())]
    models = [{key: one[key] for key in ("parties", "null", "model")} for one in contribution.coalitions]
    desk.books.leader.note(
        VALUE, {"seed": contribution.seed.hex(), "ppm": dict(result.ppm), "coalitions": models}, commit
    )  # fmt: skip
    desk.books.countersign()
    write_files(desk)
    return Valued(contribution, result, shares)


def valued(desk: Desk) -> Mapping[str, Any]:
    """The shares in force: shares.json. Raises UsageError before there are any."""
    path = desk.directory / FOLDER / SHARES
    if not path.exists():
        raise UsageError(f"{desk.directory} was not valued", remedy="tallystick settle value RUN")
    return read_json(path, "shares of a settlement")


def open_contract(desk: Desk, chain_id: int | None = None) -> Sequence[Played]:
    """Deploy, register, stake, open the job, and anchor the heads of the run's logs. Raises UsageError."""
    desk.begin() if chain_id is None else desk.begin(chain_id)
    desk.open_job()
    for party in desk.parties:
        head = Checkpoint.parse(Note.parse(_head_of(desk, party)).text)
        desk.anchor(head.origin, head.size, head.root)
    played = Desk.must(desk.turn())
    write_files(desk)
    return played


def usage_of(desk: Desk) -> list[Usage]:
    """What the model of this run decided, by period. Raises UsageError."""
    version, found = _model_version(desk.directory), meter(decided(desk.directory / desk.payer), desk.clause.period)
    return [one for one in found if one.model == version]


def pay(desk: Desk, period: str, out: Path | None = None) -> Paid:
    """Settle a period: usage on record, shares signed by all, revenue distributed, everybody's earnings withdrawn.

    Raises UsageError where there was no use, or the period was settled before.
    """
    shares, number = valued(desk), int(period.replace("-", ""))
    usage = next((one for one in usage_of(desk) if one.period == period), None)
    if usage is None or not usage.billable:
        periods = ", ".join(one.period for one in usage_of(desk)) or "none"
        raise UsageError(f"nothing was decided in {period}", remedy=f"periods with decisions: {periods}")
    if any(entry.params["period"] == period for entry in desk.books.leader.entries(USAGE)):
        raise UsageError(f"{period} was settled before", remedy="see `tallystick settle show RUN`")
    amount = usage.amount(desk.clause.price)
    desk.books.leader.note(USAGE, {**asdict(usage), "price": desk.clause.price, "amount": amount,
                                   "currency": desk.clause.currency})  # fmt: skip
    before = desk.replica.credits()
    ppm = [int(shares["ppm"][party]) for party in desk.parties]
    desk.deposit(desk.payer, amount, f"{desk.file.run}/revenue/{period}")
    desk.agree_shares(number, ppm, str(shares["contribution"]))
    desk.distribute(number, amount)
    played = list(Desk.must(desk.turn()))
    earned = {party: credit - before[party] for party, credit in desk.replica.credits().items()}
    for party in desk.parties:
        if party != desk.payer and earned[party]:
            desk.withdraw(party, earned[party])
    played += Desk.must(desk.turn())
    events = [event for one in played for event in one.events]
    payments = [_payment(desk, period, event.values) for event in events if event.name == "Withdrawn"]
    file = out or folder_of(desk) / f"payments-{period}.csv"
    write_settlement(file, payments, desk.clause.currency)
    write_files(desk)
    return Paid(usage, amount, played, payments, file)


def slash(desk: Desk, data: bytes, reporter: str) -> Sequence[Played]:
    """Bring evidence to the contract. Raises UsageError where it is not objective, or the contract refuses."""
    desk.slash(reporter, penalty_of(data, desk.policy, desk.file.run))
    played = Desk.must(desk.turn())
    write_files(desk)
    return played


def write_files(desk: Desk) -> Path:
    """The bundle anew: the ledgers of all parties, what was valued, and the contract's code."""
    folder = folder_of(desk)
    artefacts = {name: (folder / name).read_bytes() for name in (FILE, SHARES, HEAD) if (folder / name).exists()}
    if desk.replicas:
        artefacts |= {f"contract/{name}.json": artefact_path(name).read_bytes() for name in CONTRACTS}
    identities = [identity_of(party, read_seed(desk.directory / party)) for party in desk.parties]
    with own_ledger():
        write_bundle(
            folder / BUNDLE, [desk.books[party].log for party in desk.parties], job_of(desk.file.run),
            artefacts=artefacts, identities=identities, policy=desk.policy,
        )  # fmt: skip
    return folder / BUNDLE


def _payment(desk: Desk, period: str, event: Mapping[str, Any]) -> Payment:
    party = desk.replica.party(event["party"])
    reference = f"{desk.file.run}-{period}-{event['number']:04d}"
    return Payment(reference, period, party, desk.clause.entity(party), int(event["amount"]))


def _head_of(desk: Desk, party: str) -> str:
    """The newest head of a party's log of the run that others cosigned. Raises UsageError."""
    store = open_ledger(desk.directory / party, desk.file.run)
    try:
        with own_ledger():
            heads = [
                head.note + "".join(store.cosignatures(head.size)) for head in store.checkpoints()
            ]  # fmt: skip
    finally:
        store.close()
    cosigned = [note for note in heads if len(Note.parse(note).signatures) > 1]
    if not cosigned:
        raise UsageError(f"no head of {party}'s ledger has a cosignature", remedy=NO_RUN)
    return cosigned[-1]


def _model_version(directory: Path) -> str:
    """Of the run's model, as decisions name it. Raises UsageError."""
    try:
        body = read_bundle(directory / "audit.bundle").members["artefacts/model.json"]
        return str(json.loads(body)["version"])
    except (LedgerError, KeyError, ValueError):
        raise UsageError(f"{directory}/audit.bundle names no model", remedy=NO_RUN) from None


def _json(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
