"""TLS 1.3 and client certificates: who gets in by which, and what changes while it serves."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_kit import FakeScorer, Served, bearer, new_key, serving
from net_kit import made

from vfl.api import keys
from vfl.api.app import ApiSettings, make_app
from vfl.api.connections import Bounds
from vfl.api.server import HttpServer
from vfl.api.tls import Tls, pin_of
from vfl.clock import SystemClock
from vfl.errors import UsageError
from vfl.net.tls import OwnTls
from vfl.net.tls import pin_of as pin_of_net

ONE = {"id": "A-1"}


@dataclass
class World:
    folder: Path
    tls: Tls
    clients: dict[str, OwnTls]
    ids: dict[str, str]

    def context(self, client: str | None = None, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """Of a caller who trusts the service's certificate, and shows one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.tls.certificate)
        context.check_hostname = False
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, most
        if client is not None:
            path = self.folder / f"{client}.pem"
            path.write_bytes(self.clients[client].key + self.clients[client].certificate)
            context.load_cert_chain(path)
        return context


def write(tls: Tls, own: OwnTls) -> None:
    tls.certificate.write_bytes(own.certificate)
    tls.key.write_bytes(own.key)
    os.chmod(tls.key, 0o600)


def world(folder: Path, require: bool = False) -> World:
    authority = made("authority")
    clients = {
        "desk": made("desk"),
        "issued": made("issued", issuer=authority),
        "rogue": made("desk"),
        "expired": made("expired", start=-9, days=-1),
        "early": made("early", start=2),
        "revoked": made("revoked"),
    }
    tls = Tls(folder / "tls.crt", folder / "tls.key", require)
    write(tls, made("bank"))
    ids = {
        name: new_key(folder, name, "score", certificate=clients[name].certificate.decode())
        for name in clients
        if name != "rogue"
    }
    keys.revoke(folder / keys.FILE, ids["revoked"], datetime.now(UTC))
    return World(folder, tls, clients, ids)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def api(there: World) -> Iterator[Served]:
    with serving(ApiSettings(keys=there.folder / keys.FILE), tls=there.tls) as served:
        yield served


def outcome(api: Served, context: ssl.SSLContext, headers: dict[str, str] | None = None) -> int | str:
    try:
        return api.ask("POST", "/v1/score", ONE, headers, context).status
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return "handshake"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("desk", 200), ("issued", 200), (None, 401),
        ("rogue", "handshake"), ("expired", "handshake"), ("early", "handshake"), ("revoked", "handshake"),
    ],
)  # fmt: skip
def test_whose_certificate_counts(api: Served, there: World, client: str | None, expected: int | str) -> None:
    assert outcome(api, there.context(client)) == expected


def test_a_key_does_without_a_certificate(api: Served, there: World) -> None:
    key = new_key(there.folder, "keyed", "score")
    time.sleep(0.1)
    assert outcome(api, there.context(), bearer(key)) == 200
    assert outcome(api, there.context("desk"), bearer(key[:-1] + "_")) == 401  # a wrong key is not made up for


def test_no_header_speaks_for_a_certificate(api: Served, there: World) -> None:
    pin = pin_of(there.clients["desk"].certificate.decode())
    for name in ("X-Client-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-Verify", "Pin", "X-Forwarded-For"):
        assert outcome(api, there.context(), {name: pin}) == 401


def test_nothing_below_tls_1_3(api: Served, there: World) -> None:
    assert outcome(api, there.context("desk", ssl.TLSVersion.TLSv1_2)) == "handshake"
    assert api.server.url.startswith("https://127.0.0.1:")


def test_the_pin_is_that_of_parties(there: World) -> None:
    certificate = there.clients["desk"].certificate
    assert pin_of(certificate.decode()) == pin_of_net(certificate)


