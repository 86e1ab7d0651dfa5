"""Pins: by what a certificate is known, whoever issued it.

pin = base64(SHA-256(subject public key info of the certificate))
"""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vfl.errors import UsageError


def read_certificate(pem: bytes) -> x509.Certificate:
    """The certificate in PEM. Raises UsageError unless it is one of a P-256 key, in its one form.

    TLS 1.2 is shut out by leaving it ciphers for RSA keys alone (`vfl.net`): such a key would open it again.
    """
    try:
        found = x509.load_pem_x509_certificate(pem)
        key = found.public_key()
        same = found.public_bytes(Encoding.PEM) == pem
    except ValueError as error:
        raise UsageError(f"not a certificate in PEM: {error}"[:200]) from None
    if not same or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(
            "the certificate is not that of a P-256 key alone", remedy="ask for a card made by this program"
        )
    return found


def pin_of(pem: bytes) -> str:
    """The pin of the key in a certificate. Raises UsageError as `read_certificate` does."""
    key = read_certificate(pem).public_key()
    return base64.b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()
