"""Runs applications on free ports, in one thread with one event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette


class HttpSide:
    """Two servers, with and without TLS.

    Attributes:
        secure_port: The port with TLS.
        plain_port: The port without.
    """

    def __init__(self, secure: Starlette, plain: Starlette, chain: Path, key: Path) -> None:
        self._sockets = [_listen(), _listen()]
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
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

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
        self._loop = asyncio.get_running_loop()
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
            for connection in list(server.server_state.connections):
                transport: Any = connection.transport
                transport.abort()
        while self._connected():  # noqa: ASYNC110  # the loop's next turns take them off
            await asyncio.sleep(0)

    def _connected(self) -> bool:
        return any(server.server_state.connections for server in self._servers)


def _listen() -> socket.socket:
    # The protocol is named, or asyncio does not turn Nagle's algorithm off: 40 ms a request.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    return listening


def _server(app: Starlette, **options: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            **options,
        )
    )
