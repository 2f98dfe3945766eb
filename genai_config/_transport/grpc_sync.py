"""A gRPC channel for all identities: each call brings its credentials and takes a place.

A call is made once more if its token is refused. A failure to get a token reaches the caller as it
is: gRPC's own plugin would turn it into UNAVAILABLE, which the SDK retries for ten minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from genai_config._masking import without_frames
from genai_config._transport.call_credentials import Attempts, NoCredentials, Rejection, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from genai_config._transport.call_credentials import CallCredentials
    from genai_config._transport.channel_pool import ChannelPool


class SharedChannel(grpc.Channel):  # type: ignore[misc] # grpc has no type information
    """The connections to an address as one channel; closing it leaves them open.

    Args:
        pool: The connections.
        fallback: The credentials of a call that brings none.
    """

    def __init__(
        self,
        pool: ChannelPool[grpc.Channel],
        fallback: Callable[[], CallCredentials] = NoCredentials,
    ) -> None:
        self.pool = pool
        self.fallback = fallback

    def unary_unary(self, *method: Any, **options: Any) -> grpc.UnaryUnaryMultiCallable:
        return _UnaryUnary(self, _description("unary_unary", *method, **options))

    def unary_stream(self, *method: Any, **options: Any) -> grpc.UnaryStreamMultiCallable:
        return _UnaryStream(self, _description("unary_stream", *method, **options))

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return self.pool.first.stream_unary(*method, **options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return self.pool.first.stream_stream(*method, **options)

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:  # noqa: FBT001, FBT002 -- grpc's signature
        self.pool.first.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self.pool.first.unsubscribe(callback)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _description(
    kind: str,
    method: str,
    request_serializer: Any = None,
    response_deserializer: Any = None,
    _registered_method: Any = None,
) -> tuple[Any, ...]:
    return kind, method, request_serializer, response_deserializer


class _Call:
    """One call of a method, on behalf of the identity that its metadata names."""

    __slots__ = ("_metadata", "_method", "_options", "_others", "_request", "attempts")

    def __init__(
        self,
        method: _Method,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        *others: Any,
        **options: Any,
    ) -> None:
        self._method = method
        self._request = request
        self._others = others
        self._options = options
        self._metadata, credentials = opened(metadata, method.channel.fallback)
        self.attempts = Attempts(credentials, timeout)

    def attempt(self, how: str, *, goes_on: bool = False) -> tuple[Any, BaseException | None]:
        """Sends the request: what gRPC returns, or its error without the frames it came through.

        Args:
            how: "__call__", "with_call" or "future".
            goes_on: Whether what is returned is a call that keeps its place until it has ended.
        """
        headers = self.attempts.headers()
        try:
            description = self._method.description
            with self._method.channel.pool.take() as connection:
                method = connection.methods.get(description) or connection.method(description)
                result = getattr(method, how)(
                    self._request,
                    self.attempts.timeout(),
                    self._metadata.with_headers(headers),
                    *self._others,
                    **self._options,
                )
                if goes_on:
                    connection.keep_for(result)
        except BaseException as error:  # noqa: BLE001 -- raised by the caller
            return None, without_frames(error)
        return result, None

    def is_refused(self, error: BaseException) -> bool:
        """Whether another attempt is to be made."""
        return isinstance(error, grpc.RpcError) and self.attempts.again(rejection_of(error))


# https://cloud.google.com/apis/design/errors
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
}


def rejection_of(error: Any) -> Rejection:
    """What the service said in an error of gRPC's; HTTP status 0 for one that is no rejection."""
    status = _HTTP_STATUS.get(error.code(), 0)
    if not status:
        return Rejection(0)
    # The reason is a text in the details, which are protobuf.
    details = [
        value.decode("latin-1")
        for name, value in error.trailing_metadata() or ()
        if name == "grpc-status-details-bin"
    ]
    return Rejection(status, " ".join([error.details() or "", *details]))


class _Method:
    """One method of a shared channel."""

    def __init__(self, channel: SharedChannel, description: tuple[Any, ...]) -> None:
        self.channel = channel
        self.description = description


class _UnaryUnary(_Method, grpc.UnaryUnaryMultiCallable):  # type: ignore[misc] # grpc has no type information
    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._answer("__call__", _Call(self, *args, **options))

    def with_call(self, *args: Any, **options: Any) -> Any:
        return self._answer("with_call", _Call(self, *args, **options))

    def future(self, *args: Any, **options: Any) -> Any:
        # Nobody waits for its outcome here, so it is not made again.
        return _started(_Call(self, *args, **options), "future")

    def _answer(self, how: str, call: _Call) -> Any:
        answer, error = call.attempt(how)
        if error is not None and call.is_refused(error):
            answer, error = call.attempt(how)
        if error is not None:
            raise error
        return answer


class _UnaryStream(_Method, grpc.UnaryStreamMultiCallable):  # type: ignore[misc] # grpc has no type information
    def __call__(self, *args: Any, **options: Any) -> Any:
        call = _Call(self, *args, **options)
        stream = _started(call, "__call__")
        return stream if call.attempts.is_last else _Stream(stream, call)


class _Stream:
    """A stream of answers that starts once more if it was refused; everything else is gRPC's.

    Args:
        stream: The first attempt.
        call: What makes another.
    """

    def __init__(self, stream: Any, call: _Call) -> None:
        self._stream = stream
        self._call: _Call | None = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        call, self._call = self._call, None
        if call is None:
            return next(self._stream)
        try:
            return next(self._stream)
        except grpc.RpcError as error:
            if not call.is_refused(error):
                raise
        self._stream = _started(call, "__call__")
        return next(self._stream)


def _started(call: _Call, how: str) -> Any:
    """A call that goes on."""
    started, error = call.attempt(how, goes_on=True)
    if error is not None:
        raise error
    return started
