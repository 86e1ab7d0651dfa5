"""All parties of a scenario on one machine: a run directory, the parties' runs, and what only a simulation can compare.

    prepare    read the tables, draw seeds, write the agreement and each party's folder   into DIR.partial
    drive      lockstep in this process, or one operating-system process a party over loopback sockets
    conclude   comparisons, summary, policy and audit bundle; then DIR.partial becomes DIR

Nothing appears under the name DIR before everything in it is complete. After a failure that needs another input,
DIR.partial is removed; after a crash it stays, and `resume` goes on from the transcripts in it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from vfl import continuing, starting
from vfl.accusing import FOLDER
from vfl.agreement import Agreement, Member, Scalar, require_same
from vfl.attacks.cheating import CHEATS
from vfl.channel import lockstep
from vfl.clock import Clock, SystemClock
from vfl.config import RECEIPTS, PartyConfig, Scenario
from vfl.desk import memory_links
from vfl.errors import AgreementError, UsageError
from vfl.files import refusals
from vfl.holding import Holding, read_holding
from vfl.labels import LabelKind
from vfl.learn.scorecard_parameters import ScorecardModel
from vfl.notary import PeerKeys
from vfl.processes import run_processes
from vfl.progress import Progress, Silent
from vfl.retention import KEEP_UNTIL
from vfl.seat import RunFile, Seat, identity_of, new_seat, peers_of, read_party, read_seed
from vfl.summary import Summary, conclude
from vfl.table import closest, shown
from vfl.terms import INIT_MODEL

Load = Callable[[Path], Scenario]
PURPOSE = "joint credit default model"


@dataclass(frozen=True)
class Options:
    """How to run. `seed`: 32 bytes to derive every party's seed from, for reproducible runs; None draws fresh ones."""

    out: Path
    processes: bool = False
    resume: bool = False
    seed: bytes | None = None
    timeout: float = 600.0  # seconds without any word between processes
    aligned: Path | None = None  # a finished run whose aligned customers and hints are used again
    init_model: Path | None = None  # a finished run whose model is gone on from
    cheats: Mapping[str, str] = field(default_factory=dict)  # party -> how it cheats, in a scenario that shows it
    begun: Callable[[Path, RunFile], None] | None = None  # told the folder of a new run before anything is computed


def run_scenario(load: Load, options: Options, progress: Progress, clock: Clock | None = None) -> Summary:
    """Run all parties of the scenario that `load` gives; the results are in `options.out` when this returns.

    `load` is handed a folder of the run directory where it may put tables that are not the user's own.

    Raises UsageError or AgreementError (fix the input), ProtocolError (a party misbehaved), TransportError (try again).
    """
    clock = clock or SystemClock()
    partial = partial_of(options.out)
    _check_free(options, partial)
    with _cleaned_up(partial):
        progress.enter("prepare", 0)
        scenario = load(partial / "tables")
        if options.resume:
            file = RunFile.read(partial)
            _require_same(partial, file.agreement, scenario, options.seed)
        else:
            file = prepare(scenario, partial, options.seed, clock, options.aligned, options.init_model)
            if options.begun is not None:
                options.begun(partial, file)
        if options.processes:
            run_processes(partial, file, options.timeout, progress, options.cheats)
        else:
            _run_lockstep(partial, file, clock, progress, options.cheats)
        summary = conclude(partial, file, clock, progress)
    with refusals(options.out, remedy=f"the results are complete in {partial}: give them another name"):
        partial.rename(options.out)
    return summary


def partial_of(out: Path) -> Path:
    """Where the run stands until everything in it is complete."""
    return out.with_name(out.name + ".partial")


