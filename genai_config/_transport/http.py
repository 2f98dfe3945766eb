"""HTTP connections for REST calls and token endpoints, pooled, with their own trust and proxy."""

from __future__ import annotations

import contextlib
import math
import socket
import tempfile
import threading
import time
from concurrent.futures import CancelledError
from contextvars import ContextVar
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from google.auth.exceptions import TransportError
from google.auth.transport.requests import Request
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from genai_config._settings import forks
from genai_config._transport.pool import Pool
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import requests

    from genai_config._settings.secrets import Secret

_CONNECTIONS_PER_HOST = 100


_IDLE = 20.0
# A connection that was idle this long is not used again: routers and frozen machines lose
# connections without a word, and HTTP/1.1 has no ping.

clock: Callable[[], float] = time.monotonic
"""The time in seconds by which connections become idle."""


class Cancellation:
    """Breaks off the exchange that one call has under way, from another thread.

    Attributes:
        cancelled: Whether nobody waits for the answer any more.
        expired: Whether the call has run out of time.
        connection: The connection that the exchange has; None: none.
        reused: Whether that connection had been used before.
    """

    # Held while a connection changes hands: whoever breaks off an exchange hits no other's.
    _hands = threading.Lock()

    def __init__(self) -> None:
        self.cancelled = False
        self.expired = False
        self.connection: Any = None
        self.reused = False

    def cancel(self) -> None:
        """Ends the wait for an answer, and lets nothing more be sent."""
        self.cancelled = True
        self._break_off()

    def expire(self) -> None:
        """Ends the wait for an answer, as its time is up."""
        self.expired = True
        self._break_off()

    def begin(self, connection: Any, *, reused: bool) -> None:
        """Notes the connection that the exchange goes over."""
        with self._hands:
            self.connection, self.reused = connection, reused

    def end(self) -> None:
        """Notes that the connection is the exchange's no longer."""
        with self._hands:
            self.connection = None

    def _break_off(self) -> None:
        with self._hands, contextlib.suppress(OSError, AttributeError):  # closed, and gone
            self.connection.sock.shutdown(socket.SHUT_RDWR)


@forks.in_children
def _renew_lock() -> None:
    Cancellation._hands = threading.Lock()  # noqa: SLF001 -- a thread of the parent may have held it


CANCELLATION: ContextVar[Cancellation | None] = ContextVar("genai_config cancel", default=None)
"""How the call that this thread makes is cancelled; None: it is not."""


def refuse_if_cancelled() -> None:
    """Lets nothing be sent for a call that nobody waits for."""
    cancellation = CANCELLATION.get()
    if cancellation is not None and cancellation.cancelled:
        raise CancelledError


class _WatchedPool(HTTPConnectionPool):
    """Connections that know whose exchange they carry and how long they have been idle.

    The class of the connections is urllib3's own: what records or replays HTTP replaces that.
    """

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if clock() - getattr(connection, "idle_since", math.inf) > _IDLE:
            connection.close()  # it opens again when it is used
        cancellation = CANCELLATION.get()
        connection.cancellation = cancellation
        if cancellation is not None:
            cancellation.begin(connection, reused=getattr(connection, "sock", None) is not None)
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            cancellation = getattr(conn, "cancellation", None)
            if cancellation is not None:
                cancellation.end()
            conn.cancellation, conn.idle_since = None, clock()
        super()._put_conn(conn)

    def _validate_conn(self, conn: Any) -> None:
        super()._validate_conn(conn)
        refuse_if_cancelled()  # connecting takes its time

    def forget_idle(self) -> None:
        """Closes the connections that nobody uses: where one has died, others have as well."""
        for connection in list(getattr(self.pool, "queue", ())):  # none, once it is closed
            if connection is not None and getattr(connection, "cancellation", None) is None:
                connection.idle_since = -math.inf  # closed when it is taken


class _SecureWatchedPool(_WatchedPool, HTTPSConnectionPool):
    pass


_POOL_CLASSES = {"http": _WatchedPool, "https": _SecureWatchedPool}

_KEEPALIVE = [
    # Where packets vanish, the system finds out within seconds, as gRPC does: data that is not
    # acknowledged, and silence while an answer is awaited. Each system has some of these.
    (getattr(socket, level), getattr(socket, name), value)
    for level, name, value in (
        ("SOL_SOCKET", "SO_KEEPALIVE", 1),
        ("IPPROTO_TCP", "TCP_KEEPIDLE", 4),
        ("IPPROTO_TCP", "TCP_KEEPINTVL", 2),
        ("IPPROTO_TCP", "TCP_KEEPCNT", 2),
        ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 7_000),
    )
    if hasattr(socket, name)
]


