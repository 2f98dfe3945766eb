"""As `grpc_sync`, for asyncio: each call brings its credentials and takes a place.

gRPC's own interceptors are not used: they cost more than the call, print errors that nobody asked
for, and hold the headers in their frames.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from genai_config._masking import without_frames
from genai_config._transport.call_credentials import Attempts, NoCredentials, opened
from genai_config._transport.grpc_sync import rejection_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from typing_extensions import Self

    from genai_config._transport.call_credentials import CallCredentials
    from genai_config._transport.channel_pool import ChannelPool


class AsyncSharedChannel(aio.Channel):  # type: ignore[misc] # grpc has no type information
    """An event loop's connections to an address as one channel; closing it leaves them open.

    Args:
        pool: The connections.
        fallback: The credentials of a call that brings none.
    """

    def __init__(
        self,
        pool: ChannelPool[aio.Channel],
        fallback: Callable[[], CallCredentials] = NoCredentials,
    ) -> None:
        self.pool = pool
        self.fallback = fallback
        # The SDK's transports put their logging here, as they would on a channel of their own.
        self._unary_unary_interceptors: list[Any] = []

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: Any = None,
    ) -> UnaryUnary:
        """A unary method."""
        description = ("unary_unary", method, request_serializer, response_deserializer)
        return UnaryUnary(self, description, self._unary_unary_interceptors)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: Any = None,
    ) -> aio.UnaryStreamMultiCallable:
        """A server-streaming method."""
        description = ("unary_stream", method, request_serializer, response_deserializer)
        return _UnaryStream(self, description)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """No service of the SDK has such a method."""
        raise NotImplementedError  # as grpc has it; the SDK streams from the server alone

    stream_stream = stream_unary

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Nothing: the connections belong to the pool."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 -- grpc's signature
        """The state of the first connection."""
        return self.pool.first.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits on the first connection."""
        await self.pool.first.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits for the first connection."""
        await self.pool.first.channel_ready()


class _Call:
    """One call of a method, on behalf of the identity that its metadata names."""

    def __init__(
        self,
        method: tuple[AsyncSharedChannel, tuple[Any, ...]],
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        **options: Any,
    ) -> None:
        self._channel, self._description = method
        self._request, self._options = request, options
        self._metadata, credentials = opened(metadata, self._channel.fallback)
        self.attempts = Attempts(credentials, timeout)

    async def start(self) -> Any:
        """GRPC's call, under way."""
        await self.attempts.headers_async()
        return self.started()

    def started(self) -> Any:
        """GRPC's call, under way with the headers that have been asked for."""
        try:
            description = self._description
            connection = self._channel.pool.take(0)
            method = connection.methods.get(description) or connection.method(description)
            call = method(
                self._request,
                timeout=self.attempts.timeout(),
                metadata=aio.Metadata(*self._metadata.with_headers(self.attempts.sent)),
                **self._options,
            )
            connection.keep_for(call)
        except BaseException as error:  # noqa: BLE001 -- raised below
            failed = without_frames(error)
        else:
            return call
        raise failed

    async def answered(self) -> Any:
        """GRPC's call, answered; it is made once more if it was refused."""
        call = await self.start()
        if not self.attempts.is_last:
            try:
                await call
            except aio.AioRpcError as error:
                if await self.is_refused(error):
                    return await self.start()
        return call

    async def is_refused(self, error: aio.AioRpcError) -> bool:
        """Whether another attempt is to be made."""
        return await self.attempts.again_async(rejection_of(error))


class _Started(aio.Call):  # type: ignore[misc] # grpc has no type information
    """A call that is gRPC's as soon as there are credentials for it.

    Args:
        starting: Gives gRPC's call.
    """

    def __init__(self, starting: Any) -> None:
        self._starting: asyncio.Future[Any] = asyncio.ensure_future(starting)
        self._callbacks: list[Callable[[Any], None]] = []
        self._starting.add_done_callback(self._has_started)

    def _has_started(self, starting: asyncio.Future[Any]) -> None:
        if starting.cancelled() or starting.exception() is not None:
            for callback in self._callbacks:
                callback(self)
        else:
            for callback in self._callbacks:
                self._call.add_done_callback(callback)

    @property
    def _call(self) -> Any:
        return self._starting.result()

    def _is_under_way(self) -> bool:
        return (
            self._starting.done()
            and not self._starting.cancelled()
            and self._starting.exception() is None
        )

    def done(self) -> bool:
        return self._call.done() if self._is_under_way() else self._starting.done()

    def cancel(self) -> bool:
        return self._call.cancel() if self._is_under_way() else self._starting.cancel()

    def cancelled(self) -> bool:
        return self._call.cancelled() if self._is_under_way() else self._starting.cancelled()

    def time_remaining(self) -> float | None:
        return self._call.time_remaining() if self._is_under_way() else None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._is_under_way():
            self._call.add_done_callback(callback)
        elif self._starting.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    async def _started(self) -> Any:
        # Whoever stops waiting for it stops nobody else.
        return await asyncio.shield(self._starting)

    async def initial_metadata(self) -> Any:
        return await (await self._started()).initial_metadata()

    async def trailing_metadata(self) -> Any:
        return await (await self._started()).trailing_metadata()

    async def code(self) -> Any:
        try:
            return await (await self._started()).code()
        except asyncio.CancelledError:
            if self._starting.cancelled():
                return grpc.StatusCode.CANCELLED
            raise

    async def details(self) -> Any:
        return await (await self._started()).details()

    async def wait_for_connection(self) -> None:
        await (await self._started()).wait_for_connection()


