"""`python -m ledger timestamp`: have the heads of a bundle stamped by an outside authority."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TypeVar

from ledger.authority import Authority
from ledger.errors import StampError
from ledger.stamping import stamp_bundle

_AnyParser = TypeVar("_AnyParser", bound=argparse.ArgumentParser)


def add_timestamp_command(commands: argparse._SubParsersAction[_AnyParser]) -> None:
    """Add `timestamp` to the command line."""
    timestamp = commands.add_parser(
        "timestamp",
        help="have the newest heads stamped by an outside authority (RFC 3161)",
        description="Have each log's newest head stamped by a time-stamping authority; the stamps go into the bundle.",
    )
    timestamp.set_defaults(run=_timestamp)
    timestamp.add_argument("bundle", metavar="BUNDLE", type=Path, help="the full bundle")
    timestamp.add_argument("url", metavar="URL", help="the authority's address")
    add_tsa(timestamp, required=True)
    timestamp.add_argument("--out", metavar="FILE", type=Path, help="where to write the bundle  (in place)")
    timestamp.add_argument("--json", action="store_true", help="machine-readable output")


def add_tsa(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add `--tsa`, the same for who asks and who checks."""
    words = "certificates of a time-stamping authority (PEM), with the root; may be repeated"
    command.add_argument("--tsa", metavar="FILE", type=Path, action="append", required=required, help=words)


def read_authority(files: list[Path]) -> Authority:
    """The authority that these files of certificates name; raises StampError."""
    contents = []
    for path in files:
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise StampError(f"cannot read the certificates {path}: {error.strerror}") from None
    return Authority(contents)


def _timestamp(options: argparse.Namespace) -> int:
    out = options.out or options.bundle
    stamps = stamp_bundle(options.bundle, out, options.url, read_authority(options.tsa))
    if options.json:
        print(json.dumps({"out": str(out), "timestamps": [one.to_json() for one in stamps]}))
    else:
        print("\n".join([str(one) for one in stamps] + [str(out)]))
    return 0
