"""Streams over mutual TLS 1.3: who gets in, who does not, and what a stream carries."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from net_kit import BANK, TELECOM, Echo, EchoGate, heard, known, made, serving

from vfl.desk import MAX_FRAME
from vfl.errors import AgreementError, TransportError, Unreachable, UsageError, VflError
from vfl.net.calls import HANDSHAKE_SECONDS
from vfl.net.client import Dialled
from vfl.net.pins import pin_of
from vfl.net.server import MOST_OF_ONE, Address, PartyServer
from vfl.net.tls import Known, OwnTls, channel_credentials, require_1_3
from vfl.transport import SocketLink

RIGHT = b"well"


@pytest.fixture(scope="module")
def gate() -> EchoGate:
    return EchoGate([known("bank", BANK)])


@pytest.fixture(scope="module")
def telecom(gate: EchoGate) -> Iterator[Known]:
    with serving(gate) as there:
        yield there


# ---- what a stream carries -------------------------------------------------------------------------------------------


def test_frames_come_back_whole_and_in_order(telecom: Known, gate: EchoGate) -> None:
    frames = [b"", b"a", bytes(5_000_000), b"last"]
    ours, theirs = socket.socketpair()
    with Dialled("bank", BANK, telecom) as there:
        link, stream = SocketLink(ours, "telecom"), there.stream("r1", 3, theirs)
        for frame in frames:
            link.push(frame)
        assert heard(link, 4) == frames
        link.close()
        assert stream.ended(5.0) is None
    assert gate.heard[-1] == ("bank", "r1/3")
    assert gate.streams[-1].left.wait(5)


def test_a_frame_at_the_limit_passes_and_one_beyond_ends_the_stream(telecom: Known) -> None:
    for size, fits in ((MAX_FRAME, True), (MAX_FRAME + 1, False)):
        ours, theirs = socket.socketpair()
        with Dialled("bank", BANK, telecom) as there:
            link, stream = SocketLink(ours, "telecom"), there.stream("r1", 1, theirs)
            link.push(bytes(size))
            if fits:
                assert len(heard(link, 1)[0]) == size
            else:
                with pytest.raises(Unreachable):
                    heard(link, 1)
                assert stream.ended(5.0) is not None
            link.close()


def test_a_slow_reader_stops_the_writer_and_fills_no_memory(telecom: Known) -> None:
    """Whoever does not read lets the other side wait: bytes in flight stay far below what is to be said."""
    ours, theirs = socket.socketpair()
    frame = (1 << 20).to_bytes(4, "big") + bytes(1 << 20)
    with Dialled("bank", BANK, telecom) as there:
        there.stream("r1", 1, theirs)
        ours.settimeout(2.0)
        taken = written(ours, frame, 200)
        assert 1 < taken < 60
        ours.close()


def written(end: socket.socket, frame: bytes, most: int) -> int:
    """How many frames an end takes before it makes the writer wait."""
    for number in range(most):
        try:
            end.sendall(frame)
        except TimeoutError:
            return number
    return most


def test_a_server_that_goes_is_unreachable_at_once() -> None:
    gate = EchoGate([known("bank", BANK)])
    ours, theirs = socket.socketpair()
    with serving(gate) as telecom:
        there = Dialled("bank", BANK, telecom)
        link, stream = SocketLink(ours, "telecom"), there.stream("r1", 1, theirs)
        link.push(b"hello")
        assert heard(link, 1) == [b"hello"]
    with pytest.raises(Unreachable, match="telecom"):
        heard(link, 1)
    assert isinstance(stream.ended(5.0), TransportError)
    with pytest.raises(Unreachable, match="telecom cannot be reached"):
        there.health()
    there.close()
    link.close()


def test_a_caller_that_goes_is_noticed_by_the_party(telecom: Known, gate: EchoGate) -> None:
    ours, theirs = socket.socketpair()
    with Dialled("bank", BANK, telecom) as there:
        link, stream = SocketLink(ours, "telecom"), there.stream("r1", 1, theirs)
        link.push(b"hello")
        assert heard(link, 1) == [b"hello"]
        stream.cancel()
    assert gate.streams[-1].left.wait(5)
    link.close()


def test_an_offer_is_answered_or_refused_with_the_peers_reason(telecom: Known, gate: EchoGate) -> None:
    with Dialled("bank", BANK, telecom) as there:
        there.offer(b"yes")
        with pytest.raises(AgreementError, match="telecom refuses: not with us"):
            there.offer(b"no")
        with pytest.raises(AgreementError, match="larger than the limit"):
            there.offer(bytes(3 << 20))
    assert ("bank", "yes") in gate.heard


# ---- who gets in -----------------------------------------------------------------------------------------------------


def call(telecom: Known, own: OwnTls = BANK, me: str = "bank") -> bytes:
    with Dialled(me, own, telecom) as there:
        return there.health()


def test_the_right_one_gets_in(telecom: Known) -> None:
    assert call(telecom) == RIGHT


STRANGER = made("bank")
LEAF = made("bank", issuer=BANK)
EXPIRED, EARLY = made("bank", start=-9, days=-1), made("bank", start=1, days=9)


@pytest.mark.parametrize(
    ("own", "me"),
    [
        pytest.param(STRANGER, "bank", id="the right name on another's key"),
        pytest.param(LEAF, "bank", id="issued by the right one"),
        pytest.param(BANK, "payroll", id="the right key under another name"),
        pytest.param(BANK, "", id="no name"),
        pytest.param(TELECOM, "telecom", id="the server's own certificate"),
    ],
)
def test_whoever_is_not_pinned_stays_out(telecom: Known, own: OwnTls, me: str) -> None:
    with pytest.raises((AgreementError, Unreachable)):
        call(telecom, own, me)
    assert call(telecom) == RIGHT


@pytest.mark.parametrize("own", [EXPIRED, EARLY], ids=["expired", "not yet valid"])
def test_a_pinned_certificate_counts_only_while_it_is_valid(own: OwnTls) -> None:
    with serving(EchoGate([known("bank", own), known("payroll", BANK)])) as telecom:
        with pytest.raises(Unreachable):
            call(telecom, own)
        assert call(telecom, BANK, "payroll") == RIGHT


def raw(telecom: Known) -> socket.socket:
    at = Address.parse(telecom.address)
    return socket.create_connection((at.host, at.port), timeout=5)


def spoken(telecom: Known, tmp_path: Path, version: ssl.TLSVersion, own: OwnTls | None) -> str | None:
    """The TLS version in which the server lets a client in, or None."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    if own is not None:
        file = tmp_path / "own.pem"
        file.write_bytes(own.key + own.certificate)
        context.load_cert_chain(file)
    try:
        with context.wrap_socket(raw(telecom)) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return connection.version() if connection.recv(9) else None
    except OSError:
        return None


