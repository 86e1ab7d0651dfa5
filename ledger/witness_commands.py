"""`python -m ledger witness`: run a witness, make its key, ask one for its cosignature."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from ledger.bundle import read_bundle
from ledger.checkpoint import Checkpoint
from ledger.clock import SystemClock
from ledger.errors import BadKey, BadProof, LedgerError
from ledger.keys import VerifyingKey, check_party
from ledger.note import Note, SignatureLine
from ledger.policy import Policy
from ledger.proof import WrittenLog
from ledger.store import SQLiteStore
from ledger.witness import Witness
from ledger.witness_client import WitnessClient
from ledger.witness_http import Report, WitnessServer
from ledger.witness_key import create_witness_key, read_witness_key
from ledger.witness_service import Reply, WitnessService

_AnyParser = TypeVar("_AnyParser", bound=argparse.ArgumentParser)


def add_witness_command(commands: argparse._SubParsersAction[_AnyParser]) -> None:
    """Add `witness` and its parts to the command line."""
    witness = commands.add_parser(
        "witness",
        help="cosign the heads of others' logs over HTTP, or ask for it",
        description="Run a witness (c2sp.org/tlog-witness) for the logs that --policy or --log names.",
    )
    witness.set_defaults(run=_serve)
    witness.add_argument("--key", metavar="FILE", type=Path, help="key file made by `witness new`")
    witness.add_argument("--policy", metavar="FILE", type=Path, help="policy file whose `log` lines are admitted")
    witness.add_argument("--log", metavar="VKEY", action="append", default=[], help="key of a log; may be repeated")
    witness.add_argument("--store", metavar="FILE", type=Path, help="database of the heads cosigned last")
    witness.add_argument("--evidence", metavar="DIR", type=Path, help="folder for proofs of forks (STORE.evidence)")
    witness.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:7400", help="address (127.0.0.1:7400)")
    witness.add_argument("--prefix", metavar="PATH", default="", help="path before /add-checkpoint")
    witness.add_argument("--public", action="store_true", help="listen beyond loopback; TLS must stand in front")
    witness.add_argument("--json", action="store_true", help="machine-readable output")
    parts = witness.add_subparsers(dest="part", metavar="PART")
    new = parts.add_parser("new", help="make a key file", description="Make a key file and print its policy line.")
    new.set_defaults(run=_new)
    new.add_argument("name", metavar="NAME", help="name of the witness, such as regulator")
    new.add_argument("--out", metavar="FILE", type=Path, help="key file (NAME.key)")
    submit = parts.add_parser(
        "submit",
        help="ask a witness to cosign",
        description="Send a bundle's newest heads, or one signed note, and print them with the witness's cosignature.",
    )
    submit.set_defaults(run=_submit)
    submit.add_argument("source", metavar="BUNDLE-or-NOTE", type=Path, help="a bundle, or a signed checkpoint")
    submit.add_argument("url", metavar="URL", help="the witness's submission prefix")
    submit.add_argument("--witness", metavar="VKEY", required=True, help="the witness's key, to check its answer")
    for part in (new, submit):
        part.add_argument("--json", action="store_true", help="machine-readable output")


def _new(options: argparse.Namespace) -> int:
    name = check_party(options.name, "witness")
    path = options.out or Path(f"{name}.key")
    vkey = create_witness_key(path, name).witness.verifying.vkey
    line = json.dumps({"name": name, "vkey": vkey, "key_file": str(path)})
    print(line if options.json else f"witness {name} {vkey}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    if options.key is None or options.store is None or not (options.policy or options.log):
        raise BadKey(
            "a witness needs --key, --store and the logs it may cosign (--policy or --log)",
            remedy="Make a key with `python -m ledger witness new NAME`.",
        )
    address = _address(options.listen, public=options.public)
    key = read_witness_key(options.key)
    logs = [VerifyingKey.parse(text) for text in options.log]
    logs += Policy.parse(_bytes(options.policy)).logs if options.policy else ()
    store = SQLiteStore(options.store)
    evidence = options.evidence or options.store.with_name(f"{options.store.name}.evidence")
    service = WitnessService(Witness(key, store, SystemClock()), logs, store, evidence)
    try:
        server = WitnessServer(address, service, _reporter(as_json=options.json), options.prefix)
    except OSError as error:
        raise BadKey(f"cannot listen on {options.listen}: {error.strerror}") from None
    print(_started(server, service, [log.name for log in logs], as_json=options.json), flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
        store.close()
    return 0


def _submit(options: argparse.Namespace) -> int:
    client = WitnessClient(options.url, VerifyingKey.parse(options.witness))
    cosigned = []
    for note, log in _heads(options.source):
        line = client.cosign(note, log)
        cosigned.append(str(Note.parse(note).with_lines([SignatureLine.parse(line)])))
    print(json.dumps({"notes": cosigned}, ensure_ascii=False) if options.json else "\n".join(cosigned), end="")
    return 0


def _heads(path: Path) -> list[tuple[str, WrittenLog]]:
    data = _bytes(path)
    if not data.startswith(b"PK"):
        Checkpoint.parse(Note.parse(data).text)
        return [(data.decode(), WrittenLog([], {}))]
    found = []
    for party, files in sorted(read_bundle(path).logs().items()):
        log = WrittenLog(files.entries.split(b"\n")[:-1], files.checkpoints)
        heads = log.checkpoints()
        if not heads:
            raise BadProof(f"the bundle holds no checkpoint of {party}")
        found.append((heads[-1][2], log))
    return found


def _address(text: str, *, public: bool) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadKey(f"--listen {text} is no HOST:PORT")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not public:
        raise BadKey(
            f"--listen {text} is not a loopback address, and a witness speaks plain HTTP",
            remedy="Listen on 127.0.0.1 behind a server that speaks TLS, or say --public when one stands in front.",
        )
    return host, int(port)


def _started(server: WitnessServer, service: WitnessService, logs: list[str], *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"url": server.url, "vkey": service.key.vkey, "logs": logs})
    return f"{service.key.vkey} cosigns logs of {', '.join(logs)} at {server.url}"


def _reporter(*, as_json: bool) -> Report:
    def report(reply: Reply) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        why = "" if reply.status == 200 else reply.body.strip()
        fields = {"time": now, "status": int(reply.status), "origin": reply.origin, "size": reply.size, "why": why}
        plain = f"{now} {int(reply.status)} {reply.origin or '-'} {'-' if reply.size is None else reply.size} {why!a}"
        print(json.dumps(fields) if as_json else plain, file=sys.stderr, flush=True)

    return report


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from None
