"""What both ends of a call must know: names of methods and metadata, bounds, and what a status says.

/tallystick.Party/Offer     unary: an offer, answered by the newest head of the caller's ledger that we hold, or refused
/tallystick.Party/Run       stream of frames in both directions; metadata names run and attempt
/tallystick.Party/Score     stream of frames in both directions; metadata names run and session
/tallystick.Party/Log       unary: the ledger of a finished run
/tallystick.Party/Attest    unary: a signature under the list of a bundle's files
/tallystick.Party/Keep      unary: the audit bundle, for the peer to keep
/tallystick.Party/End       unary: no further attempt will come, and why
/tallystick.Party/Health    unary: what the party runs
"""

from __future__ import annotations

import resource
from typing import Any

import grpc

from vfl.desk import MAX_FRAME
from vfl.errors import AgreementError, RunEnded, TransportError, Unreachable, UsageError, VflError

SERVICE = "tallystick.Party"
OFFER, RUN, HEALTH, LOG, ATTEST, KEEP, END = (
    "Offer", "Run", "Health", "Log", "Attest", "Keep", "End",
)  # fmt: skip
SCORE = "Score"
FROM, RUN_KEY, ATTEMPT, JOB = "tallystick-party", "tallystick-run", "tallystick-attempt", "tallystick-job"
MAX_OFFER = 2 * 2**20  # bytes
MAX_HEAD = 10_000  # bytes of a signed ledger head
KEEPALIVE_SECONDS, KEEPALIVE_TIMEOUT = 20, 20
HANDSHAKE_SECONDS = 5
MOST_CONNECTIONS = 4096  # handshakes that do not go on included: those of strangers keep no peer out

Option = tuple[str, int | str]
_BOTH: tuple[Option, ...] = (
    ("grpc.max_receive_message_length", MAX_FRAME),
    ("grpc.max_send_message_length", MAX_FRAME),
    ("grpc.max_metadata_size", 8192),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # none: what is sent is what arrives, and no bomb
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT * 1000),
    ("grpc.http2.max_pings_without_data", 0),  # streams are silent for minutes while a party computes
)
_SERVER: tuple[Option, ...] = (
    *_BOTH,
    ("grpc.so_reuseport", 0),  # nobody else listens where we do
    ("grpc.max_concurrent_streams", 16),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)
CLIENT_OPTIONS: tuple[Option, ...] = (
    *_BOTH,
    ("grpc.enable_retries", 0),  # a new attempt is the run's affair
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new dial is a new connection, with the certificates of now
)

_REFUSED = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT}
_ENDED = grpc.StatusCode.OUT_OF_RANGE  # beyond the end of the run
_UNKNOWN = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def server_options() -> tuple[Option, ...]:
    """Of a listener: at most half of the files that this process may open are connections."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (*_SERVER, ("grpc.max_allowed_incoming_connections", max(16, min(MOST_CONNECTIONS, files // 2))))


def method(name: str) -> str:
    """The path of a method."""
    return f"/{SERVICE}/{name}"


def status_of(error: VflError) -> grpc.StatusCode:
    """How an error is told to a peer: whether it may try again, and whether the run is over."""
    if isinstance(error, RunEnded):
        return _ENDED
    return grpc.StatusCode.ABORTED if isinstance(error, TransportError) else grpc.StatusCode.FAILED_PRECONDITION


def error_of(peer: str, failed: grpc.RpcError | Any) -> VflError:
    """What a failed call means here: try again, or not."""
    code, detail = failed.code(), str(failed.details() or "").strip()
    said = "".join(char if char.isprintable() else "?" for char in detail[:500])
    if code is _ENDED:
        return RunEnded(said, by=peer)
    if code in _REFUSED:
        return AgreementError(f"{peer} refuses: {said}", remedy="settle it with the people there, then start again")
    if code in _UNKNOWN:
        return AgreementError(f"{peer} does not let us in: {said}", remedy="exchange cards again")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UsageError(f"{peer} does not know this call: {said}", remedy="use the same version on both sides")
    if code is grpc.StatusCode.ABORTED:
        return TransportError(f"{peer} ended the attempt: {said}")
    return Unreachable(f"{peer} cannot be reached: {code.name.lower()}, {said}")
