"""A proxy on this machine's loopback, for programs that can only hold one key for good.

It takes the requests of OpenAI's clients with a key of its own, and sends them on to one target
with credentials that are valid when they are sent. Bodies pass through piece by piece: a reader who
is slow slows the sender down, and nothing piles up here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from genai_config._clients import errors
from genai_config._clients.target import with_model
from genai_config._proxy.rules import (
    NOT_SENT_BACK,
    NOT_SENT_ON,
    PREFIX,
    Refusal,
    as_refusal,
    check_caller,
    passed_on,
    path_below,
)
from genai_config._transport.call_credentials import Attempts
from genai_config.exceptions import GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    from genai_config._clients.target import Target
    from genai_config._transport.call_credentials import CallCredentials, Headers

    _Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
    _Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("genai_config.proxy")

_CONNECT = 10.0
# Seconds that requests under way have left when the proxy stops.
_GRACE = 5


class Limits(NamedTuple):
    """How much is too much.

    Attributes:
        requests: Requests under way at once.
        patience: Seconds that another waits for its turn.
        body: Bytes of a request's body.
        kept: Bytes of a body that is kept until it is answered: it can be sent again after a 401,
            and its model's name be completed. What is larger passes through as it is.
        timeout: Seconds without a byte from the service, or from the client.
    """

    requests: int = 64
    patience: float = 5.0
    body: int = 100 << 20
    kept: int = 8 << 20
    timeout: float = 600.0


class Proxy:
    """The proxy: a socket that listens, and a server for it.

    Args:
        target: Where requests are sent.
        attach: Gives the credentials that they get; asked for each, as somebody may log in anew.
        options: What the HTTP client is made with: trust and proxy.
        port: The port of 127.0.0.1; 0: a free one.
        key: The key that clients must know; None: a new one.
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
        port: int = 0,
        key: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 -- immutable
    ) -> None:
        self.key = key or secrets.token_urlsafe(32)
        # It listens now: whoever knows the address can connect, and is served when it runs.
        self._listening = _listen(port)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}{PREFIX}"
        self._options = options
        self._gateway = _Gateway(target, attach, (self.key, self.url), limits)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._gateway,
                http=_Protocol,
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
        with self._listening:
            asyncio.run(self._serve())

    def stop(self) -> None:
        """Ends `run`, from any thread or signal handler; requests under way have 5 s left."""
        self._server.should_exit = True

    async def _serve(self) -> None:
        seconds, count = self._gateway.limits.timeout, self._gateway.limits.requests
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT))
        # Requests are counted before they come here.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=count)
        async with httpx.AsyncClient(timeout=timeout, limits=limits, **self._options) as client:
            self._gateway.client = client
            await self._server.serve(sockets=[self._listening])


def _listen(port: int) -> socket.socket:
    # The protocol is named, or asyncio does not turn Nagle's algorithm off: 40 ms a request.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that was in use a minute ago can be had. (On Windows it would mean: share the port.)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name == "posix"))
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise OSError(
            error.errno,
            f"Port {port} cannot be had ({error.strerror}): stop what listens there, or give "
            "another port, or none for a free one",
        ) from None
    return listening


class _Protocol(H11Protocol):
    """The protocol of uvicorn's that hands a request's target on as it was sent."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Closes what a client has reset, too: Python 3.10 warns of it otherwise."""
        transport = self.transport
        super().connection_lost(exc)
        transport.close()


