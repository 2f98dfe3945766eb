"""Access tokens: fetched once for all who wait, off the event loop, within a bound.

The work is done by one daemon thread at a time per source, so a token endpoint that never answers
holds up neither an event loop nor the end of the process, and every caller stops waiting in time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from genai_config import _credentials
from genai_config._pool import Pool
from genai_config._secrets import scrub
from genai_config.exceptions import (
    CredentialsTimeoutError,
    GenAIConfigError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._config import GenAIConfig
    from genai_config._credentials import Found

T = TypeVar("T")

# A token is renewed this long before it ends (google-auth's own threshold is 3:45 minutes) ...
_MARGIN = 225.0
# ... or, when it is short-lived, for the last tenth of its life.
_MARGIN_FRACTION = 0.1

# The error of a wait in vain is there when auth_timeout ends, not after.
_WAITED_FRACTION = 0.95


class Token(NamedTuple):
    """An access token.

    Attributes:
        value: The token; "" for anonymous credentials, which send none.
        usable_until: When it is to be renewed, in seconds since the epoch; None: never.
    """

    value: str
    usable_until: float | None

    def __repr__(self) -> str:
        return f"Token(usable_until={self.usable_until})"


class TokenSource:
    """The tokens of one set of credentials, for any number of threads and event loops.

    Args:
        find: Finds the credentials; called in a thread of its own, again after a refresh failed.
        request: Makes the `google.auth.transport.Request` that tokens are fetched with.
        auth_timeout: Seconds that a caller waits for finding and fetching together.
        clock: The time in seconds since the epoch.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        request: Callable[[], Any],
        auth_timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._find = find
        self._request = request
        self._auth_timeout = auth_timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._found: Found | None = None
        self._tried: Found | None = None
        self._token: Token | None = None
        self._given = ""
        self._flights: dict[Callable[[], Any], Future[Any]] = {}

    def found(self) -> Found:
        """The credentials, found if they have not been.

        Raises:
            CredentialsNotFoundError: There are none.
            CredentialsTimeoutError: They were not found within `auth_timeout`.
        """
        found = self._found
        return self._wait(self._locate) if found is None else found

    async def found_async(self) -> Found:
        """As `found`, without blocking the event loop."""
        found = self._found
        return await self._wait_async(self._locate) if found is None else found

    def token(self) -> str:
        """A token that can be used now.

        Raises:
            CredentialsNotFoundError: There are no credentials.
            TokenRefreshError: The token endpoint gave none.
            CredentialsTimeoutError: It took longer than `auth_timeout`.
        """
        token = self._usable()
        return (self._wait(self._renew) if token is None else token).value

    async def token_async(self) -> str:
        """As `token`, without blocking the event loop."""
        token = self._usable()
        return (await self._wait_async(self._renew) if token is None else token).value

    def invalidate(self, value: str) -> None:
        """Forgets a token that was refused; a newer one that has taken its place is kept."""
        with self._lock:
            if self._token is not None and self._token.value == value:
                self._token = None

    def _usable(self) -> Token | None:
        token = self._token
        return token if token is not None and self._is_usable(token) else None

    def _is_usable(self, token: Token) -> bool:
        return token.usable_until is None or self._clock() < token.usable_until

    def _wait(self, work: Callable[[], T]) -> T:
        try:
            return self._join(work).result(self._auth_timeout * _WAITED_FRACTION)
        except FutureTimeoutError as error:
            raise self._as_timeout(error) from None

    async def _wait_async(self, work: Callable[[], T]) -> T:
        # Whoever is cancelled lets go of the flight alone: a future that runs is not cancelled.
        flight = asyncio.wrap_future(self._join(work))
        try:
            return await asyncio.wait_for(flight, self._auth_timeout * _WAITED_FRACTION)
        except (asyncio.TimeoutError, FutureTimeoutError) as error:
            raise self._as_timeout(error) from None

    def _join(self, work: Callable[[], T]) -> Future[T]:
        """The flight that does this work: the one under way, or a new one."""
        with self._lock:
            flight = self._flights.get(work)
            if flight is not None:
                return flight
            flight = Future()
            flight.set_running_or_notify_cancel()
            threading.Thread(
                target=self._fly, args=(work, flight), name="genai-config credentials", daemon=True
            ).start()
            # Only now: where no thread can be started, nobody is to wait for one.
            self._flights[work] = flight
        return flight

    def _fly(self, work: Callable[[], T], flight: Future[T]) -> None:
        try:
            result, error = work(), None
        except BaseException as raised:  # noqa: BLE001 -- handed to those who wait
            result, error = None, raised
        with self._lock:
            del self._flights[work]
        if error is None:
            flight.set_result(result)  # type: ignore[arg-type] # there is one when no error is
        else:
            flight.set_exception(error)

    def _locate(self) -> Found:
        found = self._found
        if found is None:
            self._tried = None
            found = self._found = self._tried = self._find()
        return found

    def _renew(self) -> Token:
        token = self._usable()
        if token is not None:
            # Another flight has landed between our caller's look and our start.
            return token
        found = self._locate()
        token = self._token_of(found.credentials)
        if token.value in ("", self._given) or not self._is_usable(token):
            # Else they were given with a token, which may be all they have.
            self._refresh(found)
            token = self._token_of(found.credentials)
        self._given = token.value
        self._token = token
        return token

    def _refresh(self, found: Found) -> None:
        if _is_anonymous(found.credentials):
            return
        try:
            found.credentials.refresh(self._request())
            if not getattr(found.credentials, "token", None):
                raise ValueError("no token in the answer")  # noqa: TRY301 -- told like the others
        except GenAIConfigError:
            raise
        except Exception as error:  # noqa: BLE001 -- each kind of credentials has its own
            # What was found may have been replaced on disk since: it is looked for again.
            self._found = None
            if _is_timeout(error):
                # The transport's bound is ours: who came late hears of it before their own.
                raise self._as_timeout(error) from None
            raise _refresh_error(found, error) from None

    def _token_of(self, credentials: Any) -> Token:
        value = getattr(credentials, "token", None) or ""
        if isinstance(value, bytes):
            value = value.decode("ascii")
        expiry = getattr(credentials, "expiry", None)
        if expiry is None:
            return Token(value, None)
        # google-auth's expiry is naive UTC.
        ends = expiry.replace(tzinfo=dt.timezone.utc).timestamp()
        lifetime = max(0.0, ends - self._clock())
        return Token(value, ends - min(_MARGIN, lifetime * _MARGIN_FRACTION))

    def _as_timeout(self, error: BaseException) -> BaseException:
        if isinstance(error, CredentialsTimeoutError):
            return error
        found = self._tried
        what = (
            f"The token endpoint {token_endpoint(found.credentials)} has given no token for "
            f"{found.description}"
            if found
            else "No OAuth credentials were found"
        )
        return CredentialsTimeoutError(
            f"{what} within auth_timeout={self._auth_timeout:g} s.",
            "see whether that address can be reached from here (a proxy? a firewall?), or raise "
            "auth_timeout."
            if found
            else "set NO_GCE_CHECK=true if this is not a Google Cloud machine, or raise "
            "auth_timeout.",
        )


