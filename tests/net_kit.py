"""TLS material of every kind, and a gate that echoes: for tests of `vfl.net`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from vfl.channel import wait
from vfl.errors import AgreementError, VflError
from vfl.net.pins import pin_of
from vfl.net.pump import frames_of, hang_up
from vfl.net.server import Address, PartyServer
from vfl.net.tls import Known, OwnTls
from vfl.transport import SocketLink, drive


def made(
    name: str,
    *,
    start: float = -1,
    days: float = 30,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    issuer: OwnTls | None = None,
) -> OwnTls:
    """A key and its certificate: self-signed on P-256, valid now, unless told otherwise."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now, serial = datetime.now(UTC), x509.random_serial_number()
    # As `vfl.party.certificates` names them: a library that looks for an issuer by name must not find another key.
    named = ((x509.NameOID.COMMON_NAME, name), (x509.NameOID.SERIAL_NUMBER, f"{serial:x}"))
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in named])
    signer = serialization.load_pem_private_key(issuer.key, None) if issuer else key
    assert isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    signed_by = x509.load_pem_x509_certificate(issuer.certificate).subject if issuer else subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now + timedelta(days=start))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return OwnTls(
        key.private_bytes(serialization.Encoding.PEM, *plain), certificate.public_bytes(serialization.Encoding.PEM)
    )


def known(name: str, own: OwnTls, address: str = "127.0.0.1:1") -> Known:
    """A party as its peers know it."""
    return Known(name, address, (own.certificate,), frozenset({pin_of(own.certificate)}))


class Echo:
    """A party's side that says again what it hears."""

    def __init__(self) -> None:
        self.end, self._own = socket.socketpair()
        self.left = threading.Event()
        threading.Thread(target=self._echo, daemon=True).start()

    def _echo(self) -> None:
        for frame in frames_of(self._own):
            with suppress(OSError):
                self._own.sendall(len(frame).to_bytes(4, "big") + frame)
        self._own.close()

    def outcome(self) -> VflError | None:
        return None

    def leave(self) -> None:
        hang_up(self.end)
        self.end.close()
        self.left.set()


@dataclass
class EchoGate:
    """Trusts `trusted`, refuses the offer `no`, echoes every stream."""

    trusted: list[Known]
    heard: list[tuple[str, str]] = field(default_factory=list)
    streams: list[Echo] = field(default_factory=list)
    make: Callable[[], Echo] = Echo

    def peers(self) -> Sequence[Known]:
        return tuple(self.trusted)

    def offer(self, peer: str, offer: bytes) -> bytes:
        self.heard.append((peer, offer.decode()))
        if offer == b"no":
            raise AgreementError("not with us")
        return b""

    def attend(self, peer: str, run: str, attempt: int) -> Echo:
        self.heard.append((peer, f"{run}/{attempt}"))
        self.streams.append(self.make())
        return self.streams[-1]

    def withdrawn(self, peer: str, run: str, why: str) -> None:
        self.heard.append((peer, why))

    def health(self, peer: str) -> bytes:
        return b"well"

    def log(self, peer: str, run: str) -> bytes:
        return b""

    def failed(self, error: Exception) -> None:
        self.heard.append(("", type(error).__name__))

    def keep(self, peer: str, run: str, bundle: bytes) -> None:
        self.heard.append((peer, run))

    def attest(self, peer: str, run: str, sums: bytes) -> bytes:
        return b""


BANK, TELECOM = made("bank"), made("telecom")


@contextmanager
def serving(gate: EchoGate, own: OwnTls = TELECOM) -> Iterator[Known]:
    """The telecom's server on loopback, as the bank knows it."""
    server = PartyServer(Address("127.0.0.1", 0), lambda: own, gate)
    server.start()
    try:
        yield replace(known("telecom", own), address=str(server.address))
    finally:
        server.stop(0)


def heard(link: SocketLink, count: int) -> list[bytes]:
    async def role() -> list[bytes]:
        found: list[bytes] = []
        while len(found) < count:
            if (frame := link.pull()) is None:
                await wait(len(found))
            else:
                found.append(frame)
        return found

    return drive(role(), [link], 20.0)
