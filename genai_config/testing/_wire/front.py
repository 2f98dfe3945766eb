"""One port for both wires: each connection is relayed to the side whose protocol it offers."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from genai_config.testing._wire.http_side import listen

# The list of protocols (ALPN) in a ClientHello that offers HTTP/2 alone, or gRPC's older name for
# it too. Whoever speaks HTTP/1.1 as well offers it there, or has no list. Nine bytes and more are
# not found in the random parts of the message by chance.
_GRPC = (
    b"\x00\x10\x00\x05\x00\x03\x02h2",
    b"\x00\x10\x00\x0e\x00\x0c\x08grpc-exp\x02h2",
    b"\x00\x10\x00\x0e\x00\x0c\x02h2\x08grpc-exp",
)
_HANDSHAKE = 22
_HEADER = 5


class Front:
    """A port of this machine, which relays to the ports of gRPC and REST.

    Args:
        loop: The running loop, of another thread, that does the work.
        port: The port; 0 is a free one.
        grpc_port: Where connections go that offer HTTP/2 alone.
        rest_port: Where all others go.

    Attributes:
        port: The port.

    Raises:
        OSError: The port cannot be opened.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: int, grpc_port: int, rest_port: int
    ) -> None:
        self._listening = listen(port, "port")
        self.port: int = self._listening.getsockname()[1]
        self._ports = (rest_port, grpc_port)
        self._ends: set[_End] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._loop = loop
        asyncio.run_coroutine_threadsafe(self._start(), loop).result()

    def stop(self) -> None:
        """Stops at once: every connection is cut."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    async def _start(self) -> None:
        accept = functools.partial(_Client, self._ends, self._relay)
        self._server = await self._loop.create_server(accept, sock=self._listening)

    async def _stop(self) -> None:
        self._server.close()
        while self._ends or self._connecting:
            # Again and again: a connection may have been accepted that comes up only now.
            for connecting in self._connecting:
                connecting.cancel()
            for end in self._ends:
                end.transport.abort()
            await asyncio.sleep(0)

    def _relay(self, client: _Client, first: bytes) -> None:
        connecting = self._loop.create_task(self._connect(client, first))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _Client, first: bytes) -> None:
        port = self._ports[any(one in first for one in _GRPC)]
        make = functools.partial(_End, self._ends, client)
        try:
            _, client.other = await self._loop.create_connection(make, "127.0.0.1", port)
        except OSError:  # the side has stopped
            client.transport.abort()
            return
        client.other.transport.write(first)
        client.transport.resume_reading()


class _End(asyncio.Protocol):
    """One of the two connections of a relay; what comes is written to the other.

    Attributes:
        transport: The connection.
        other: The other one; None: it is not there yet.
    """

    transport: Any
    other: Any

    def __init__(self, ends: set[_End], other: _End | None = None) -> None:
        self._ends = ends
        self.other = other

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._ends.add(self)

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    # A side that reads slowly slows the other one down.

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._ends.discard(self)
        if self.other is not None:
            self.other.transport.close()  # after what is still to be written


class _Client(_End):
    """A client's connection, which is looked at until it is known what it speaks."""

    def __init__(self, ends: set[_End], relay: Any) -> None:
        super().__init__(ends)
        self._relay = relay
        self._first = b""

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        self._first += data
        if _is_whole(self._first):
            self.transport.pause_reading()
            self._relay(self, self._first)


def _is_whole(first: bytes) -> bool:
    """Whether a connection has sent its first TLS record; what is not TLS is not waited for."""
    if first[0] != _HANDSHAKE:
        return True
    return len(first) >= _HEADER + int.from_bytes(first[3:_HEADER], "big")
