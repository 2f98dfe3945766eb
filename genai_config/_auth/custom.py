"""Credentials of a user's own making: functions that give tokens, objects that set headers."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import re
from typing import TYPE_CHECKING, Any

from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import RefreshError
from google.auth.jwt import OnDemandCredentials

from genai_config._masking import described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN = re.compile(r"[!-~]+")
# Fewer seconds than this since the epoch (it was in 2001) are a lifetime.
_EARLIEST = 1e9


class FunctionCredentials(Credentials):
    """A function that gives a token, or a token and when it ends, as google-auth credentials."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self._function = function

    def refresh(self, request: Any) -> None:
        """Calls the function.

        Raises:
            RefreshError: It raised something, or what it gave is no token.
        """
        del request
        try:
            answer = self._function()
        except BaseException as error:  # noqa: BLE001 -- whatever a user's function raises
            raise RefreshError(described(error)) from None
        pair = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)  # noqa: PLR2004 -- a pair has two
        self.token, self.expiry = _token(pair[0]), _expiry(pair[1])


def _token(value: Any) -> str:
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited
    if not isinstance(value, str):
        raise RefreshError(f"it gave {type(value).__name__}, not a str or (str, expiry)")
    token = value.strip()
    if not _TOKEN.fullmatch(token):
        raise RefreshError(
            "the token it gave holds white space or what is not ASCII"
            if token
            else "the token it gave is empty"
        )
    return token


def _expiry(value: Any) -> dt.datetime | None:
    """When a token ends, as google-auth has it: naive, UTC."""
    if value is None:
        return None
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefreshError(
            f"the expiry it gave is {type(value).__name__}, not a datetime or seconds since 1970"
        )
    if value < _EARLIEST:
        raise RefreshError("the expiry it gave is before 1970; was time.time() + seconds meant?")
    try:
        return dt.datetime.fromtimestamp(value, dt.timezone.utc).replace(tzinfo=None)
    except (OverflowError, ValueError):
        raise RefreshError("the expiry it gave is too far ahead; is it in milliseconds?") from None


def sets_headers(credentials: Any) -> bool:
    """Whether credentials have a `before_request` of their own, and so perhaps no `refresh`."""
    own = getattr(type(credentials), "before_request", None)
    known = (AnonymousCredentials.before_request, Credentials.before_request)
    return own not in known


class HeaderCredentials(Credentials):
    """Credentials that set headers by themselves, as ones that fetch tokens.

    Args:
        given: The credentials.
        url: The address that they are told the request goes to.
    """

    def __init__(self, given: Any, url: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self._given = given
        self._url = url
        self._take({})

    def refresh(self, request: Any) -> None:
        """Renews what can be renewed, and takes the token out of the headers."""
        if not isinstance(self._given, OnDemandCredentials):  # google-auth's own of this kind
            # First, because before_request goes on with what it has.
            with contextlib.suppress(NotImplementedError):  # of those that have none to renew
                self._given.refresh(request)
        headers: dict[str, str] = {}
        self._given.before_request(request, "POST", self._url, headers)
        self._take(headers)

    def _take(self, headers: Mapping[str, str]) -> None:
        values = [value for name, value in headers.items() if name.lower() == "authorization"]
        scheme, _, token = "".join(values).partition(" ")
        bearer = scheme.lower() == "bearer"
        self.token = token if bearer else getattr(self._given, "token", None)
        self.expiry = getattr(self._given, "expiry", None)
