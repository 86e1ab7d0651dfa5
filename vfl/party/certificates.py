"""TLS keys and self-signed certificates; what they are known by: `vfl.net.pins`.

Nobody vouches for a certificate: a peer has it by hand, in a card. The key is on P-256, which every TLS library speaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vfl.net.pins import read_certificate

SKEW = timedelta(hours=1)  # how far a peer's clock may be behind
_KEY_USAGE = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True)
class TlsKey:
    """A private key and its certificate, both PEM."""

    key: bytes = field(repr=False)
    certificate: bytes


def host_name(party: str) -> str:
    """The name that a party's certificate is for, wherever it listens; `.internal` is nobody's domain."""
    return f"{party}.tallystick.internal"


def new_tls_key(party: str, now: datetime, days: int) -> TlsKey:
    """A fresh P-256 key and a certificate for it, valid from now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The serial number is in the name too: a library that looks for an issuer by name must not find the other key.
    named = ((NameOID.COMMON_NAME, party), (NameOID.SERIAL_NUMBER, f"{serial:x}"))
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in named])
    names = [x509.DNSName(host_name(party)), x509.UniformResourceIdentifier(f"tallystick://party/{party}")]
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **_KEY_USAGE), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return TlsKey(pem, certificate.public_bytes(Encoding.PEM))


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate counts, UTC."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, pem: bytes) -> Validity:
        found = read_certificate(pem)
        return cls(found.not_valid_before_utc, found.not_valid_after_utc)

    def days_left(self, now: datetime) -> int:
        """Whole days until the end; negative afterwards."""
        return (self.end - now.astimezone(UTC)) // timedelta(days=1)
