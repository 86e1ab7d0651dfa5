"""What `tallystick audit` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger.errors import LedgerError
from ledger.policy import Policy
from vfl.audit.drawing import SHARES, detection, needed, read_nonce
from vfl.audit.finding import finding
from vfl.audit.log_record import BUNDLE
from vfl.audit.reexecute import Verdict
from vfl.audit.result import AuditResult
from vfl.audit.sealing_to import AuditorKey, Purpose, SealedFile, seal_to
from vfl.audit.sides import Answers, Labels, side_of
from vfl.errors import BrokenPromise, UsageError
from vfl.files import refusals, write_data
from vfl.local_logs import own_identity
from vfl.seat import RunFile
from vfl.valid import read_valid


def make_key(out: Path, name: str, as_json: bool) -> None:
    """`tallystick audit key`."""
    _require_new(out)
    try:
        with refusals(out, remedy="name another --out"):
            key = AuditorKey.make(out, name)
    except LedgerError as error:
        raise UsageError(str(error), remedy="choose another --name") from None
    told = {"file": str(out), "name": name, "openings": key.public, "log": key.signer.verifying.vkey}
    lines = [
        f"written:   {out} (keep it: it opens what parties send, and signs findings)",
        f"openings   {key.public}",
        f"policy     log {key.signer.verifying.vkey}",
    ]
    _tell(told, lines, as_json)


def open_to(directory: Path, party: str, to: str, nonce: str, count: int, out: Path, as_json: bool) -> None:
    """`tallystick audit open`."""
    _require_new(out)
    file = RunFile.read(directory)  # says so if it is no run directory
    folder, drawn_from = directory / party, read_nonce(nonce)
    side = side_of(directory, party)
    record, slots = side.record, side.slots(drawn_from, count)
    openings = side.open(folder, drawn_from, count)
    purpose = Purpose(record.terms.run, party, drawn_from, record.checkpoint.root)
    signer = own_identity(directory, file, party).identity
    data = seal_to(to, openings, purpose, signer)
    with refusals(out, remedy="name another --out"):
        write_data(out, data)
    told = {"file": str(out), "bytes": len(data), "party": party, "cells": slots}
    lines = [
        f"{out}: {len(slots)} of {len(record.cells)} {side.what} of {party}, {len(data):,} bytes, for {to[:16]}.. only"
    ]
    _tell(told, lines, as_json)


def check(
    bundle: Path,
    files: Sequence[Path],
    key: Path,
    policy: Path,
    nonce: str,
    count: int,
    evidence: Path | None,
    as_json: bool,
    out: Path | None = None,
) -> None:
    """`tallystick audit check`. Raises BrokenPromise where an answer comes out otherwise."""
    auditor = AuditorKey.read(key)
    path = bundle / BUNDLE if bundle.is_dir() else bundle
    _, rules = read_valid(path, policy)
    if out is not None:
        _require_new(out)
    parties = [_checked(path, file, auditor, rules, read_nonce(nonce), count, evidence) for file in files]
    if out is not None:
        result = AuditResult.of(str(parties[0]["run"]), nonce, parties)
        with refusals(out, remedy="name another --out"):
            write_data(out, result.signed(auditor.signer))
    chances = {f"{share:g}": detection(share, min(one["cells"] for one in parties)) for share in SHARES}
    body = {"parties": parties, "detection": chances, "cells_for_99": {f"{f:g}": needed(f) for f in SHARES}}
    _tell(body, [line for one in parties for line in _lines(one)] + _chances(chances), as_json)
    for one in parties:
        for failed in one["failed"]:
            raise BrokenPromise(
                "what it committed to gives another message than it said",
                peer=one["party"],
                step=failed["slot"],
                remedy="show the evidence to all parties" if one["evidence"] else "write the evidence: --evidence DIR",
            )


def _checked(
    path: Path, file: Path, auditor: AuditorKey, rules: Policy, nonce: bytes, count: int, evidence: Path | None
) -> dict[str, Any]:
    """One party's openings: what each message came out as."""
    sealed = SealedFile.read(file)
    side = side_of(path, sealed.purpose.party)
    record = side.record
    signer = rules.log_key(record.party)
    if signer is None:
        raise UsageError(f"the policy has no log key of {record.party}")
    sealed.require_signed(signer)
    asked = Purpose(record.terms.run, record.party, nonce, record.checkpoint.root)
    if sealed.purpose != asked:
        differs = [name for name, value in asked.to_json().items() if sealed.purpose.to_json()[name] != value]
        raise UsageError(f"{file} is for another {' and '.join(differs)}", remedy="ask for openings to this nonce")
    found = side.compute(auditor.open(sealed.sealed, asked), nonce, count)
    failed = [verdict for verdict in found.verdicts if not verdict.fits]
    written = [] if evidence is None else _write(evidence, side, failed, sealed.digest, auditor)
    return {
        "run": record.terms.run,
        "party": record.party,
        "what": side.what,
        "cells": found.cells,
        "answers": found.total,
        "left_out": found.left_out,
        "openings": sealed.digest,
        "verdicts": [_body(verdict) for verdict in found.verdicts],
        "failed": [_body(verdict) for verdict in failed],
        "evidence": written,
    }


def _write(
    folder: Path, side: Answers | Labels, failed: Sequence[Verdict], openings: str, auditor: AuditorKey
) -> list[str]:
    written = []
    with refusals(folder, remedy="name another --evidence"):
        for number, verdict in enumerate(failed):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{side.kind}-{side.record.party}-{number}.json"
            write_data(path, finding(side.record, verdict, openings, auditor.signer, side.kind))
            written.append(str(path))
    return written


def _body(verdict: Verdict) -> dict[str, Any]:
    return {
        "slot": verdict.slot,
        "claimed": verdict.claimed,
        "recomputed": verdict.recomputed,
        "fits": verdict.fits,
    }


def _lines(one: dict[str, Any]) -> list[str]:
    bins = len(one["verdicts"]) - one["cells"]
    lines = [
        f"{one['party']}: {'its bins and ' if bins else ''}{one['cells']} of {one['answers']} {one['what']}, "
        "computed again"
    ]
    if one["left_out"]:
        lines.append(
            f"  {one['left_out']} more were drawn, of trees that the model does not keep: they made nothing of it"
        )
    for verdict in one["verdicts"]:
        word = "fits" if verdict["fits"] else f"DIFFERS: {verdict['claimed']} said, {verdict['recomputed']} computed"
        lines.append(f"  {verdict['slot']}  {word}")
    return lines + [f"  evidence: {path}" for path in one["evidence"]]


def _chances(chances: dict[str, float]) -> list[str]:
    found = [
        f"{float(share):.0%} of its cells: {chance:.1%} (99 % takes {needed(float(share))} cells)"
        for share, chance in chances.items()
    ]
    return ["so many cells show a party that falsified", *(f"  {line}" for line in found)]


def _require_new(out: Path) -> None:
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")


def _tell(body: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    sys.stdout.write(json.dumps(body) + "\n" if as_json else "\n".join(lines) + "\n")
