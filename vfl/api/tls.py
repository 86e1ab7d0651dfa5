"""TLS 1.3 for callers, and client certificates as their names.

    pin = base64(SHA-256(subject public key info))

A client certificate is registered by hand (`tallystick api-key new --certificate`): it is its own root, whoever issued
it, and counts as long as its pin does. The handshake asks for one as soon as one is registered.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vfl.errors import UsageError
from vfl.party.keystore import require_private


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the service's certificate with its chain, and its key.

    require_client: whether nobody gets in without a registered certificate, whatever key he has.
    """

    certificate: Path
    key: Path
    require_client: bool = False


class TlsContext:
    """What a listener shows and whom it asks, kept current while it listens."""

    def __init__(self, files: Tls, clients: frozenset[str]) -> None:
        """`clients`: their certificates, PEM. Raises UsageError for files that cannot be used."""
        if files.require_client and not clients:
            raise UsageError(
                "client certificates are required, but none is registered: nobody could call",
                remedy="register one with `tallystick api-key new --certificate FILE`",
            )
        self._files, self._clients = files, frozenset[str]()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.num_tickets = 0  # a session that is resumed would be a client whose certificate nobody saw
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self.context.set_alpn_protocols(["http/1.1"])
        self._mark: tuple[int, ...] | None = None
        self.look(clients)

    def look(self, clients: frozenset[str]) -> None:
        """Take up files and registered certificates that are new. For connections to come, and those are many enough:
        whether a certificate still counts is asked of every request."""
        mark = _mark(self._files)
        if mark != self._mark:
            require_private(self._files.key)
            try:
                self.context.load_cert_chain(self._files.certificate, self._files.key)
            except (OSError, ssl.SSLError) as error:
                why = getattr(error, "reason", None) or error.strerror or "it is damaged"
                raise UsageError(
                    f"the certificate {self._files.certificate} cannot be used with the key {self._files.key}: {why}",
                    remedy="name a certificate and its own key, both PEM",
                ) from None
            self._mark = mark
        if new := clients - self._clients:
            self.context.load_verify_locations(cadata="\n".join(sorted(new)))
            self.context.verify_mode = ssl.CERT_REQUIRED if self._files.require_client else ssl.CERT_OPTIONAL
            self._clients |= new


def pin_of(certificate: str) -> str:
    """The pin of the key in a certificate in PEM. Raises UsageError if it is none."""
    try:
        return _pin(x509.load_pem_x509_certificate(certificate.encode()))
    except ValueError:
        raise UsageError("not a certificate in PEM", remedy="name a file that begins with BEGIN CERTIFICATE") from None


def pin_of_peer(transport: object) -> str:
    """The pin of whoever is at the other end of a connection; empty without TLS or without a certificate."""
    tls = getattr(transport, "get_extra_info")("ssl_object")  # noqa: B009  # transports of all kinds have it
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return _pin(x509.load_der_x509_certificate(der)) if der else ""


def _pin(certificate: x509.Certificate) -> str:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(sha256(key).digest()).decode()


def _mark(files: Tls) -> tuple[int, ...]:
    try:
        found = [each.stat() for each in (files.certificate, files.key)]
    except OSError:
        return ()
    return tuple(number for each in found for number in (each.st_ino, each.st_mtime_ns, each.st_size))
