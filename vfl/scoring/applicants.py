"""A file of applicants, CSV or Parquet, looked through before anything is decided and read in blocks, however long.

A column `id`, and either all of the bank's own features or none of them; other columns are left alone. Cells mean what
they mean in the tables of a run (`vfl.table`). Faults are named by file, row and column, never by value.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from hashlib import file_digest
from itertools import islice
from pathlib import Path

from vfl.errors import UsageError
from vfl.scoring.answers import Applicant
from vfl.table import Numbers, open_source

ID = "id"
_CHUNK_ROWS = 10_000
_MOST_ID = 256


class ApplicantFile:
    """The file. rows: how many applicants.   digest: SHA-256 of the file, hex."""

    def __init__(self, path: Path, features: Sequence[str]) -> None:
        """`features`: the bank's own. Raises UsageError for what cannot be scored as it stands."""
        self._path = path
        with open_source(path) as source:
            given = [name for name in features if name in source.columns]
            missing = [name for name in features if name not in source.columns] if given else []
            if ID not in source.columns or missing:
                raise UsageError(
                    f"{path.name} has no column {ID if ID not in source.columns else ', '.join(missing)}",
                    remedy=f"a column {ID}, and all of the bank's own features or none: {', '.join(features)}",
                )
            source.require_id(ID)
        self._features = tuple(given)
        self.rows = sum(len(block) for block in self._checked())
        with path.open("rb") as file:
            self.digest = file_digest(file, "sha256").hexdigest()

    def blocks(self, size: int, skipped: int = 0) -> Generator[list[Applicant], None, None]:
        """The applicants, so many at a time, without the first `skipped` blocks."""
        with open_source(self._path) as source:
            for columns in islice(source.cells((ID, *self._features), size), skipped, None):
                ids, cells = columns[0], columns[1:]
                if not cells:
                    yield [Applicant(each) for each in ids]
                    continue
                numbers = [self._numbers(name, its, 1) for name, its in zip(self._features, cells, strict=True)]
                names = self._features
                yield [
                    Applicant(each, dict(zip(names, row, strict=True)))
                    for each, row in zip(ids, zip(*numbers, strict=True), strict=True)
                ]

    def _checked(self) -> Iterator[Sequence[str]]:
        """The identifiers of all rows, once each is seen to be well-formed."""
        first = 1
        with open_source(self._path) as source:
            for ids, *cells in source.cells((ID, *self._features), _CHUNK_ROWS):
                if not all(0 < len(each) <= _MOST_ID for each in ids):
                    row = next(row for row, each in enumerate(ids) if not 0 < len(each) <= _MOST_ID)
                    raise UsageError(
                        f"{self._path.name}: data row {first + row} has no id, or one longer than {_MOST_ID} characters"
                    )
                for name, its in zip(self._features, cells, strict=True):
                    self._numbers(name, its, first)
                yield ids
                first += len(ids)

    def _numbers(self, name: str, cells: Sequence[str], first: int) -> list[float | None]:
        """A column's numbers, None where one is missing. `first`: the row of the first one, for errors."""
        column = Numbers(name)
        column.add_text(cells)
        for offence, what in ((column.text, "is no number"), (column.infinite, "is not finite")):
            if offence is not None:
                raise UsageError(
                    f"{self._path.name}: data row {first + offence[0] - 1}, column {name} {what}",
                    remedy="leave the cell empty where a value is missing",
                )
        return [None if math.isnan(value) else value for value in column.values.tolist()]
