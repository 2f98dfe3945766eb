"""Credentials on each call: attached to it, and renewed once if the service refuses them.

They are attached by an interceptor that is bound to one client, so retries, pagers, operations and
streams carry fresh ones, and a failure to get any reaches the caller as it is (gRPC's own plugin
would make UNAVAILABLE of it, which the SDK retries for ten minutes). A call that is answered 401
is made once more with another token; who is refused again hears it from the service.
"""

from __future__ import annotations

import functools
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.auth.credentials import Credentials
from grpc import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from typing_extensions import Self

    from genai_config._transport.call_credentials import CallCredentials, Headers

_REFUSED = grpc.StatusCode.UNAUTHENTICATED
_END = object()


class _CallDetails(
    NamedTuple(
        "_CallDetails",
        [
            ("method", str),
            ("timeout", Any),
            ("metadata", Any),
            ("credentials", Any),
            ("wait_for_ready", Any),
            ("compression", Any),
        ],
    ),
    grpc.ClientCallDetails,  # type: ignore[misc] # grpc has no type information
):
    """gRPC gives an interface and no class."""


def _left(timeout: float | None, started: float) -> float | None:
    """What a call's first attempt has left of its time to the second."""
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - started))


def _joined(metadata: Iterable[tuple[str, Any]] | None, headers: Headers) -> tuple[Any, ...]:
    """A call's metadata with the credentials' headers in place of its own, as over REST."""
    names = {name for name, _ in headers}
    return (*((name, value) for name, value in metadata or () if name not in names), *headers)


class Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc] # grpc has no type information
    """Attaches the credentials of one client to each call it makes over a shared channel."""

    def __init__(self, bound: CallCredentials) -> None:
        self._bound = bound

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        headers, started = self._bound.headers(), time.monotonic()
        outcome = continuation(self._with(headers, details, details.timeout), request)
        # A call whose outcome is awaited by nobody yet goes on by itself.
        if isinstance(outcome, grpc.RpcError) and outcome.done() and self._again(outcome, headers):
            left = _left(details.timeout, started)
            return continuation(self._with(self._bound.headers(), details, left), request)
        return outcome

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        headers, started = self._bound.headers(), time.monotonic()
        call = continuation(self._with(headers, details, details.timeout), request)
        if not self._bound.renewable:
            return call

        def again(error: Any) -> Any:
            if not self._again(error, headers):
                return None
            left = _left(details.timeout, started)
            return continuation(self._with(self._bound.headers(), details, left), request)

        return _Stream(call, again)

    def _with(self, headers: Headers, details: Any, timeout: float | None) -> _CallDetails:
        return _CallDetails(
            details.method,
            timeout,
            _joined(details.metadata, headers),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )

    def _again(self, error: Any, headers: Headers) -> bool:
        return error.code() is _REFUSED and self._bound.refused(headers)


class _Stream:
    """A stream of answers that starts once more if it was refused; everything else is the call's.

    Args:
        call: The call.
        again: From the error of its first answer to another call, or to None.
    """

    def __init__(self, call: Any, again: Callable[[Any], Any]) -> None:
        self._call = call
        self._again: Callable[[Any], Any] | None = again

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        again, self._again = self._again, None
        if again is None:
            return next(self._call)
        try:
            return next(self._call)
        except grpc.RpcError as error:
            call = again(error)
            if call is None:
                raise
        self._call = call
        return next(call)


class Caller(NamedTuple):
    """Who makes a call over a shared asyncio channel: its credentials and its own interceptors."""

    bound: CallCredentials
    interceptors: list[Any]


# An asyncio channel takes its interceptors when it is made, and it is shared: which client is
# calling is told by this variable, which the call's task inherits.
CALLER: ContextVar[Caller] = ContextVar("genai_config caller")


class _FailedCall(aio.UnaryUnaryCall, aio.UnaryStreamCall):  # type: ignore[misc] # grpc has no type information
    """A call that ended before anything was sent; whoever waits for it gets the error.

    What an interceptor raises itself, grpcio prints once more when the call is forgotten.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error

    def done(self) -> bool:
        return True

    def cancel(self) -> bool:
        return False

    cancelled = cancel

    def time_remaining(self) -> float | None:
        return None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)

    async def read(self) -> Any:
        raise self._error

    initial_metadata = trailing_metadata = code = details = wait_for_connection = read

    def __await__(self) -> Any:
        return self.read().__await__()

    async def __aiter__(self) -> Any:
        yield await self.read()


class _Sender:
    """One call of an asyncio channel, with the credentials of its client."""

    def __init__(self, continuation: Callable[..., Any], details: Any, request: Any) -> None:
        self._continuation = continuation
        self._details = details
        self._request = request
        self._bound = CALLER.get().bound
        self._headers: Headers = ()

    async def unary(self) -> Any:
        """The call, answered; it is made once more if it was refused."""
        call = await self._send(self._details.timeout)
        if not self._bound.renewable or isinstance(call, _FailedCall):
            return call
        started = time.monotonic()
        try:
            await call
        except aio.AioRpcError as error:
            if self._is_refused(error):
                return await self._send(_left(self._details.timeout, started))
        return call

    async def stream(self) -> Any:
        """The call, or its answers; it is made once more if it was refused instead of the first."""
        call = await self._send(self._details.timeout)
        if not self._bound.renewable or isinstance(call, _FailedCall):
            return call
        started, answers = time.monotonic(), aiter(call)
        try:
            first = await anext(answers, _END)
        except aio.AioRpcError as error:
            if not self._is_refused(error):
                return call  # which has ended, and says so to whoever reads it
            return await self._send(_left(self._details.timeout, started))
        return call if first is _END else _chain(first, answers)

    async def _send(self, timeout: float | None) -> Any:
        try:
            self._headers = await self._bound.headers_async()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the caller's
            return _FailedCall(error)
        metadata = aio.Metadata(*_joined(self._details.metadata, self._headers))
        details = self._details._replace(metadata=metadata, timeout=timeout)
        return await self._continuation(details, self._request)

    def _is_refused(self, error: aio.AioRpcError) -> bool:
        return error.code() is _REFUSED and self._bound.refused(self._headers)


async def _chain(first: Any, others: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for other in others:
        yield other


async def _send(continuation: Callable[..., Any], details: Any, request: Any) -> Any:
    return await _Sender(continuation, details, request).unary()


class _AsyncUnaryUnary(aio.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc has no type information
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        send = functools.partial(_send, continuation)
        for interceptor in CALLER.get().interceptors:
            send = functools.partial(interceptor.intercept_unary_unary, send)
        return await send(details, request)


class _AsyncUnaryStream(aio.UnaryStreamClientInterceptor):  # type: ignore[misc] # grpc has no type information
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        return await _Sender(continuation, details, request).stream()


ASYNC_INTERCEPTORS = (_AsyncUnaryUnary(), _AsyncUnaryStream())
"""The interceptors of each shared asyncio channel."""


class RestCredentials(Credentials):
    """CallCredentials credentials in the form that the SDK's REST transport takes."""

    def __init__(self, bound: CallCredentials) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self._bound = bound
        # By thread: with one for all, each refused request would forget the others' new token.
        self._sent = threading.local()

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        """Puts the headers on a request."""
        del request, method, url
        self._sent.headers = self._bound.headers()
        headers.update(self._sent.headers)

    def refresh(self, request: Any) -> None:
        """The service answered 401, and the request will be sent once more."""
        del request
        self._bound.refused(self._sent.headers)
