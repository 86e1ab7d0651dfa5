"""One party's table: identifiers as text, features as float64 columns, and a 0/1 label at the active party.

    table = read_table("bank.csv", id="customer_id", label="default")

CSV (also .csv.gz; comma, UTF-8, one header line) and Parquet. Identifier, features and label of a customer always come
from one record, so no blank line and no short line can shift one against another.

    identifier   text as it stands: leading zeros, spaces and case survive, an empty cell stays empty
    feature      a number; true/false become 1/0; the cells of `MISSING` (any case) become NaN
    label        0 or 1, never missing, both present; or what `vfl.labels` says of other kinds

Whatever else a cell holds is refused with a `UsageError` that names file, column, first data row and value. Data rows
count from 1; the header and blank lines do not count.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError
from vfl.labels import LabelKind
from vfl.learn.objective import Labels
from vfl.texts import Texts

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"})
JOINT = "\x1f"  # between the parts of an identifier made of several columns; refused inside a part
_BOOLEANS = {"true": "1", "false": "0"}
_CHUNK_ROWS = 20_000
_SHOWN = 40

Column = npt.NDArray[np.float64]
BINARY = LabelKind()


@dataclass(frozen=True, eq=False)
class Table:
    """A party's rows. Arrays are read-only.

    ids      raw identifiers, one per row; several id columns are joined by `JOINT`
    columns  feature name -> float64 array of shape (rows,), NaN where missing, in the order asked for
    label    array of shape (rows,), of 0 and 1 unless read as another kind; None where the party holds no label
    extra    columns asked for that are no features, for instance a hold-out mark
    """

    ids: Sequence[str]
    columns: dict[str, Column]
    label: Labels | None = None
    extra: dict[str, Column] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.ids)


def read_table(
    path: str | Path,
    id: str | Sequence[str],
    label: str | None = None,
    features: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    kind: LabelKind = BINARY,
) -> Table:
    """The table in a CSV or Parquet file; `features` None means every column that is not id, label or extra.

    `kind`: what the label may be.

    Raises UsageError naming file, column, row and value for anything that is not a clean table.
    """
    source = open_source(Path(path))
    id_columns = (id,) if isinstance(id, str) else tuple(id)
    with source:
        chosen = _choose(source, id_columns, label, features, tuple(extra))
        wanted = [*chosen, *([label] if label is not None else []), *extra]
        ids, numbers = source.read(id_columns, wanted)
    if not ids:
        raise UsageError(f"{source.name}: the table has no rows", remedy="Export the customers again, with data rows.")
    arrays = {name: numbers[name].finish(source.name, kind if name == label else None) for name in wanted}
    return Table(
        ids=ids,
        columns={name: arrays[name] for name in chosen},
        label=None if label is None else kind.read(f"{source.name}: label column {shown(label)}", arrays[label]),
        extra={name: arrays[name] for name in extra},
    )


def shown(value: object) -> str:
    """The value for an error message: printable, quoted, at most 40 characters of it."""
    try:
        text = repr(str(value))
    except ValueError:  # a number too long for Python to write
        text = "'a very long number'"
    return text if len(text) <= _SHOWN + 2 else f"{text[: _SHOWN + 1]}...{text[0]}"


def closest(name: str, known: Iterable[str]) -> str:
    """A remedy: the closest known name, or all of them when none is close."""
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    if near:
        return f"Did you mean {lowered[near[0]]!r}?"
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"Known here: {listed}." if names else "Nothing is known here."


# ---- which columns ---------------------------------------------------------------------------------------------------


def _choose(
    source: Source, ids: tuple[str, ...], label: str | None, features: Sequence[str] | None, extra: tuple[str, ...]
) -> list[str]:
    """The feature columns, after checking that every named column exists and plays one part only."""
    if not ids:
        raise UsageError(f"{source.name}: no id column is named", remedy='Name it, for instance id = "customer_id".')
    parts = [("id", name) for name in ids] + [("extra", name) for name in extra]
    parts += [("label", label)] if label is not None else []
    parts += [("feature", name) for name in features or ()]
    played: dict[str, str] = {}
    for part, name in parts:
        if name not in source.columns:
            raise UsageError(f"{source.name}: no {part} column {shown(name)}", remedy=source.hint(name))
        if name in played:
            twice = f"twice as {part}" if played[name] == part else f"as {played[name]} and as {part}"
            raise UsageError(f"{source.name}: column {shown(name)} is listed {twice}", remedy="List it once.")
        played[name] = part
    chosen = list(features) if features is not None else [name for name in source.columns if name not in played]
    if not chosen:
        raise UsageError(
            f"{source.name}: no feature columns are left beside {', '.join(map(shown, played))}",
            remedy="Add at least one numeric column, or name it in features.",
        )
    return chosen


# ---- numbers ---------------------------------------------------------------------------------------------------------


class Numbers:
    """Collects one column in chunks; remembers the first offence of each kind and how many there were."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.text: tuple[int, str] | None = None
        self.texts = 0
        self.infinite: tuple[int, str] | None = None
        self._chunks: list[Column] = []

    def add_text(self, cells: Sequence[str]) -> None:
        """Appends cells as written in a file."""
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
            plain = "_" not in "".join(cells)  # Python reads 1_000 as a number, nobody's export means it
        except ValueError:
            plain = False
        self.add_array(values if plain else self._parsed(cells), lambda row: cells[row])

    def add_array(self, values: Column, original: Callable[[int], object]) -> None:
        """Appends numbers; `original(i)` is the i-th of these values as the file has it."""
        if self.infinite is None and np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            self.infinite = (self.rows + row + 1, str(original(row)))
        self.rows += len(values)
        self._chunks.append(values)

    def _parsed(self, cells: Sequence[str]) -> Column:
        """Cells one by one; text counts as an offence and stands in as NaN."""
        values = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            word = cell.strip().lower()
            if word in MISSING:
                continue
            try:
                values[row] = float(_BOOLEANS.get(word, word if "_" not in word else "text"))
            except ValueError:
                self.texts += 1
                self.text = self.text or (self.rows + row + 1, cell)
        return values

    def finish(self, file: str, label: LabelKind | None = None) -> Column:
        """The whole column, read-only; raises UsageError when it held text or infinite values."""
        where = f"{file}: {'label ' if label else ''}column {shown(self.name)}"
        if self.text is not None:
            row, cell = self.text
            what = f"is not {label.written}" if label else "is not numeric"
            raise UsageError(
                f"{where} {what}: {self.texts} of {self.rows} values are text, first {shown(cell)} in data row {row}",
                remedy=label.remedy if label else
                "Encode it as numbers, or leave the column out by listing the others in features.",
            )  # fmt: skip
        if self.infinite is not None:
            row, cell = self.infinite
            raise UsageError(
                f"{where} holds an infinite value, first {shown(cell)} in data row {row}",
                remedy="Leave the cell empty where the value is not known.",
            )
        whole = self.values
        whole.setflags(write=False)
        return whole

    @property
    def values(self) -> Column:
        """What there is so far: NaN in place of text."""
        return np.concatenate(self._chunks) if self._chunks else np.empty(0)


