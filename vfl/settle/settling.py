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
from dataclasses import asdict, dataclass, fields
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
from vfl.settle.calling import Event
from vfl.settle.checking import AGREEMENT, HEAD
from vfl.settle.contract.artefact import CONTRACTS
from vfl.settle.contract.artefact import path as artefact_path
from vfl.settle.contribution import FILE, SHARES, Contribution, Result, digest_of, result_of
from vfl.settle.desk import Desk, Disagreement
from vfl.settle.payments import Payment, write_settlement
from vfl.settle.penalties import penalty_of
from vfl.settle.replica import Played
from vfl.settle.usage import Usage, decided, meter
from vfl.settle.valuing import Told, contribution_bytes, seed_of, value

BUNDLE = "settlement.bundle"


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


def stake(desk: Desk, chain_id: int | None = None) -> None:
    """Deploy, register everybody, lock their stakes, open the job: may come before training. Raises UsageError."""
    desk.begin() if chain_id is None else desk.begin(chain_id)
    desk.open_job()


def anchor(desk: Desk) -> Sequence[Played]:
    """Fix the heads of the run's ledgers, once it is finished; those that are fixed already stay. Raises UsageError."""
    for head in _to_anchor(desk):
        desk.anchor(head.origin, head.size, head.root)
    played = desk.must(_turn(desk))
    write_files(desk)
    return played


def open_contract(desk: Desk, chain_id: int | None = None) -> None:
    """`stake`, then `anchor`; what was killed in between goes on. Raises UsageError where nothing is left to do."""
    if not desk.replicas:
        stake(desk, chain_id)
    elif not (_finish(desk) or _to_anchor(desk)):
        write_files(desk)  # which a kill may have left out
        raise UsageError("the contract is there already", remedy="see `tallystick settle show RUN`")
    anchor(desk)


def usage_of(desk: Desk) -> list[Usage]:
    """What the model of this run decided, by period. Raises UsageError."""
    version, found = _model_version(desk.directory), meter(decided(desk.directory / desk.payer), desk.clause.period)
    return [one for one in found if one.model == version]


def pay(desk: Desk, period: str, out: Path | None = None) -> Paid:
    """Settle a period: usage on record, shares signed by all, revenue distributed, everybody's earnings withdrawn.

    Killed, it goes on where it was. Raises UsageError where there was no use, or the period was settled before.
    """
    _finish(desk)
    shares, on_record = valued(desk), _usage_on_record(desk)
    usage = on_record.get(period) or next((one for one in usage_of(desk) if one.period == period), None)
    if usage is None or not usage.billable:
        periods = ", ".join(one.period for one in usage_of(desk)) or "none"
        raise UsageError(f"nothing was decided in {period}", remedy=f"periods with decisions: {periods}")
    for other in on_record:
        if other != period and _owed(desk, other):
            raise UsageError(f"{other} is not paid to its end", remedy=f"tallystick settle pay RUN --period {other}")
    file = out or folder_of(desk) / f"payments-{period}.csv"
    if period in on_record and not _owed(desk, period) and file.exists():
        write_files(desk)  # as above
        raise UsageError(f"{period} was settled before", remedy="see `tallystick settle show RUN`")
    before = len(desk.replica.played)
    if period not in on_record:
        _distribute(desk, usage, shares)
    for party, amount in _owed(desk, period).items():
        desk.withdraw(party, amount)
    desk.must(_turn(desk))
    payments = [_payment(desk, period, event.values) for event in _of_period(desk, period) if event.name == "Withdrawn"]
    write_settlement(file, payments, desk.clause.currency)
    write_files(desk)
    return Paid(usage, usage.amount(desk.clause.price), desk.replica.played[before:], payments, file)


def slash(desk: Desk, data: bytes, reporter: str) -> Sequence[Played]:
    """Bring evidence to the contract. Raises UsageError where it is not objective, or the contract refuses."""
    penalty = penalty_of(data, desk.policy, desk.file.run)
    _finish(desk)
    desk.slash(reporter, penalty)
    played = desk.must(_turn(desk))
    write_files(desk)
    return played


