"""Access tokens: fetched once for all who wait, off the event loop, within a bound.

The work is done by one daemon thread at a time per source, so a token endpoint that never answers
holds up neither an event loop nor the end of the process, and every caller stops waiting in time.
A token is renewed while it is valid still, and meanwhile everybody goes on with it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
import os
import random
import threading
import time
import weakref
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from genai_config._auth import events
from genai_config._auth.token_errors import is_timeout, refresh_error, timeout_error
from genai_config._settings.secrets import scrub
from genai_config.exceptions import CredentialsTimeoutError, GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._auth.credentials import Found

T = TypeVar("T")

_log = logging.getLogger("genai_config.tokens")

# A token is renewed in the background this long before it ends (google-auth's own threshold: the
# metadata server gives no other token earlier), or, when it is short-lived, for the last tenth of
# its life; a little later in some processes than in others, so that they do not all come at once.
_ADVISORY = 225.0
_ADVISORY_FRACTION = 0.1
_JITTER = 0.2
# It is no longer used this long before it ends, or for the last three hundredths of its life: a
# request takes its time, and the service's clock may be ahead.
_MANDATORY = 60.0
_MANDATORY_FRACTION = 0.03
# What a renewal in the background that failed leaves to the next, in parts of the time for them.
_PAUSE = 0.2
# How long a new token is used whose end has passed already: then a clock is wrong, not the token.
_UNKNOWN = 60.0

# The error of a wait in vain is there when auth_timeout ends, not after.
_WAITED_FRACTION = 0.95


class Token(NamedTuple):
    """An access token.

    Attributes:
        value: The token; "" for anonymous credentials, which send none.
        stale: The age in seconds at which another is fetched in the background.
        dead: The age at which it is used no longer.
        lifetime: The age at which it ends; None: unknown.
        born: When its age was 0: the time of day, and the time of a clock that nobody sets.
    """

    value: str
    stale: float = math.inf
    dead: float = math.inf
    born: tuple[float, float] = (0.0, 0.0)
    lifetime: float | None = None

    def __repr__(self) -> str:
        return f"Token(stale={self.stale:g}, dead={self.dead})"


class TokenSource:
    """The tokens of one set of credentials, for any number of threads and event loops.

    Args:
        find: Finds the credentials; called in a thread of its own, again after a refresh failed.
        request: Makes the `google.auth.transport.Request` that tokens are fetched with.
        auth_timeout: Seconds that a caller waits for finding and fetching together.
        clock: The time in seconds since the epoch.
        monotonic: The time in seconds since whenever, that is never set back.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        request: Callable[[], Any],
        auth_timeout: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._request = request
        self._auth_timeout = auth_timeout
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._found: Found | None = None
        self._search = True
        self._tried: Found | None = None
        self._token: Token | None = None
        self._given = ""
        self._pause_until = 0.0
        self._flights: dict[Callable[[], Any], Future[Any]] = {}
        self._news: events.TokenEvent | None = None
        _ALIVE.add(self)

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

    @property
    def known(self) -> Found | None:
        """The credentials, if they have been found; nobody waits and nobody is asked."""
        return self._found

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

    def start_anew(self) -> None:
        """In a forked child: flights stay with the parent, the token and the credentials do not.

        A thread of the parent may have held the lock, or one inside the credentials, which are
        therefore found anew before they are asked for another token.
        """
        self._lock = threading.Lock()
        self._flights = {}
        self._search = True

    def _usable(self) -> Token | None:
        """The token, if it can be used now; sends for another one when it gets old."""
        token = self._token
        if token is None:
            return None
        age = self._age(token)
        if age >= token.dead:
            return None
        if age >= token.stale and self._monotonic() >= self._pause_until:
            try:
                self._join(self._renew)
            except RuntimeError as error:  # no thread can be started
                self._put_off(token, error)
        return token

    def _age(self, token: Token) -> float:
        # The time of day may be set back, the other clock stops while a machine sleeps.
        wall, steady = token.born
        return max(self._clock() - wall, self._monotonic() - steady)

    def _put_off(self, token: Token, error: Exception) -> None:
        """Notes that a renewal in the background failed."""
        pause = _PAUSE * (token.dead - token.stale)
        self._pause_until = self._monotonic() + pause
        _log.warning(
            "An access token could not be renewed; the one there is serves on, and the next "
            "attempt is in %.3g s. %s", pause, scrub(str(error)),
        )  # fmt: skip

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
            news = self._news if work == self._renew else None
            del self._flights[work]
        if error is None:
            flight.set_result(result)  # type: ignore[arg-type] # there is one when no error is
        else:
            flight.set_exception(error)
        if news is not None:
            # Only now: nobody is to wait for those who watch.
            events.tell(news)

    def _locate(self) -> Found:
        found = self._found
        if found is None or self._search:
            self._tried = None
            found = self._found = self._tried = self._find()
            self._search = False
        return found

    def _renew(self) -> Token:
        self._news = None
        token = self._token
        if token is not None and not self._is_due(token):
            # Another flight has landed between our caller's look and our start.
            return token
        started = self._monotonic()
        try:
            return self._fetch()
        except Exception as error:
            token = self._token  # it may have been refused, and have died, meanwhile
            usable = token is not None and self._age(token) < token.dead
            self._news = events.TokenEvent(
                self._tried.description if self._tried else None,
                self._monotonic() - started,
                error=error,
                serves_on=usable,
            )
            if token is None or not usable:
                raise
            self._put_off(token, error)
            return token

    def _is_due(self, token: Token) -> bool:
        paused = self._monotonic() < self._pause_until
        return self._age(token) >= (token.dead if paused else token.stale)

    def _fetch(self) -> Token:
        started = self._monotonic()
        found = self._locate()
        token = self._token_of(found.credentials)
        if token.value in ("", self._given) or token.dead <= 0:
            # Else they were given with a token, which may be all they have.
            self._refresh(found)
            token = self._token_of(found.credentials)
            if token.dead <= 0:
                # A clock is wrong; the token is as new as can be.
                token = token._replace(stale=_UNKNOWN, dead=_UNKNOWN, lifetime=None)
            if token.value:
                self._tell(found, self._monotonic() - started, token.lifetime)
        self._given = token.value
        self._token = token
        return token

    def _tell(self, found: Found, seconds: float, lifetime: float | None) -> None:
        self._news = events.TokenEvent(found.description, seconds, lifetime)
        ends = "without a known end" if lifetime is None else f"for {lifetime:.0f} s"
        _log.debug("A new access token %s, in %.3g s, of %s.", ends, seconds, found.description)

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
            self._search = True
            if is_timeout(error):
                # The transport's bound is ours: who came late hears of it before their own.
                raise self._as_timeout(error) from None
            raise refresh_error(found, error) from None

    def _token_of(self, credentials: Any) -> Token:
        value = getattr(credentials, "token", None) or ""
        if isinstance(value, bytes):
            value = value.decode("ascii")
        expiry = getattr(credentials, "expiry", None)
        if expiry is None:
            return Token(value)
        born = self._clock(), self._monotonic()
        # google-auth's expiry is naive UTC.
        lifetime = expiry.replace(tzinfo=dt.timezone.utc).timestamp() - born[0]
        margin = min(_ADVISORY, lifetime * _ADVISORY_FRACTION)
        margin *= random.uniform(1 - _JITTER, 1)  # noqa: S311 -- nobody gains by guessing it
        dead = lifetime - min(_MANDATORY, lifetime * _MANDATORY_FRACTION)
        return Token(value, lifetime - margin, dead, born, lifetime)

    def _as_timeout(self, error: BaseException) -> CredentialsTimeoutError:
        if isinstance(error, CredentialsTimeoutError):
            return error
        return timeout_error(self._tried, self._auth_timeout)


def _is_anonymous(credentials: Any) -> bool:
    from google.auth.credentials import AnonymousCredentials

    return isinstance(credentials, AnonymousCredentials)


# Those that somebody holds, pooled or not.
_ALIVE: weakref.WeakSet[TokenSource] = weakref.WeakSet()


def _start_all_anew() -> None:
    for source in list(_ALIVE):
        source.start_anew()


if hasattr(os, "register_at_fork"):  # pragma: no branch -- Windows cannot fork
    os.register_at_fork(after_in_child=_start_all_anew)