def test_tls_1_3_with_our_certificate_and_nothing_less(telecom: Known, tmp_path: Path) -> None:
    assert spoken(telecom, tmp_path, ssl.TLSVersion.TLSv1_3, BANK) == "TLSv1.3"
    assert spoken(telecom, tmp_path, ssl.TLSVersion.TLSv1_2, BANK) is None
    assert spoken(telecom, tmp_path, ssl.TLSVersion.TLSv1_3, None) is None
    assert spoken(telecom, tmp_path, ssl.TLSVersion.TLSv1_3, STRANGER) is None


def test_plain_text_is_not_answered(telecom: Known) -> None:
    with raw(telecom) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert b"h2" not in (answered := plain.recv(1000))
        assert answered == b"" or answered[0] == 21, "a TLS alert at most"
    assert call(telecom) == RIGHT


def test_a_pin_that_is_taken_back_acts_on_the_next_call_of_an_open_connection() -> None:
    gate = EchoGate([known("bank", BANK)])
    with serving(gate) as telecom, Dialled("bank", BANK, telecom) as there:
        assert there.health() == RIGHT
        gate.trusted.clear()
        with pytest.raises(AgreementError, match="no pin that counts"):
            there.health()
        gate.trusted.append(known("bank", BANK))
        assert there.health() == RIGHT


