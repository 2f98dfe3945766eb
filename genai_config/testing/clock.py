"""A clock that moves when a test says so."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self


class FakeClock:
    """Seconds since the epoch, standing still until `advance` is called."""

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        """The time in seconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves the clock, back too if `seconds` is negative."""
        self._now += seconds

    @contextlib.contextmanager
    def installed(self) -> Iterator[Self]:
        """Makes it the time that tokens expire by, in this library and in google-auth."""
        from google.auth import _helpers

        from genai_config._auth import headers

        def utcnow() -> dt.datetime:
            return dt.datetime.fromtimestamp(self._now, dt.timezone.utc).replace(tzinfo=None)

        with (
            mock.patch.object(headers, "clock", self),
            mock.patch.object(_helpers, "utcnow", utcnow),
        ):
            yield self
