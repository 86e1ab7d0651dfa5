"""Parquet files of synthetic customers, one for each party."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from benchmarks import data
from benchmarks.parties import ACTIVE


def table_file(folder: str | Path, side: str) -> Path:
    """Where the file of a party is."""
    return Path(folder) / f"{side}.parquet"


def write_table(given: Namespace, side: str, path: Path) -> None:
    """An id, features, and at the active party a label. Given --ids, half of them are in common; else all rows are."""
    rows = given.ids or given.rows
    first = given.ids // 2 if given.ids and side != ACTIVE else 0
    features = given.active_features if side == ACTIVE else given.passive_features
    start = 0 if side == ACTIVE else given.active_features
    columns: dict[str, Any] = {"id": [f"1380000{number:08d}" for number in range(first, first + rows)]}
    if given.ids:  # what the customers are like does not matter here
        columns["f0"] = np.arange(rows) % 1000
    else:
        for number in range(start, start + features):
            columns[f"f{number}"] = data.columns(rows, range(number, number + 1), given.seed)[:, 0]
    if side == ACTIVE:
        whole_width = given.active_features + given.passive_features
        columns["bad"] = np.arange(rows) % 2 if given.ids else data.labels(rows, whole_width, given.seed)
    frame = pd.DataFrame(columns)
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("SET enable_progress_bar = false")
        database.register("frame", frame)
        database.execute(f"COPY frame TO '{path}' (FORMAT parquet)")
