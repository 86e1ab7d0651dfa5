"""The command line, alone and offline.

python -m ledger verify BUNDLE --policy FILE
python -m ledger verify-evidence FILE --policy FILE
python -m ledger show BUNDLE
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NoReturn

from ledger.bundle import Bundle, read_bundle
from ledger.canonical import Json
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.evidence import MAX_EVIDENCE, check_evidence
from ledger.findings import Code
from ledger.policy import Policy
from ledger.verify import verify_bundle

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
        if options.command == "verify":
            return _verify(options.bundle, options.policy, as_json=options.json)
        if options.command == "verify-evidence":
            return _verify_evidence(options.file, options.policy, as_json=options.json)
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
    evidence = commands.add_parser(
        "verify-evidence",
        help="check one evidence file; say who is proven to have done what",
        description="Check an evidence file against your own policy file; name party, slot and what contradicts.",
        epilog="exit codes: 1 proves nothing, 4 misbehaviour proven, 64 wrong usage.",
    )
    evidence.add_argument("file", metavar="FILE", type=Path, help="the evidence file")
    for command in (verify, evidence):
        command.add_argument(
            "--policy", metavar="FILE", type=Path, required=True, help="your policy file (C2SP tlog-policy)"
        )
    show = commands.add_parser(
        "show",
        help="list the entries of a bundle, unchecked",
        description="List entries as they stand; checks nothing.",
    )
    show.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle file")
    show.add_argument("--party", metavar="NAME", help="only the log of this party")
    for command in (verify, evidence, show):
        command.add_argument("--json", action="store_true", help="machine-readable output")
    return parser


def _verify(bundle: Path, policy: Path, *, as_json: bool) -> int:
    text = _read(policy, "the policy")
    if text is None:
        return EXIT_USAGE
    result = verify_bundle(bundle, text)
    print(json.dumps(result.as_json(), indent=2, ensure_ascii=False) if as_json else result.as_text())
    return result.code


def _verify_evidence(file: Path, policy: Path, *, as_json: bool) -> int:
    text, data = _read(policy, "the policy"), _read(file, "the evidence", MAX_EVIDENCE)
    if text is None or data is None:
        return EXIT_USAGE
    keys = Policy.parse(text)
    try:
        proven = check_evidence(data, keys)
    except LedgerError as error:
        found: dict[str, Json] = {"code": int(Code.INVALID), "result": "proves nothing", "text": str(error)}
        print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else f"{file.name} proves nothing: {error}")
        return Code.INVALID
    found = {"code": int(Code.MISBEHAVIOUR), "result": "proven", **proven.to_json()}
    print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else str(proven))
    return Code.MISBEHAVIOUR


def _read(path: Path, what: str, limit: int = -1) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1 if limit >= 0 else -1)
    except OSError as error:
        print(f"cannot read {what} {path}: {error.strerror}", file=sys.stderr)
        return None


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
