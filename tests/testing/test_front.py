"""One address for gRPC and REST: what a client offers decides where its connection goes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import requests
from google.ai import generativelanguage_v1beta as glm

from genai_config.testing._wire import front

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

MODEL = "models/gemini-3.6-flash"
PATH = "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"


def connect(server: GeminiServer) -> socket.socket:
    """A connection to the address for both."""
    host, _, port = server.endpoint.partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def over_grpc(server: GeminiServer, key: str) -> str:
    """Asks once over gRPC, on a connection of its own."""
    trust = grpc.ssl_channel_credentials(server.ca_file.read_bytes())
    request = glm.GenerateContentRequest.pb()
    with grpc.secure_channel(server.endpoint, trust) as channel:
        ask = channel.unary_unary(
            PATH,
            request_serializer=request.SerializeToString,
            response_deserializer=glm.GenerateContentResponse.pb().FromString,
        )
        answer = ask(request(model=MODEL), metadata=[("x-goog-api-key", key)])
    return str(answer.candidates[0].content.parts[0].text)


def over_rest(server: GeminiServer, key: str) -> str:
    """Asks once over REST, on a connection of its own."""
    url = f"https://{server.endpoint}/v1beta/{MODEL}:generateContent"
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, params={"key": key}, json={}, verify=str(server.ca_file))
    return str(answer.json()["candidates"][0]["content"]["parts"][0]["text"])


WIRES = {"grpc": over_grpc, "rest": over_rest}


class Handshake:
    """The client's side of a TLS handshake, whose messages are in hand."""

    def __init__(self, server: GeminiServer, *protocols: str) -> None:
        trust = ssl.create_default_context(cafile=str(server.ca_file))
        if protocols:
            trust.set_alpn_protocols(protocols)
        self._read, self._written = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.side = trust.wrap_bio(self._read, self._written, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            self.side.do_handshake()
        self.hello = self._written.read()

    def complete(self, connection: socket.socket) -> str | None:
        """Goes on when the hello has been sent; what has been agreed on."""
        while True:
            # Some servers want another hello first.
            connection.sendall(self._written.read())
            self._read.write(connection.recv(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                self.side.do_handshake()
                return self.side.selected_alpn_protocol()


class Seen:
    """What happens at the ends of relays, to be waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, owner: Any) -> None:
        self._times = threading.Semaphore(0)
        real = getattr(owner, name)

        def seen(*args: Any) -> Any:
            result = real(*args)
            self._times.release()
            return result

        monkeypatch.setattr(owner, name, seen)

    def wait(self) -> None:
        """Returns when it has happened once more."""
        assert self._times.acquire(timeout=60)


@pytest.mark.parametrize("wire", ["grpc", "rest"])
def test_both_wires(server: GeminiServer, wire: str) -> None:
    """One address takes gRPC and REST, and each is recorded as what it is."""
    assert WIRES[wire](server, server.api_key("mine")) == f"Hello from {MODEL}"
    assert [(one.transport, one.identity) for one in server.requests] == [(wire, "mine")]


def test_each_connection_is_told_apart(server: GeminiServer) -> None:
    """As at the addresses for one wire."""
    key = server.api_key()
    for ask in (over_grpc, over_rest) * 2:
        ask(server, key)
    assert len({one.connection for one in server.requests}) == 4


@pytest.mark.parametrize(
    ("protocols", "agreed"),
    [
        (("h2",), "h2"),  # gRPC
        (("h2", "http/1.1"), None),  # curl
        (("http/1.1",), None),  # requests
        ((), None),  # httplib2
        (("grpc-exp", "h2"), "grpc-exp"),  # gRPC of old
        (("h2", "grpc-exp"), "h2"),
    ],
)
def test_what_is_offered(
    server: GeminiServer, protocols: tuple[str, ...], agreed: str | None
) -> None:
    """HTTP/2 alone is gRPC; the side of REST agrees on nothing, which is HTTP/1.1."""
    handshake = Handshake(server, *protocols)
    with connect(server) as connection:
        connection.sendall(handshake.hello)
        found = handshake.complete(connection)
    assert (found is None) == (agreed is None)
    if agreed is not None:
        assert found in protocols


@pytest.mark.parametrize(("protocol", "agreed"), [("h2", "h2"), ("http/1.1", None)])
def test_a_hello_in_pieces(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch, protocol: str, agreed: str | None
) -> None:
    """Nothing is decided before all of it is there."""
    received = Seen(monkeypatch, "data_received", front._Client)
    handshake = Handshake(server, protocol)
    with connect(server) as connection:
        for start, end in ((0, 1), (1, 4), (4, 5), (5, 100), (100, None)):
            connection.sendall(handshake.hello[start:end])
            received.wait()
        assert handshake.complete(connection) == agreed


def gone(connection: socket.socket) -> bool:
    """Whether the other end hangs up without a word."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True  # pragma: no cover  # as some systems say it


def test_what_is_no_tls_is_not_waited_for(server: GeminiServer) -> None:
    """It is hung up on, as at the address for REST."""
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert gone(connection)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
def test_clients_that_say_nothing(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """They keep nobody waiting, may hang up, and are cut when the server stops."""
    lost = Seen(monkeypatch, "connection_lost", front._Client)
    made = Seen(monkeypatch, "connection_made", front._Client)
    with connect(server) as leaving, connect(server) as staying:
        for one in (leaving, staying):
            one.sendall(sent)
            made.wait()
        leaving.close()
        lost.wait()
        over_rest(server, server.api_key())
        server.stop()
        assert gone(staying)


@pytest.mark.parametrize("wire", ["grpc", "rest"])
def test_a_dropped_request(server: GeminiServer, wire: str) -> None:
    """The client's connection is cut, and the next one works."""
    key = server.api_key()
    server.drop()
    with pytest.raises((grpc.RpcError, requests.ConnectionError)):
        WIRES[wire](server, key)
    assert WIRES[wire](server, key)


@pytest.mark.parametrize("wire", ["grpc", "rest"])
def test_a_request_that_hangs_when_the_server_stops(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    """Its client is not left waiting."""
    key = server.api_key()
    server.hang()
    arrived = Seen(monkeypatch, "identify", server._service)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asking = pool.submit(WIRES[wire], server, key)
        arrived.wait()
        server.stop()
        concurrent.futures.wait([asking], 60)
        assert asking.done()


def test_a_client_that_reads_slowly(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The side that answers waits for it, and nothing is lost."""
    paused = Seen(monkeypatch, "pause_writing", front._End)
    resumed = Seen(monkeypatch, "resume_writing", front._End)
    size = 30_000_000
    server.respond("*", "x" * size)
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    with trust.wrap_socket(connect(server), server_hostname="localhost") as client:
        head = f"POST /v1beta/{MODEL}:generateContent?key={server.api_key()} HTTP/1.1\r\n"
        rest = "Host: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        client.sendall((head + rest).encode())
        paused.wait()
        answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
        resumed.wait()
    assert answer.count(b"x") >= size
    assert answer.endswith(b"}")


def test_a_side_that_has_stopped(server: GeminiServer) -> None:
    """The client is hung up on."""
    hello = Handshake(server, "h2").hello
    server._grpc.stop()
    with connect(server) as connection:
        connection.sendall(hello)
        assert gone(connection)


@pytest.fixture
def never(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a side is being connected to, which does not answer."""
    begun = threading.Event()

    async def create_connection(*_: Any) -> None:
        begun.set()
        await asyncio.Future()

    monkeypatch.setattr(server._http.loop, "create_connection", create_connection)
    return begun


def test_stopping_while_a_side_is_connected_to(
    server: GeminiServer, never: threading.Event
) -> None:
    """It is not waited for."""
    with connect(server) as connection:
        connection.sendall(Handshake(server, "h2").hello)
        assert never.wait(60)
        server.stop()
        assert gone(connection)