class UnaryUnary(aio.UnaryUnaryMultiCallable):  # type: ignore[misc] # grpc has no type information
    """A unary method of a shared channel."""

    def __init__(
        self,
        channel: AsyncSharedChannel,
        description: tuple[Any, ...],
        interceptors: list[Any],
    ) -> None:
        self._method = (channel, description)
        # The SDK's own writes a log, or costs time for nothing.
        self._logs = [(one, logging.getLogger(type(one).__module__)) for one in interceptors]

    def __call__(self, request: Any, **options: Any) -> aio.UnaryUnaryCall:
        return _UnaryCall(self._answered(request, **options))

    def answer(self, request: Any, **options: Any) -> Awaitable[Any]:
        """The answer, for a caller that waits for it, and wants nothing else of the call."""
        for _, logger in self._logs:
            if logger.isEnabledFor(logging.DEBUG):
                return _answer_of(self._answered(request, **options))
        call = _Call(self._method, request, **options)
        if not call.attempts.is_last:
            return _answer_of(call.answered())
        call.attempts.headers()  # a key: there is nothing to wait for
        started: Awaitable[Any] = call.started()
        return started

    def _answered(self, request: Any, **options: Any) -> Awaitable[Any]:
        """GRPC's call, answered."""
        send: Any = self._unlogged
        reads = [one for one, logger in self._logs if logger.isEnabledFor(logging.DEBUG)]
        for interceptor in reads:
            send = functools.partial(_logged, interceptor, self._method[1][1], send)
        awaited: Awaitable[Any] = send(request, **options)
        return awaited

    def _unlogged(self, request: Any, **options: Any) -> Awaitable[Any]:
        return _Call(self._method, request, **options).answered()


async def _answer_of(call: Awaitable[Any]) -> Any:
    return await (await call)


async def _logged(interceptor: Any, method: str, send: Any, request: Any, **options: Any) -> Any:
    async def continuation(details: Any, request: Any) -> Any:
        return await send(request, **{**options, "metadata": details.metadata})

    details = aio.ClientCallDetails(
        method, options.get("timeout"), options.get("metadata"), None, None
    )
    return await interceptor.intercept_unary_unary(continuation, details, request)


class _UnaryCall(_Started, aio.UnaryUnaryCall):  # type: ignore[misc] # grpc has no type information
    def __await__(self) -> Generator[Any, None, Any]:
        call = yield from self._starting.__await__()
        return (yield from call.__await__())


class _UnaryStream(aio.UnaryStreamMultiCallable):  # type: ignore[misc] # grpc has no type information
    """A server-streaming method of a shared channel."""

    def __init__(self, channel: AsyncSharedChannel, description: tuple[Any, ...]) -> None:
        self._method = (channel, description)

    def __call__(self, request: Any, **options: Any) -> aio.UnaryStreamCall:
        return _StreamCall(_Call(self._method, request, **options))


class _StreamCall(_Started, aio.UnaryStreamCall):  # type: ignore[misc] # grpc has no type information
    """A stream of answers that starts once more if it was refused."""

    def __init__(self, call: _Call) -> None:
        self._first: Any = None
        self._answers: AsyncIterator[Any] | None = None
        super().__init__(self._start(call))

    async def _start(self, call: _Call) -> Any:
        started = await call.start()
        if not call.attempts.is_last:
            try:
                self._first = await started.read()
            except aio.AioRpcError as error:
                if await call.is_refused(error):
                    return await call.start()
        return started

    async def read(self) -> Any:
        call = await self._started()
        first, self._first = self._first, None
        return await call.read() if first is None else first

    async def _all(self) -> AsyncIterator[Any]:
        while (answer := await self.read()) is not aio.EOF:
            yield answer

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._answers is None:
            self._answers = self._all()
        return self._answers
