"""Requests that mean harm, byte by byte: refused, bounded, and without a word of the token."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._proxy.server import Proxy
    from genai_config.testing import GeminiServer

    Upstream = Any  # tests/proxy/conftest.py

KEY = "k" * 43
SECONDS = 30.0
LINE = "GET /v1/models HTTP/1.1"
HOST, AUTH, END = "Host: localhost", f"Authorization: Bearer {KEY}", "Connection: close"
OWN = (HOST, AUTH, END)


def head(*lines: str, body: bytes = b"") -> bytes:
    """A request as it is written, line by line."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def sent(proxy: Proxy, request: bytes) -> bytes:
    """All that the proxy answers; nothing, where it hangs up."""
    port = int(proxy.url.rpartition(":")[2].partition("/")[0])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        try:
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            """It has hung up before it had all of the request."""
    return answer


@pytest.fixture
def proxy(server: GeminiServer, oauth: None, start: Callable[..., Proxy]) -> Proxy:
    """A proxy to the server's Gemini API."""
    del oauth
    return start(f"https://{server.rest_endpoint}/v1beta/openai", "gemini")


HOSTILE = {
    "two hosts": (head(LINE, *OWN, "Host: evil.example"), "400 403"),
    "no host": (head(LINE, AUTH, END), "400 403"),
    "a host that resolves to this machine": (
        head(LINE, "Host: rebound.evil.example:8080", AUTH, END),
        "403",
    ),
    "a host with an address after it": (head(LINE, "Host: localhost@evil.example", AUTH), "403"),
    "a page": (head(LINE, *OWN, "Origin: https://evil.example"), "403"),
    "a page in a sandbox": (head(LINE, *OWN, "Origin: null"), "403"),
    "a page's question": (
        head("OPTIONS /v1/models HTTP/1.1", *OWN, "Origin: https://evil.example"),
        "403",
    ),
    "two keys": (head(LINE, *OWN, "authorization: Bearer other"), "401"),
    "keys in one line": (head(LINE, HOST, END, f"{AUTH}, Bearer other"), "401"),
    "absolute": (head("GET http://evil.example/v1/models HTTP/1.1", *OWN), "400 404"),
    "a tunnel": (head("CONNECT evil.example:443 HTTP/1.1", *OWN), "400 404 405"),
    "a trace": (head("TRACE /v1/models HTTP/1.1", *OWN), "405"),
    "an upgrade": (
        head("PUT /v1/models HTTP/1.1", *OWN, "Connection: upgrade", "Upgrade: websocket"),
        "405",
    ),
    "dots": (head("GET /v1/../../token HTTP/1.1", *OWN), "400"),
    "encoded dots": (head("GET /v1/%2e%2e/%2e%2e/token HTTP/1.1", *OWN), "400"),
    "an encoded slash": (head("GET /v1/..%2f..%2ftoken HTTP/1.1", *OWN), "400"),
    "a slash encoded twice": (head("GET /v1/..%252f..%252ftoken HTTP/1.1", *OWN), "400"),
    "a backslash": (head("GET /v1/..%5c..%5ctoken HTTP/1.1", *OWN), "400"),
    "a line end": (head("GET /v1/models%0d%0aHost:evil HTTP/1.1", *OWN), "400"),
    "an address without end": (head(f"GET /v1/{'a' * 70_000} HTTP/1.1", *OWN), "400 414 431"),
    "headers without end": (head(LINE, *OWN, f"X-Long: {'a' * 1_000_000}"), "400 431"),
    "too many headers": (head(LINE, *OWN, *[f"X-{i}: 1" for i in range(200_000)]), "400 431"),
    "two lengths": (head(LINE, *OWN, "Content-Length: 1", "Content-Length: 2", body=b"ab"), "400"),
    "a length of two": (head(LINE, *OWN, "Content-Length: 1, 2", body=b"ab"), "400"),
    "a negative length": (head(LINE, *OWN, "Content-Length: -1"), "400"),
    "a length that is none": (head(LINE, *OWN, "Content-Length: 0x10"), "400"),
    "two encodings": (head(LINE, *OWN, "Transfer-Encoding: chunked, identity"), "400 501"),
    "an encoding in disguise": (head(LINE, *OWN, "Transfer-Encoding : chunked"), "400"),
    "a chunk that is none": (
        head("POST /v1/models HTTP/1.1", *OWN, "Transfer-Encoding: chunked", body=b"xyz\r\nab\r\n"),
        "400",
    ),
    "a folded header": (head(LINE, *OWN, "X-A: 1", " Host: evil.example"), "400 403 404 200"),
    "a header with a zero": (head(LINE, *OWN, "X-A: a\0b"), "400"),
    "a body without end": (
        head("POST /v1/models HTTP/1.1", *OWN, "Content-Length: 99999999999"),
        "413",
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00" + b"\x00" * 100 + b"\r\n\r\n", "400"),
    "a later HTTP": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 403 405"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests(server: GeminiServer, proxy: Proxy, name: str) -> None:
    """None reaches the service, none gets the token, and the proxy goes on serving."""
    request, statuses = HOSTILE[name]
    answer = sent(proxy, request)
    assert answer.split(b" ", 2)[1].decode() in statuses.split()
    assert KEY.encode() not in answer
    if "200" not in statuses:
        assert server.requests == []
    assert b" 200 OK" in sent(proxy, head("GET /healthz HTTP/1.1", HOST, END))


@pytest.mark.parametrize("names", [str.lower, str.upper, str.title])
def test_the_case_of_names(server: GeminiServer, proxy: Proxy, names: Any) -> None:
    """It is all the same; the other's credentials go no further under any."""
    lines = [*OWN, "X-Goog-Api-Key: other", "Cookie: a=b", "X-Goog-User-Project: other"]
    cased = [f"{names(one.partition(':')[0])}:{one.partition(':')[2]}" for one in lines]
    assert b" 200 OK" in sent(proxy, head(LINE, *cased))
    (seen,) = server.requests
    assert seen.auth == "oauth"
    assert "cookie" not in seen.headers
    assert seen.headers["x-goog-user-project"] == "quota-project"


def test_an_error_without_end(upstream: Upstream, oauth: None, start: Callable[..., Proxy]) -> None:
    """So much of it is read; the client hears the status."""
    del oauth
    proxy = start(upstream.url)
    port = int(proxy.url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(head("GET /v1/models/x HTTP/1.1", *OWN))
        service = upstream.accept()
        service.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * (2 << 20))
        with connection.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert len(answer) < 1000


def test_a_service_that_quotes_the_token(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy]
) -> None:
    """Its error comes without it."""
    del oauth
    proxy = start(upstream.url)
    port = int(proxy.url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(head("GET /v1/models/x HTTP/1.1", *OWN))
        service = upstream.accept()
        bearer = service.headers["authorization"].removeprefix("Bearer ")
        told = [{"error": {"message": f"Invalid token: {bearer}", "details": []}}]
        service.answer(json.dumps(told).encode(), status="400 Bad Request")
        with connection.makefile("rb") as file:
            answer = file.read()
    assert b"Invalid token: " in answer
    assert bearer.encode() not in answer
