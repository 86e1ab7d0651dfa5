"""The command line: `python -m ledger` with `verify`, `show` and `witness`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NoReturn

from ledger.bundle import Bundle, read_bundle
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.findings import Code
from ledger.verify import verify_bundle
from ledger.witness_commands import add_witness_command

EXIT_USAGE = 64
_CODES = """\
exit codes: 0 valid, 1 invalid, 2 incomplete, 3 policy not met, 4 misbehaviour proven, 64 wrong usage.
Nothing is written and no network is used; all keys are taken from the policy file, none from the bundle."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would exit with 2, which here means an incomplete bundle.
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "witness":
            return int(options.run(options))
        if options.command == "verify":
            return _verify(options.bundle, options.policy, as_json=options.json)
        return _show(options.bundle, options.party, as_json=options.json)
    except LedgerError as error:
        print(error.diagnostics(), file=sys.stderr)
        return Code.INVALID


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ledger",
        description="Check and read the audit bundle of a run, alone and offline.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="check every signature, hash, proof and match; name what does not fit",
        description="Check a bundle against your own policy file; name every fault by party, slot and sequence number.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle file")
    verify.add_argument(
        "--policy", metavar="FILE", type=Path, required=True, help="your policy file (C2SP tlog-policy)"
    )
    show = commands.add_parser(
        "show",
        help="list the entries of a bundle, unchecked",
        description="List entries as they stand; checks nothing.",
    )
    show.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle file")
    show.add_argument("--party", metavar="NAME", help="only the log of this party")
    add_witness_command(commands)
    for command in (verify, show):
        command.add_argument("--json", action="store_true", help="machine-readable output")
    return parser


def _verify(bundle: Path, policy: Path, *, as_json: bool) -> int:
    try:
        text = policy.read_bytes()
    except OSError as error:
        print(f"cannot read the policy {policy}: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE
    result = verify_bundle(bundle, text)
    print(json.dumps(result.as_json(), indent=2, ensure_ascii=False) if as_json else result.as_text())
    return result.code


def _show(path: Path, party: str | None, *, as_json: bool) -> int:
    bundle = read_bundle(path)
    for fault in bundle.faults:
        print(f"warning: {fault}", file=sys.stderr)
    logs = bundle.logs()
    if party is not None and party not in logs:
        print(f"the bundle has no log of {party}; it has: {', '.join(sorted(logs)) or 'none'}", file=sys.stderr)
        return EXIT_USAGE
    for name in [party] if party else sorted(logs):
        if not as_json:
            print(f"{name} (unchecked; use `verify` to check)")
        _list(bundle, name, as_json=as_json)
    return Code.VALID


def _list(bundle: Bundle, party: str, *, as_json: bool) -> None:
    for seq, body in enumerate(bundle.logs()[party].entries.split(b"\n")[:-1]):
        try:
            print(body.decode() if as_json else _line(Entry.from_bytes(body)))
        except (LedgerError, UnicodeDecodeError) as error:
            print(f"{seq:>6}  unreadable: {error}", file=sys.stderr)


def _line(entry: Entry) -> str:
    arrow = {"send": f"-> {entry.peer}", "recv": f"<- {entry.peer}", "local": "."}[entry.dir]
    payload = f"{entry.payload.size} B {entry.payload.schema} {entry.payload.digest:.12}" if entry.payload else ""
    return f"{entry.seq:>6}  {entry.ts}  {arrow:<20} {entry.slot:<40} {payload}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
