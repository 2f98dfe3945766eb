"""How requests end: with their client, with the service behind, or with the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import get_config
from genai_config._clients.link import attached_to, http_options
from genai_config._clients.resolve import resolve
from genai_config._proxy.rules import Limits
from genai_config._proxy.server import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer

    Upstream = Any  # tests/proxy/conftest.py

KEY = "k" * 43
SECONDS = 30.0
BODY = b'{"model": "google/gemini-x", "stream": true}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT, LAST = b"8\r\ndata: 1\n\r\n", b"0\r\n\r\n"


class Watched(Proxy):
    """A proxy whose event loop can be looked at."""

    loop: asyncio.AbstractEventLoop

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await super()._serve()

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Those that there are."""

        async def now() -> set[asyncio.Task[Any]]:
            return asyncio.all_tasks() - {asyncio.current_task()}

        return asyncio.run_coroutine_threadsafe(now(), self.loop).result(SECONDS)

    def left_of(self, before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
        """Waits for the tasks that have come since; those that do not end."""

        async def ended() -> set[asyncio.Task[Any]]:
            new = asyncio.all_tasks() - before - {asyncio.current_task()}
            return (await asyncio.wait(new, timeout=SECONDS))[1] if new else set()

        return asyncio.run_coroutine_threadsafe(ended(), self.loop).result(2 * SECONDS)


@pytest.fixture
def proxy(upstream: Upstream, oauth: None) -> Iterator[Watched]:
    """A proxy to the service that the test plays, which waits half a second for each piece."""
    del oauth
    config = get_config()
    target = resolve(config, base_url=upstream.url)
    made = Watched(
        target, lambda: attached_to(config, target), http_options(config), key=KEY,
        limits=Limits(timeout=0.5),
    )  # fmt: skip
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join()


def asked(url: str, key: str = KEY) -> socket.socket:
    """A connection on which a stream is asked for."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    connection = socket.create_connection(("127.0.0.1", port), SECONDS)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(BODY)}\r\n\r\n"
    )
    connection.sendall(head.encode() + BODY)
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the end, or until the connection is cut."""
    came = b""
    with connection, contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            came += piece
    return came


def begun(connection: socket.socket) -> None:
    """Waits until an answer has begun."""
    assert connection.recv(1) == b"H"


def a_whole_stream(proxy: Watched, upstream: Upstream) -> None:
    """It passes, to its end."""
    client = asked(proxy.url)
    service = upstream.accept()
    service.socket.sendall(HEAD + EVENT + LAST)
    assert b"data: 1" in rest(client)
    service.close()


def a_client_that_leaves(proxy: Watched, upstream: Upstream) -> None:
    """Its call ends with it."""
    client = asked(proxy.url)
    service = upstream.accept()
    service.socket.sendall(HEAD + EVENT)
    begun(client)
    client.close()
    service.body(len(BODY))
    assert service.is_cut()
    service.close()


def a_client_that_leaves_early(proxy: Watched, upstream: Upstream) -> None:
    """Its call ends, too, before there is an answer."""
    client = asked(proxy.url)
    service = upstream.accept()
    client.close()
    service.body(len(BODY))
    assert service.is_cut()
    service.close()


def a_service_that_dies(proxy: Watched, upstream: Upstream) -> None:
    """The client sees an answer without its end."""
    client = asked(proxy.url)
    service = upstream.accept()
    service.socket.sendall(HEAD + EVENT)
    begun(client)
    service.close()
    assert not rest(client).endswith(LAST)


def a_service_that_stalls(proxy: Watched, upstream: Upstream) -> None:
    """Both ends are cut once its time is up."""
    client = asked(proxy.url)
    service = upstream.accept()
    service.socket.sendall(HEAD + EVENT)
    assert not rest(client).endswith(LAST)
    service.body(len(BODY))
    assert service.is_cut()
    service.close()


@pytest.mark.parametrize(
    "ending",
    [
        a_whole_stream,
        a_client_that_leaves,
        a_client_that_leaves_early,
        a_service_that_dies,
        a_service_that_stalls,
    ],
)
def test_nothing_stays(proxy: Watched, upstream: Upstream, ending: Any) -> None:
    """However requests end, there are as many tasks and open files as after the first one."""
    a_whole_stream(proxy, upstream)  # which fetches a token, and opens what stays open
    before = proxy.tasks()
    assert not proxy.left_of(before)
    files = open_files()
    for _ in range(5):
        ending(proxy, upstream)
    assert not proxy.left_of(before)
    # One that stayed each time would be five. (The server beside it has some of its own.)
    assert open_files() < files + 5


def open_files() -> int:
    """Of this process; 0 where that cannot be seen."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("finishes", [True, False])
def test_sigterm_in_a_stream(
    server: GeminiServer, upstream: Upstream, tmp_path: Any, *, finishes: bool
) -> None:
    """A stream has its grace time to finish, or is cut; nobody else is let in."""
    login = tmp_path / "adc.json"
    login.write_bytes(server.service_account_file().read_bytes())
    command = ["proxy", "--base-url", upstream.url, "--credentials", str(login), "--shell", "bash"]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 -- our own
        [sys.executable, "-W", "ignore", "-m", "genai_config", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(4)]
        key, url = (line.split("=", 1)[1].strip() for line in lines[:2])
        client = asked(url, key)
        service = upstream.accept()
        service.socket.sendall(HEAD + EVENT)
        begun(client)
        process.send_signal(signal.SIGTERM)
        refused(url)
        if finishes:
            service.socket.sendall(EVENT + LAST)
            assert rest(client).endswith(LAST)
        else:
            assert not rest(client).endswith(LAST)
            service.body(len(BODY))
            assert service.is_cut()
        assert process.wait(SECONDS) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def refused(url: str) -> None:
    """Waits until the port lets nobody in any more."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    while True:
        try:
            other = socket.create_connection(("127.0.0.1", port), SECONDS)
        except ConnectionError:  # refused, or reset in the moment that the port closes
            return
        other.close()