def write_files(desk: Desk) -> Path:
    """The bundle anew: the ledgers of all parties, the agreement, what was valued, and the contract's code."""
    folder = folder_of(desk)
    artefacts = {name: (folder / name).read_bytes() for name in (FILE, SHARES, HEAD) if (folder / name).exists()}
    artefacts[AGREEMENT] = desk.file.agreement.encode()
    if desk.replicas:
        artefacts |= {f"contract/{name}.json": artefact_path(name).read_bytes() for name in CONTRACTS}
    identities = [identity_of(party, read_seed(desk.directory / party)) for party in desk.parties]
    with own_ledger():
        write_bundle(
            folder / BUNDLE, [desk.books[party].log for party in desk.parties], job_of(desk.file.run),
            artefacts=artefacts, identities=identities, policy=desk.policy,
        )  # fmt: skip
    return folder / BUNDLE


def _turn(desk: Desk) -> Sequence[Played]:
    """A turn; where parties come to different states the bundle shows it. Raises as `Desk.turn` does."""
    try:
        return desk.turn()
    except Disagreement:
        write_files(desk)
        raise


def _finish(desk: Desk) -> Sequence[Played]:
    """The turn that was killed, if one was. Raises UsageError before there is a contract."""
    _ = desk.replica
    return desk.must(_turn(desk)) if desk.unfinished else ()


def _to_anchor(desk: Desk) -> list[Checkpoint]:
    """Heads of the run's ledgers that the contract does not know yet."""
    events = (event for one in desk.replica.played for event in one.events if event.name == "Anchored")
    known = {event.values["origin"]: int(event.values["size"]) for event in events}
    heads = [Checkpoint.parse(Note.parse(_head_of(desk, party)).text) for party in desk.parties]
    return [head for head in heads if head.size > known.get(head.origin, 0)]


def _distribute(desk: Desk, usage: Usage, shares: Mapping[str, Any]) -> None:
    """Revenue comes in, all sign the shares, and it goes out by them; one turn."""
    number, amount = _number(usage.period), usage.amount(desk.clause.price)
    terms = {"price": desk.clause.price, "amount": amount, "currency": desk.clause.currency}
    desk.books.leader.note(USAGE, {**asdict(usage), **terms})
    desk.deposit(desk.payer, amount, f"{desk.file.run}/revenue/{usage.period}")
    desk.agree_shares(number, [int(shares["ppm"][party]) for party in desk.parties], str(shares["contribution"]))
    desk.distribute(number, amount)
    desk.must(_turn(desk))


def _usage_on_record(desk: Desk) -> dict[str, Usage]:
    told: list[Mapping[str, Any]] = [entry.params for entry in desk.books.leader.entries(USAGE)]
    return {one["period"]: Usage(**{each.name: one[each.name] for each in fields(Usage)}) for one in told}


def _number(period: str) -> int:
    """Of a period in the contract: 202611 for 2026-11."""
    return int(period.replace("-", ""))


def _of_period(desk: Desk, period: str) -> list[Event]:
    """Events from a period's distribution to that of the next; periods are paid one after the other."""
    found: list[Event] = []
    current = None
    for event in (event for one in desk.replica.played for event in one.events):
        if event.name == "Distributed":
            current = event.values["period"]
        if current == _number(period):
            found.append(event)
    return found


def _owed(desk: Desk, period: str) -> dict[str, int]:
    """What partners earned in a period and have not withdrawn."""
    events = _of_period(desk, period)
    taken = {desk.replica.party(event.values["party"]) for event in events if event.name == "Withdrawn"}
    earned = {desk.replica.party(e.values["party"]): int(e.values["amount"]) for e in events if e.name == "Paid"}
    return {party: each for party, each in earned.items() if each and party not in taken and party != desk.payer}


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