def test_certificates_of_both_sides_may_change_while_the_server_runs() -> None:
    """A peer is known by old and new certificate while it changes; new connections show the new one."""
    own, gate = [TELECOM], EchoGate([known("bank", BANK)])
    server = PartyServer(Address("127.0.0.1", 0), lambda: own[0], gate)
    server.start()
    try:
        new_bank, new_telecom = made("bank"), made("telecom")
        pins = frozenset({pin_of(TELECOM.certificate), pin_of(new_telecom.certificate)})
        both = Known("telecom", str(server.address), (TELECOM.certificate, new_telecom.certificate), pins)
        with pytest.raises(Unreachable):
            call(both, new_bank)
        gate.trusted.append(known("bank", new_bank))
        ours, theirs = socket.socketpair()
        before = Dialled("bank", BANK, both)
        link, stream = SocketLink(ours, "telecom"), before.stream("r1", 1, theirs)
        link.push(b"old")
        assert heard(link, 1) == [b"old"]
        assert server.refresh()
        assert not server.refresh()
        assert call(both, BANK) == call(both, new_bank) == RIGHT
        own[0] = new_telecom
        server.refresh()
        assert call(both, new_bank) == RIGHT
        with pytest.raises(Unreachable):
            call(Known("telecom", both.address, (TELECOM.certificate,), pins), BANK)
        link.push(b"a stream outlives the change")
        assert heard(link, 1) == [b"a stream outlives the change"]
        link.close()
        assert stream.ended(5.0) is None
        before.close()
    finally:
        server.stop(0)


def impostor(own: OwnTls, version: ssl.TLSVersion, folder: Path) -> tuple[str, Callable[[], None]]:
    """A server of another make: its address, and how to end it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    (folder / "there.pem").write_bytes(own.key + own.certificate)
    context.load_cert_chain(folder / "there.pem")
    context.set_alpn_protocols(["h2"])
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1000)
                    told.append(secured.version() or "")
            except OSError:
                pass

    told: list[str] = []
    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listening.getsockname()[1]}", listening.close


@pytest.mark.parametrize("wrong", ["another key", "TLS 1.2"])
def test_we_do_not_speak_to_an_impostor(tmp_path: Path, wrong: str) -> None:
    own = made("telecom") if wrong == "another key" else TELECOM
    version = ssl.TLSVersion.TLSv1_3 if wrong == "another key" else ssl.TLSVersion.TLSv1_2
    address, end = impostor(own, version, tmp_path)
    with pytest.raises(Unreachable, match=r"SSL|handshake"):
        call(Known("telecom", address, (TELECOM.certificate,), frozenset({pin_of(TELECOM.certificate)})))
    end()


def test_grpc_is_not_loaded_before_it_is_told_its_ciphers() -> None:
    """It reads its environment once, and would speak TLS 1.2: that must not go unnoticed."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}

    def said(code: str) -> str:
        words = [sys.executable, "-c", code]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=bare).stderr

    assert "vfl.net has to be imported before grpc" in said("import grpc, vfl.net")
    served_all_the_same = (
        "import sys, grpc; sys.path.insert(0, 'tests'); hidden = sys.modules.pop('grpc'); import vfl.net;"
        "sys.modules['grpc'] = hidden; from net_kit import *;"
        "PartyServer(Address('127.0.0.1', 0), lambda: TELECOM, EchoGate([known('bank', BANK)])).start()"
    )
    assert "would speak TLS 1.2" in said(served_all_the_same)


