"""One decision's record with its proof, and nothing about anybody else.

record + salt -> leaf -> path -> root in entry `report/0/decisions` -> path -> signed checkpoint of the log

The record names model.json by digest, and model.json which shares were frozen and which inputs are used; the entry
`report/0/artefacts` names model.json as well. Siblings in the paths are salted hashes. Read from the active
party's folder and the bundle with the standard library and `ledger` alone, in well under a second.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ledger.bundle import parse_bundle
from vfl import decisions
from vfl.errors import UsageError
from vfl.report.evidence import LogEvidence
from vfl.report.texts import Texts

FORMAT = "tallystick-subject-v1"
FORMS = ("html", "json", "text")
_REMEDY = "name the directory of a finished run"


def extract(directory: Path, customer: str, review: str) -> dict[str, Any]:
    """The record of `customer`, JSON-ready. `review`: what a person says of it, or nothing.

    Raises UsageError where there is no such record, or the run is of an earlier version.
    """
    try:
        data = (directory / "audit.bundle").read_bytes()
        body = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        members = json.loads(body["agreement"])["members"]
        active = next(member["name"] for member in members if member["role"] == "active")
        seed = bytes.fromhex((directory / active / "seed").read_text().strip())
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        _require_kept(directory)
        raise UsageError(f"{directory} cannot be read as a run: {error}", remedy=_REMEDY) from None
    shown = decisions.show(directory / active, customer, decisions.salts_key(seed))
    bundle = parse_bundle(data)
    files = bundle.logs().get(active)
    model = bundle.members.get("artefacts/model.json")
    if files is None or model is None:
        raise UsageError("the bundle holds no log of the active party or no model.json", remedy=_REMEDY)
    log = LogEvidence(active, files)
    entry = log.closing(decisions.STEP)
    if entry is None:
        raise UsageError("no entry of the ledger commits to decisions", remedy="run again with this version")
    return {
        "format": FORMAT,
        "record": shown.record.decode(),
        "salt": shown.salt.hex(),
        "place": shown.place,
        "count": shown.count,
        "path": [node.hex() for node in shown.path],
        "model": model.decode(),
        "review": review or None,
        "log": active,
        "seq": entry.seq,
        "size": log.size_over(entry.seq),
        "proof": log.proof(entry.seq, log.size_over(entry.seq)),
    }


def _require_kept(directory: Path) -> None:
    """Raise UsageError where the run was purged: that is why it cannot be read."""
    from vfl.retention import NOTE, ROWS, SALTS, require_kept  # noqa: PLC0415 - only after a purge

    require_kept(directory, [path.parent.name for path in directory.glob(f"*/{NOTE}")], (ROWS, SALTS))


def shown(body: dict[str, Any], form: str, texts: Texts) -> str:
    """The extract as JSON, as text for a terminal, or as one HTML file."""
    if form == "json":
        return json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    if form not in FORMS:
        raise UsageError(f"--format is {form!r}", remedy=f"This version has {', '.join(FORMS)}.")
    facts = _facts(body, texts)
    if form == "text":
        return "".join(f"{name}: {value}\n" for name, value in facts) + "\n" + _how(body, texts) + "\n"
    from vfl.report.render import environment  # noqa: PLC0415 - templates are not needed for the other forms
    from vfl.templates import tag  # noqa: PLC0415

    page = environment().get_template("subject.html.j2")
    made: str = page.render(t=texts.word, lang=tag(texts.language), facts=facts, body=body, how=_how(body, texts))
    return made


def _how(body: dict[str, Any], texts: Texts) -> str:
    return str(texts.word("subject.proof_how")).format(seq=body["seq"], party=body["log"])


def _facts(body: dict[str, Any], texts: Texts) -> list[tuple[str, str]]:
    record, model = json.loads(body["record"]), json.loads(body["model"])

    def word(key: str) -> str:
        return str(texts.word(f"subject.{key}"))

    reasons = record["reasons"]
    if reasons is None:
        said = word("none_given")
    else:
        lines = [f"{number}. {one['words']} ({one['party']})" for number, one in enumerate(reasons, 1)]
        said = "\n".join(lines) or word("no_reasons")
    inputs: dict[str, list[str]] = {}
    for one in model["inputs"]:
        inputs.setdefault(one["party"], []).append(one["words"])
    comma = str(texts.word("words.comma"))
    used = "\n".join(f"{party}: {comma.join(dict.fromkeys(words))}" for party, words in inputs.items())
    review = body["review"] or str(texts.word("words.not_stated"))
    score, pd = f"{float(record['score']):.3f}", f"{float(record['pd']):.2%}"
    return [
        (word("id"), record["id"]), (word("run"), record["run"]), (word("version"), model["version"]),
        (word("score"), score), (word("pd"), pd), (word("reasons"), said), (word("inputs"), used),
        (word("review"), review),
    ]  # fmt: skip
