"""Runs applications on free ports, in one thread with one event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette


_TURN = 0.01


class HttpSide:
    """Two servers, with and without TLS.

    Attributes:
        loop: The loop, once it has started.
        secure_port: The port with TLS.
        plain_port: The port without.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(
        self, secure: Starlette, plain: Starlette, chain: Path, key: Path, secure_port: int
    ) -> None:
        self._sockets = [listen(secure_port, "rest_port"), listen(0, "")]
        secure.state.cut = self._cut
        self.secure_port, self.plain_port = (one.getsockname()[1] for one in self._sockets)
        self._servers = [
            _server(secure, ssl_certfile=chain, ssl_keyfile=key),
            _server(plain),
        ]
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._main, name="gemini-server-http")

    def start(self) -> None:
        """Starts, and returns when requests are taken."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Stops at once: every connection is cut."""
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _cut(self, client: Any) -> None:
        """Cuts a client's connection, from the loop."""
        for connection in self._connections():
            if connection.client == tuple(client):
                connection.transport.abort()

    def _connections(self) -> list[Any]:
        return [one for server in self._servers for one in server.server_state.connections]

    def _main(self) -> None:
        try:
            with contextlib.ExitStack() as undo:
                for listening in self._sockets:
                    undo.enter_context(listening)
                asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():  # pragma: no cover  # nothing is known to cause it
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        # Not uvicorn's own serve(): it looks every 100 ms whether it is to stop, and then waits
        # for the clients to hang up.
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for server, listening in zip(self._servers, self._sockets, strict=True):
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup(sockets=[listening])
        self._started.set_result(None)
        await self._stopping.wait()
        for server in self._servers:
            for listener in server.servers:
                listener.close()
        while self._connections() or self._tasks():
            # Again and again: a connection that was shaking hands comes up only now.
            for connection in self._connections():
                connection.transport.abort()
            # What is under way ends by itself; a task that is cancelled leaves a traceback.
            if self._tasks():
                await asyncio.wait(self._tasks(), timeout=_TURN)
            else:
                await asyncio.sleep(0)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for server in self._servers for task in server.server_state.tasks]


class _Protocol(H11Protocol):
    """uvicorn's, which does not close what a client has reset: Python 3.10 warns of it."""

    def connection_lost(self, exc: Exception | None) -> None:
        transport = self.transport
        super().connection_lost(exc)
        transport.close()


def listen(port: int, setting: str) -> socket.socket:
    """A socket on a port of this machine; 0 is a free one.

    Raises:
        OSError: The port cannot be opened.
    """
    # The protocol is named, or asyncio does not turn Nagle's algorithm off: 40 ms a request.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that was in use a minute ago can be had. (On Windows it would mean: share the port.)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name == "posix"))
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        used = error.errno == errno.EADDRINUSE
        reason = "is in use" if used else f"cannot be opened ({error.strerror})"
        text = f"Port {port} {reason}; choose another with {setting}="
        raise OSError(error.errno, text) from None
    return listening


def _server(app: Starlette, **options: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            **options,
        )
    )
