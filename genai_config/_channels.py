"""Connections: one channel per endpoint and event loop, shared by every service and tenant.

Credentials are no part of a channel. They are attached to each call by an interceptor that is
bound to one client, so retries, pagers, operations and streams carry fresh ones, and a failure to
get any reaches the caller as it is (gRPC's own plugin would make UNAVAILABLE of it, which the SDK
retries for ten minutes).
"""

from __future__ import annotations

import asyncio
import functools
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import grpc
from google.auth.credentials import Credentials
from grpc import aio

from genai_config import _http, _tokens
from genai_config._pool import Pool
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from typing_extensions import Self

    from genai_config._config import GenAIConfig
    from genai_config._routing import Route
    from genai_config._secrets import Secret

Headers = tuple[tuple[str, str], ...]

_OPTIONS = (
    # As the SDK's own transports.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # One channel, one connection: without it, equal channels share one behind our back.
    ("grpc.use_local_subchannel_pool", 1),
)


class Attached(Protocol):
    """The credentials of one client, as the headers of its next call."""

    def headers(self) -> Headers:
        """The headers; may fetch a token, within `auth_timeout`."""

    async def headers_async(self) -> Headers:
        """The same without blocking the event loop."""

    def refused(self) -> None:
        """The service answered 401: what was sent is not sent again."""


class KeyHeaders:
    """An API key."""

    def __init__(self, key: Secret) -> None:
        self._headers = (("x-goog-api-key", key.get_secret_value()),)

    def headers(self) -> Headers:
        """The key's header."""
        return self._headers

    async def headers_async(self) -> Headers:
        """The key's header."""
        return self._headers

    def refused(self) -> None:
        """Nothing: there is no other key."""


class TokenHeaders:
    """An access token, and the quota project if there is one."""

    def __init__(self, source: _tokens.TokenSource, quota_project: str | None) -> None:
        self._source = source
        self._quota_project = quota_project
        # By thread: with one for all, each refused request would forget the others' new token.
        self._last = threading.local()

    def headers(self) -> Headers:
        """The headers with a token that is valid now."""
        return self._of(self._source.token(), self._source.found().quota_project)

    async def headers_async(self) -> Headers:
        """The headers with a token that is valid now."""
        token = await self._source.token_async()
        return self._of(token, (await self._source.found_async()).quota_project)

    def refused(self) -> None:
        """Forgets the token that this thread was given last."""
        self._source.invalidate(getattr(self._last, "token", ""))

    def _of(self, token: str, own_quota_project: str | None) -> Headers:
        self._last.token = token
        quota = self._quota_project or own_quota_project
        headers = (("authorization", f"Bearer {token}"),) if token else ()
        return (*headers, ("x-goog-user-project", quota)) if quota else headers


def attached(config: GenAIConfig, route: Route) -> Attached:
    """The credentials that a route chose."""
    if route.auth == "api_key":
        assert config.api_key is not None  # noqa: S101 -- the routing chose the key
        return KeyHeaders(config.api_key)
    return TokenHeaders(_tokens.source_for(config, route.scopes), config.quota_project)


class Address(NamedTuple):
    """What a connection depends on.

    Attributes:
        host: "host:port", with "http://" in front where there is no TLS (this machine only).
        ca_certs: PEM file of certificate authorities; None: gRPC's or requests' own.
        proxy: URL of an HTTP proxy; None: the environment's.
        client_cert: Client certificate chain and key, PEM; None: none.
    """

    host: str
    ca_certs: Path | None
    proxy: Secret | None
    client_cert: tuple[bytes, bytes] | None

    def target(self) -> str:
        """The address as gRPC wants it."""
        return urlsplit(self.host).netloc if "://" in self.host else self.host

    def options(self) -> list[tuple[str, Any]]:
        """The arguments of a channel.

        Raises:
            ConfigurationError: gRPC cannot use the proxy, and would go past it without a word.
        """
        if self.proxy is None:
            return [*_OPTIONS]
        url = self.proxy.get_secret_value()
        if not url.startswith("http://"):
            raise ConfigurationError(
                "gRPC cannot speak TLS to a proxy.",
                "give proxy='http://…', or transport='rest' and tuned_transport='rest'.",
            )
        return [*_OPTIONS, ("grpc.http_proxy", url)]

    def credentials(self) -> grpc.ChannelCredentials | None:
        """The TLS credentials of a channel; None where there is no TLS."""
        if self.host.startswith("http://"):
            return None
        roots = self.ca_certs.read_bytes() if self.ca_certs else None
        chain, key = self.client_cert or (None, None)
        return grpc.ssl_channel_credentials(roots, private_key=key, certificate_chain=chain)


class Connections:
    """The channels of one event loop (or of all the synchronous callers), and their clients."""

    def __init__(self) -> None:
        self._channels: Pool[Any] = Pool(16)
        self.clients: Pool[Any] = Pool(256)

    def channel(self, address: Address) -> grpc.Channel:
        """The synchronous channel to an address."""

        def make() -> grpc.Channel:
            credentials = address.credentials()
            if credentials is None:
                return grpc.insecure_channel(address.target(), options=address.options())
            return grpc.secure_channel(address.target(), credentials, options=address.options())

        return self._channels.get(address, make)

    def async_channel(self, address: Address) -> aio.Channel:
        """The channel to an address for the running event loop."""

        def make() -> aio.Channel:
            credentials = address.credentials()
            more = {"options": address.options(), "interceptors": _ASYNC_INTERCEPTORS}
            if credentials is None:
                return aio.insecure_channel(address.target(), **more)
            return aio.secure_channel(address.target(), credentials, **more)

        return self._channels.get(address, make)

    def clear(self) -> None:
        """Forgets the channels and clients; a channel closes when its last call has ended."""
        self.clients.clear()
        self._channels.clear()