def _join_ids(file: str, names: Sequence[str], parts: Sequence[Sequence[str]], first_row: int) -> Texts:
    """One identifier per row from one or several columns of equal length."""
    for name, cells in zip(names, parts, strict=True):
        if JOINT in "".join(cells):
            row = next(row for row, cell in enumerate(cells) if JOINT in cell)
            raise UsageError(
                f"{file}: id column {shown(name)} holds the control character U+001F in data row {first_row + row}",
                remedy="Remove control characters from the identifiers.",
            )
    return Texts.of(parts[0] if len(parts) == 1 else (JOINT.join(row) for row in zip(*parts, strict=True)))


# ---- files -----------------------------------------------------------------------------------------------------------


class Source:
    """An open table file: `columns` in order, and `read`."""

    columns: list[str]

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.path = path

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""

    def hint(self, name: str) -> str:
        """What to do about a column that is not there."""
        return closest(name, self.columns)

    def read(self, ids: Sequence[str], numbers: Sequence[str]) -> tuple[Texts, dict[str, Numbers]]:
        """Identifiers of all rows, and the named columns."""
        raise NotImplementedError

    def cells(self, names: Sequence[str], rows: int) -> Iterator[list[tuple[str, ...]]]:
        """The named columns as text, so many rows at a time: what is missing is empty. To be gone through once."""
        raise NotImplementedError

    def require_id(self, name: str) -> None:
        """Refuses a column that holds no identifiers: text in a file of text is one."""

    def _check_names(self) -> None:
        """Refuses unnamed and repeated columns."""
        for position, name in enumerate(self.columns, 1):
            if not name:
                raise UsageError(
                    f"{self.name}: column {position} of {len(self.columns)} has no name",
                    remedy="Name it in the header; an index written by pandas is left out with index=False.",
                )
            if self.columns.index(name) != position - 1:
                raise UsageError(
                    f"{self.name}: two columns are named {shown(name)} ({self.columns.index(name) + 1} and {position})",
                    remedy="Give every column its own name.",
                )


