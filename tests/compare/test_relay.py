"""The relay between a program and the local server: what is no use to it, and what it refuses."""

from __future__ import annotations

import socket

from genai_config._compare.relay import relay


def test_what_says_nothing() -> None:
    """A connection that closes at once is nothing; one to another host is refused, and told."""
    with relay(1) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 30) as silent:
            silent.shutdown(socket.SHUT_WR)
            assert silent.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port), 30) as other:
            other.sendall(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n")
            assert other.recv(100).startswith(b"HTTP/1.1 403")
        assert proxy.refused == ["example.com"]
