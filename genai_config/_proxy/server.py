"""A proxy for programs that can only hold one key for good: on this machine, unless told otherwise.

It takes the requests of OpenAI's clients with a key of its own, and sends them on to one target
with credentials that are valid when they are sent. Bodies pass through piece by piece: a reader who
is slow slows the sender down, and nothing piles up here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import uvicorn

from genai_config._auth.events import watch_tokens
from genai_config._clients.signatures import Signatures
from genai_config._proxy.connection import BoundedProtocol
from genai_config._proxy.exchange import Exchange, Upstream
from genai_config._proxy.metrics import CONTENT_TYPE, Metrics
from genai_config._proxy.rules import (
    PREFIX,
    Access,
    Limits,
    Refusal,
    check_host,
    check_key,
    cors_headers,
    models_answer,
    path_below,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._clients.target import Target
    from genai_config._proxy.exchange import Receive, Send
    from genai_config._transport.call_credentials import CallCredentials

_access_log = logging.getLogger("genai_config.proxy.access")

_CONNECT = 10.0
# Idle connections to the service. For each request, and each end of one, httpx goes through all
# connections once for each that is idle: with hundreds that takes longer than connecting anew.
_IDLE = 20
# Seconds that requests in progress have left when the proxy stops.
_GRACE = 5


class Proxy:
    """The proxy: a socket that listens, and a server for it.

    Args:
        target: Where requests are sent.
        attach: Gives the credentials that they get; asked for each, as somebody may log in anew.
        options: What the HTTP client is made with: trust and proxy.
        host: The address to listen on.
        port: The port; 0: a free one.
        key: The key that clients must know; None: a new one.
        hosts: Further names of this machine that clients may call it by.
        origins: Web pages that may ask.
        models: What ``GET /v1/models`` lists; empty: the service is asked.
        limits: How much is too much.

    Attributes:
        key: The key that clients must know.
        url: Their base URL.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(  # noqa: PLR0913 -- what it is made of
        self,
        target: Target,
        attach: Callable[[], CallCredentials],
        options: dict[str, Any],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        models: tuple[str, ...] = (),
        limits: Limits = Limits(),  # noqa: B008 -- immutable
    ) -> None:
        self.key = key or secrets.token_urlsafe(32)
        # It listens now: whoever knows the address can connect, and is served when it runs.
        self._listening = _listen(host, port)
        shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 -- compared, not bound
        self.url = f"http://{shown}:{self._listening.getsockname()[1]}{PREFIX}"
        self._options = options
        names = frozenset(name.lower() for name in (*hosts, host))
        access = Access(self.key, self.url, names, frozenset(origins))
        self._metrics = Metrics()
        self._signatures = Signatures()
        self._attach = attach
        self._target = target
        self._limits = limits
        self._gateway = _Gateway(access, models, limits, self._metrics)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._gateway,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )

    def run(self) -> None:
        """Serves until `stop`, or a signal in the main thread; the port is free afterwards."""
        stop = watch_tokens(
            on_refresh=self._metrics.token_fetched, on_failure=self._metrics.token_fetched
        )
        try:
            with self._listening:
                asyncio.run(self._serve())
        finally:
            stop()

    def stop(self) -> None:
        """Ends `run`, from any thread or signal handler; requests in progress have 5 s left."""
        self._server.should_exit = True

    async def _serve(self) -> None:
        seconds = self._limits.timeout
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT))
        # Requests are counted before they come here.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE)
        async with httpx.AsyncClient(timeout=timeout, limits=limits, **self._options) as client:
            self._gateway.upstream = Upstream(
                self._target, self._attach, self._limits, self._metrics, self._signatures, client
            )
            await self._server.serve(sockets=[self._listening])
            # What was cut ends before its event loop does, which would cut it once more.
            if tasks := self._server.server_state.tasks:
                await asyncio.wait(tasks, timeout=1)


def _listen(host: str, port: int) -> socket.socket:
    # The protocol is named, or asyncio does not turn Nagle's algorithm off: 40 ms a request.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that was in use a minute ago can be had. (On Windows it would mean: share the port.)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name == "posix"))
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise OSError(
            error.errno,
            f"Port {port} of {host} cannot be used ({error.strerror}): choose another with --port "
            "or --host, or leave out --port for a free one",
        ) from None
    return listening


class _Gateway:
    """The application: lets requests in, or not.

    Attributes:
        upstream: Where they are sent on to; it is there when the server runs.
    """

    upstream: Upstream

    def __init__(
        self, access: Access, models: tuple[str, ...], limits: Limits, metrics: Metrics
    ) -> None:
        self._access = access
        self._models = models
        self._limits = limits
        self._metrics = metrics
        self._turns = asyncio.Semaphore(limits.requests)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request and its answer; as ASGI has it."""
        started = time.monotonic()
        watched = _Watched(send)
        self._metrics.in_flight += 1
        try:
            await self._serve(scope, receive, watched)
        except Refusal as refusal:
            body = refusal.body()
            await _answer(watched, refusal.status, body, refusal.headers(len(body)))
        finally:
            took = time.monotonic() - started
            self._metrics.in_flight -= 1
            self._metrics.seconds += took
            self._metrics.answers[watched.status] += 1
            _access_log.info(
                "%s %s %d %d bytes %.3f s",
                scope["method"],
                json.dumps(scope["path"][:200]),
                watched.status,
                watched.size,
                took,
            )

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: _Watched) -> None:
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        origin = check_host(headers, self._access)
        send.headers = cors_headers(origin)
        method = scope["method"]
        target, query = scope["raw_path"].decode("ascii"), scope["query_string"].decode("latin-1")
        if origin and method == "OPTIONS":
            await _answer(send, HTTPStatus.NO_CONTENT, b"", {})
            return
        if target == "/healthz":
            await _answer(send, HTTPStatus.OK, b"ok\n", {"content-type": "text/plain"})
            return
        check_key(headers, self._access)
        if target == "/metrics":
            text = self._metrics.text().encode()
            await _answer(send, HTTPStatus.OK, text, {"content-type": CONTENT_TYPE})
            return
        below = path_below(method, target, query, self._access.url)
        if self._models and method == "GET":
            listed = models_answer(below, self._models)
            if listed is not None:
                body = json.dumps(listed).encode()
                await _answer(send, HTTPStatus.OK, body, {"content-type": "application/json"})
                return
        base = httpx.URL(self.upstream.target.base_url)
        url = base.copy_with(raw_path=base.raw_path + below.encode())
        await self._take_turn()
        try:
            await Exchange(self.upstream, (method, url, headers), receive, send).run()
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        try:
            with anyio.fail_after(self._limits.patience):
                await self._turns.acquire()
        except TimeoutError:
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"This proxy already has {self._limits.requests} requests in progress.",
                "try again later, or start it with a larger --max-requests.",
                **{"retry-after": "1"},
            ) from None


class _Watched:
    """A client's side of an answer: what was sent is noted, and headers of our own are added.

    Attributes:
        headers: The headers to add.
        size: Bytes of the body sent so far.
        status: The HTTP status; 499 for a client that left before its answer began.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers: dict[str, str] = {}
        self.size = 0
        self.status = 499

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            own = [(name.encode(), value.encode()) for name, value in self.headers.items()]
            message["headers"] = [*message["headers"], *own]
        else:
            self.size += len(message["body"])
        await self._send(message)


async def _answer(send: Send, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
    headers = {"content-length": str(len(body)), **headers}
    if status is HTTPStatus.NO_CONTENT:
        del headers["content-length"]
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