def test_a_server_below_1_3_is_noticed(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    address, end = impostor(made("telecom", key=key), ssl.TLSVersion.TLSv1_2, tmp_path)
    at = Address.parse(address)
    with pytest.raises(UsageError, match=r"would speak TLS 1\.2"):
        require_1_3(at.host, at.port)
    end()


# ---- what is wrong before anybody calls ------------------------------------------------------------------------------


def test_only_elliptic_curves_have_pins() -> None:
    """TLS 1.2 is shut out by leaving it RSA ciphers alone: an RSA key would open it again."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(UsageError, match="P-256"):
        PartyServer(Address("127.0.0.1", 0), lambda: made("telecom", key=key), EchoGate([]))
    for data in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 50):
        with pytest.raises(UsageError, match="PEM"):
            pin_of(data)


def test_the_pin_is_of_the_key_not_of_the_certificate() -> None:
    key = serialization.load_pem_private_key(BANK.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert pin_of(made("other", key=key).certificate) == pin_of(BANK.certificate) != pin_of(STRANGER.certificate)


def test_a_peer_without_a_pin_that_counts_is_not_dialled() -> None:
    with pytest.raises(UsageError, match="none of the certificates of telecom"):
        Dialled("bank", BANK, Known("telecom", "127.0.0.1:1", (TELECOM.certificate,), frozenset()))


def test_an_address_in_use_is_refused(telecom: Known) -> None:
    with pytest.raises(UsageError, match="cannot listen at"):
        PartyServer(Address.parse(telecom.address), lambda: TELECOM, EchoGate([]))


@pytest.mark.parametrize("text", ["", "bank", ":7443", "bank:", "bank:x", "bank:99999", "bank:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Address.parse(text)


def test_addresses_are_written_as_they_are_read() -> None:
    assert [str(Address.parse(text)) for text in ("10.0.0.1:7443", "[::1]:80")] == ["10.0.0.1:7443", "[::1]:80"]


# ---- strangers that only cost ----------------------------------------------------------------------------------------


def test_half_open_connections_keep_nobody_out(telecom: Known) -> None:
    silent = [raw(telecom) for _ in range(100)]
    try:
        for number, connection in enumerate(silent):
            connection.sendall(b"\x16\x03\x01"[: number % 4])  # the start of a handshake that never goes on
        began = time.monotonic()
        for _ in range(5):
            assert call(telecom) == RIGHT
        assert time.monotonic() - began < 5
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize("kind", [UsageError, OSError, KeyError, RuntimeError])
def test_an_error_of_the_gate_names_no_input_of_ours(kind: type[Exception], capfd: pytest.CaptureFixture[str]) -> None:
    class Careless(EchoGate):
        def offer(self, peer: str, offer: bytes) -> None:
            raise kind("/srv/secret.csv: row 7 holds '+34600123456'")

    gate = Careless([known("bank", BANK)])
    with (
        serving(gate) as telecom,
        Dialled("bank", BANK, telecom) as there,
        pytest.raises(VflError) as caught,
    ):
        there.offer(b"")
    assert "secret" not in str(caught.value)
    assert "+34" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert gate.heard == ([] if kind is UsageError else [("", kind.__name__)])


# ---- peers that mean harm --------------------------------------------------------------------------------------------


@contextmanager
def unbounded(telecom: Known) -> Iterator[grpc.Channel]:
    """The right certificate, and none of our own client's limits."""
    credentials, host = channel_credentials(BANK, telecom)
    options = [("grpc.ssl_target_name_override", host), ("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(telecom.address, credentials, options) as channel:
        yield channel


def metadata(**more: str) -> tuple[tuple[str, str], ...]:
    return (("tallystick-party", "bank"), *((f"tallystick-{key}", value) for key, value in more.items()))


def code_of(failed: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    code: grpc.StatusCode = failed.value.code()
    return code.name


def test_a_message_beyond_the_limit_is_refused_by_the_server(telecom: Known) -> None:
    with unbounded(telecom) as channel:
        stream = channel.stream_stream("/tallystick.Party/Run")
        with pytest.raises(grpc.RpcError) as failed:
            list(stream(iter([bytes(MAX_FRAME + 1)]), metadata=metadata(run="r1", attempt="1"), timeout=20))
        assert code_of(failed) == "RESOURCE_EXHAUSTED"
    assert call(telecom) == RIGHT


@pytest.mark.parametrize("attempt", ["", "-1", "x", "1" * 10, "\u0661".encode().decode("latin-1"), "1e3"])
def test_a_stream_without_a_number_is_refused(telecom: Known, gate: EchoGate, attempt: str) -> None:
    before = len(gate.streams)
    with unbounded(telecom) as channel:
        more = {"attempt": attempt} if attempt.isascii() and attempt else {}
        stream = channel.stream_stream("/tallystick.Party/Run")
        with pytest.raises(grpc.RpcError) as failed:
            list(stream(iter([b"x"]), metadata=metadata(run="r1", **more), timeout=10))
        assert code_of(failed) == "INVALID_ARGUMENT"
    assert len(gate.streams) == before


def test_swollen_metadata_and_unknown_calls_are_refused(telecom: Known) -> None:
    with unbounded(telecom) as channel:
        for path, more in (("Health", {"run": "x" * 40_000}), ("Nothing", {})):
            with pytest.raises(grpc.RpcError) as failed:
                channel.unary_unary(f"/tallystick.Party/{path}")(b"", metadata=metadata(**more), timeout=10)
            assert code_of(failed) in ("RESOURCE_EXHAUSTED", "UNIMPLEMENTED")
    assert call(telecom) == RIGHT


def test_one_peer_cannot_take_all_calls_of_the_others() -> None:
    gate = EchoGate([known("bank", BANK), known("payroll", STRANGER)])
    with serving(gate) as telecom, Dialled("payroll", STRANGER, telecom) as payroll:
        with unbounded(telecom) as first, unbounded(telecom) as second:
            ends = threading.Event()

            def frames() -> Iterator[bytes]:
                yield b"x"
                ends.wait()

            kept = []
            for channel, count in ((first, 12), (second, 12)):
                for number in range(count):
                    stream = channel.stream_stream("/tallystick.Party/Run")
                    kept += [stream(frames(), metadata=metadata(run="r", attempt=str(number)))]
            deadline = time.monotonic() + 5
            while len(gate.streams) < MOST_OF_ONE:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert payroll.health() == RIGHT
            with pytest.raises(Unreachable, match="calls of bank are under way"):
                call(telecom)
            ends.set()
        assert len(gate.streams) == MOST_OF_ONE


def test_a_flood_that_nobody_reads_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A party that computes reads nothing: what a peer sends meanwhile waits at the peer."""

    class Deaf(Echo):
        def _echo(self) -> None:
            self.left.wait()
            self._own.close()

    gate = EchoGate([known("bank", BANK)], make=Deaf)
    sent = [0]

    def flood() -> Iterator[bytes]:
        for _ in range(500):
            sent[0] += 1
            yield bytes(1 << 20)

    with serving(gate) as telecom, unbounded(telecom) as channel:
        stream = channel.stream_stream("/tallystick.Party/Run")(flood(), metadata=metadata(run="r", attempt="1"))
        time.sleep(1.5)
        assert 1 <= sent[0] < 40
        assert call(telecom) == RIGHT
        stream.cancel()


@pytest.mark.slow
def test_a_handshake_that_never_ends_is_ended(telecom: Known) -> None:
    with raw(telecom) as silent, raw(telecom) as trickle:
        for connection in (silent, trickle):
            connection.settimeout(2 * HANDSHAKE_SECONDS)
        began = time.monotonic()
        trickle.sendall(b"\x16")
        assert silent.recv(1) == trickle.recv(1) == b""
        assert time.monotonic() - began < 1.5 * HANDSHAKE_SECONDS
