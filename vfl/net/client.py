"""The dialling side: calls to one peer, and a stream to it that ends in a socket."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any

import grpc

from vfl.errors import TransportError, VflError
from vfl.net import calls
from vfl.net.pump import frames_of, hang_up, pour
from vfl.net.tls import Known, OwnTls, channel_credentials


class Dialled:
    """A connection to one peer."""

    def __init__(self, me: str, own: OwnTls, peer: Known, seconds: float = 10.0) -> None:
        """Raises UsageError if no certificate of the peer is trusted. Connects with the first call.

        `seconds`: until a call must be answered; those that move ledgers have ten times as long.
        """
        self._seconds = seconds
        credentials, host = channel_credentials(own, peer)
        options = [*calls.CLIENT_OPTIONS, ("grpc.ssl_target_name_override", host)]
        self.peer = peer.name
        self._me = me
        self._channel = grpc.secure_channel(peer.address, credentials, options)

    def __enter__(self) -> Dialled:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and every call on it."""
        self._channel.close()

    def offer(self, offer: bytes) -> bytes:
        """Offer a run; the newest head of our ledger that the peer holds, empty if none.

        Raises AgreementError with the peer's reason if it refuses, TransportError: try again.
        """
        return self._call(calls.OFFER, "", offer)

    def health(self) -> bytes:
        """What the peer tells about itself."""
        return self._call(calls.HEALTH, "", b"")

    def log(self, run: str) -> bytes:
        """The peer's ledger of a finished run."""
        return self._call(calls.LOG, run, b"", 10 * self._seconds)

    def attest(self, run: str, sums: bytes) -> bytes:
        """The peer's signature under the list of files of an audit bundle."""
        return self._call(calls.ATTEST, run, sums, 10 * self._seconds)

    def keep(self, run: str, bundle: bytes) -> None:
        """Give the peer the audit bundle."""
        self._call(calls.KEEP, run, bundle, 10 * self._seconds)

    def withdraw(self, run: str, why: str) -> None:
        """Tell the peer that no further attempt will come."""
        self._call(calls.END, run, why.encode()[:1000])

    def stream(self, run: str, attempt: int, end: socket.socket) -> Stream:
        """Open the stream of an attempt: what is read from `end` is sent, what is heard is written to it.

        The stream closes `end` when it is over.
        """
        metadata = ((calls.FROM, self._me), (calls.RUN_KEY, run), (calls.ATTEMPT, str(attempt)))
        call = self._channel.stream_stream(calls.method(calls.RUN))(frames_of(end), metadata=metadata)
        return Stream(self.peer, call, end)

    def _call(self, name: str, run: str, request: bytes, seconds: float | None = None) -> bytes:
        metadata = ((calls.FROM, self._me), (calls.RUN_KEY, run))
        try:
            answer: bytes = self._channel.unary_unary(calls.method(name))(
                request, metadata=metadata, timeout=seconds or self._seconds
            )
        except grpc.RpcError as failed:
            raise calls.error_of(self.peer, failed) from None
        return answer


class Stream:
    """A stream under way."""

    def __init__(self, peer: str, call: Any, end: socket.socket) -> None:
        self.peer = peer
        self._call = call
        self._end = end
        self._error: VflError | None = None
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        try:
            if not pour(self._call, self._end):
                self._call.cancel()  # our side has gone, and knows why
            elif self._call.code() is not grpc.StatusCode.OK:
                self._error = calls.error_of(self.peer, self._call)
        except grpc.RpcError as failed:
            self._error = calls.error_of(self.peer, failed)
        finally:
            hang_up(self._end)
            self._end.close()

    def ended(self, timeout: float) -> VflError | None:
        """Wait until all was delivered and the peer has ended as well; why it failed, or None."""
        self._listening.join(timeout)
        if self._listening.is_alive():
            return TransportError(f"{self.peer} does not end")
        return self._error

    def cancel(self) -> None:
        """End the stream at once."""
        self._call.cancel()
        hang_up(self._end)