_SYNC = Connections()
_LOOPS: dict[asyncio.AbstractEventLoop, Connections] = {}


def connections() -> Connections:
    """The connections of synchronous callers."""
    return _SYNC


def loop_connections() -> Connections:
    """The connections of the running event loop; those of closed loops are forgotten."""
    loop = asyncio.get_running_loop()
    mine = _LOOPS.get(loop)
    if mine is None:
        for other in [other for other in list(_LOOPS) if other.is_closed()]:
            _LOOPS.pop(other, None)
        mine = _LOOPS[loop] = Connections()
    return mine


def close_all() -> None:
    """Forgets every connection."""
    _SYNC.clear()
    _LOOPS.clear()
    _http.close_all()


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


def _joined(metadata: Iterable[tuple[str, Any]] | None, headers: Headers) -> tuple[Any, ...]:
    """A call's metadata with the credentials' headers in place of its own, as over REST."""
    names = {name for name, _ in headers}
    return (*((name, value) for name, value in metadata or () if name not in names), *headers)


class _Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc] # grpc has no type information
    """Attaches the credentials of one client to each call it makes over a shared channel."""

    def __init__(self, bound: Attached) -> None:
        self._bound = bound

    def _intercept(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        details = _CallDetails(
            details.method,
            details.timeout,
            _joined(details.metadata, self._bound.headers()),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
        return continuation(details, request)

    intercept_unary_unary = intercept_unary_stream = _intercept


def bind(channel: grpc.Channel, bound: Attached) -> grpc.Channel:
    """A shared channel as one client sees it: with its credentials on every call.

    Closing it leaves the shared one open.
    """
    mine = grpc.intercept_channel(channel, _Interceptor(bound))
    mine.close = lambda: None
    return mine


# An asyncio channel takes its interceptors when it is made, and it is shared: which client is
# calling is told by this variable, which the call's task inherits.
_CALLER: ContextVar[AsyncBoundChannel] = ContextVar("genai_config caller")


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


async def _send(continuation: Callable[..., Any], details: Any, request: Any) -> Any:
    try:
        headers = await _CALLER.get().bound.headers_async()
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is the caller's
        return _FailedCall(error)
    metadata = aio.Metadata(*_joined(details.metadata, headers))
    return await continuation(details._replace(metadata=metadata), request)


class _AsyncUnaryUnary(aio.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc has no type information
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        send = functools.partial(_send, continuation)
        for interceptor in _CALLER.get()._unary_unary_interceptors:  # noqa: SLF001 -- ours
            send = functools.partial(interceptor.intercept_unary_unary, send)
        return await send(details, request)


class _AsyncUnaryStream(aio.UnaryStreamClientInterceptor):  # type: ignore[misc] # grpc has no type information
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        return await _send(continuation, details, request)


_ASYNC_INTERCEPTORS = (_AsyncUnaryUnary(), _AsyncUnaryStream())


class _BoundCall:
    """One method of a shared channel, called on behalf of one client."""

    def __init__(self, call: Callable[..., Any], caller: AsyncBoundChannel) -> None:
        self._call = call
        self._caller = caller

    def __call__(self, request: Any, **options: Any) -> Any:
        token = _CALLER.set(self._caller)
        try:
            return self._call(request, **options)
        finally:
            _CALLER.reset(token)


class _BoundUnaryUnary(_BoundCall, aio.UnaryUnaryMultiCallable):  # type: ignore[misc] # grpc has no type information
    pass


class _BoundUnaryStream(_BoundCall, aio.UnaryStreamMultiCallable):  # type: ignore[misc] # grpc has no type information
    pass


class AsyncBoundChannel(aio.Channel):  # type: ignore[misc] # grpc has no type information
    """A shared asyncio channel as one client sees it; closing it leaves the shared one open."""

    def __init__(self, channel: aio.Channel, bound: Attached) -> None:
        self._channel = channel
        self.bound = bound
        # The SDK's transports put their logging here, as they would on a channel of their own.
        self._unary_unary_interceptors: list[Any] = []

    def unary_unary(self, *method: Any, **options: Any) -> aio.UnaryUnaryMultiCallable:
        """A unary method, bound."""
        return _BoundUnaryUnary(self._channel.unary_unary(*method, **options), self)

    def unary_stream(self, *method: Any, **options: Any) -> aio.UnaryStreamMultiCallable:
        """A server-streaming method, bound."""
        return _BoundUnaryStream(self._channel.unary_stream(*method, **options), self)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """No service of the SDK has such a method."""
        raise NotImplementedError

    stream_stream = stream_unary

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Nothing: the shared channel belongs to the pool."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 -- grpc's signature
        """The state of the shared channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits on the shared channel."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits for the shared channel."""
        await self._channel.channel_ready()


class RestCredentials(Credentials):
    """Attached credentials in the form that the SDK's REST transport takes."""

    def __init__(self, bound: Attached) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self._bound = bound

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        """Puts the headers on a request."""
        del request, method, url
        headers.update(self._bound.headers())

    def refresh(self, request: Any) -> None:
        """The service answered 401, and the request will be sent once more."""
        del request
        self._bound.refused()


def prepare_session(session: Any, address: Address) -> None:
    """Makes a `requests` session go the way of an address, and replay once on 401."""
    _http.mount(session, address.ca_certs, address.proxy, address.client_cert)
    session._max_refresh_attempts = 1  # noqa: SLF001 -- the transports do not pass it on
