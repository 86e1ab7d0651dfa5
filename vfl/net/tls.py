"""Certificates and pins: a peer is whoever holds the key behind a certificate that was exchanged by hand.

No authority is asked, none is trusted. gRPC is given the certificates of trusted peers as its only roots, each of them
self-signed and thus its own root; the pin is compared once more by our own code on every call.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from cryptography import x509

from vfl.errors import Unreachable, UsageError
from vfl.net.pins import pin_of, read_certificate

_HANDSHAKE = b"\x16"  # the type of the record in which a server agrees to a version


@dataclass(frozen=True)
class OwnTls:
    """A party's TLS key and its certificate, both PEM."""

    key: bytes
    certificate: bytes

    def __repr__(self) -> str:
        return f"OwnTls({pin_of(self.certificate)})"


@dataclass(frozen=True)
class Known:
    """A peer as it is known here: where it listens, its certificates (PEM), and the pins that count."""

    name: str
    address: str
    certificates: tuple[bytes, ...]
    pins: frozenset[str]

    @property
    def admitted(self) -> tuple[bytes, ...]:
        """Those of its certificates whose pin counts."""
        return tuple(each for each in self.certificates if pin_of(each) in self.pins)


def host_of(certificate: bytes) -> str:
    """The name that a certificate in PEM is for."""
    try:
        names = read_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)[0]
    except (x509.ExtensionNotFound, ValueError, IndexError):
        raise UsageError("the certificate names nobody", remedy="a TLS certificate needs a DNS name") from None


def channel_credentials(own: OwnTls, peer: Known) -> tuple[grpc.ChannelCredentials, str]:
    """For calls to `peer`, and the name that its certificate has: nothing but that certificate will do."""
    if not (admitted := peer.admitted):
        raise UsageError(
            f"none of the certificates of {peer.name} has a pin that counts", remedy="trust its newest card"
        )
    return grpc.ssl_channel_credentials(b"".join(admitted), own.key, own.certificate), host_of(admitted[0])


@dataclass(frozen=True)
class Shown:
    """What a listener shows, and whom it lets in, from a handshake on."""

    own: OwnTls
    roots: frozenset[bytes]

    @classmethod
    def to(cls, own: OwnTls, peers: Sequence[Known]) -> Shown:
        """Our certificate for calls of `peers`."""
        pin_of(own.certificate)
        return cls(own, frozenset(each for peer in peers for each in peer.admitted))

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """As gRPC takes it."""
        # gRPC does not ask for one where there is no root: then only our own gets in, which is nobody's pin.
        roots = b"".join(sorted(self.roots)) or self.own.certificate
        return grpc.ssl_server_certificate_configuration([(self.own.key, self.own.certificate)], roots)


def server_credentials(shown: Callable[[], Shown]) -> grpc.ServerCredentials:
    """For a listener that asks everybody for a certificate, and at each handshake asks `shown` what counts now."""
    last = [shown()]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        now = shown()
        if now is last[0]:
            return None  # as before
        last[0] = now
        return now.configuration()

    return grpc.dynamic_ssl_server_credentials(last[0].configuration(), changed, require_client_authentication=True)


def require_1_3(host: str, port: int) -> None:
    """Raise UsageError if the server at an address of our own speaks anything below TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is only asked which version it speaks; nothing is said to it.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    arrived, hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(arrived, hello).do_handshake()
    try:
        with socket.create_connection((host, port), timeout=5) as asked:
            asked.sendall(hello.read())
            answer = asked.recv(1)
    except ConnectionResetError:
        return
    except OSError as error:
        raise Unreachable(f"our own service does not answer at {host}:{port}: {error}") from None
    if answer == _HANDSHAKE:  # else an alert, or nothing
        raise UsageError(
            f"the service at {host}:{port} would speak TLS 1.2",
            remedy="use the version of grpcio in requirements.lock",
        )
