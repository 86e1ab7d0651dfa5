"""The last entries of a run: what it produced goes on record, and the partners countersign that too.

report/0/artefacts   SHA-256 of every file of the audit bundle that a report takes figures from, and of scores.csv,
                     which holds customers, a salted digest
report/0/decisions   the root over all decisions, each salted (`vfl.decisions`)

Both are local entries of the active party. They precede its last checkpoint, so each figure of a report can be followed
to an entry, a proof and a signature.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ledger.entry import slot_name
from ledger.keys import witness_name
from ledger.log import Log
from ledger.note import Note
from vfl import decisions
from vfl.convergence import convergence
from vfl.errors import UsageError
from vfl.explaining import Explained, explain
from vfl.notary import LedgerNotary
from vfl.own_ledger import own_ledger
from vfl.protocols.freeze import commitment
from vfl.randomness import Randomness
from vfl.reasons import MOST, columns_of
from vfl.scores import FILE as SCORES
from vfl.seat import RunFile, peers_of, read_seed
from vfl.terms import BINARY, GBDT

PHASE, ARTEFACTS = "report", "artefacts"
MODEL, EXPLANATION = "model.json", "explanation.json"


def explanation_of(folder: Path, file: RunFile) -> tuple[Explained | None, dict[str, Any]]:
    """What the model's features do, whose they are, and how training went on: for boosted trees of two classes."""
    if file.terms.kind != GBDT or file.terms.objective != BINARY:
        return None, {}
    found = explain(folder)
    of, total = found.importance, float(found.importance.shap.sum())
    rows = [
        {"party": column.party, "feature": column.feature, "words": column.words}
        | {"mean_abs_shap": shap, "gain": gain, "splits": splits}
        for column, shap, gain, splits in zip(
            found.columns, of.shap.tolist(), of.gain.tolist(), of.splits.tolist(), strict=True
        )
    ]
    parties = {
        member.name: sum(row["mean_abs_shap"] for row in rows if row["party"] == member.name) / (total or 1.0)
        for member in (file.agreement.active, *file.agreement.passives)
    }
    rows.sort(key=lambda row: (-row["mean_abs_shap"], row["party"], row["feature"]))
    body = {"customers": len(found.ids), "features": rows, "contribution": parties, "convergence": convergence(folder)}
    return found, body


class Frozen(NamedTuple):
    """The digest under which a party froze its share, and the entry that holds it."""

    digest: str
    seq: int


def frozen_in(log: Log, active: str) -> dict[str, Frozen]:
    """By party, what the active party's log of a run says; of a passive's own log, `active` as `log.party`: its own."""
    frozen: dict[str, Frozen] = {}
    for entry in log.entries():
        if entry.phase == "freeze" and entry.payload is not None and entry.peer is not None:
            who = active if entry.dir == "send" else entry.peer
            frozen.setdefault(who, Frozen(entry.payload.digest, entry.seq))
    return frozen


def version_of(frozen: Mapping[str, str]) -> str:
    """Which model it is, hex: by the digests under which the parties froze their shares."""
    return sha256(json.dumps([frozen[name] for name in sorted(frozen)]).encode()).hexdigest()


def model_of(notary: LedgerNotary, file: RunFile, explained: Explained | None) -> dict[str, Any]:
    """Which model it is: the frozen share of each party, and every input that it really uses.

    `frozen` names, by party, the entry of the active party's log that holds the digest of its frozen share.
    """
    frozen = frozen_in(notary.log, file.agreement.active.name)
    used = None if explained is None else set(np.flatnonzero(explained.importance.splits > 0).tolist())
    inputs = [
        {"party": column.party, "feature": column.feature, "words": column.words}
        for number, column in enumerate(columns_of(file.agreement))
        if used is None or number in used
    ]
    return {
        "run": file.run,
        "kind": file.terms.kind,
        "agreement": file.agreement.digest,
        "version": version_of({name: one.digest for name, one in frozen.items()}),
        "frozen": {name: one._asdict() for name, one in frozen.items()},
        "inputs": inputs,
    }


