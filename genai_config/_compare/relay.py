"""A local proxy that forwards connections for Google to a local server, and refuses all others.

Programs find it through the proxy environment variables, which gRPC, requests and httpx obey; for
others see `guard`.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GOOGLE = ".googleapis.com"
_BLOCK = 65536
_HEAD = 8192


class Relay:
    """The proxy; made by `relay`.

    Args:
        to: The port of the local server.

    Attributes:
        url: The value for the proxy environment variables.
        refused: The other hosts that a program tried to reach.
    """

    def __init__(self, to: int) -> None:
        self.refused: list[str] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    outer.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._to = to
        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def serve(self, client: socket.socket) -> None:
        """Serves one connection.

        Raises:
            OSError: The connection fails.
        """
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _HEAD:
            block = client.recv(_HEAD)
            if not block:
                return
            head += block
        verb, _, rest = head.partition(b" ")
        host = rest.partition(b" ")[0].decode("latin-1").rpartition(":")[0]
        if verb != b"CONNECT" or not host.endswith(_GOOGLE):
            self.refused.append(host or rest.partition(b" ")[0].decode("latin-1"))
            client.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            return
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(_BLOCK):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(to: int) -> Iterator[Relay]:
    """Runs a proxy to the port of a server until the end of the block."""
    made = Relay(to)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()
