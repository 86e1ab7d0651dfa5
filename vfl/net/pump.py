"""Frames between a gRPC stream and a socket, in both directions, one at a time.

    frame on the socket = length (4 bytes, big-endian) || bytes          as in `vfl.transport`

Nothing is queued here: who reads slowly lets the socket fill, then the stream's window, then whoever writes waits.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator

from vfl.desk import MAX_FRAME
from vfl.errors import Malformed


def frames_of(source: socket.socket) -> Iterator[bytes]:
    """The frames that arrive on a blocking socket until its other end closes."""
    with contextlib.suppress(OSError):
        while (header := _read(source, 4)) is not None:
            size = int.from_bytes(header, "big")
            if size > MAX_FRAME:
                raise Malformed(f"a frame of {size} bytes is larger than the limit of {MAX_FRAME}")
            if (frame := _read(source, size)) is None:
                return
            yield frame


def pour(frames: Iterable[bytes], sink: socket.socket) -> bool:
    """Write `frames` to a blocking socket, then say that there are no more. Whether all were taken.

    Whatever ends `frames` ends the connection; whoever holds the stream knows why.
    """
    try:
        for frame in frames:
            sink.sendall(len(frame).to_bytes(4, "big"))
            sink.sendall(frame)
    except OSError:
        return False
    finally:
        hang_up(sink, socket.SHUT_WR)
    return True


def hang_up(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Close a socket in one or both directions, also under a thread that waits for it."""
    with contextlib.suppress(OSError):
        end.shutdown(how)


def _read(source: socket.socket, size: int) -> bytes | None:
    """`size` bytes, or None where the connection ends before."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        if not (count := source.recv_into(view)):
            return None
        view = view[count:]
    return bytes(data)