class _Gateway:
    """The application: lets requests in, or not.

    Attributes:
        client: What sends; it is there when the server runs.
    """

    client: httpx.AsyncClient

    def __init__(
        self,
        target: Target,
        attach: Callable[[], CallCredentials],
        key_and_url: tuple[str, str],
        limits: Limits,
    ) -> None:
        self.target = target
        self.attach = attach
        self.limits = limits
        self._key, self._url = key_and_url
        self._base = httpx.URL(target.base_url)
        self._turns = asyncio.Semaphore(limits.requests)

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """One request and its answer; as ASGI has it."""
        try:
            await self._serve(scope, receive, send)
        except Refusal as refusal:
            body = refusal.body()
            headers = [(k.encode(), v.encode()) for k, v in refusal.headers(len(body)).items()]
            start = {"type": "http.response.start", "status": refusal.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": body})

    async def _serve(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        check_caller(headers, self._key, self._url)
        method = scope["method"]
        target, query = scope["raw_path"].decode("ascii"), scope["query_string"].decode("latin-1")
        below = path_below(method, target, query, self._url)
        url = self._base.copy_with(raw_path=self._base.raw_path + below.encode())
        await self._take_turn()
        try:
            await _Exchange(self, (method, url, headers), receive, send).run()
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        try:
            await asyncio.wait_for(self._turns.acquire(), self.limits.patience)
        except asyncio.TimeoutError:
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"This proxy has {self.limits.requests} requests under way, and takes no more.",
                "try again later, or start it with a larger --max-requests.",
                retry_after="1",
            ) from None


class _Gone(Exception):  # noqa: N818 -- nobody is told
    """There is nobody to answer any more."""


class _Exchange:
    """One request that was let in."""

    def __init__(
        self,
        gateway: _Gateway,
        request: tuple[str, httpx.URL, list[tuple[str, str]]],
        receive: _Receive,
        send: _Send,
    ) -> None:
        self._gateway = gateway
        self._method, self._url, self._headers = request
        self._receive = receive
        self._send = send
        self._size = 0
        self._has_come = asyncio.Event()

    async def run(self) -> None:
        """Answers; when the client is gone, what is under way for it is broken off."""
        answering = asyncio.ensure_future(self._answer())
        watching = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            """The proxy stops; uvicorn, which has cancelled this, would print a traceback."""
        answering.cancel()
        watching.cancel()
        result, _ = await asyncio.gather(answering, watching, return_exceptions=True)
        if isinstance(result, Exception) and not isinstance(result, _Gone):
            raise result

    async def _until_gone(self) -> None:
        await self._has_come.wait()
        await self._receive()  # nothing comes after the body but this news

    async def _answer(self) -> None:
        try:
            response = await self._sent()
        except GenAIConfigError as error:
            raise as_refusal(error) from None
        except httpx.HTTPError as error:
            is_late = isinstance(error, httpx.TimeoutException)
            status = HTTPStatus.GATEWAY_TIMEOUT if is_late else HTTPStatus.BAD_GATEWAY
            raise Refusal(status, self._unreachable(error)) from None
        try:
            await self._relay(response)
        except httpx.HTTPError as error:
            # The client sees that the answer is not whole: there is no other way to tell it.
            _log.warning("An answer has broken off. %s", self._unreachable(error))
            raise _Gone from None
        finally:
            await response.aclose()

    def _unreachable(self, error: httpx.HTTPError) -> str:
        return errors.unreachable(self._gateway.target, error)

    async def _sent(self) -> httpx.Response:
        """Sends the request; once more, if the token is refused and the body is still here."""
        content = await self._body()
        attempts = Attempts(self._gateway.attach())
        response = await self._attempt(content, await attempts.headers_async())
        if (
            response.status_code == HTTPStatus.UNAUTHORIZED
            and attempts.again()
            and isinstance(content, bytes)
        ):
            await response.aclose()
            response = await self._attempt(content, await attempts.headers_async())
        return response

    async def _attempt(
        self, content: bytes | AsyncIterator[bytes], credentials: Headers
    ) -> httpx.Response:
        # What passes through is as long as it was.
        without = NOT_SENT_ON - (set() if isinstance(content, bytes) else {"content-length"})
        headers = [*passed_on(self._headers, without), *credentials]
        client = self._gateway.client
        request = httpx.Request(
            self._method,
            self._url,
            headers=headers,
            content=content,
            # Before 0.28 httpx gives its own requests the client's, and this one none.
            extensions={"timeout": client.timeout.as_dict()},
        )
        return await client.send(request, stream=True, auth=None, follow_redirects=False)

    async def _body(self) -> bytes | AsyncIterator[bytes]:
        """The body, if it can be kept; else its pieces, as they come."""
        headers = dict(self._headers)
        # h11 has seen to it that it is a number, and that there is no more than one.
        self._check(int(headers.get("content-length", "0")))
        kept, more = bytearray(), True
        while more and len(kept) <= self._gateway.limits.kept:
            part, more = await self._part()
            kept += part
        if more:
            return self._pieces(bytes(kept))
        self._has_come.set()
        return with_model(self._gateway.target, bytes(kept))

    async def _pieces(self, kept: bytes) -> AsyncIterator[bytes]:
        yield kept
        more = True
        while more:
            part, more = await self._part()
            yield part
        self._has_come.set()

    async def _part(self) -> tuple[bytes, bool]:
        """A piece of the body, and whether there are more."""
        try:
            message = await asyncio.wait_for(self._receive(), self._gateway.limits.timeout)
        except asyncio.TimeoutError:
            raise Refusal(
                HTTPStatus.REQUEST_TIMEOUT,
                f"Nothing of the request has come for {self._gateway.limits.timeout:g} s.",
                "send it again, or start the proxy with a larger --timeout.",
            ) from None
        if message["type"] == "http.disconnect":
            raise _Gone
        self._size += len(message["body"])
        self._check(self._size)
        return message["body"], message["more_body"]

    def _check(self, size: int) -> None:
        most = self._gateway.limits.body
        if size > most:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The request is larger than {most} bytes.",
                "send less, or start the proxy with a larger --max-bytes.",
            )

    async def _relay(self, response: httpx.Response) -> None:
        """Hands the answer on, piece by piece, no faster than it is taken."""
        if response.has_redirect_location:
            status, where = response.status_code, response.headers["location"]
            nothing = errors.refusal(None)
            raise Refusal(
                HTTPStatus.BAD_GATEWAY,
                errors.explanation(self._gateway.target, status, nothing, where),
            )
        response.headers.encoding = "latin-1"  # each byte is handed on as it came
        headers = passed_on(response.headers.multi_items(), NOT_SENT_BACK)
        await self._give(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
            }
        )
        async for piece in response.aiter_raw():
            await self._give({"type": "http.response.body", "body": piece, "more_body": True})
        await self._give({"type": "http.response.body", "body": b"", "more_body": False})

    async def _give(self, message: dict[str, Any]) -> None:
        try:
            await asyncio.wait_for(self._send(message), self._gateway.limits.timeout)
        except asyncio.TimeoutError:
            _log.warning("A client takes its answer no more: it is broken off.")
            raise _Gone from None
