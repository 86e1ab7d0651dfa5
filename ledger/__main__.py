"""The command line: `python -m ledger` with verify, verify-evidence, show, select, copy, timestamp and witness."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NoReturn

from ledger.canonical import Json
from ledger.copying import copy_store
from ledger.errors import LedgerError, StampError
from ledger.evidence import MAX_EVIDENCE, check_evidence
from ledger.findings import Code
from ledger.policy import Policy
from ledger.selection import Choice, parse_seqs, select_bundle
from ledger.show import Filter, show_bundle
from ledger.stamp_commands import add_timestamp_command, add_tsa, read_authority
from ledger.verify import verify_bundle
from ledger.witness_commands import add_witness_command

EXIT_USAGE = 64
LARGE = 2**22  # bytes of a bundle from which on progress is told on stderr
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
        if options.command in ("witness", "timestamp"):
            return int(options.run(options))
        if options.command == "verify":
            return _verify(options.bundle, options.policy, options.tsa, as_json=options.json)
        if options.command == "verify-evidence":
            return _verify_evidence(options.file, options.policy, as_json=options.json)
        if options.command == "select":
            return _select(options)
        if options.command == "copy":
            return _copy(options.store, options.out, as_json=options.json)
        wanted = Filter(options.party, options.phase, options.slot, options.seq)
        return show_bundle(options.bundle, wanted, as_json=options.json)
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
    add_tsa(verify)
    evidence = commands.add_parser(
        "verify-evidence",
        help="check one evidence file; say who is proven to have done what",
        description="Check an evidence file against your own policy file; name party, slot and what contradicts.",
        epilog="exit codes: 1 proves nothing, 4 misbehaviour proven, 64 wrong usage.",
    )
    evidence.add_argument("file", metavar="FILE", type=Path, help="the evidence file")
    for command in (verify, evidence):
        policy = "your policy file (C2SP tlog-policy)"
        command.add_argument("--policy", metavar="FILE", type=Path, required=True, help=policy)
    show = commands.add_parser(
        "show",
        help="list the entries of a bundle, unchecked",
        description="List entries as they stand; checks nothing.",
    )
    show.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle file")
    show.add_argument("--party", metavar="NAME", help="only the log of this party")
    show.add_argument("--phase", metavar="GLOB", help="only phases that fit, for instance `train`")
    show.add_argument("--slot", metavar="GLOB", help="only slots that fit, for instance `train/3/*`")
    show.add_argument("--seq", metavar="N", type=int, help="the entry at this position in full, with its proof")
    select = commands.add_parser(
        "select",
        help="keep chosen entries with their proofs, in a bundle of their own",
        description="Write a selective bundle: chosen entries, each proven by itself; needs no key.",
    )
    select.add_argument("bundle", metavar="BUNDLE", type=Path, help="the full bundle")
    select.add_argument("--out", metavar="FILE", type=Path, required=True, help="where to write the selective bundle")
    select.add_argument("--party", metavar="NAME", action="append", help="only this party's log; may be repeated")
    select.add_argument("--slots", metavar="GLOB", action="append", help="only slots that fit; may be repeated")
    select.add_argument("--entries", metavar="N-M,..", type=parse_seqs, help="only these positions, like 3,5-9")
    select.add_argument("--artefacts", metavar="GLOB", action="append", help="also these artefacts; may be repeated")
    copy = commands.add_parser(
        "copy",
        help="copy a store while its owner goes on writing",
        description="Copy the store of a witness or of a party, as it is at one moment, while it is in use.",
    )
    copy.add_argument("store", metavar="STORE", type=Path, help="the SQLite file")
    copy.add_argument("out", metavar="FILE", type=Path, help="a new file")
    add_timestamp_command(commands)
    add_witness_command(commands)
    for command in (verify, evidence, show, select, copy):
        command.add_argument("--json", action="store_true", help="machine-readable output")
    return parser


def _verify(bundle: Path, policy: Path, tsa: list[Path] | None, *, as_json: bool) -> int:
    text = _read(policy, "the policy")
    if text is None:
        return EXIT_USAGE
    try:
        authority = read_authority(tsa) if tsa else None
    except StampError as error:
        print(error.diagnostics(), file=sys.stderr)
        return EXIT_USAGE
    result = verify_bundle(bundle, text, _progress if _is_large(bundle) else _quiet, authority)
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


def _copy(store: Path, out: Path, *, as_json: bool) -> int:
    copy_store(store, out)
    print(json.dumps({"copy": str(out), "bytes": out.stat().st_size}) if as_json else f"{out}: a copy of {store}")
    return 0


def _read(path: Path, what: str, limit: int = -1) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1 if limit >= 0 else -1)
    except OSError as error:
        print(f"cannot read {what} {path}: {error.strerror}", file=sys.stderr)
        return None


def _is_large(bundle: Path) -> bool:
    return bundle.is_file() and bundle.stat().st_size >= LARGE


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _quiet(line: str) -> None:
    """A small bundle is checked before anybody could read it."""


def _select(options: argparse.Namespace) -> int:
    choice = Choice(
        parties=frozenset(options.party or ()),
        slots=tuple(options.slots or ()),
        seqs=options.entries or frozenset(),
        artefacts=tuple(options.artefacts or ()),
    )
    digest = select_bundle(options.bundle, options.out, choice)
    told = {"out": str(options.out), "bundle": digest}
    print(json.dumps(told) if options.json else f"{options.out}\nbundle {digest}")
    return Code.VALID


if __name__ == "__main__":
    sys.exit(main())
