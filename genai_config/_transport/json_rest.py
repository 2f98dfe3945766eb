"""JSON over HTTP, in the form of a gRPC channel: what the SDK's generated clients are put on.

Their retries, timeouts, metadata and errors are then the same over both transports, and unknown
fields (thought signatures) survive, which the SDK's own REST transport drops. What is sent for a
call is for a service's rules to say: those of the Gemini API, or of Vertex AI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import proto
import requests

from genai_config._transport import http, json_events
from genai_config._transport.call_credentials import NoCredentials, opened
from genai_config._transport.http_errors import HttpCallError
from genai_config._transport.json_call import Destination, JsonCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from genai_config._transport.call_credentials import CallContext, CallCredentials
    from genai_config._transport.channels import Address
    from genai_config._transport.exchange import Exchange


class JsonChannel(grpc.Channel):  # type: ignore[misc] # grpc has no type information
    """Calls to one address as JSON over HTTP, for all identities: each call brings its own.

    Args:
        address: Where the connections go, and their trust and proxy.
        translate: The service's rules: from a method ("Service.Method"), a request and what the
            call carries to what is sent.
        fallback: The credentials of a call that brings none.
        without: Names of headers that the service has no use for.
    """

    def __init__(
        self,
        address: Address,
        translate: Callable[[str, Any, CallContext | None], Exchange],
        fallback: Callable[[], CallCredentials] = NoCredentials,
        without: frozenset[str] = frozenset(),
    ) -> None:
        host = address.host
        url = host if "://" in host else f"https://{host}"
        self.translate = translate
        session = requests.Session()
        http.mount(session, address.ca_certs, address.proxy, address.client_cert)
        self.destination = Destination(session, url, fallback, without)

    def unary_unary(
        self, method: str, request_serializer: Any, response_deserializer: Any, *_: Any, **__: Any
    ) -> grpc.UnaryUnaryMultiCallable:
        del request_serializer
        return _UnaryUnary(self, method, response_deserializer)

    def unary_stream(
        self, method: str, request_serializer: Any, response_deserializer: Any, *_: Any, **__: Any
    ) -> grpc.UnaryStreamMultiCallable:
        del request_serializer
        return _UnaryStream(self, method, response_deserializer)

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        """No service of the SDK has such a method."""
        raise NotImplementedError  # as grpc has it; the SDK streams from the server alone

    stream_stream = stream_unary

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:  # noqa: FBT001, FBT002 -- grpc's signature
        """Nothing: a connection is made for a call, and has no state of its own."""

    def unsubscribe(self, callback: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing: the connections belong to the pool."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class _Method:
    """One method of a channel.

    Args:
        channel: The channel.
        path: The method as gRPC names it: "/package.Service/Method".
        read: From bytes to the answer's message.
    """

    def __init__(self, channel: JsonChannel, path: str, read: Callable[[bytes], Any]) -> None:
        self._channel = channel
        package_and_service, _, method = path[1:].partition("/")
        self._name = f"{package_and_service.rpartition('.')[2]}.{method}"
        self._read = read

    def _send(
        self, request: Any, timeout: float | None, metadata: Any, *, stream: bool
    ) -> JsonCall:
        message = type(request).pb(request) if isinstance(request, proto.Message) else request
        metadata, _ = opened(metadata, NoCredentials)
        exchange = self._channel.translate(self._name, message, metadata.context)
        return JsonCall(self._channel.destination, exchange, metadata, timeout, stream=stream)

    def _answer(self, exchange: Exchange, data: Any) -> Any:
        """The message that JSON data are."""
        answer = self._read(b"")
        message = type(answer).pb(answer) if isinstance(answer, proto.Message) else answer
        try:
            exchange.read(data, message)
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise HttpCallError(
                grpc.StatusCode.INTERNAL,
                f"The answer of {self._channel.destination.server} cannot be read: {error}.",
            ) from None
        return answer


class _UnaryUnary(_Method, grpc.UnaryUnaryMultiCallable):  # type: ignore[misc] # grpc has no type information
    """A method with one answer."""

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> Any:
        return self.with_call(request, timeout, metadata, **options)[0]

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        sent = self._send(request, timeout, metadata, stream=False)
        data = json_events.parsed(sent.read(), self._channel.destination.server)
        return self._answer(sent.exchange, data), _Done()

    def future(self, *_: Any, **__: Any) -> Any:
        """No client of the SDK asks for one."""
        raise NotImplementedError  # as grpc has it; no client of the SDK asks for a future


class _UnaryStream(_Method, grpc.UnaryStreamMultiCallable):  # type: ignore[misc] # grpc has no type information
    """A method with a stream of answers."""

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any
    ) -> _Stream:
        sent = self._send(request, timeout, metadata, stream=True)
        return _Stream(sent, lambda data: self._answer(sent.exchange, data))


class _Done:
    """A call that is over, and went well."""

    def code(self) -> Any:
        return grpc.StatusCode.OK

    def details(self) -> str:
        return ""

    def initial_metadata(self) -> tuple[()]:
        return ()

    trailing_metadata = initial_metadata


class _Stream(grpc.Call):  # type: ignore[misc] # grpc has no type information
    """The answers of a call one by one, which are the events of a stream (SSE)."""

    def __init__(self, sent: JsonCall, answer: Callable[[Any], Any]) -> None:
        self._sent = sent
        self._answers = map(answer, json_events.events(sent.pieces(), sent.server))
        self._failure: HttpCallError | None = None
        self._code: Any = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._failure is not None:
            raise self._failure  # as gRPC does: what broke off never looks like a good end
        try:
            return next(self._answers)
        except StopIteration:
            self._code = self._code or grpc.StatusCode.OK
            raise
        except HttpCallError as error:
            self._end(error)
            raise
        except BaseException:
            self.cancel()
            raise

    def _end(self, failure: HttpCallError) -> None:
        self._failure, self._code = failure, failure.code()
        self._sent.close()

    def cancel(self) -> bool:
        """Hangs up."""
        if self._code is None:
            self._end(HttpCallError(grpc.StatusCode.CANCELLED, "The stream was cancelled."))
        return True

    def is_active(self) -> bool:
        return self._code is None

    def time_remaining(self) -> float | None:
        return self._sent.time_remaining()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        del callback
        return False

    def initial_metadata(self) -> tuple[()]:
        return ()

    trailing_metadata = initial_metadata

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return "" if self._failure is None else self._failure.details()
