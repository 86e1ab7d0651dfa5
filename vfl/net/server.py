"""The listening side: admits calls of pinned peers, and gives every stream a socket.

Who calls is decided by the pin of the certificate that its connection showed, compared here on every call. Everything
else is the gate's affair (`vfl.party.service`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

import grpc

from vfl.errors import AgreementError, TransportError, UsageError, VflError
from vfl.net import calls
from vfl.net.pins import pin_of
from vfl.net.pump import frames_of, hang_up, pour
from vfl.net.tls import Known, OwnTls, Shown, require_1_3, server_credentials

T = TypeVar("T")
MOST_CALLS = 64  # at the same time, streams included
MOST_OF_ONE = 16  # at the same time, of one peer: it can take no more from the others


class Attending(Protocol):
    """A party's side of one stream."""

    @property
    def end(self) -> socket.socket:
        """What the peer says goes in here, and what it is to hear comes out. Closed when the party is done."""
        ...

    def outcome(self) -> VflError | None:
        """Why the party's side ended, after `end` was closed; None if all is well."""
        ...

    def leave(self) -> None:
        """The stream is over, however it ended."""
        ...


class Gate(Protocol):
    """What a party does about calls. An AgreementError refuses with words for the peer, any other VflError without."""

    def peers(self) -> Sequence[Known]:
        """Whom it trusts, now."""
        ...

    def offer(self, peer: str, offer: bytes) -> bytes:
        """Admit a run; the newest head of the peer's ledger that we hold."""
        ...

    def attend(self, peer: str, run: str, attempt: int) -> Attending:
        """Take part in an attempt."""
        ...

    def score(self, peer: str, run: str, job: str, frames: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Take part in a session of scoring: what is said to what is heard."""
        ...

    def withdrawn(self, peer: str, run: str, why: str) -> None:
        """No further attempt will come."""
        ...

    def failed(self, error: Exception) -> None:
        """Something went wrong here that no peer is to blame for."""
        ...

    def health(self, peer: str) -> bytes:
        """What it may know about us."""
        ...

    def log(self, peer: str, run: str) -> bytes:
        """Our ledger of a finished run."""
        ...

    def attest(self, peer: str, run: str, sums: bytes) -> bytes:
        """Our signature under the list of files of an audit bundle."""
        ...

    def keep(self, peer: str, run: str, bundle: bytes) -> None:
        """An audit bundle for us to keep."""
        ...


@dataclass(frozen=True)
class Address:
    """Where a party listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From `host:port`. Raises UsageError."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise UsageError(f"{text!r} is no address", remedy="write host:port, such as 10.1.2.3:7443")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PartyServer:
    """A party's listening side. What it shows and whom it lets in may change while it listens: handshakes that begin
    from then on see it, streams go on to their end.
    """

    def __init__(self, listen: Address, own: Callable[[], OwnTls], gate: Gate) -> None:
        """Listen; raises UsageError if the address is not to be had. Nobody is served before `start`."""
        self._own, self._gate = own, gate
        self._lock = threading.Lock()
        self._calling: Counter[str] = Counter()  # calls under way by peer
        self._pool = ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="call")
        self._shown = Shown.to(own(), gate.peers())
        _require_free(listen)
        self._server = grpc.server(
            self._pool, [self._handlers()], options=calls.server_options(), maximum_concurrent_rpcs=MOST_CALLS
        )
        port = self._server.add_secure_port(str(listen), server_credentials(lambda: self._shown))
        self.address = Address(listen.host, port)

    def start(self) -> None:
        """Serve. Raises UsageError if anything below TLS 1.3 would be spoken."""
        self._server.start()
        require_1_3(self.address.host, self.address.port)

    def refresh(self) -> bool:
        """Show and admit what the files say now; to be called now and then. Whether anything changed."""
        shown = Shown.to(self._own(), self._gate.peers())
        if shown == self._shown:
            return False
        self._shown = shown
        return True

    def stop(self, grace: float) -> None:
        """Admit nobody more, and end what still goes on after so many seconds."""
        self._server.stop(grace).wait()
        self._pool.shutdown(wait=False)

    def _handlers(self) -> grpc.GenericRpcHandler:
        unary = {
            calls.OFFER: self._offer,
            calls.HEALTH: lambda peer, _, __: self._gate.health(peer),
            calls.LOG: lambda peer, run, _: self._gate.log(peer, run),
            calls.ATTEST: self._gate.attest,
            calls.KEEP: self._keep,
            calls.END: self._end,
        }
        handlers: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(self._answering(answer)) for name, answer in unary.items()
        }
        streams = {calls.RUN: self._run, calls.SCORE: self._score}
        handlers |= {name: grpc.stream_stream_rpc_method_handler(attend) for name, attend in streams.items()}
        return grpc.method_handlers_generic_handler(calls.SERVICE, handlers)

    def _offer(self, peer: str, run: str, offer: bytes) -> bytes:
        if len(offer) > calls.MAX_OFFER:
            raise AgreementError(f"an offer of {len(offer)} bytes is larger than the limit of {calls.MAX_OFFER}")
        return self._gate.offer(peer, offer)

    def _keep(self, peer: str, run: str, bundle: bytes) -> bytes:
        self._gate.keep(peer, run, bundle)
        return b""

    def _end(self, peer: str, run: str, why: bytes) -> bytes:
        told = "".join(char if char.isprintable() else "?" for char in why[:1000].decode(errors="replace"))
        self._gate.withdrawn(peer, run, told)
        return b""

    def _answering(self, answer: Callable[[str, str, bytes], bytes]) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            with self._call_of(self._caller(context), context) as peer:
                try:
                    return self._safely(lambda: answer(peer, _asked(context, calls.RUN_KEY), request))
                except VflError as error:
                    _refuse(context, error)

        return handle

    def _run(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._call_of(self._caller(context), context) as peer:
            yield from self._stream(peer, frames, context)

    def _score(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        run, job = _asked(context, calls.RUN_KEY), _asked(context, calls.JOB)
        with self._call_of(self._caller(context), context) as peer:
            answers = self._gate.score(peer, run, job, _until_gone(frames))
            try:
                while (answer := self._safely(lambda: next(answers, None))) is not None:
                    yield answer
            except VflError as error:
                _refuse(context, error)
            finally:
                answers.close()

    def _stream(self, peer: str, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        attempt = _asked(context, calls.ATTEMPT)
        if not (attempt.isascii() and attempt.isdecimal()) or len(attempt) > 9:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a stream names its attempt by a number")
        try:
            attending = self._safely(lambda: self._gate.attend(peer, _asked(context, calls.RUN_KEY), int(attempt)))
        except VflError as error:
            _refuse(context, error)
        context.add_callback(lambda: hang_up(attending.end))
        listening = threading.Thread(target=_listen, args=(frames, attending.end), daemon=True)
        listening.start()
        try:
            yield from frames_of(attending.end)
            try:
                why = self._safely(attending.outcome)
            except VflError as error:
                why = error
            if why is not None:
                _refuse(context, why)
        finally:
            attending.leave()

    def _safely(self, act: Callable[[], T]) -> T:
        """What nobody foresaw, such as a full disk, is for our own log, and no word of it for the peer."""
        try:
            return act()
        except VflError:
            raise
        except Exception as error:
            self._gate.failed(error)
            raise TransportError("its service is out of order") from error

    @contextmanager
    def _call_of(self, peer: str, context: grpc.ServicerContext) -> Iterator[str]:
        with self._lock:
            self._calling[peer] += 1
            many = self._calling[peer] > MOST_OF_ONE
        try:
            if many:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_OF_ONE} calls of {peer} are under way")
            yield peer
        finally:
            with self._lock:
                self._calling[peer] -= 1

    def _caller(self, context: grpc.ServicerContext) -> str:
        """The peer whose pin the connection's certificate has, if it is who it says."""
        shown = context.auth_context().get("x509_pem_cert", [])
        try:
            pin = pin_of(shown[0]) if shown else ""
        except UsageError:
            pin = ""
        names = [peer.name for peer in self._gate.peers() if pin in peer.pins]
        said = _asked(context, calls.FROM)
        if not names:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the certificate of this connection has no pin that counts")
        if said not in names:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "the certificate of this connection has another name")
        return said


def _asked(context: grpc.ServicerContext, key: str) -> str:
    """What the caller's metadata say under `key`; empty if nothing."""
    return str(dict(context.invocation_metadata()).get(key, ""))


def _until_gone(frames: Iterator[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(grpc.RpcError):  # the caller went
        yield from frames


def _listen(frames: Iterator[bytes], end: socket.socket) -> None:
    with contextlib.suppress(grpc.RpcError):  # the caller went; `pour` closes the end, and the party sees that
        pour(frames, end)


def _refuse(context: grpc.ServicerContext, error: VflError) -> NoReturn:
    # What is wrong with our own input is not for the peer to read: it may name files and values.
    told = "its own input must be mended first" if isinstance(error, UsageError) else str(error)
    context.abort(calls.status_of(error), told)
    raise AssertionError  # abort raises


def _require_free(listen: Address) -> None:
    """Raise UsageError if the address is not ours, or somebody listens there already."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        socket.create_server((listen.host, listen.port), family=family).close()
    except OSError as error:
        raise UsageError(
            f"cannot listen at {listen}: {error.strerror or error}",
            remedy="see whether another program has that address, or name another",
        ) from None
