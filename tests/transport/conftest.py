"""A relay between the SDK and the local server that can let packets vanish."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer


class Relay:
    """Passes bytes on between its clients and a server; swallowed connections pass nothing.

    Args:
        port: The server's.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._ends: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._hangs_up = False

    @property
    def endpoint(self) -> str:
        """Where clients connect to."""
        return f"localhost:{self.port}"

    def swallow(self) -> None:
        """From now on what is sent over the present connections vanishes, either way."""
        with self._lock:
            self._swallowed |= set(self._ends)

    def hang_up_on_next(self) -> None:
        """Breaks off the next connection that has something to pass on."""
        self._hangs_up = True

    def close(self) -> None:
        """Ends it."""
        self._waker.close()
        self._thread.join(10)
        self._selector.close()
        for one in [self._listening, self._woken, *self._ends]:
            one.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                one = key.fileobj
                if one is self._listening:
                    self._connect()
                elif not isinstance(one, socket.socket) or one not in self._ends:
                    return
                else:
                    self._pass_on(one)

    def _connect(self) -> None:
        client, _ = self._listening.accept()
        server = socket.create_connection(("127.0.0.1", self._server))
        with self._lock:
            for one, other in ((client, server), (server, client)):
                self._ends[one] = other
                self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):  # it may have been reset
            data = one.recv(65536)
        with self._lock:
            other, vanishes = self._ends[one], one in self._swallowed
        if data and self._hangs_up:
            self._hangs_up = False
            for end in (one, other):
                self._selector.unregister(end)
                end.shutdown(socket.SHUT_RDWR)
        elif data and not vanishes:
            with contextlib.suppress(OSError):  # the other end may be gone
                other.sendall(data)
        elif not data:
            self._selector.unregister(one)


@pytest.fixture
def relay_to() -> Iterator[Callable[[str], Relay]]:
    """Makes relays to servers, by their endpoints."""
    relays: list[Relay] = []

    def make(endpoint: str) -> Relay:
        relays.append(Relay(int(endpoint.rpartition(":")[2])))
        return relays[-1]

    yield make
    for relay in relays:
        relay.close()


@pytest.fixture
def grpc_relay(server: GeminiServer, relay_to: Callable[[str], Relay]) -> Relay:
    """A relay to the server's gRPC side."""
    return relay_to(server.grpc_endpoint)