def test_a_certificate_counts_no_more_on_an_open_connection(tmp_path: Path) -> None:
    there = world(tmp_path)
    with serving(ApiSettings(keys=tmp_path / keys.FILE), tls=there.tls) as api:
        connection = api.connect(there.context("desk"))
        seen = []
        for _ in range(2):
            connection.request("POST", "/v1/score", b'{"id":"A-1"}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.status)
            keys.revoke(tmp_path / keys.FILE, there.ids["desk"], datetime.now(UTC))
            time.sleep(0.1)
        connection.close()
        assert seen == [200, 401]


def test_certificates_are_taken_up_while_it_serves(tmp_path: Path) -> None:
    there = world(tmp_path)
    with serving(ApiSettings(keys=tmp_path / keys.FILE), tls=there.tls) as api:
        late = there.clients["late"] = made("late")
        assert outcome(api, there.context("late")) == "handshake"
        new_key(tmp_path, "late", "score", certificate=late.certificate.decode())
        renewed = made("bank")
        write(there.tls, renewed)
        time.sleep(0.4)
        assert outcome(api, there.context("late")) == 200
        with socket.create_connection(("127.0.0.1", api.port)) as own, there.context("late").wrap_socket(own) as shown:
            assert ssl.DER_cert_to_PEM_cert(shown.getpeercert(True) or b"").encode() == renewed.certificate
        there.tls.certificate.write_text("damaged")
        time.sleep(0.3)
        assert api.ask("GET", "/healthz", context=_trusting(tmp_path, renewed)).status == 200


def _trusting(folder: Path, own: OwnTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=own.certificate.decode())
    context.check_hostname = False
    return context


def test_where_certificates_are_required_nobody_gets_in_by_a_key_alone(tmp_path: Path) -> None:
    there = world(tmp_path, require=True)
    key = new_key(tmp_path, "keyed", "score")
    with serving(ApiSettings(keys=tmp_path / keys.FILE), tls=there.tls) as api:
        assert outcome(api, there.context(), bearer(key)) == "handshake"
        assert outcome(api, there.context("desk"), bearer(key)) == 200


def test_half_open_handshakes_end(tmp_path: Path) -> None:
    there = world(tmp_path)
    bounds = Bounds(arriving=0.3)
    with serving(ApiSettings(keys=tmp_path / keys.FILE), tls=there.tls, bounds=bounds) as api:
        for start in (b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", api.port), timeout=5) as own:
                own.sendall(start)
                started = time.monotonic()
                with contextlib.suppress(ConnectionResetError):
                    while own.recv(1000):
                        pass
                assert time.monotonic() - started < 3
        assert outcome(api, there.context("desk")) == 200


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    there = world(tmp_path)
    app = make_app(FakeScorer(), ApiSettings(keys=tmp_path / keys.FILE), SystemClock(), print)
    plain = make_app(FakeScorer(), ApiSettings(), SystemClock(), print)
    os.chmod(there.tls.key, 0o644)
    with pytest.raises(UsageError, match="others may read it"):
        HttpServer(app, "127.0.0.1", 0, there.tls)
    write(there.tls, made("bank"))
    there.tls.certificate.write_bytes(made("other").certificate)
    with pytest.raises(UsageError, match="cannot be used with the key"):
        HttpServer(app, "127.0.0.1", 0, there.tls)
    with pytest.raises(UsageError, match="cannot be used with the key"):
        HttpServer(app, "127.0.0.1", 0, Tls(tmp_path / "none.crt", there.tls.key))
    with pytest.raises(UsageError, match="no file of API keys"):
        HttpServer(plain, "127.0.0.1", 0, Tls(there.tls.certificate, there.tls.key, True))
    bare = tmp_path / "bare"
    bare.mkdir()
    new_key(bare)
    keyed = make_app(FakeScorer(), ApiSettings(keys=bare / keys.FILE), SystemClock(), print)
    with pytest.raises(UsageError, match="none is registered"):
        HttpServer(keyed, "127.0.0.1", 0, Tls(there.tls.certificate, there.tls.key, True))
    with pytest.raises(UsageError, match="registered already"):
        new_key(tmp_path, "again", "score", certificate=there.clients["desk"].certificate.decode())
    with pytest.raises(UsageError, match="not a certificate"):
        new_key(tmp_path, "none", "score", certificate="none")
