"""An access token as it was fetched: when it is renewed, and when it is no longer used."""

from __future__ import annotations

import datetime as dt
import math
import random
import re
from typing import Any, NamedTuple

from genai_config._settings.secrets import SecretText

# A token is renewed in the background this long before it expires (google-auth's own threshold: the
# metadata server gives no other token earlier), or, when it is short-lived, for the last tenth of
# its life; a little later in some processes than in others, so that they do not all come at once.
_ADVISORY = 225.0
_ADVISORY_FRACTION = 0.1
_JITTER = 0.2
# It is no longer used this long before it expires, or for the last three hundredths of its life: a
# request takes its time, and the service's clock may be ahead.
_MANDATORY = 60.0
_MANDATORY_FRACTION = 0.03

# What a header can carry. An endpoint that gives anything else has given no token.
_SENDABLE = re.compile(r"[!-~]+")


class Token(NamedTuple):
    """An access token.

    Attributes:
        value: The token; "" for anonymous credentials, which send none.
        stale: The age in seconds at which another is fetched in the background.
        dead: The age at which it is no longer used.
        lifetime: The age at which it expires; None: unknown.
        born: When its age was 0: the time of day, and the time of a monotonic clock.
    """

    value: str
    stale: float = math.inf
    dead: float = math.inf
    born: tuple[float, float] = (0.0, 0.0)
    lifetime: float | None = None

    def __repr__(self) -> str:
        return f"Token(stale={self.stale:g}, dead={self.dead})"


def is_sendable(value: Any) -> bool:
    """Whether a header can carry a token."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and _SENDABLE.fullmatch(text) is not None


def token_of(credentials: Any, now: float, steady: float) -> Token:
    """The token that google-auth credentials hold; an empty one if they hold none to be sent.

    Args:
        credentials: The credentials.
        now: The time of day, in seconds since the epoch.
        steady: The time of a clock that nobody sets.
    """
    value = getattr(credentials, "token", None)
    if not value or not is_sendable(value):
        return Token("")
    value = SecretText(value.decode("ascii") if isinstance(value, bytes) else value)
    expiry = getattr(credentials, "expiry", None)
    if expiry is None:
        return Token(value)
    # google-auth's expiry is naive UTC.
    lifetime = expiry.replace(tzinfo=dt.timezone.utc).timestamp() - now
    margin = min(_ADVISORY, lifetime * _ADVISORY_FRACTION)
    margin *= random.uniform(1 - _JITTER, 1)  # noqa: S311 -- nobody gains by guessing it
    dead = lifetime - min(_MANDATORY, lifetime * _MANDATORY_FRACTION)
    return Token(value, lifetime - margin, dead, (now, steady), lifetime)