def open_source(path: Path) -> Source:
    """Opens the file by its suffix, after checking that its first bytes agree with it."""
    if path.is_dir():
        raise UsageError(f"{path.name} is a folder, not a table", remedy="Name one .csv, .csv.gz or .parquet file.")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        match = difflib.get_close_matches(path.name, near, n=1)
        remedy = f"Did you mean {match[0]!r}?" if match else "Check the path; it is relative to the scenario file."
        raise UsageError(f"no table file {shown(path.name)} in its folder", remedy=remedy) from None
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read: {error.strerror}", remedy="Check its permissions.") from None
    name, packed = path.name.lower(), head.startswith(b"\x1f\x8b")
    if not head.strip():
        raise UsageError(f"{path.name} is empty", remedy="Export the table again, with a header line and data rows.")
    if name.endswith((".parquet", ".pq")) and head.startswith(b"PAR1"):
        return _Parquet(path)
    if name.endswith(".csv.gz") and packed:
        return _Csv(path, packed=True)
    if name.endswith(".csv") and not packed and not head.startswith(b"PAR1") and b"\x00" not in head:
        return _Csv(path, packed=False)
    known = name.endswith((".parquet", ".pq", ".csv", ".csv.gz"))
    remedy = "The bytes disagree with the ending of the name: rename or export it again." if known else ""
    raise UsageError(
        f"{path.name} is not a CSV or Parquet file", remedy=remedy or "Name a .csv, .csv.gz or .parquet file."
    )


