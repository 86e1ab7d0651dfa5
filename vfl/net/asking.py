"""The dialling side of a session of scores: a stream in an event loop, for questions that somebody waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc

from vfl.errors import Unreachable, VflError
from vfl.net import calls
from vfl.net.tls import Known, OwnTls, channel_credentials

_FAILED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class GrpcWire:
    """A stream over gRPC with mutual TLS."""

    def __init__(self, peer: str, channel: grpc.aio.Channel, call: Any) -> None:
        self._peer, self._channel, self._call = peer, channel, call

    @classmethod
    async def dial(cls, me: str, own: OwnTls, peer: Known, run: str, job: str) -> GrpcWire:
        """Connect to a peer that serves. Raises VflError."""
        credentials, host = channel_credentials(own, peer)
        options = [*calls.CLIENT_OPTIONS, ("grpc.ssl_target_name_override", host)]
        channel = grpc.aio.secure_channel(peer.address, credentials, options)
        await _connected(peer.name, channel)
        metadata = ((calls.FROM, me), (calls.RUN_KEY, run), (calls.JOB, job))
        call = channel.stream_stream(calls.method(calls.SCORE))(metadata=metadata)
        return cls(peer.name, channel, call)

    async def write(self, frame: bytes) -> None:
        try:
            await self._call.write(frame)
        except (grpc.RpcError, asyncio.InvalidStateError):
            raise await self._why() from None

    async def read(self) -> bytes | None:
        try:
            frame = await self._call.read()
        except grpc.RpcError:
            raise await self._why() from None
        return frame if isinstance(frame, bytes) else None

    async def _why(self) -> VflError:
        code, detail = await self._call.code(), await self._call.details()
        return calls.error_of(self._peer, _Failed(code, detail))

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close()


async def _connected(peer: str, channel: grpc.aio.Channel) -> None:
    """Until the channel has a connection; without one, no session begins. Raises Unreachable."""
    try:
        async with asyncio.timeout(calls.HANDSHAKE_SECONDS):
            while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                if state in _FAILED:
                    raise Unreachable(f"{peer} cannot be connected to")
                await channel.wait_for_state_change(state)
    except (TimeoutError, Unreachable):
        await channel.close()
        raise Unreachable(f"{peer} cannot be connected to") from None


@dataclass(frozen=True)
class _Failed:
    """A call's end, as `calls.error_of` reads it."""

    _code: grpc.StatusCode
    _details: str | None

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details
