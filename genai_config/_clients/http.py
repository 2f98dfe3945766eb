"""The HTTP clients under OpenAI's: credentials on each attempt, to one origin and no other.

They are built on httpx or on httpx2, whichever the client at hand belongs to, and send through an
inner client: the user's own, or one per process and event loop, since a connection belongs to the
loop it was made in, and a forked child must not write to its parent's.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from genai_config._clients.link import PACKAGES
from genai_config._transport.call_credentials import Attempts, Rejection
from genai_config.exceptions import GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from genai_config._clients.link import Link
    from genai_config._transport.call_credentials import Headers

QUOTA_HEADER = "x-goog-user-project"


def _put(request: Any, headers: Headers) -> None:
    """Puts the credentials on a request, in the place of any others."""
    # Exactly one credential: with two the service refuses the request.
    request.headers.pop("authorization", None)
    request.headers.pop("x-goog-api-key", None)
    # A quota project that the request names itself goes before the credentials' own.
    given = request.headers.get(QUOTA_HEADER)
    request.headers.update(headers)
    if given is not None:
        request.headers[QUOTA_HEADER] = given


def _is_refused(response: Any, attempts: Attempts) -> bool:
    """Whether a request is to be sent again, with other credentials."""
    if not attempts.concerns(response.status_code):
        return False
    response.read()
    return attempts.again(Rejection(response.status_code, response.text))


async def _is_refused_async(response: Any, attempts: Attempts) -> bool:
    if not attempts.concerns(response.status_code):
        return False
    await response.aread()
    return await attempts.again_async(Rejection(response.status_code, response.text))


class _Sending:
    """What both kinds of HTTP clients have in common.

    Args:
        link: What its requests are bound to.
        given: The user's own client to send with; None: there is none.
        kind: The class of the client to send with, if none is given.
        transport: A transport, which is never used.
    """

    link: Link
    is_closed: bool

    def __init__(self, link: Link, given: Any, kind: type, transport: Any) -> None:
        # OpenAI's client takes over the timeout of an HTTP client that it is given.
        timeout = {} if given is None else {"timeout": given.timeout}
        super().__init__(transport=transport, **timeout)  # type: ignore[call-arg] # httpx's
        self.link = link
        self._given = given
        self.kind = kind
        self._made: dict[Any, Any] = {}

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """As the user's client builds it, with its own headers, cookies and parameters."""
        builder: Any = super() if self._given is None else self._given
        return self.link.completed(builder.build_request(*args, **kwargs))

    def _attempts(self, request: Any) -> Attempts:
        if self.is_closed:
            raise RuntimeError("This client has been closed.")
        self.link.check(request)
        return Attempts(self.link.credentials(request))


class SyncSending(_Sending):
    """The part of a synchronous HTTP client that is ours; the rest is httpx's."""

    def inner(self) -> Any:
        """The client that sends, in this process."""
        if self._given is not None:
            return self._given
        process = os.getpid()
        if process not in self._made:
            # A parent's stays where it is: to close it is the parent's business.
            self._made.setdefault(process, self.kind(**self.link.options))
        return self._made[process]

    def send(self, request: Any, *, stream: bool = False, **_: Any) -> Any:
        """Sends a request with credentials; once more, if the token is refused."""
        send = functools.partial(
            self.inner().send, request, stream=stream, auth=None, follow_redirects=False
        )
        try:
            attempts = self._attempts(request)
            _put(request, attempts.headers())
            response = send()
            if _is_refused(response, attempts):
                _put(request, attempts.headers())
                response = send()
        except GenAIConfigError as error:
            return self.link.failed(request, error)
        if response.is_error:
            response.read()
        return self.link.received(request, response)

    def close(self) -> None:
        """Closes what sends, also if it is the user's: so does OpenAI's client."""
        super().close()  # type: ignore[misc] # httpx's
        client = self._made.get(os.getpid(), self._given)
        if client is not None:
            client.close()

    def __del__(self) -> None:
        if self._given is None:
            self.close()


class AsyncSending(_Sending):
    """The part of an asynchronous HTTP client that is ours; the rest is httpx's."""

    async def inner(self) -> Any:
        """The client that sends, in this process and event loop."""
        if self._given is not None:
            return self._given
        key = (os.getpid(), asyncio.get_running_loop())
        if key not in self._made:
            for other in [other for other in list(self._made) if other[1].is_closed()]:
                self._made.pop(other, None)  # its loop was closed without being shut down
            client = self.kind(**self.link.options)
            ending = self._until_the_loop_ends(key, client)
            await anext(ending)
            self._made[key] = (client, ending)
        return self._made[key][0]

    async def _until_the_loop_ends(
        self, key: tuple[int, Any], client: Any
    ) -> AsyncGenerator[None, None]:
        # What ends a loop, such as asyncio.run(), closes the generators that are open in it.
        try:
            yield
        finally:
            self._made.pop(key, None)
            await client.aclose()

    async def send(self, request: Any, *, stream: bool = False, **_: Any) -> Any:
        """Sends a request with credentials; once more, if the token is refused."""
        send = functools.partial(
            (await self.inner()).send, request, stream=stream, auth=None, follow_redirects=False
        )
        try:
            attempts = self._attempts(request)
            _put(request, await attempts.headers_async())
            response = await send()
            if await _is_refused_async(response, attempts):
                _put(request, await attempts.headers_async())
                response = await send()
        except GenAIConfigError as error:
            return self.link.failed(request, error)
        if response.is_error:
            await response.aread()
        return self.link.received(request, response)

    async def aclose(self) -> None:
        """Closes what sends in this loop, also if it is the user's; other loops close theirs."""
        await super().aclose()  # type: ignore[misc] # httpx's
        if self._given is not None:
            await self._given.aclose()
            return
        made = self._made.get((os.getpid(), asyncio.get_running_loop()))
        if made is not None:
            await made[1].aclose()


def linked(link: Link, given: Any, kind: type) -> Any:
    """An HTTP client that is bound to a link.

    Args:
        link: What its requests are bound to.
        given: The user's own client to send with; None: there is none.
        kind: The class of the client to send with, if none is given.
    """
    sending = SyncSending if hasattr(kind, "close") else AsyncSending
    for base in (kind if given is None else type(given)).__mro__:
        package = base.__module__.partition(".")[0]
        if package in PACKAGES and base.__name__ == _NAMES[sending]:
            transport = getattr(sys.modules[package], _TRANSPORTS[sending])()
            return _class_of(sending, base)(link, given, kind, transport)
    return given  # which OpenAI's client refuses


_NAMES: dict[type, str] = {SyncSending: "Client", AsyncSending: "AsyncClient"}
_TRANSPORTS: dict[type, str] = {SyncSending: "BaseTransport", AsyncSending: "AsyncBaseTransport"}


@functools.cache
def _class_of(sending: type, base: type) -> Any:
    return type(base.__name__, (sending, base), {"__doc__": sending.__doc__})
