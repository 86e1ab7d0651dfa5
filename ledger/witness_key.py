"""The key file of a witness that stands alone, such as a regulator's.

    PRIVATE+KEY+regulator/witness+5f0a9c31+BNh0...          name, key id, base64(0x04 || 32-byte Ed25519 seed)

One line, in the signer form of golang.org/x/mod/sumdb/note, which other C2SP programs read too. The file must be
readable by its owner alone.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import BadKey
from ledger.keys import KEY_BYTES, KeyType, Signer, SigningKey, check_party, witness_name

_PREFIX = "PRIVATE+KEY+"
_MAX_FILE_BYTES = 1000


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The one key of a witness (type 0x04); takes the place of an `Identity` where only cosigning is asked."""

    witness: Signer


def create_witness_key(path: Path, name: str) -> WitnessKey:
    """Draw a key for the witness `name/witness` and write it, mode 0600; raises BadKey when the file exists."""
    seed = secrets.token_bytes(KEY_BYTES)
    key = _key(witness_name(check_party(name, "witness")), seed)
    line = f"{_PREFIX}{key.witness.name}+{key.witness.verifying.id.hex()}+{_encoded(seed)}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadKey(f"{path} exists; a key is never overwritten", remedy="Name another file with --out.") from None
    except OSError as error:
        raise BadKey(f"cannot write the key file {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return key


def read_witness_key(path: Path) -> WitnessKey:
    """Read a key file; raises BadKey when others may read it or it has another form."""
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()[: _MAX_FILE_BYTES + 1].decode("utf-8")
    except OSError as error:
        raise BadKey(f"cannot read the key file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadKey(f"{path} is no key file: it is not UTF-8") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise BadKey(
            f"the key file {path} has mode {stat.S_IMODE(mode):04o}: others may read it",
            remedy=f"Run `chmod 600 {path}`; if others can have read it, make a new key.",
        )
    name, _, rest = text.removeprefix(_PREFIX).removesuffix("\n").partition("+")
    digest, _, encoded = rest.partition("+")
    try:
        blob = base64.b64decode(encoded, validate=True)
        key = _key(name, blob[1:])
    except (binascii.Error, ValueError):
        raise BadKey(f"{path} is no key file of a witness") from None
    if f"{_PREFIX}{name}+{key.witness.verifying.id.hex()}+{_encoded(blob[1:])}\n" != text:
        raise BadKey(f"{path} is no key file of a witness, or its key id {digest:.8} does not fit its key")
    return key


def _key(name: str, seed: bytes) -> WitnessKey:
    return WitnessKey(Signer(name, KeyType.COSIGNATURE, SigningKey(seed)))


def _encoded(seed: bytes) -> str:
    return base64.b64encode(bytes([KeyType.COSIGNATURE]) + seed).decode()
