"""JSON over HTTP, in the form of a gRPC channel: what the SDK's generated clients are put on.

Their retries, timeouts, metadata and errors are then the same over both transports, and unknown
fields (thought signatures) survive, which the SDK's own REST transport drops. What is sent for a
call is for a service's rules to say: those of the Gemini API, or of Vertex AI.
"""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import grpc
import proto
import requests
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from genai_config._transport import deadlines, http
from genai_config._transport.call_credentials import (
    Attempts,
    NoCredentials,
    Opened,
    context_of,
    without_frames,
)
from genai_config._transport.http_errors import HttpCallError, error_in, from_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from genai_config._transport.call_credentials import CallContext, CallCredentials, Headers
    from genai_config._transport.channels import Address
    from genai_config._transport.exchange import Exchange

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection to be made, as in `channels`; the SDK then tries again."""

# gRPC's own, and what only gRPC's front end reads.
_NOT_SENT = ("grpc-", ":")


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
        self.url = host if "://" in host else f"https://{host}"
        self.server = urlsplit(self.url).netloc
        self.translate = translate
        self.fallback = fallback
        self.without = without
        self.session = requests.Session()
        http.mount(self.session, address.ca_certs, address.proxy, address.client_cert)

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

    def _send(self, request: Any, timeout: float | None, metadata: Any, *, stream: bool) -> _Sent:
        message = type(request).pb(request) if isinstance(request, proto.Message) else request
        exchange = self._channel.translate(self._name, message, context_of(metadata or ()))
        return _Sent(self._channel, exchange, metadata, timeout, stream=stream)

    def _answer(self, exchange: Exchange, data: Any) -> Any:
        """The message that JSON data are."""
        answer = self._read(b"")
        message = type(answer).pb(answer) if isinstance(answer, proto.Message) else answer
        try:
            exchange.read(data, message)
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise HttpCallError(
                grpc.StatusCode.INTERNAL,
                f"The answer of {self._channel.server} cannot be read: {error}.",
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
        data = _parsed(sent.read(), self._channel.server)
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


class _Sent:
    """A request that was sent, and answered well; it is sent once more if its token is refused.

    Args:
        channel: The channel.
        exchange: What is sent.
        metadata: The call's.
        timeout: Seconds for all of it, the body of the answer included; None: no bound.
        stream: Whether the body is read piece by piece.
    """

    def __init__(
        self,
        channel: JsonChannel,
        exchange: Exchange,
        metadata: Any,
        timeout: float | None,
        *,
        stream: bool,
    ) -> None:
        self.exchange = exchange
        self.server = channel.server
        self._channel = channel
        self._bounded = deadlines.Bounded(timeout)
        self._opened = Opened(metadata, channel.fallback)
        self._body = None if exchange.body is None else _json(exchange.body)
        query = f"?{urlencode(exchange.query, safe=';=')}" if exchange.query else ""
        self._url = f"{channel.url}{exchange.path}{query}"
        attempts = Attempts(self._opened.credentials, timeout)
        anew = 1
        while True:
            attempts.headers()  # `attempts` keeps them: no frame of an error is to hold them
            response, error = self._outcome(self._exchange, attempts, stream=stream)
            if error is not None:
                if not anew or not self._was_lost(error):
                    raise error
                anew -= 1
                continue
            http.refuse_redirect(response)
            refused = response.status_code == HTTPStatus.UNAUTHORIZED
            if not refused or not attempts.again():
                break
        if not response.ok:
            raise from_answer(response.status_code, response.content, self.server, response.headers)
        self.response = response

    def read(self) -> bytes:
        """The whole body."""
        return bytes(self.response.content)

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives."""
        # A body in chunks comes chunk by chunk; of another, no more must be waited for than is
        # there.
        size = None if self.response.raw.chunked else 1
        pieces = self.response.iter_content(size)
        while True:
            piece = self._guarded(next, pieces, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        """Hangs up, where there is more to come."""
        self._bounded.cancellation.cancel()
        self.response.close()

    def time_remaining(self) -> float | None:
        """The seconds that are left; None: no bound."""
        return self._bounded.left()

    def _exchange(self, attempts: Attempts, *, stream: bool) -> requests.Response:
        """Sends the request, and reads the answer unless it is a stream."""
        session, left = self._channel.session, self._bounded.left()
        request = requests.PreparedRequest()
        headers = dict(self._headers(attempts.sent))
        request.prepare(self.exchange.verb, self._url, headers, data=self._body, hooks=None)
        settings: dict[str, Any] = {
            **session.merge_environment_settings(request.url or "", {}, True, None, None)
        }
        connect = CONNECT_TIMEOUT if left is None else min(left, CONNECT_TIMEOUT)
        settings["timeout"] = (connect, left)
        response = session.send(request, allow_redirects=False, **settings)
        if not stream or not response.ok:
            _ = response.content  # read: the connection is the pool's again
        return response

    def _was_lost(self, error: BaseException) -> bool:
        """Whether the connection died, which had been used before: idle ones have died as well."""
        adapter = self._channel.session.get_adapter(self._url)
        if isinstance(adapter, http.Adapter):
            adapter.forget_idle()
        broken = isinstance(error, HttpCallError) and error.code() is grpc.StatusCode.UNAVAILABLE
        cancellation = self._bounded.cancellation
        return broken and cancellation.reused and not cancellation.cancelled

    def _headers(self, credentials: Headers) -> Iterator[tuple[str, str]]:
        headers: dict[str, list[str]] = {}
        for name, value in self._opened.with_headers(credentials):
            lower = name.lower()
            if lower not in self._channel.without and not lower.startswith(_NOT_SENT):
                text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
                headers.setdefault(lower, []).append(text)
        yield "accept", "*/*"
        yield "accept-encoding", "gzip, deflate"
        if self._body is not None:
            yield "content-type", "application/json"
        for name, values in headers.items():
            yield name, ", ".join(values)

    def _guarded(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a function within the bound; what goes wrong on the way is as gRPC has it."""
        result, error = self._outcome(function, *args, **kwargs)
        if error is not None:
            raise error
        return result

    def _outcome(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, BaseException | None]:
        """A result, or an error without the frames it came through: they hold the headers."""
        try:
            with self._bounded.running():
                result = function(*args, **kwargs)
            if self._bounded.expired:
                # A head that breaks off looks like a whole one.
                raise TimeoutError  # noqa: TRY301 -- as if it had been noticed in time
        except BaseException as error:  # noqa: BLE001 -- raised by the caller
            return None, without_frames(_failure(error, self.server, self._bounded))
        else:
            return result, None


def _failure(error: BaseException, server: str, bounded: deadlines.Bounded) -> BaseException:
    """What went wrong on the way, as gRPC has it; what is no such thing is left as it is."""
    timeouts = (requests.exceptions.Timeout, UrllibTimeoutError, TimeoutError)
    # requests makes a ConnectionError of a timeout in the middle of an answer.
    too_late = isinstance(error, timeouts) or any(
        isinstance(cause, timeouts) for cause in error.args
    )
    # A TLS handshake that nobody answers is a timeout in reading, long before the answer's bound.
    connecting = isinstance(error, requests.exceptions.ConnectTimeout) or _has_time(bounded)
    if bounded.expired or (too_late and not connecting):
        return HttpCallError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"{server}: no complete answer within {bounded.timeout or 0:g} s.",
        )
    if isinstance(error, (requests.RequestException, HTTPError, OSError)):
        # As gRPC says it, so that the cause is found. Without the outer text, which holds the URL,
        # and with it the names of models.
        return HttpCallError(
            grpc.StatusCode.UNAVAILABLE,
            f"failed to connect to all addresses; {server}: {_reason(error)}",
        )
    return error


def _has_time(bounded: deadlines.Bounded) -> bool:
    left = bounded.left()
    return left is None or left > 1


def _reason(error: BaseException) -> str:
    """The innermost of an error's causes, which says most, and names no URL."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((cause for cause in error.args if isinstance(cause, BaseException)), None)
        inner = inner or error.__cause__
        if inner is None:
            return f"{type(error).__name__}: {error}"
        error = inner


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

    def __init__(self, sent: _Sent, answer: Callable[[Any], Any]) -> None:
        self._sent = sent
        self._answers = map(answer, events(sent.pieces(), sent.server))
        self._code: Any = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._code is not None:
            raise StopIteration
        try:
            return next(self._answers)
        except StopIteration:
            self._code = grpc.StatusCode.OK
            raise
        except HttpCallError as error:
            self._code = error.code()
            self._sent.close()
            raise
        except BaseException:
            self._sent.close()
            raise

    def cancel(self) -> bool:
        """Hangs up."""
        self._code = self._code or grpc.StatusCode.CANCELLED
        self._sent.close()
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
        return ""


def events(pieces: Iterator[bytes], server: str) -> Iterator[Any]:
    """The JSON data of server-sent events.

    Raises:
        HttpCallError: An event is an error, or the stream ends in the middle of one.
    """
    lines: list[bytes] = []
    rest, came = b"", False
    for piece in pieces:
        came = True
        *complete, rest = (rest + piece).split(b"\n")
        for line in complete:
            line = line.rstrip(b"\r")  # noqa: PLW2901 -- lines may end either way
            if line.startswith(b"data:"):
                lines.append(line[5:])
            elif not line and lines:
                yield _event(lines, server)
                lines = []
            elif line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
                lines.append(line)  # an error may come as plain JSON
    if rest or lines:
        yield _event([*lines, rest.removeprefix(b"data:")], server)
    elif not came:
        _parsed(b"", server)


def _event(lines: list[bytes], server: str) -> Any:
    data = _parsed(b"\n".join(lines), server)
    error = error_in(data)
    if error is not None:
        raise error
    return data


def _parsed(body: bytes, server: str) -> Any:
    if not body.strip():
        # Even what has no answer is answered with {}: a head that broke off looks like a whole one.
        raise HttpCallError(
            grpc.StatusCode.UNAVAILABLE, f"The connection to {server} failed: no answer came."
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HttpCallError(
            grpc.StatusCode.INTERNAL, f"The answer of {server} is not complete JSON."
        ) from None


def _json(data: Any) -> bytes:
    # A number that JSON does not have cannot come here: they go as words.
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
