"""A bound on a whole exchange over HTTP: one thread breaks off what is past its time.

The timeouts of sockets bound each wait, so a server that sends a byte now and then is waited for
without end.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

from genai_config._settings import forks
from genai_config._transport.http import CANCELLATION, Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

clock: Callable[[], float] = time.monotonic
"""The time in seconds since whenever that deadlines are told by."""


class Bounded:
    """An exchange that is broken off at a time.

    Args:
        timeout: The seconds it may take from now; None: it is not bounded.

    Attributes:
        timeout: The same.
        cancellation: What breaks it off; the one of whoever waits for the call, if there is one.
    """

    def __init__(self, timeout: float | None) -> None:
        given = CANCELLATION.get()
        self.cancellation = Cancellation() if given is None else given
        self.cancellation.expired = False  # what is made again after all has new time
        self.timeout = timeout
        self._deadline = None if timeout is None else clock() + timeout

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.cancellation.expired

    def left(self) -> float | None:
        """The seconds that are left, at least a little; None: no bound."""
        return None if self._deadline is None else max(self._deadline - clock(), 0.001)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """This thread waits for it, in a ``with`` block."""
        token = CANCELLATION.set(self.cancellation)
        if self._deadline is not None:
            _watch.add(self.cancellation, self._deadline)
        try:
            yield
        finally:
            CANCELLATION.reset(token)
            if self._deadline is not None:
                _watch.remove(self.cancellation)


class _Watch:
    """The exchanges under way, and the thread that looks at them when the first is due."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: dict[Cancellation, float] = {}
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    def add(self, exchange: Cancellation, deadline: float) -> None:
        with self._changed:
            self._deadlines[exchange] = deadline
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="genai-config deadlines", daemon=True
                )
                self._thread.start()
            if deadline < self._wakes_at:
                self._changed.notify()

    def remove(self, exchange: Cancellation) -> None:
        with self._changed:
            self._deadlines.pop(exchange, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = clock()
                due = [one for one, deadline in self._deadlines.items() if deadline <= now]
                for exchange in due:
                    del self._deadlines[exchange]
                self._wakes_at = min(self._deadlines.values(), default=math.inf)
                if not due:
                    idle = self._wakes_at == math.inf
                    self._changed.wait(None if idle else self._wakes_at - now)
            for exchange in due:
                exchange.expire()


_watch = _Watch()


@forks.in_children
def _start_anew() -> None:
    global _watch  # noqa: PLW0603 -- a forked child has neither the thread nor its lock
    _watch = _Watch()
