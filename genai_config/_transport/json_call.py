"""A call as JSON over HTTP: what is sent of it, and its failures as gRPC has them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import grpc
import requests
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from genai_config._transport import http
from genai_config._transport.call_credentials import opened
from genai_config._transport.http_call import HttpCall
from genai_config._transport.http_errors import HttpCallError, from_answer, not_reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config._transport.call_credentials import CallCredentials, Headers
    from genai_config._transport.deadlines import Bounded
    from genai_config._transport.exchange import Exchange

# gRPC's own, and what only gRPC's front end reads.
_OF_GRPC = ("grpc-", ":")
# What the connection decides: a second length, for one, would make two requests of one.
_OF_HTTP = frozenset(
    {
        "connection", "content-length", "content-type", "expect", "host", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class Destination(NamedTuple):
    """Where calls are sent.

    Attributes:
        session: What they are sent with.
        url: The service's; paths are appended to it.
        fallback: The credentials of a call that brings none.
        without: Names of headers that the service has no use for.
    """

    session: requests.Session
    url: str
    fallback: Callable[[], CallCredentials]
    without: frozenset[str]

    @property
    def server(self) -> str:
        """Host and port, for errors."""
        return urlsplit(self.url).netloc


class JsonCall:
    """A call that was sent, and answered well.

    Args:
        destination: Where it is sent.
        exchange: What is sent.
        metadata: The call's.
        timeout: Seconds for all of it, the body of the answer included; None: no bound.
        stream: Whether the body is read piece by piece.

    Raises:
        HttpCallError: The service answered with an error, or the way to it failed.
        ConfigurationError: The answer is a redirect.
    """

    def __init__(
        self,
        destination: Destination,
        exchange: Exchange,
        metadata: Any,
        timeout: float | None,
        *,
        stream: bool,
    ) -> None:
        self.exchange = exchange
        self.server = destination.server
        self._destination = destination
        self._not_sent = destination.without | _OF_HTTP
        self._metadata, own = opened(metadata, destination.fallback)
        self._body = None if exchange.body is None else _json(exchange.body)
        query = f"?{urlencode(exchange.query, safe=';=')}" if exchange.query else ""
        self._url = f"{destination.url}{exchange.path}{query}"
        self._call = HttpCall(destination.session, self._url, own, timeout)
        response, error = self._call.send(lambda headers: self._exchange(headers, stream=stream))
        if error is not None:
            raise self._failure(error)
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
            piece, error = self._call.guarded(next, pieces, None)
            if error is not None:
                raise self._failure(error)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        """Hangs up, where there is more to come."""
        self._call.bounded.cancellation.cancel()
        self.response.close()

    def time_remaining(self) -> float | None:
        """The seconds that are left; None: no bound."""
        return self._call.bounded.left()

    def _exchange(self, credentials: Headers, *, stream: bool) -> requests.Response:
        """Sends the request, and reads the answer unless it is a stream."""
        session = self._destination.session
        request = requests.PreparedRequest()
        headers = dict(self._headers(credentials))
        # Before requests looks at where it leads, which may be no address at all.
        hooks = {"response": http.refuse_redirect}
        request.prepare(self.exchange.verb, self._url, headers, data=self._body, hooks=hooks)
        settings: dict[str, Any] = {
            **session.merge_environment_settings(request.url or "", {}, True, None, None)
        }
        settings["timeout"] = self._call.timeouts()
        response = session.send(request, allow_redirects=False, **settings)
        if not stream or not response.ok:
            _ = response.content  # read: the connection is the pool's again
        return response

    def _headers(self, credentials: Headers) -> Iterator[tuple[str, str]]:
        headers: dict[str, list[str]] = {}
        for name, value in self._metadata.with_headers(credentials):
            lower = name.lower()
            if lower not in self._not_sent and not lower.startswith(_OF_GRPC):
                text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
                headers.setdefault(lower, []).append(text)
        yield "accept", "*/*"
        yield "accept-encoding", "gzip, deflate"
        if self._body is not None:
            yield "content-type", "application/json"
        for name, values in headers.items():
            yield name, ", ".join(values)

    def _failure(self, error: BaseException) -> BaseException:
        return _as_grpc_has_it(error, self.server, self._call.bounded)


def _as_grpc_has_it(error: BaseException, server: str, bounded: Bounded) -> BaseException:
    """What went wrong on the way, as gRPC has it; another error is left as it is."""
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
    if isinstance(error, (requests.exceptions.InvalidHeader, UnicodeEncodeError)):
        # Without the error's text, which quotes the value.
        return HttpCallError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "The metadata of the call holds a name or a value that no HTTP header may have.",
        )
    if isinstance(error, (requests.RequestException, HTTPError, OSError)):
        return not_reached(server, error)
    return error


def _has_time(bounded: Bounded) -> bool:
    left = bounded.left()
    return left is None or left > 1


def _json(data: Any) -> bytes:
    # A number that JSON does not have cannot come here: they go as words.
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
