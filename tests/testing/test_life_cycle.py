from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.ai import generativelanguage_v1beta as glm

from genai_config.testing import GeminiServer

BASE = "models/gemini-3.6-flash"


def post(server: GeminiServer, key: str, method: str = "generateContent") -> requests.Response:
    """Asks once over plain HTTP, on a connection of its own."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"https://{server.endpoint}/v1beta/{BASE}:{method}"
        return session.post(url, params={"key": key}, json={}, verify=str(server.ca_file))


async def test_async() -> None:
    """The server starts and stops while the loop goes on."""
    async with GeminiServer() as server:
        reply = await asyncio.to_thread(post, server, server.api_key())
        assert reply.status_code == 200
    with pytest.raises(RuntimeError):
        _ = server.rest_endpoint


async def test_async_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that is cancelled leaves no server behind."""
    begun, go_on = threading.Event(), threading.Event()
    start = GeminiServer.start

    def slow(self: GeminiServer) -> None:
        begun.set()
        go_on.wait()
        start(self)

    monkeypatch.setattr(GeminiServer, "start", slow)
    server = GeminiServer()
    entering = asyncio.ensure_future(server.__aenter__())
    await asyncio.to_thread(begun.wait)
    entering.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await entering
    with pytest.raises(RuntimeError, match="is not running"):
        _ = server.rest_endpoint


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_fixed_ports() -> None:
    """A server can be had on given ports, one after the other."""
    ports = free_port(), free_port()
    for _ in range(2):
        with GeminiServer(port=ports[0], rest_port=ports[1]) as server:
            assert server.endpoint == f"localhost:{ports[0]}"
            assert server.rest_endpoint == f"localhost:{ports[1]}"
            assert post(server, server.api_key()).status_code == 200


@pytest.mark.parametrize("setting", ["port", "rest_port"])
def test_ports_in_use(setting: str) -> None:
    """A port that is in use is an error that says which, and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(OSError, match=f"Port {taken} is in use; .* with {setting}="):
            GeminiServer(**{setting: taken}).start()


def test_stopping_during_a_request(caplog: pytest.LogCaptureFixture) -> None:
    """Requests that are under way when the server stops leave no traceback behind."""
    arrived, go_on = threading.Event(), threading.Event()

    def slow(_: Any) -> list[str]:
        arrived.set()
        go_on.wait()
        return ["a", "b"]

    with concurrent.futures.ThreadPoolExecutor() as pool:
        with GeminiServer() as server:
            server.respond("*", slow)
            key = server.api_key()
            asking = [pool.submit(post, server, key, "streamGenerateContent") for _ in range(3)]
            arrived.wait()
            stopping = pool.submit(server.stop)
            with pytest.raises(concurrent.futures.TimeoutError):
                stopping.result(0.05)
            go_on.set()
            stopping.result()
        for one in asking:
            assert isinstance(one.exception(), requests.RequestException)
    assert caplog.records == []


def test_a_client_that_hangs_up(server: GeminiServer, caplog: pytest.LogCaptureFixture) -> None:
    """A request whose end never comes is nobody's error."""
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    for endpoint in (server.metadata_host, server.rest_endpoint):
        with contextlib.ExitStack() as undo:
            address = ("localhost", int(endpoint.rpartition(":")[2]))
            client = undo.enter_context(socket.create_connection(address))
            if endpoint == server.rest_endpoint:
                client = undo.enter_context(trust.wrap_socket(client, server_hostname="localhost"))
            head = b"POST /token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            client.sendall(head + b"Content-Length: 10\r\n\r\n")
            # The server is reading now.
            assert client.recv(1024).startswith(b"HTTP/1.1 100")
    server.stop()
    assert caplog.records == []


def count_files() -> int:
    """How many file descriptors this process has."""
    return len(list(Path("/dev/fd").iterdir()))


def test_a_thousand_requests() -> None:
    """A thousand requests of 32 threads at one address are all answered, and all recorded."""
    server = GeminiServer()
    server.start()
    key = server.api_key()
    trust = grpc.ssl_channel_credentials(server.ca_file.read_bytes())
    path = "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"

    def over_grpc(channel: Any, number: int) -> str:
        request = glm.GenerateContentRequest.pb()(model=f"models/{number}")
        ask = channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=glm.GenerateContentResponse.pb().FromString,
        )
        answer = ask(request, metadata=[("x-goog-api-key", key)])
        return str(answer.candidates[0].content.parts[0].text)

    local = threading.local()

    def over_rest(number: int) -> str:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.trust_env = False
            local.session.verify = str(server.ca_file)
            sessions.append(local.session)
        url = f"https://{server.endpoint}/v1beta/models/{number}:generateContent"
        answer = local.session.post(url, params={"key": key}, json={}).json()
        return str(answer["candidates"][0]["content"]["parts"][0]["text"])

    sessions: list[requests.Session] = []
    with (
        grpc.secure_channel(server.endpoint, trust) as channel,
        concurrent.futures.ThreadPoolExecutor(32) as pool,
    ):
        asked = [
            pool.submit(over_rest, number)
            if number % 2
            else pool.submit(over_grpc, channel, number)
            for number in range(1000)
        ]
        answers = [one.result() for one in asked]
    for session in sessions:
        session.close()
    assert answers == [f"Hello from models/{number}" for number in range(1000)]
    assert {one.resource for one in server.requests} == {f"models/{n}" for n in range(1000)}
    assert len(server.requests) == 1000
    server.stop()


@pytest.mark.usefixtures("server")
def test_starting_and_stopping_is_quick_and_leaves_nothing() -> None:
    """A start and a stop take less than 0.3 s, and no file or descriptor stays."""
    took = []
    files = set()
    for _ in range(3):
        began = time.perf_counter()
        with GeminiServer() as server:
            server.service_account_file()
            folder = server.ca_file.parent
            assert post(server, server.api_key()).status_code == 200
        took.append(time.perf_counter() - began)
        files.add(count_files())
        assert not folder.exists()
    assert min(took) < 0.6
    assert len(files) == 1