def prepare(
    scenario: Scenario,
    folder: Path,
    seed: bytes | None,
    clock: Clock,
    aligned: Path | None = None,
    init_model: Path | None = None,
) -> RunFile:
    """Make the run directory: read every table once, so that bad input is found before anything is computed.

    `aligned`: the directory of a run whose customers, `init_model`: of one whose model is gone on from.
    """
    holdings: dict[str, Holding] = {}
    added = continuing.added_clauses(aligned) if aligned else {}
    starting_from = starting.added_clauses(init_model) if init_model else {}
    agreement = agree(scenario, lambda holding: holdings.update({holding.name: holding}), added, starting_from)
    if aligned:
        continuing.require_alike(aligned, agreement, holdings)
    if init_model:
        starting.require_alike(init_model, agreement)
    stamp = clock.now().strftime("%Y%m%dT%H%M%S")
    mark = hashlib.sha256(seed).hexdigest()[:8] if seed else f"{stamp}-{secrets.token_hex(4)}"
    seeds = {party.name: _party_seed(seed, party.name) for party in scenario.parties}
    identities = {name: identity_of(name, own) for name, own in seeds.items()}
    keys = {name: PeerKeys(who.identity.verifying, who.witness.verifying) for name, who in identities.items()}
    file = RunFile(f"{scenario.name[:40]}-{mark}", agreement, keys)
    folder.mkdir(parents=True, exist_ok=True)
    for party in scenario.parties:
        member = agreement.member(party.name)
        new_seat(folder / party.name, replace(party, features=member.features), seeds[party.name])
        if aligned:
            continuing.hand_over(aligned, folder, party.name)
        if init_model:
            starting.hand_over(init_model, folder, party.name)
    file.write(folder)
    return file


def agree(
    scenario: Scenario,
    look: Callable[[Holding], None],
    added: Mapping[str, Scalar] | None = None,
    starting_from: Mapping[str, Scalar] | None = None,
) -> Agreement:
    """The agreement of a scenario, with every column named; `look` is shown each party's holding on the way.

    `added`: clauses about the intersection, `starting_from`: about the model, that the scenario does not have.
    """
    privacy, psi, holdout = scenario_clauses(scenario)
    model: dict[str, Scalar] = {**model_clauses(scenario), **(starting_from or {})}
    members = []
    for party in (scenario.active, *scenario.passive):
        holding = read_holding(party, psi, holdout, LabelKind.of(model))
        look(holding)
        members.append(member_of(scenario, party, holding.names))
    return Agreement(scenario.name, PURPOSE, tuple(members), model, privacy, psi | dict(added or {}), holdout,
        settlement=scenario.settlement,
    )  # fmt: skip


def scenario_clauses(scenario: Scenario) -> tuple[dict[str, Scalar], dict[str, Scalar], dict[str, Scalar]]:
    """What is agreed about privacy, the intersection and the hold-out."""
    psi: dict[str, Scalar] = dict(vars(scenario.psi))
    privacy: dict[str, Scalar] = dict(vars(scenario.privacy))
    options = ("merge_models", "masked_scores", "cell_noise", KEEP_UNTIL)
    for clauses, option in ((psi, "decoys"), *((privacy, option) for option in options)):
        if not clauses[option]:
            del clauses[option]  # an option that is off is no clause: agreements without it stay what they were
    if privacy["receipts"] == RECEIPTS[0]:
        del privacy["receipts"]
    at = scenario.holdout
    holdout: dict[str, Scalar] = (
        {"fraction": at.fraction, "seed": at.seed} if at.column is None else {"column": at.column}
    )
    return privacy, psi, holdout


def member_of(scenario: Scenario, party: PartyConfig, features: tuple[str, ...]) -> Member:
    """A party of the agreement that may use these columns. Raises UsageError for words about a column it has not."""
    _require_features(scenario, party, features)
    return Member(party.name, party.role, features, party.reasons, party.monotone)


def model_clauses(scenario: Scenario) -> dict[str, Scalar]:
    """What is agreed about the model, every default written out."""
    if isinstance(scenario.model, ScorecardModel):
        return {"kind": scenario.kind, **scenario.model.as_dict()}
    # A bin that privacy would join afterwards is better not made: LightGBM's own minimum makes balanced bins.
    least = max(scenario.model.min_data_in_bin, scenario.privacy.min_bin_population)
    return {"kind": scenario.kind, **replace(scenario.model, min_data_in_bin=least).as_dict()}


def _require_features(scenario: Scenario, party: PartyConfig, features: Sequence[str]) -> None:
    """Words or wishes for a feature that there is not are a slip of the pen."""
    for key, given in (
        ("reasons", party.reasons),
        ("special", party.special),
        ("trends", party.trends),
        ("monotone", party.monotone),
        ("categorical", party.categorical),
    ):
        for name in given:
            if name not in features:
                raise UsageError(
                    f"{scenario.source.name}: [party.{party.name}.{key}] {shown(name)} is no feature of {party.name}",
                    remedy=closest(name, features),
                )