def _is_anonymous(credentials: Any) -> bool:
    from google.auth.credentials import AnonymousCredentials

    return isinstance(credentials, AnonymousCredentials)


def _is_timeout(error: Exception) -> bool:
    import requests

    reason = error.args[0] if error.args else None
    return isinstance(error, TimeoutError) or isinstance(reason, requests.Timeout)


def token_endpoint(credentials: Any) -> str:
    """The address that credentials fetch their tokens from, as far as they tell."""
    for name in ("_token_url", "token_uri", "_token_uri"):
        address = getattr(credentials, name, None)
        if isinstance(address, str):
            return address
    return "(unknown)"


def _refresh_error(found: Found, error: Exception) -> TokenRefreshError:
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, GoogleAuthError):
        # What follows the first argument is the body of an answer.
        reason = scrub(str(error.args[0]) if error.args else type(error).__name__)
    else:
        reason = scrub(f"{type(error).__name__}: {error}")
    remedy = (
        "log in again: gcloud auth application-default login; for a service account, create a new "
        "key."
        if "invalid_grant" in reason
        else "see whether the address is right and can be reached from here."
    )
    return TokenRefreshError(
        f"No access token from {token_endpoint(found.credentials)} for {found.description}: "
        f"{reason}",
        remedy,
    )


_SOURCES: Pool[TokenSource] = Pool(256)

clock: Callable[[], float] = time.time
"""The time in seconds since the epoch that tokens expire by."""


def _now() -> float:
    return clock()  # looked up at each call: a test may have put another in its place


def source_for(config: GenAIConfig, scopes: tuple[str, ...]) -> TokenSource:
    """The token source of a configuration's credentials for these scopes, shared by all."""
    credentials = config.credentials
    key = (
        _credentials.identity(credentials),
        scopes,
        config.auth_timeout,
        config.ca_certs,
        config.proxy,
    )
    return _SOURCES.get(
        key,
        lambda: TokenSource(
            lambda: _credentials.find(credentials, scopes),
            lambda: _request(config),
            config.auth_timeout,
            _now,
        ),
    )


def forget_sources() -> None:
    """Drops every token source: credentials are found anew."""
    _SOURCES.clear()


def _request(config: GenAIConfig) -> Any:
    import requests
    from google.auth.transport.requests import Request

    from genai_config import _http

    session = requests.Session()
    _http.mount(session, config.ca_certs, config.proxy)
    # google-auth gives each attempt 120 s; the thread should not outlive its callers by much.
    return functools.partial(Request(session), timeout=config.auth_timeout)
