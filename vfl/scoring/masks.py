"""Masks that cancel: what passive parties add to their parts of a scorecard so that only the sum can be read.

    tallystick-mask-key-v1
    run pos-loan-20260131T120000-1a2b3c4d
    party telecom
    key <X25519 public key, hex>

    — telecom O9Ty9M5W...                       signed by the party's long-term key

    shared(i, j) = HMAC-SHA256(X25519(i, j), "tallystick-mask-key-v1" || run)
    mask(i, j)   = ChaCha20 keyed by BLAKE2b(shared, token key || question), 16 bytes an applicant;
                   i adds it, j subtracts it (i < j)
    noise(i)     = the same keyed by the private key: what i says of an applicant whom it does not know

Source: Bonawitz et al., Practical Secure Aggregation, CCS 2017, section 4, without its recovery from drop-outs.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import LedgerError
from ledger.keys import Signer, VerifyingKey
from ledger.note import Note, sign_note
from vfl.errors import BrokenPromise
from vfl.protocols.score_online import Masked, seed_of_mask
from vfl.randomness import Randomness

LABEL = "tallystick-mask-key-v1"
Words = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def mask_key(run: str, private: bytes, signer: Signer) -> str:
    """The note that tells the public key. `private`: 32 bytes."""
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return str(sign_note(_text(run, signer.name, public.hex()), [signer]))


class Masks:
    """Of one party, with all others."""

    def __init__(
        self, run: str, me: str, private: bytes, token_key: bytes, told: Mapping[str, str],
        keys: Mapping[str, VerifyingKey],
    ) -> None:  # fmt: skip
        """`told`: the notes of the others.   keys: their long-term keys. Raises BrokenPromise for a false note."""
        own = X25519PrivateKey.from_private_bytes(private)
        self._me, self._shared = me, dict[str, bytes]()
        self._private, self._token_key = private, token_key
        for name, key in sorted(keys.items()):
            public = _read(run, name, told.get(name, ""), key)
            try:
                met = own.exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError:
                raise BrokenPromise(f"the key for masks of {name} is none") from None
            self._shared[name] = hmac.digest(met, LABEL.encode() + run.encode(), sha256)

    def hide(self, question: bytes, known: Flags, predictor: Int64s, points: Int64s) -> Masked:
        """This party's parts of the applicants of a question, in units of 2**-20 and in points, under its masks."""
        parts = np.concatenate([predictor, points]).astype(np.uint64)
        for name, shared in self._shared.items():
            drawn = self._draw(shared, question, len(known))
            parts += drawn if self._me < name else -drawn
        parts = np.where(np.tile(known, 2), parts, self._draw(self._private, question, len(known)))
        return Masked(known, parts[: len(known)], parts[len(known) :])

    def _draw(self, secret: bytes, question: bytes, applicants: int) -> Words:
        seed = seed_of_mask(secret, self._token_key, question)
        return np.frombuffer(Randomness(seed).bytes(16 * applicants), "<u8").astype(np.uint64)


def _text(run: str, party: str, key: str) -> str:
    return f"{LABEL}\nrun {run}\nparty {party}\nkey {key}\n"


def _read(run: str, party: str, told: str, key: VerifyingKey) -> bytes:
    try:
        note = Note.parse(told.encode())
        public = bytes.fromhex(note.text.rstrip("\n").rpartition(" ")[2])
        good = key in note.verified([key]) and note.text == _text(run, party, public.hex()) and len(public) == 32
    except (LedgerError, ValueError):
        good, public = False, b""
    if not good:
        raise BrokenPromise(f"the key for masks of {party} is not signed by it for this run")
    return public