def _party_seed(seed: bytes | None, name: str) -> bytes:
    if seed is None:
        return secrets.token_bytes(32)
    return hashlib.sha256(b"tallystick-party-seed-v1" + name.encode() + b"\0" + seed).digest()


def _run_lockstep(folder: Path, file: RunFile, clock: Clock, progress: Progress, cheats: Mapping[str, str]) -> None:
    agreement = file.agreement
    with ExitStack() as open_seats:
        seats = {}
        for member in agreement.members:
            cheat = CHEATS.get(cheats.get(member.name, ""))
            seats[member.name] = seat = Seat(folder, member.name, clock, cheat)
            open_seats.callback(seat.close)
        links: dict[str, dict[str, object]] = {name: {} for name in seats}
        active = agreement.active.name
        for member in peers_of(agreement, active):
            links[active][member.name], links[member.name][active] = memory_links()
        for name, seat in seats.items():
            seat.follow(progress if name == active else Silent())
        roles = {name: seat.role(links[name]) for name, seat in seats.items()}  # type: ignore[arg-type]

        def timed(name: str, resume: Callable[[], None]) -> None:
            seats[name].watch.start()
            with seats[name].accusing():
                resume()
            seats[name].watch.stop()

        lockstep(roles, timed)


def _check_free(options: Options, partial: Path) -> None:
    out = options.out
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")
    if options.resume and not partial.exists():
        raise UsageError(f"there is no interrupted run {partial}", remedy="start it without --resume")
    if found := sorted(partial.glob(f"*/{FOLDER}/*.json")):
        raise UsageError(
            f"{partial} was ended because a party misbehaved: {found[0]}",
            remedy="keep it for whoever has to decide, and start anew under another --out",
        )
    if options.resume and not (partial / "run.json").exists():
        raise UsageError(
            f"{partial} was interrupted before anything was computed",
            remedy="remove the directory and start without --resume",
        )
    if partial.exists() and not options.resume:
        raise UsageError(
            f"{partial} is there from an interrupted run", remedy="go on with --resume, or remove the directory"
        )
    nearest = next(parent for parent in out.absolute().parents if parent.exists())
    if not os.access(nearest, os.W_OK):
        raise UsageError(f"{nearest} cannot be written to", remedy="name another --out")


def _require_same(partial: Path, recorded: Agreement, scenario: Scenario, seed: bytes | None) -> None:
    """Only the run that was begun goes on: the same agreement, tables and columns, and the same seed if one is given.

    Raises AgreementError naming what differs.
    """
    remedy = "restore it, or start a new run under another --out"
    try:
        added = {clause: recorded.psi[clause] for clause in continuing.ADDED if clause in recorded.psi}
        started = {clause: recorded.model[clause] for clause in (INIT_MODEL,) if clause in recorded.model}
        again = agree(scenario, lambda holding: None, added, started)
        require_same(again.encode(), recorded.encode(), "the interrupted run")
    except AgreementError as error:
        raise AgreementError(str(error), remedy=remedy) from None
    for party in scenario.parties:
        begun = read_party(partial / party.name)
        now, then = ((of.table.resolve(), of.id, of.label) for of in (party, begun))
        for key, ours, theirs in zip(("table", "id", "label"), now, then, strict=True):
            if ours != theirs:
                raise AgreementError(
                    f"[party.{party.name}] {key} is {ours}, and was {theirs} in the interrupted run", remedy=remedy
                )
        if seed is not None and read_seed(partial / party.name) != _party_seed(seed, party.name):
            raise AgreementError(
                "--seed is another one than that of the interrupted run", remedy="leave it out: the run keeps its seed"
            )


@contextmanager
def _cleaned_up(partial: Path) -> Iterator[None]:
    """Leave nothing half-written behind when another input is needed; keep what a later resume can go on from."""
    existed = partial.exists()
    remedy = "free some space or name another --out" + ("" if existed else "; nothing is kept")
    try:
        with refusals(partial, remedy):
            yield
    except BaseException as error:
        useless = isinstance(error, UsageError | AgreementError) or not (partial / "run.json").exists()
        if useless and not existed:
            shutil.rmtree(partial, ignore_errors=True)
        raise
