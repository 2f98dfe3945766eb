"""Channels as one client sees them: with its credentials, over connections that all share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from genai_config._transport.interceptors import CALLER, Caller, Interceptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from genai_config._transport.call_credentials import CallCredentials
    from genai_config._transport.channel_pool import Lanes


class _UnaryUnary(grpc.UnaryUnaryMultiCallable):  # type: ignore[misc] # grpc has no type information
    """A unary method, each call of which takes a place on a connection."""

    def __init__(self, lanes: Lanes[grpc.Channel], method: tuple[Any, ...]) -> None:
        self._lanes = lanes
        self._method = method

    def with_call(self, *args: Any, **options: Any) -> Any:
        with self._lanes.take() as place:
            return place.channel.unary_unary(*self._method).with_call(*args, **options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.with_call(*args, **options)[0]

    def future(self, *args: Any, **options: Any) -> Any:
        with self._lanes.take() as place:
            call = place.channel.unary_unary(*self._method).future(*args, **options)
            place.keep_for(call)
            return call


class _UnaryStream(grpc.UnaryStreamMultiCallable):  # type: ignore[misc] # grpc has no type information
    """A server-streaming method, each call of which takes a place on a connection."""

    def __init__(self, lanes: Lanes[grpc.Channel], method: tuple[Any, ...]) -> None:
        self._lanes = lanes
        self._method = method

    def __call__(self, *args: Any, **options: Any) -> Any:
        with self._lanes.take() as place:
            call = place.channel.unary_stream(*self._method)(*args, **options)
            place.keep_for(call)
            return call


class _SharedChannel(grpc.Channel):  # type: ignore[misc] # grpc has no type information
    """The connections to an address as one channel; closing it leaves them open."""

    def __init__(self, lanes: Lanes[grpc.Channel]) -> None:
        self._lanes = lanes

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:  # noqa: FBT001, FBT002 -- grpc's signature
        self._lanes.first.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._lanes.first.unsubscribe(callback)

    def unary_unary(self, *method: Any) -> grpc.UnaryUnaryMultiCallable:
        return _UnaryUnary(self._lanes, method)

    def unary_stream(self, *method: Any) -> grpc.UnaryStreamMultiCallable:
        return _UnaryStream(self._lanes, method)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return self._lanes.first.stream_unary(*method, **options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return self._lanes.first.stream_stream(*method, **options)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def bind(lanes: Lanes[grpc.Channel], bound: CallCredentials) -> grpc.Channel:
    """The shared connections as one client sees them: a channel with its credentials."""
    mine = grpc.intercept_channel(_SharedChannel(lanes), Interceptor(bound))
    mine.close = lambda: None
    return mine


class _BoundCall:
    """One method, called on behalf of one client, each time on a connection that has room."""

    def __init__(
        self, method: Callable[[aio.Channel], Callable[..., Any]], channel: AsyncBoundChannel
    ) -> None:
        self._method = method
        self._channel = channel

    def __call__(self, request: Any, **options: Any) -> Any:
        token = CALLER.set(self._channel.caller)
        try:
            with self._channel.lanes.take() as place:
                call = self._method(place.channel)(request, **options)
                place.keep_for(call)
                return call
        finally:
            CALLER.reset(token)


class _BoundUnaryUnary(_BoundCall, aio.UnaryUnaryMultiCallable):  # type: ignore[misc] # grpc has no type information
    pass


class _BoundUnaryStream(_BoundCall, aio.UnaryStreamMultiCallable):  # type: ignore[misc] # grpc has no type information
    pass


class AsyncBoundChannel(aio.Channel):  # type: ignore[misc] # grpc has no type information
    """An event loop's shared connections as one client sees them; closing leaves them open."""

    def __init__(self, lanes: Lanes[aio.Channel], bound: CallCredentials) -> None:
        self.lanes = lanes
        # The SDK's transports put their logging here, as they would on a channel of their own.
        self._unary_unary_interceptors: list[Any] = []
        self.caller = Caller(bound, self._unary_unary_interceptors)

    def unary_unary(self, *method: Any, **options: Any) -> aio.UnaryUnaryMultiCallable:
        """A unary method, bound."""
        return _BoundUnaryUnary(lambda channel: channel.unary_unary(*method, **options), self)

    def unary_stream(self, *method: Any, **options: Any) -> aio.UnaryStreamMultiCallable:
        """A server-streaming method, bound."""
        return _BoundUnaryStream(lambda channel: channel.unary_stream(*method, **options), self)

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
        return self.lanes.first.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits on the first connection."""
        await self.lanes.first.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits for the first connection."""
        await self.lanes.first.channel_ready()
