"""A proxy in a thread, and a service behind it that a test plays by hand."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import get_config, safe_configure
from genai_config._clients.link import attached_to, http_options
from genai_config._clients.resolve import resolve
from genai_config._proxy.rules import Limits
from genai_config._proxy.server import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

PLACE = "projects/my-project/locations/global/endpoints/openapi"
KEY = "k" * 43
SECONDS = 30.0


class Upstream:
    """A service that a test plays by hand, connection by connection."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(SECONDS)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1/{PLACE}"
        self._undo = contextlib.ExitStack()
        self._undo.enter_context(self._listening)

    def close(self) -> None:
        """Closes every socket."""
        self._undo.close()

    def accept(self) -> Connection:
        """The next connection."""
        accepted, _ = self._listening.accept()
        accepted.settimeout(SECONDS)
        connection = Connection(self._undo.enter_context(accepted))
        self._undo.callback(connection.file.close)
        return connection


class Connection:
    """A connection with one request."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.file = connection.makefile("rb")
        self.line = self.file.readline().decode().strip()
        self.headers = http.client.parse_headers(self.file)

    def body(self, size: int) -> bytes:
        """So many bytes of the request's body; fewer, if it ends before."""
        return self.file.read(size)

    def close(self) -> None:
        """Hangs up."""
        self.file.close()
        self.socket.close()

    def is_cut(self) -> bool:
        """Waits for the other end to hang up."""
        return self.file.read(1) == b""

    def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        """A whole answer, and the end of the connection."""
        size = f"content-length: {len(body)}"
        lines = [f"HTTP/1.1 {status}", size, "connection: close", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode() + body)
        self.socket.shutdown(socket.SHUT_WR)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A service that the test plays."""
    service = Upstream()
    yield service
    service.close()


@pytest.fixture
def oauth(server: GeminiServer) -> None:
    """A person's credentials, whose tokens the server counts."""
    safe_configure(
        credentials=server.user_credentials(quota_project="quota-project"), ca_certs=server.ca_file
    )


@pytest.fixture
def start() -> Iterator[Callable[..., Proxy]]:
    """Starts proxies in threads of their own, and ends them."""
    with contextlib.ExitStack() as undo:

        def starting(url: str, backend: str = "vertex", **limits: Any) -> Proxy:
            config = get_config()
            target = resolve(config, base_url=url, backend=backend)
            proxy = Proxy(
                target,
                lambda: attached_to(config, target),
                http_options(config),
                key=KEY,
                limits=Limits(**limits),
            )
            thread = threading.Thread(target=proxy.run)
            thread.start()
            undo.callback(thread.join)
            undo.callback(proxy.stop)
            return proxy

        yield starting