class Adapter(HTTPAdapter):
    """Sends with the configured authorities, proxy and client certificate.

    Set on a session they would lose to REQUESTS_CA_BUNDLE and HTTPS_PROXY of the environment.
    """

    def __init__(
        self,
        ca_certs: Path | None,
        proxy: Secret | None,
        client_cert: tuple[bytes, bytes] | None,
    ) -> None:
        self._tls: dict[str, Any] = {}
        if client_cert is not None:
            self._tls["ssl_context"] = _presenting(*client_cert)
        super().__init__(pool_maxsize=_CONNECTIONS_PER_HOST)
        self._settings: dict[str, Any] = {}
        if ca_certs is not None:
            self._settings["verify"] = str(ca_certs)
        if proxy is not None:
            url = proxy.get_secret_value()
            self._settings["proxies"] = {"http": url, "https": url}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{**kwargs, **self._connecting()})
        self.poolmanager.pool_classes_by_scheme = _POOL_CLASSES

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **{**kwargs, **self._connecting()})
        manager.pool_classes_by_scheme = _POOL_CLASSES
        return manager

    def _connecting(self) -> dict[str, Any]:
        options = [*HTTPConnection.default_socket_options, *_KEEPALIVE]
        return {**self._tls, "socket_options": options}

    def forget_idle(self) -> None:
        """Uses no connection again that is idle now."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            pools = [manager.pools.get(key) for key in manager.pools.keys()]  # noqa: SIM118 -- it is no dict
            for pool in [one for one in pools if isinstance(one, _WatchedPool)]:
                pool.forget_idle()

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        refuse_if_cancelled()  # else the SDK would try again
        response = super().send(request, *args, **{**kwargs, **self._settings})
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            # google-auth drops it for a replay, and with a stream's the connection: read, it is
            # the pool's again.
            _ = response.content
        return response


def _presenting(chain: bytes, key: bytes) -> ssl.SSLContext:
    """TLS with a client certificate, which Python takes from files alone."""
    context = create_urllib3_context()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "client.pem"
        file.touch(mode=0o600)
        file.write_bytes(chain + b"\n" + key)
        context.load_cert_chain(file)
    return context


_ADAPTERS: Pool[Adapter] = Pool(16)


def mount(
    session: requests.Session,
    ca_certs: Path | None,
    proxy: Secret | None,
    client_cert: tuple[bytes, bytes] | None = None,
) -> None:
    """Makes a session use the shared connections of a trust and a proxy.

    Args:
        session: A `requests.Session`; its own adapters are replaced.
        ca_certs: PEM file of certificate authorities; None: those of requests.
        proxy: URL of an HTTP proxy; None: the environment's.
        client_cert: Client certificate chain and key, PEM; None: none.
    """
    key = (ca_certs, proxy, client_cert)
    adapter = _ADAPTERS.get(key, lambda: Adapter(*key))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = _as_it_is
    session.hooks["response"] = [_stay_at_home]


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from putting a password of ~/.netrc beside the key or over the token."""
    return request


class TokenRequest(Request):
    """What google-auth fetches tokens with; some credentials insist on a `Request`.

    Args:
        session: The `requests.Session` to send with.
        timeout: Seconds for each attempt that google-auth sets no bound for.

    An answer is read up to a bound: a token has some kilobytes, and an endpoint that sends more is
    not one.
    """

    def __init__(self, session: requests.Session, timeout: float) -> None:
        super().__init__(session)
        self._timeout = timeout

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs = {"timeout": self._timeout, **kwargs, "stream": True}
        answer = super().__call__(*args, **kwargs)  # type: ignore[no-untyped-call] # google-auth's
        _read(answer._response)  # noqa: SLF001 -- google-auth's would read it whole
        return answer

    def __del__(self) -> None:
        """Leaves the connections alone, which google-auth's own would close: others share them."""


_LARGEST_TOKEN_ANSWER = 1 << 20


def _read(response: requests.Response) -> None:
    """Reads the answer of a token endpoint, up to a bound.

    Raises:
        TransportError: It is longer, or ends too early.
    """
    read = bytearray()
    try:
        for chunk in response.iter_content(1 << 16):
            read += chunk
            if len(read) > _LARGEST_TOKEN_ANSWER:
                response.close()
                raise TransportError(
                    f"the answer has more than {_LARGEST_TOKEN_ANSWER >> 20} MiB: this is not a "
                    "token endpoint"
                )
    except RequestException as error:
        raise TransportError(error) from None
    response._content = bytes(read)  # noqa: SLF001 -- where requests keeps what it has read


_REDIRECTS = range(300, 400)


def _stay_at_home(response: requests.Response, **_: Any) -> None:
    """Follows no redirect to another host, scheme or port: requests would send secrets there.

    It drops a token on the way, and neither an API key nor the form of a token endpoint.
    """
    if response.is_redirect and _origin(_target(response)) != _origin(response.url):
        raise RequestException(_refused(response))


def refuse_redirect(response: requests.Response, **_: Any) -> None:
    """Makes a redirect the caller's error, wherever it leads: the API answers with none.

    Raises:
        ConfigurationError: The answer is one; both servers are named.
    """
    if response.status_code in _REDIRECTS:
        raise ConfigurationError(
            f"{_refused(response)}, and the API does not: this is another server.",
            "give client_options={'api_endpoint': …} as the service's own address; "
            "or does a proxy require a login first?",
        )


def _refused(response: requests.Response) -> str:
    """Hangs up; returns what was wanted, without paths and queries: they may hold a secret."""
    response.close()
    return (
        f"{_origin(response.url)} redirects to {_origin(_target(response))} "
        f"(HTTP {response.status_code})"
    )


def _target(response: requests.Response) -> str:
    try:
        return urljoin(response.url, response.headers.get("location", "about:blank"))
    except ValueError:
        return "about:blank"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if not parts.netloc:
        return "nowhere"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def close_all() -> None:
    """Forgets the connections."""
    _ADAPTERS.clear()
