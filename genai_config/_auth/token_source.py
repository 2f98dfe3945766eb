"""Access tokens: fetched once for all who wait, off the event loop, within a bound.

A token is renewed while it is still valid, and meanwhile everybody uses the old one.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from genai_config._auth import events
from genai_config._auth.flights import Flight, Flights
from genai_config._auth.token import Token, is_sendable, token_of
from genai_config._auth.token_errors import refresh_error, timeout_error, told
from genai_config._masking import copied, register, scrub
from genai_config.exceptions import GenAIConfigError, TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config._auth.credentials import Found

_log = logging.getLogger("genai_config.tokens")

# What a renewal in the background that failed leaves to the next, in parts of the time for them.
_PAUSE = 0.2
# How long a new token is used that seems to have expired already: a clock is wrong, not the token.
_UNKNOWN = 60.0

# What credentials of google-auth hold that is secret; they are asked when a text is masked.
_SECRET_ATTRIBUTES = ("token", "refresh_token", "client_secret", "id_token")


class TokenSource(Flights):
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
        super().__init__(auth_timeout, monotonic)
        self._find = find
        self._request = request
        self._clock = clock
        self._found: Found | None = None
        self._search = True
        self._token: Token | None = None
        self._given = ""
        self._pause_until = 0.0
        register(self)

    def found(self, timeout: float | None = None) -> Found:
        """The credentials, found if they have not been.

        Args:
            timeout: Seconds that this caller waits at most; None: `auth_timeout` alone.

        Raises:
            CredentialsNotFoundError: There are none.
            CredentialsTimeoutError: They were not found within `auth_timeout` or `timeout`.
        """
        found = self._found
        return self._wait(self._locate, timeout) if found is None else found

    async def found_async(self, timeout: float | None = None) -> Found:
        """As `found`, without blocking the event loop."""
        found = self._found
        return await self._wait_async(self._locate, timeout) if found is None else found

    @property
    def known(self) -> Found | None:
        """The credentials, if they have been found; without waiting or a network call."""
        return self._found

    def token(self, timeout: float | None = None) -> str:
        """A token that can be used now.

        Args:
            timeout: Seconds that this caller waits at most; None: `auth_timeout` alone.

        Raises:
            CredentialsNotFoundError: There are no credentials.
            TokenRefreshError: The token endpoint gave none.
            CredentialsTimeoutError: It took longer than `auth_timeout` or `timeout`.
        """
        token = self._usable()
        return (self._wait(self._renew, timeout) if token is None else token).value

    async def token_async(self, timeout: float | None = None) -> str:
        """As `token`, without blocking the event loop."""
        token = self._usable()
        return (await self._wait_async(self._renew, timeout) if token is None else token).value

    def invalidate(self, value: str) -> None:
        """Forgets a token that was refused; a newer one that has taken its place is kept."""
        with self._lock:
            if self._token is not None and self._token.value == value:
                self._token = None
                # What a reference leads to may be another key by now.
                self._search |= self._found is not None and self._found.secret is not None

    def start_anew(self) -> None:
        """In a forked child: the token and the credentials stay.

        A thread of the parent may have held a lock inside the credentials, which are therefore
        found anew before they are asked for another token.
        """
        super().start_anew()
        self._search = True

    def secret_values(self) -> Iterator[str]:
        """What is masked in texts: the tokens, and what the credentials fetch them with."""
        token, found = self._token, self._found
        yield from (self._given, token.value if token else "")
        for name in _SECRET_ATTRIBUTES if found else ():
            value = getattr(found.credentials, name, None) if found else None
            if isinstance(value, str):
                yield value

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
            except TokenRefreshError as error:  # no thread can be started
                self._put_off(token, error)
        return token

    def _age(self, token: Token) -> float:
        # The time of day may be set back, the other clock stops while a machine sleeps.
        wall, steady = token.born
        return max(self._clock() - wall, self._monotonic() - steady)

    def _put_off(self, token: Token, error: GenAIConfigError) -> None:
        """Notes that a renewal in the background failed."""
        pause = _PAUSE * (token.dead - token.stale)
        self._pause_until = self._monotonic() + pause
        _log.warning(
            "An access token could not be renewed; the present one stays in use, and the next "
            "attempt is in %.3g s. %s", pause, scrub(str(error)),
        )  # fmt: skip

    def _late(self, flight: Flight, timeout: float | None) -> GenAIConfigError:
        return timeout_error(flight.found, self._auth_timeout, timeout)

    def _failed(self, reason: str, remedy: str) -> GenAIConfigError:
        return TokenRefreshError(f"No access token: {reason}.", remedy)

    def _told(self, error: BaseException) -> GenAIConfigError:
        return told(error)

    def _abandon(self) -> None:
        # What is abandoned holds the credentials, and perhaps a lock in them: others are found.
        self._search = True

    def _locate(self, flight: Flight) -> Found:
        found = self._found
        if found is None or self._search:
            self._search = False
            try:
                found = self._find()
            except BaseException:
                self._search = True
                raise
            self._found = found
        flight.found = found
        return found

    def _renew(self, flight: Flight) -> Token:
        token = self._token
        if token is not None and not self._is_due(token):
            # Another flight has landed between our caller's look and our start.
            return token
        started = self._monotonic()
        try:
            return self._fetch(flight)
        except Exception as raised:  # noqa: BLE001 -- told to those who wait
            error = told(raised)
        token = self._token  # it may have been refused, and have died, meanwhile
        usable = token is not None and self._age(token) < token.dead
        flight.news = events.TokenEvent(
            flight.found.description if flight.found else None,
            self._monotonic() - started,
            error=copied(error),
            serves_on=usable,
        )
        if token is None or not usable or flight.abandoned:
            raise error
        self._put_off(token, error)
        return token

    def _is_due(self, token: Token) -> bool:
        paused = self._monotonic() < self._pause_until
        return self._age(token) >= (token.dead if paused else token.stale)

    def _fetch(self, flight: Flight) -> Token:
        started = self._monotonic()
        found = self._locate(flight)
        token = token_of(found.credentials, self._clock(), self._monotonic())
        if token.value in ("", self._given) or token.dead <= 0:
            # Else they were given with a token, which may be all they have.
            try:
                self._refresh(found, flight)
            except GenAIConfigError:
                other = self._other(found, flight)
                if other is None:
                    raise
                found = other
                self._refresh(found, flight)
            token = token_of(found.credentials, self._clock(), self._monotonic())
            if token.dead <= 0:
                # A clock is wrong; the token is as new as can be.
                token = token._replace(stale=_UNKNOWN, dead=_UNKNOWN, lifetime=None)
            if token.value:
                self._tell(flight, found, self._monotonic() - started, token.lifetime)
        with self._lock:
            if flight.abandoned and self._token is not None:
                return self._token  # that of the flight in its place
            self._given = token.value
            self._token = token
        return token

    def _other(self, found: Found, flight: Flight) -> Found | None:
        """What the reference leads to now, in place of the refused; None: nothing else."""
        if found.secret is None or flight.abandoned:
            return None
        other = self._locate(flight)
        return other if other.secret != found.secret else None

    def _tell(self, flight: Flight, found: Found, seconds: float, lifetime: float | None) -> None:
        flight.news = events.TokenEvent(found.description, seconds, lifetime)
        expires = "without a known end" if lifetime is None else f"for {lifetime:.0f} s"
        _log.debug("A new access token %s, in %.3g s, of %s.", expires, seconds, found.description)

    def _refresh(self, found: Found, flight: Flight) -> None:
        if _is_anonymous(found.credentials):
            return
        try:
            found.credentials.refresh(self._request())
            value = getattr(found.credentials, "token", None)
            if not value:
                raise ValueError("no token in the answer")  # noqa: TRY301 -- told like the others
            if not is_sendable(value):
                raise ValueError("its token has white space or a character that is not ASCII")  # noqa: TRY301 -- likewise
        except Exception as error:  # noqa: BLE001 -- each kind of credentials has its own
            # What was found may have been replaced on disk since: it is looked for again.
            self._search = True
            if flight.abandoned:
                raise timeout_error(found, self._auth_timeout) from None
            raise refresh_error(found, error, self._auth_timeout) from None


def _is_anonymous(credentials: Any) -> bool:
    from google.auth.credentials import AnonymousCredentials

    return isinstance(credentials, AnonymousCredentials)
