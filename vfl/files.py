"""Files that appear whole or not at all, files that only their owner reads, and what a run has left."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vfl.errors import UsageError

NO_RUN = "name the directory of a finished run"
"""What to do where a file of a run is missing or not of that run."""


@contextmanager
def refusals(folder: Path, remedy: str) -> Iterator[None]:
    """Turn what the operating system refuses below `folder` into a UsageError naming the file."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"{error.filename or folder} cannot be written: {why}", remedy=remedy) from error


def write_whole(path: Path, body: Mapping[str, Any]) -> None:
    """JSON into `path`, as `write_data` does."""
    write_data(path, (json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_data(path: Path, data: bytes) -> None:
    """`data` into `path`, by way of a temporary file that is renamed when it is complete."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """`array` into `path`, as `write_data` does."""
    data = io.BytesIO()
    np.save(data, array)
    write_data(path, data.getvalue())


@contextmanager
def alone(lock: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock file; raises UsageError, saying `otherwise`, if another process holds it."""
    with lock.open("wb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(otherwise, remedy="wait until it has ended, or stop it") from None
        yield


def write_private(path: Path, text: str) -> None:
    """`text` into a new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in `path`. Raises UsageError; `what` says what the folder should have been."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no {path.name} in {path.parent}", remedy=f"name {what}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise UsageError(f"{path} holds no JSON object")
    return body


def read_result(path: Path) -> bytes:
    """A file that every finished run has. Raises UsageError if it is not there."""
    try:
        return path.read_bytes()
    except OSError:
        raise UsageError(f"there is no {path.name} in {path.parent}", remedy=NO_RUN) from None


def read_array(path: Path) -> npt.NDArray[Any]:
    """The array in a file that every finished run has. Raises UsageError if it is not there or damaged."""
    try:
        found: npt.NDArray[Any] = np.load(io.BytesIO(read_result(path)))
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is damaged: {error}", remedy=NO_RUN) from None
    return found


def csv_bytes(header: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    """CSV as every file of a run has it: UTF-8, lines that end in a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