def records_of(folder: Path, file: RunFile, model: bytes, explained: Explained | None) -> list[bytes]:
    """A record for every hold-out customer of a model of two classes; none of other models."""
    if file.terms.objective != BINARY:
        return []
    digest, found = sha256(model).hexdigest(), []
    with (folder / file.agreement.active.name / "predictions.csv").open(encoding="utf-8", newline="") as lines:
        for place, line in enumerate(csv.DictReader(lines)):
            if explained is None:
                score, reasons = line.get("points") or line["pd"], None
            else:
                raw = explained.attribution.base + float(explained.attribution.values[place].sum())
                score, reasons = repr(raw), [(one.party, one.words) for one in explained.reasons(place, MOST)]
            found.append(decisions.record_of(file.run, line["id"], digest, score, line["pd"], reasons))
    return found


def close(
    folder: Path,
    file: RunFile,
    notaries: Mapping[str, LedgerNotary],
    files: Mapping[str, bytes],
    explained: Explained | None,
) -> None:
    """Put `files` and the decisions on record in the active party's log, and have every partner countersign it."""
    active = file.agreement.active.name
    notary, seed = notaries[active], read_seed(folder / active)
    listed: list[dict[str, str]] = [
        {"kind": "artefact", "name": name, "alg": "sha256", "digest": sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    listed.append(
        {"kind": "artefact", "name": SCORES, "alg": "hmac-sha256", "digest": scores_digest(folder, seed).hex()}
    )
    records = records_of(folder, file, files[MODEL], explained)
    decisions.write_records(folder / active, records)
    with own_ledger():
        _append(notary, ARTEFACTS, listed, {})
        if records:
            root = decisions.tree_of(records, decisions.salts_key(seed)).root()
            item = {"kind": "decisions", "alg": decisions.ALGORITHM, "digest": root.hex()}
            _append(notary, decisions.STEP, [item], {"count": len(records)})
    # After a run that was killed while it concluded some have countersigned already.
    _meet(
        notary,
        [notaries[one.name] for one in peers_of(file.agreement, active) if not _done(notary, notaries[one.name])],
    )


def _meet(leader: LedgerNotary, partners: Sequence[LedgerNotary]) -> None:
    """One more round boundary, as at the end of a round of the run."""
    me = leader.log.party
    answers = {partner.log.party: partner.answer(me, leader.head(partner.log.party)) for partner in partners}
    lines = leader.countersign({name: head for name, (head, _) in answers.items()})
    for partner in partners:
        leader.countersigned(partner.log.party, answers[partner.log.party][1])
        partner.countersigned(me, lines[partner.log.party])
    for notary in (leader, *partners):
        notary.finish()


def _done(one: LedgerNotary, other: LedgerNotary) -> bool:
    return _countersigned(one, other.log.party) and _countersigned(other, one.log.party)


def _countersigned(notary: LedgerNotary, peer: str) -> bool:
    """Whether `peer` has countersigned everything in the log."""
    with own_ledger():
        lines = Note.parse(notary.log.checkpoint()).signatures
    return any(line.name == witness_name(peer) for line in lines)


def scores_digest(folder: Path, seed: bytes) -> bytes:
    """The salted digest of scores.csv in a run directory; `seed`: the active party's."""
    try:
        data = (folder / SCORES).read_bytes()
    except OSError:
        raise UsageError(f"there is no {SCORES} in {folder}", remedy="name the directory of a finished run") from None
    return commitment(data, Randomness(seed).child("report/scores"))


def _append(notary: LedgerNotary, step: str, commit: list[dict[str, str]], params: Mapping[str, object]) -> None:
    me = notary.log.party
    slot = slot_name(PHASE, 0, step, me, me)
    notary.log.append(phase=PHASE, round=0, step=step, slot=slot, dir="local", commit=commit, params=params)