class _Csv(Source):
    """Comma-separated values, read strictly: every record has as many fields as the header."""

    def __init__(self, path: Path, *, packed: bool) -> None:
        super().__init__(path)
        opened = gzip.open if packed else open
        self._file = cast(TextIO, opened(path, "rt", encoding="utf-8-sig", newline=""))
        self._reader = csv.reader(self._file, strict=True)
        self._records = self._guarded()
        try:
            self.columns = [name.strip() for name in next(self._records, [])]
            if not self.columns:
                raise UsageError(f"{self.name} is empty", remedy="Export it again, with a header line and data rows.")
            self._check_names()
        except UsageError:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def hint(self, name: str) -> str:
        only = self.columns[0]
        if len(self.columns) == 1 and any(mark in only for mark in ";\t|"):
            return "The header has one field only: separate the columns by commas."
        return super().hint(name)

    def read(self, ids: Sequence[str], numbers: Sequence[str]) -> tuple[Texts, dict[str, Numbers]]:
        collected = {name: Numbers(name) for name in numbers}
        identifiers: list[Texts] = []
        first_row = 1
        for cells in self.cells((*ids, *numbers), _CHUNK_ROWS):
            identifiers.append(_join_ids(self.name, ids, cells[: len(ids)], first_row))
            for column, its in zip(collected.values(), cells[len(ids) :], strict=True):
                column.add_text(its)
            first_row += len(cells[0])
        return Texts.joined(identifiers), collected

    def cells(self, names: Sequence[str], rows: int) -> Iterator[list[tuple[str, ...]]]:
        positions, first_row = [self.columns.index(name) for name in names], 1
        while chunk := list(islice(self._records, rows)):
            self._check_widths(chunk, first_row)
            columns = list(zip(*chunk, strict=True))
            yield [columns[position] for position in positions]
            first_row += len(chunk)

    def _check_widths(self, chunk: list[list[str]], first_row: int) -> None:
        width = len(self.columns)
        if set(map(len, chunk)) == {width}:
            return
        for row, record in enumerate(chunk, first_row):
            if len(record) != width:
                raise UsageError(
                    f"{self.name}: data row {row} has {len(record)} fields, the header has {width}",
                    remedy="Quote the cells that contain commas; write every cell of a row, also the empty ones.",
                )

    def _guarded(self) -> Iterator[list[str]]:
        """Records that are not blank lines; faults of the file become UsageErrors."""
        try:
            for record in self._reader:
                if len(record) > 1 or (record and record[0].strip()):
                    yield record
        except UnicodeDecodeError:
            raise UsageError(
                f"{self.name} is not UTF-8 text (after line {self._reader.line_num})",
                remedy="Export the table as UTF-8.",
            ) from None
        except csv.Error as error:
            raise UsageError(
                f"{self.name}: line {self._reader.line_num} is not well-formed CSV: {error}",
                remedy="Check the quotation marks around that line.",
            ) from None
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise UsageError(f"{self.name} is damaged: gzip cannot unpack it", remedy="Copy it again.") from None


