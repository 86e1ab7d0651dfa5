"""Rows that outgrow one process: the product's way from a Parquet file to common customers, or to trees.

Each party is a process of its own, over sockets, with transcript and ledger. It reads its own Parquet file as a run
does and works on the engine named. With --ids the intersection is run, half of each set in common; with --rows joint
training on rows that are aligned already.

    python -m benchmarks scale --ids 10000000 --json
    python -m benchmarks scale --rows 2000000 --json
    python -m benchmarks scale --rows 200000 --engine ray --json

peak_mb            the most memory of a party at once: its process and all that its engine started, shared pages counted
                   once (proportional set size), read twice a second
process_peak_mb    the most of the party's own process (Linux's own count, so nothing is missed)
cpu_seconds        of the party's process and all that its engine started, reading the file included
read_seconds       wall, of that reading; wall_seconds is from the first message to the last
digest             of what came out: rows or model, by which runs with other engines are compared
within_limits      both peaks at most 4096 MB for each party
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.options import add_shape, figures, new_parser, rounded, settle_scheme, whole
from benchmarks.parties import ACTIVE, RUN, Party, run_parties
from benchmarks.process_tree import Watch
from benchmarks.tables import table_file, write_table
from benchmarks.train import MIN_BIN, all_train, settings
from vfl.config import HoldoutConfig, PartyConfig, PsiConfig
from vfl.engine import PART_ROWS
from vfl.engines import KINDS, EngineConfig
from vfl.holding import Holding, read_holding
from vfl.learn.columns import Columns
from vfl.learn.rounds import Target
from vfl.protocols import boost, intersect
from vfl.protocols.intersect import PROTOCOLS, PsiTerms

LIMIT_MB = 4096
_RULE = "text@1"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = new_parser("scale", __doc__)
    add_shape(found, rows=0, depth=4)
    found.add_argument("--ids", type=whole(2), help="of each set: run the intersection")
    found.add_argument("--protocol", choices=PROTOCOLS, default="auto", help="of the intersection")
    found.add_argument("--engine", choices=KINDS, default=KINDS[0])
    found.add_argument("--partition-rows", type=whole(4096), default=PART_ROWS)
    return found


def run(given: Namespace) -> dict[str, Any]:
    """Both parties' files, then both parties. RuntimeError when the intersection is wrong."""
    if bool(given.ids) == bool(given.rows):
        parser().error("give either --ids or --rows")
    settle_scheme(parser(), given)
    with tempfile.TemporaryDirectory() as folder:
        for side in (ACTIVE, "passive0"):
            write_table(given, side, table_file(folder, side))
        with_files = Namespace(**vars(given), folder=folder)
        active, passive = run_parties(_active, _passive, 1, with_files)
    sides = {"active": active, "passive": passive}
    wanted = given.ids - given.ids // 2 if given.ids else None
    if {one["common"] for one in sides.values()} != {wanted}:
        raise RuntimeError(f"{active['common']} and {passive['common']} customers in common, not {wanted}")
    phases = [phase for phase in active["wall"] if phase not in ("start", "end")]
    found = {
        "cpu_seconds": rounded({side: one["cpu_tree"] for side, one in sides.items()}, 1),
        "wall_seconds": round(sum(active["wall"][phase] for phase in phases), 1),
        "bytes": {
            "active_to_passive": sum(active["sent"].values()),
            "passive_to_active": sum(passive["sent"].values()),
        },
        "peak_mb": {side: one["peak_tree_mb"] for side, one in sides.items()},
        "process_peak_mb": {side: one["peak_mb"] for side, one in sides.items()},
        "read_seconds": rounded({side: one["read"] for side, one in sides.items()}, 1),
        "phase_seconds": rounded({phase: active["wall"][phase] for phase in phases}, 1),
        "common": wanted,
        "digest": {side: one["digest"] for side, one in sides.items()},
        "within_limits": max(max(one["peak_tree_mb"], one["peak_mb"]) for one in sides.values()) <= LIMIT_MB,
    }
    return figures("scale", given, found)


def _read(given: Namespace, side: str) -> tuple[Holding, float]:
    """The party's holding, as in a run, and the seconds it took."""
    start, active = time.perf_counter(), side == ACTIVE
    config = PartyConfig(
        name=side,
        role="active" if active else "passive",
        table=table_file(given.folder, side),
        id=("id",),
        label="bad" if active else None,
        engine=EngineConfig(given.engine, None, given.partition_rows),
    )
    found = read_holding(config, {**vars(PsiConfig()), "id_rule": _RULE}, vars(HoldoutConfig()))
    return found, time.perf_counter() - start


# ---- parties ---------------------------------------------------------------------------------------------------------


def _active(party: Party, given: Namespace) -> dict[str, Any]:
    return _measured(party, given, _match_active if given.ids else _train_active)


def _passive(party: Party, given: Namespace) -> dict[str, Any]:
    return _measured(party, given, _match_passive if given.ids else _train_passive)


def _measured(party: Party, given: Namespace, play: Callable[[Party, Namespace, Holding], bytes]) -> dict[str, Any]:
    """What `play` came to, and what the party took for it with all its processes."""
    watch = Watch()
    mine, seconds = _read(given, party.me)
    try:
        outcome = play(party, given, mine)
    finally:
        watch.stop()
        mine.engine.close()
    return {
        "read": seconds,
        "cpu_tree": watch.cpu_seconds,
        "peak_tree_mb": watch.peak_mb,
        "common": len(outcome) // 8 if given.ids else None,
        "digest": hashlib.sha256(outcome).hexdigest()[:16],
    }


def _terms(given: Namespace) -> PsiTerms:
    return PsiTerms(RUN, _RULE, given.ids, 1, given.protocol)


def _match_active(party: Party, given: Namespace, mine: Holding) -> bytes:
    channels = party.meet()
    rows, *_ = party.drive(intersect.active(channels, mine.tokens, _terms(given), party.rng, engine=mine.engine))
    return rows.tobytes()


def _match_passive(party: Party, given: Namespace, mine: Holding) -> bytes:
    channel = party.meet()[ACTIVE]
    rows, *_ = party.drive(intersect.passive(channel, mine.tokens, _terms(given), party.rng, engine=mine.engine))
    return rows.tobytes()


def _train_active(party: Party, given: Namespace, mine: Holding) -> bytes:
    parameters, terms = settings(given)
    key = terms.key_holder(given.rows, party.rng.child("key"))
    channels = list(party.meet().values())
    assert mine.labels is not None
    target, parts = Target(mine.labels), all_train(given.rows)

    async def role() -> bytes:
        party.desk.enter("bins", 0)
        columns = Columns.fit(mine.names, mine.values, parts.train, parameters, MIN_BIN)
        model = await boost.active(
            channels, [given.passive_features], columns, target, parts, parameters, key, party.rng
        )
        return repr((model.trees, model.records)).encode()

    return party.drive(role())


def _train_passive(party: Party, given: Namespace, mine: Holding) -> bytes:
    parameters, terms = settings(given)
    evaluators = partial(terms.evaluator, engine=mine.engine)
    channel = party.meet()[ACTIVE]

    async def role() -> bytes:
        _, records = await boost.passive(channel, mine.names, mine.values, parameters, MIN_BIN, evaluators, party.rng)
        return repr(records).encode()

    return party.drive(role())
