"""Persons whose word is needed besides that of the party: their keys, and the list of them that the party signed.

    tallystick-approvers-v1
    party bank
    approver risk+0d1c6a52+AfHq...
    approver security+77aa0b18+AS1k...

    — bank O9Ty9M5WzN+aVYu...

A person's key file {"format", "vkey", "sealed"} holds a seed under the person's own passphrase, FILE.pub the vkey.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ledger.errors import LedgerError
from ledger.keys import KEY_BYTES, KeyType, Signer, SigningKey, VerifyingKey
from ledger.note import Note, sign_note
from vfl.errors import UsageError
from vfl.files import refusals, write_data
from vfl.party.keystore import require_private, write_secret
from vfl.party.sealing import seal, unseal
from vfl.randomness import fresh_bytes

FILE, LABEL, KEY_FORMAT = "approvers.txt", "tallystick-approvers-v1", "tallystick-approver-key-v1"
MOST = 20


def make_key(path: Path, name: str, passphrase: str) -> VerifyingKey:
    """A person's key pair: `path` and `path`.pub. Raises UsageError if one of them exists."""
    public = path.with_name(path.name + ".pub")
    for one in (path, public):
        if one.exists():
            raise UsageError(f"{one} exists; a key is never overwritten", remedy="name another --out")
    seed = fresh_bytes(KEY_BYTES)
    vkey = _signer(name, seed).verifying
    body = {"format": KEY_FORMAT, "vkey": vkey.vkey, "sealed": seal(seed, passphrase, vkey.vkey.encode())}
    write_secret(path, (json.dumps(body, indent=2) + "\n").encode())
    with refusals(public, "name another --out"):
        write_data(public, f"{vkey.vkey}\n".encode())
    return vkey


def open_key(path: Path, passphrase: str) -> Signer:
    """A person's key. Raises UsageError for a wrong passphrase, loose modes or a damaged file."""
    require_private(path)
    try:
        body = json.loads(path.read_bytes())
        vkey = VerifyingKey.parse(body["vkey"])
        if body["format"] != KEY_FORMAT:
            raise ValueError
        signer = _signer(vkey.name, unseal(body["sealed"], passphrase, body["vkey"].encode()))
    except UsageError as error:
        raise UsageError(f"the key file {path} does not open: {error}", remedy="check the passphrase") from None
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerError):
        raise UsageError(f"{path} is no key file of a person", remedy="make one: party approver key NAME") from None
    if signer.verifying != vkey:
        raise UsageError(f"the key file {path} is damaged: its two keys do not fit")
    return signer


def read_public(path: Path) -> VerifyingKey:
    """The public key in a .pub file."""
    try:
        found = VerifyingKey.parse(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (LedgerError, ValueError) as error:
        raise UsageError(f"{path} is no public key: {error}"[:300], remedy="name the .pub file of the person") from None
    if found.kind is not KeyType.NOTE:
        raise UsageError(f"{path} is the key of a witness, not of a person")
    return found


def approvers(state: Path, identity: VerifyingKey) -> Mapping[str, VerifyingKey]:
    """Who must approve, by name; nobody if the party has named none. Raises UsageError if the list was altered."""
    path = state / FILE
    if not path.exists():
        return {}
    try:
        note = Note.parse(path.read_bytes())
        if identity not in note.verified([identity]):
            raise UsageError(f"{identity.name} has not signed it")
        label, party, *lines = note.text.splitlines()
        keys = [VerifyingKey.parse(line.removeprefix("approver ")) for line in lines]
        if [label, party] != [LABEL, f"party {identity.name}"]:
            raise UsageError("it is for another party")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (LedgerError, UsageError, ValueError) as error:
        raise UsageError(f"{path} was altered: {error}", remedy="restore it from a backup") from None
    return {key.name: key for key in keys}


def keep(state: Path, identity: Signer, keys: Mapping[str, VerifyingKey]) -> None:
    """Replace the list, signed by the party."""
    if len(keys) > MOST:
        raise UsageError(f"{len(keys)} persons are more than {MOST}")
    lines = [f"approver {keys[name].vkey}\n" for name in sorted(keys)]
    note = sign_note("".join([f"{LABEL}\nparty {identity.name}\n", *lines]), [identity])
    with refusals(state, "make the folder writable"):
        write_data(state / FILE, str(note).encode())


def _signer(name: str, seed: bytes) -> Signer:
    return Signer(name, KeyType.NOTE, SigningKey(seed))
