"""One request that was let in: sent on with credentials, and its answer handed back."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

# Its bounds take no task of their own, and lose no cancellation as asyncio's do before Python 3.12.
import anyio
import httpx

from genai_config._clients import errors
from genai_config._clients.link import CHAT
from genai_config._clients.signatures import Reader, Signatures
from genai_config._clients.target import with_model
from genai_config._proxy.rules import (
    NOT_SENT_BACK,
    NOT_SENT_ON,
    Limits,
    Refusal,
    as_refusal,
    passed_on,
)
from genai_config._transport.call_credentials import Attempts, Rejection
from genai_config.exceptions import GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    from genai_config._clients.target import Target
    from genai_config._proxy.metrics import Metrics
    from genai_config._transport.call_credentials import CallCredentials, Headers

    Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
    Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("genai_config.proxy")

# An error of the service is no longer than this, in bytes.
_LONGEST_ERROR = 1 << 20


_OF_THE_BODY = frozenset({"content-encoding", "content-length", "content-type"})


@dataclass
class Upstream:
    """Where requests are sent on to.

    Attributes:
        target: The service.
        attach: Gives the credentials that requests get.
        limits: How much is too much.
        metrics: What is counted.
        signatures: What tool calls were signed with.
        client: What sends.
    """

    target: Target
    attach: Callable[[], CallCredentials]
    limits: Limits
    metrics: Metrics
    signatures: Signatures
    client: httpx.AsyncClient


class _Gone(Exception):  # noqa: N818 -- nobody is told
    """There is nobody to answer any more."""


class Exchange:
    """One request that was let in."""

    def __init__(
        self,
        upstream: Upstream,
        request: tuple[str, httpx.URL, list[tuple[str, str]]],
        receive: Receive,
        send: Send,
    ) -> None:
        self._upstream = upstream
        self._method, self._url, self._headers = request
        self._receive = receive
        self._send = send
        self._size = 0
        self._error: bytes | None = None  # of the service, if it has been read
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
            _log.warning("A response broke off. %s", self._unreachable(error))
            raise _Gone from None
        finally:
            await response.aclose()

    def _unreachable(self, error: httpx.HTTPError) -> str:
        return errors.unreachable(self._upstream.target, error)

    async def _sent(self) -> httpx.Response:
        """Sends the request; once more, if it was refused and the body is still here."""
        content = await self._body()
        attempts = Attempts(self._upstream.attach())
        response = await self._attempt(content, await attempts.headers_async())
        status = response.status_code
        if not attempts.concerns(status):
            return response
        self._error = await _error_in(response)
        rejection = Rejection(status, self._error.decode(errors="replace"))
        if await attempts.again_async(rejection) and isinstance(content, bytes):
            await response.aclose()
            self._error = None
            response = await self._attempt(content, await attempts.headers_async())
        return response

    async def _attempt(
        self, content: bytes | AsyncIterator[bytes], credentials: Headers
    ) -> httpx.Response:
        # What passes through is as long as it was.
        without = NOT_SENT_ON - (set() if isinstance(content, bytes) else {"content-length"})
        if self._url.path.endswith(CHAT):
            # What is compressed cannot be read as it passes.
            without = without | {"accept-encoding"}
            credentials = (*credentials, ("accept-encoding", "identity"))
        headers = [*passed_on(self._headers, without), *credentials]
        client = self._upstream.client
        request = httpx.Request(
            self._method,
            self._url,
            headers=headers,
            content=content,
            # Before 0.28 httpx gives its own requests the client's, and this one none.
            extensions={"timeout": client.timeout.as_dict()},
        )
        response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        self._upstream.metrics.upstream[response.status_code] += 1
        return response

    async def _body(self) -> bytes | AsyncIterator[bytes]:
        """The body, if it can be kept; else its pieces, as they come."""
        headers = dict(self._headers)
        # h11 has seen to it that it is a number, and that there is no more than one.
        self._check(int(headers.get("content-length", "0")))
        kept, more = bytearray(), True
        while more and len(kept) <= self._upstream.limits.kept:
            part, more = await self._part()
            kept += part
        if more:
            return self._pieces(bytes(kept))
        self._has_come.set()
        return self._completed(bytes(kept))

    def _completed(self, body: bytes) -> bytes:
        """A body with the model's whole name, and with the signatures that its sender dropped."""
        body = with_model(self._upstream.target, body)
        return self._upstream.signatures.completed(body)

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
            with anyio.fail_after(self._upstream.limits.timeout):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                HTTPStatus.REQUEST_TIMEOUT,
                f"No part of the request arrived for {self._upstream.limits.timeout:g} s.",
                "send it again, or start the proxy with a larger --timeout.",
            ) from None
        if message["type"] == "http.disconnect":
            raise _Gone
        self._size += len(message["body"])
        self._check(self._size)
        return message["body"], message["more_body"]

    def _check(self, size: int) -> None:
        most = self._upstream.limits.body
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
                errors.explanation(self._upstream.target, status, nothing, where),
            )
        if response.is_error:
            await self._tell(response)
            return
        response.headers.encoding = "latin-1"  # each byte is handed on as it came
        headers = passed_on(response.headers.multi_items(), NOT_SENT_BACK)
        await self._give(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
            }
        )
        # What is compressed cannot be read here.
        plain = "content-encoding" not in response.headers
        reader = Reader(self._upstream.signatures) if plain else None
        async for piece in response.aiter_raw():
            if reader is not None:
                reader.feed(piece)
            await self._give({"type": "http.response.body", "body": piece, "more_body": True})
        if reader is not None:
            reader.close()
        await self._give({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, response: httpx.Response) -> None:
        """Hands an error of Google's on in OpenAI's form, with the remedy."""
        body = await _error_in(response) if self._error is None else self._error
        status = response.status_code
        told = errors.googles_in_openais_form(
            self._upstream.target, status, body, self._url.path, self._upstream.attach().kind
        )
        response.headers.encoding = "latin-1"
        kept = passed_on(response.headers.multi_items(), NOT_SENT_BACK | _OF_THE_BODY)
        own = [("content-type", "application/json"), ("content-length", str(len(told)))]
        headers = [(name.encode(), value.encode("latin-1")) for name, value in [*kept, *own]]
        await self._give({"type": "http.response.start", "status": status, "headers": headers})
        await self._give({"type": "http.response.body", "body": told})

    async def _give(self, message: dict[str, Any]) -> None:
        try:
            with anyio.fail_after(self._upstream.limits.timeout):
                await self._send(message)
        except TimeoutError:
            _log.warning("A client takes its answer no more: it is broken off.")
            raise _Gone from None


async def _error_in(response: httpx.Response) -> bytes:
    """The body of an error, up to a bound."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LONGEST_ERROR:
            break
    return bytes(body)