class _Parquet(Source):
    """Apache Parquet through DuckDB, in the order of the file: identifiers in chunks, numbers a column at a time."""

    _REMEDY = "Write it again with pandas or pyarrow, or as CSV."

    def __init__(self, path: Path) -> None:
        import duckdb  # noqa: PLC0415 - slow to import, few need it

        super().__init__(path)
        self._fault = duckdb.Error
        self._database = duckdb.connect(
            ":memory:",
            config={"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False},
        )
        self._database.execute("SET enable_progress_bar = false")  # of its own, in the middle of ours
        self._pattern = pattern_of(path)
        try:
            elements = self._query("SELECT name, num_children FROM parquet_schema(?)").fetchall()
            self.columns = _top_level(elements)
            self._check_names()
            described = self._query(f"DESCRIBE SELECT * FROM {_READ}").fetchall()  # noqa: S608 - a constant
            self._types = {name: (row[0], row[1]) for name, row in zip(self.columns, described, strict=True)}
        except (duckdb.Error, ValueError):
            self.close()
            raise UsageError(f"{self.name} cannot be read as Parquet", remedy=self._REMEDY) from None
        except UsageError:
            self.close()
            raise

    def close(self) -> None:
        self._database.close()

    def read(self, ids: Sequence[str], numbers: Sequence[str]) -> tuple[Texts, dict[str, Numbers]]:
        identifiers = self._identifiers(ids)
        return identifiers, {name: self._numbers(name) for name in numbers}

    def _query(self, sql: str) -> Any:
        return self._database.execute(sql, [self._pattern])

    def _column(self, name: str, kind: str, missing: str) -> Any:
        """The numpy array of one column, cast to the SQL type `kind`; `missing` stands in for nulls."""
        try:
            fetched = self._query(f"SELECT {self._cells(name, kind, missing)} AS cells FROM {_READ}").fetchnumpy()  # noqa: S608 - the name is quoted
            return np.ma.getdata(fetched["cells"])
        except self._fault:
            raise self._unread(name) from None

    def _cells(self, name: str, kind: str, missing: str) -> str:
        quoted = '"' + self._types[name][0].replace('"', '""') + '"'
        if kind == "VARCHAR" and (self._types[name][1] == "FLOAT" or self._types[name][1].startswith("DECIMAL")):
            quoted = f"CAST({quoted} AS DOUBLE)"  # the number that `read` gives, to the last bit
        return f"coalesce(CAST({quoted} AS {kind}), {missing})"

    def _unread(self, *names: str) -> UsageError:
        listed = ", ".join(map(shown, names))
        return UsageError(f"{self.name}: column {listed} cannot be read", remedy=self._REMEDY)

    def _identifiers(self, names: Sequence[str]) -> Texts:
        """Text and whole numbers as text, missing as the empty text; anything else is refused."""
        for name in names:
            self.require_id(name)
        found: list[Texts] = []
        first_row = 1
        for cells in self.cells(names, _CHUNK_ROWS):
            found.append(_join_ids(self.name, names, cells, first_row))
            first_row += len(cells[0])
        return Texts.joined(found)

    def require_id(self, name: str) -> None:
        kind = self._types[name][1]
        if kind not in _TEXTS | _WHOLE:
            raise UsageError(
                f"{self.name}: id column {shown(name)} holds {kind} values, not text",
                remedy="Store identifiers as text (or whole numbers): other types lose digits and leading zeros.",
            )

    def cells(self, names: Sequence[str], rows: int) -> Iterator[list[tuple[str, ...]]]:
        listed = ", ".join(self._cells(name, "VARCHAR", "''") for name in names)
        try:
            streamed = self._query(f"SELECT {listed} FROM {_READ}")  # noqa: S608 - the names are quoted
            while chunk := streamed.fetchmany(rows):
                yield list(zip(*chunk, strict=True))
        except self._fault:
            raise self._unread(*names) from None

    def _numbers(self, name: str) -> Numbers:
        """Numbers, booleans, and text that spells numbers; anything else is refused."""
        column, kind = Numbers(name), self._types[name][1]
        if kind in _TEXTS:
            column.add_text(list(map(str, self._column(name, "VARCHAR", "''"))))
        elif kind in _WHOLE | _REAL or kind.startswith("DECIMAL"):
            values = self._column(name, "DOUBLE", "'nan'::DOUBLE").astype(np.float64)
            column.add_array(values, lambda row: values[row])
        else:
            raise UsageError(
                f"{self.name}: column {shown(name)} holds {kind} values, not numbers",
                remedy="Turn dates into numbers such as days since opening, or leave the column out of features.",
            )
        return column


def pattern_of(path: Path) -> str:
    """A path is a pattern to DuckDB: each of its special characters is put between brackets."""
    return "".join(f"[{mark}]" if mark in "[*?" else mark for mark in str(path.absolute()))


_READ = "read_parquet(?, hive_partitioning = false, binary_as_string = true)"
_TEXTS = {"VARCHAR", "UUID", '"NULL"'}
_WHOLE = {sign + size for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")}
_REAL = {"FLOAT", "DOUBLE", "BOOLEAN"}


def _top_level(elements: Sequence[tuple[str, int | None]]) -> list[str]:
    """Names of the columns in a Parquet schema, which lists the root, then each column followed by its children."""
    names: list[str] = []
    open_children: list[int] = []
    for name, children in elements:
        if len(open_children) == 1:
            names.append(str(name).strip())
        if open_children:
            open_children[-1] -= 1
        if children:
            open_children.append(children)
        while len(open_children) > 1 and open_children[-1] == 0:
            open_children.pop()
    return names
