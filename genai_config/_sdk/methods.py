"""The methods of a generated client: the SDK's retries and bounds, at the cost of a plain call.

The SDK wraps each call in a retry and a clock, which takes longer than sending it. Here a call is
made first, and only one that fails is handed to the retry, as its first attempt.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.api_core.gapic_v1.method import DEFAULT, _GapicCallable

from genai_config._sdk import signatures
from genai_config._sdk.explained import explained, is_stream, raise_explained
from genai_config._sdk.request_log import LoggedOrNot
from genai_config._transport.call_credentials import CallMetadata


class Bounds:
    """How long a call may still take after its first attempt, and how it is retried.

    Args:
        retry: The retry; None: there is none.
        attempt: Seconds for each attempt; None: no bound.
        whole: Seconds for the call and all that is retried of it; None: no bound.
        started: When the call was made.
    """

    __slots__ = ("_attempt", "_started", "_whole", "retry")

    def __init__(
        self, retry: Any, attempt: float | None, whole: float | None, started: float
    ) -> None:
        self.retry = retry
        self._attempt = attempt
        self._whole = whole
        self._started = started

    def timeout(self) -> float | None:
        """The seconds that the next attempt may take."""
        if self._whole is None:
            return self._attempt
        left = max(0.0, self._whole - (time.monotonic() - self._started))
        return left if self._attempt is None else min(left, self._attempt)

    def retry_left(self) -> Any:
        """The retry, for the time that the first attempt has left of it."""
        bounds = [b for b in (self._whole, self.retry._timeout) if b is not None]
        retry = self.retry.with_predicate(self._is_worth_another)
        if not bounds:
            return retry
        return retry.with_timeout(max(0.0, min(bounds) - (time.monotonic() - self._started)))

    def _is_worth_another(self, error: Exception) -> bool:
        if not self.retry._predicate(error):
            return False
        from genai_config._transport import unreachable

        cause = unreachable.cause_of(error)
        if cause is None:
            return True
        return not cause.final and time.monotonic() - self._started < unreachable.PATIENCE


def _raise(error: Exception) -> NoReturn:
    from genai_config._transport import unreachable

    told = unreachable.explained(error)
    if told is error:
        raise error
    raise told from error


def _seconds(timeout: Any) -> float | None:
    # The SDK takes an object here as well, of which only this part says anything.
    seconds: float | None = getattr(timeout, "_timeout", timeout)
    return seconds


_NONE: dict[str, Any] = {}


class Method:
    """A method of a synchronous client.

    Args:
        wrapped: The method as the SDK's `wrap_method` made it.
    """

    def __init__(self, wrapped: Any) -> None:
        self._target = self._target_of(wrapped._target)
        self._retry = wrapped._retry
        self._timeout = _seconds(wrapped._timeout)
        self._compression = wrapped._compression
        self._agent = tuple(wrapped._metadata or ())

    @staticmethod
    def _target_of(target: Any) -> Any:
        # What the SDK puts around a unary call maps its errors, as `raise_explained` does.
        own = getattr(target, "__wrapped__", None)
        return own if isinstance(own, LoggedOrNot) else target

    def _options(self, compression: Any) -> dict[str, Any]:
        return {"compression": self._compression if compression is DEFAULT else compression}

    def __call__(
        self,
        request: Any,
        *,
        retry: Any = DEFAULT,
        timeout: Any = DEFAULT,
        compression: Any = DEFAULT,
        metadata: Any = (),
    ) -> Any:
        carried = CallMetadata((*(metadata or ()), *self._agent))
        whole = None if carried.context is None else carried.context.timeout
        each = self._timeout if timeout is DEFAULT else _seconds(timeout)
        first = each if whole is None or (each is not None and each < whole) else whole
        # Without one of the method's own, the transport may have no such argument.
        options = self._options(compression) if self._compression is not None else _NONE
        started = time.monotonic()
        try:
            return self._send(request, carried, first, options)
        except Exception as error:  # noqa: BLE001 -- handed to the retry
            bounds = Bounds(self._retry if retry is DEFAULT else retry, each, whole, started)
            if not bounds.retry:
                _raise(error)
            failed: list[Exception] = [error]

        def attempt() -> Any:
            if failed:
                raise failed.pop()
            return self._send(request, carried, bounds.timeout(), options)

        try:
            return bounds.retry_left()(attempt)()
        except Exception as error:  # noqa: BLE001 -- raised again
            _raise(error)

    def _send(
        self,
        request: Any,
        metadata: CallMetadata,
        timeout: float | None,
        options: dict[str, Any],
    ) -> Any:
        context = metadata.context
        if context is not None:
            signatures.check(request, context)
        try:
            answer = self._target(request, timeout=timeout, metadata=metadata, **options)
        except (grpc.RpcError, GoogleAPICallError) as error:
            raise_explained(error, request, context)
        if context is None:
            return answer
        signatures.remember(answer, context)
        return explained(answer, request, context) if is_stream(answer.__class__) else answer


class AsyncMethod(Method):
    """A method of an asynchronous client."""

    @staticmethod
    def _target_of(target: Any) -> Any:
        from genai_config._transport.grpc_async import UnaryUnary

        # The SDK makes an object of each call, and then wants nothing of it but the answer.
        own = getattr(target, "__wrapped__", None)
        return own.answer if isinstance(own, UnaryUnary) else target

    async def __call__(
        self,
        request: Any,
        *,
        retry: Any = DEFAULT,
        timeout: Any = DEFAULT,
        compression: Any = DEFAULT,
        metadata: Any = (),
    ) -> Any:
        carried = CallMetadata((*(metadata or ()), *self._agent))
        whole = None if carried.context is None else carried.context.timeout
        each = self._timeout if timeout is DEFAULT else _seconds(timeout)
        first = each if whole is None or (each is not None and each < whole) else whole
        # Without one of the method's own, the transport may have no such argument.
        options = self._options(compression) if self._compression is not None else _NONE
        started = time.monotonic()
        try:
            return await self._send(request, carried, first, options)
        except Exception as error:  # noqa: BLE001 -- handed to the retry
            bounds = Bounds(self._retry if retry is DEFAULT else retry, each, whole, started)
            if not bounds.retry:
                _raise(error)
            failed: list[Exception] = [error]

        async def attempt() -> Any:
            if failed:
                raise failed.pop()
            return await self._send(request, carried, bounds.timeout(), options)

        try:
            return await bounds.retry_left()(attempt)()
        except Exception as error:  # noqa: BLE001 -- raised again
            _raise(error)

    async def _send(
        self,
        request: Any,
        metadata: CallMetadata,
        timeout: float | None,
        options: dict[str, Any],
    ) -> Any:
        context = metadata.context
        if context is not None:
            signatures.check(request, context)
        try:
            answer = await self._target(request, timeout=timeout, metadata=metadata, **options)
        except (grpc.RpcError, GoogleAPICallError) as error:
            raise_explained(error, request, context)
        if context is None:
            return answer
        signatures.remember(answer, context)
        return explained(answer, request, context) if is_stream(answer.__class__) else answer


def with_cheap_retries(transport: Any, *, asynchronous: bool) -> None:
    """Replaces the methods that a generated client's transport has wrapped.

    Args:
        transport: The transport.
        asynchronous: Whether its methods are awaited.
    """
    kind = AsyncMethod if asynchronous else Method
    holders = [transport._wrapped_methods]
    if hasattr(type(transport), "operations_client"):
        # The client for operations has its own, in its attributes or in its transport.
        operations = transport.operations_client
        own = getattr(getattr(operations, "_transport", None), "_wrapped_methods", None)
        holders.append(vars(operations) if own is None else own)
    for holder in holders:
        for name, method in list(holder.items()):
            if isinstance(method, _GapicCallable):
                holder[name] = kind(method)
