"""Witnesses outside a run, such as a regulator's, countersign the final heads of all ledgers.

    ask       each witness for each log's newest head (c2sp.org/tlog-witness); the line is checked with the key that the
              user named, and kept beside the checkpoint
    bundle    audit.bundle is written anew with the lines
    policy    policy.txt names the witness and its address, and asks for its countersignature as well

What was got stays when a later step fails, so the same call goes on. A witness must admit the logs first: it takes the
run's policy.txt.
"""

from __future__ import annotations

import http
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.errors import LedgerError, WitnessError, WitnessRefused
from ledger.keys import VerifyingKey, witness_name
from ledger.log import Log
from ledger.policy import Policy
from ledger.witness_client import WitnessClient, cosign_newest
from vfl.clock import Clock
from vfl.errors import TransportError, UsageError
from vfl.files import read_result, refusals, write_data
from vfl.local_logs import local_logs
from vfl.own_ledger import own_ledger
from vfl.seat import RunFile

POLICY_FILE = "policy.txt"


@dataclass(frozen=True)
class Outsider:
    """A witness that is no party: where it is asked, and the key its answers are checked with."""

    url: str
    key: VerifyingKey

    @classmethod
    def parse(cls, text: str) -> Outsider:
        """From `URL#VKEY`; raises UsageError."""
        url, _, vkey = text.partition("#")
        try:
            if not vkey:
                raise UsageError(
                    f"--witness {text!r:.200} names no key",
                    remedy="write URL#VKEY, with the key that the witness gave you (`python -m ledger witness new`)",
                )
            key = VerifyingKey.parse(vkey)
            WitnessClient(url, key)
        except LedgerError as error:
            raise UsageError(f"--witness {text!r:.200}: {error}", remedy=error.remedy) from None
        return cls(url, key)

    @property
    def name(self) -> str:
        """Its name in a policy."""
        return self.key.name.removesuffix(witness_name(""))


def named_in(directory: Path) -> list[Outsider]:
    """The witnesses whose addresses the policy of the run in `directory` knows."""
    policy = _policy(directory)
    return [Outsider(url, policy.witnesses[name]) for name, url in policy.addresses.items()]


def countersign(directory: Path, outsiders: Sequence[Outsider], clock: Clock) -> dict[str, dict[str, int]]:
    """Have every log's newest head countersigned by all `outsiders`; by witness and party its number of entries.

    Raises UsageError where keys do not fit, TransportError where a witness cannot be asked or refuses.
    """
    file, policy = RunFile.read(directory, needs=()), _policy(directory)
    for one in outsiders:
        policy = _with(policy, one)
    with local_logs(directory, file, clock) as here:
        if not here.all_of(file):
            missing = ", ".join(sorted(file.keys.keys() - here.logs.keys()))
            raise UsageError(
                f"the ledger of {missing} is not on this machine",
                remedy="each party asks for its own with `python -m ledger witness submit`",
            )
        told = {}
        for one in outsiders:
            client = WitnessClient(one.url, one.key)
            told[one.name] = {party: _ask(log, client, directory) for party, log in here.logs.items()}
        with refusals(directory, "make the directory writable, then ask again"), own_ledger():
            here.rebundle(directory, file, policy)
            write_data(directory / POLICY_FILE, str(policy).encode())
    return told


def _policy(directory: Path) -> Policy:
    try:
        return Policy.parse(read_result(directory / POLICY_FILE))
    except LedgerError as error:
        raise UsageError(f"{directory / POLICY_FILE} is damaged: {error}") from None


def _with(policy: Policy, one: Outsider) -> Policy:
    """The policy with this witness; with its new address, if it is there already."""
    party = policy.log_key(one.name) is not None
    if policy.witnesses.get(one.name) == one.key and not party:
        return replace(policy, addresses={**policy.addresses, one.name: one.url})
    try:
        return policy.also(one.name, one.key, one.url)
    except LedgerError as error:
        raise UsageError(
            f"the witness {one.key.name} does not fit into {POLICY_FILE}: {error}",
            remedy="name a witness that is no party of the run, with the one key that it has",
        ) from None


def _ask(log: Log, client: WitnessClient, directory: Path) -> int:
    held = log.last_cosigned_by(client.key)
    if held is not None and held.size == len(log):
        return held.size
    words = ["tallystick", "countersign", str(directory), "--witness", f"{client.url.geturl()}#{client.key.vkey}"]
    again = f"then `{shlex.join(words)}`; the run is complete without it"
    try:
        size = cosign_newest(log, client)
        log.commit()
    except WitnessError as error:
        unknown = isinstance(error, WitnessRefused) and error.status == http.HTTPStatus.NOT_FOUND
        remedy = f"give the witness {directory / POLICY_FILE} as its --policy" if unknown else error.remedy.rstrip(".")
        raise TransportError(
            f"{log.origin}: {error}", remedy=f"{remedy or 'see what the witness wants'}, {again}"
        ) from error
    except LedgerError as error:
        raise UsageError(f"{log.origin}: {error}", remedy=f"make sure of the witness's key, {again}") from error
    return size
