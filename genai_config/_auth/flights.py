"""Work that is done once for all who wait for it, off the event loop, within a bound.

It is done by one daemon thread at a time, so an endpoint that never answers holds up neither an
event loop nor the end of the process, and every caller stops waiting in time. Work that has taken
longer than that is abandoned: the next caller starts it anew.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from abc import ABC, abstractmethod
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from genai_config._auth import events
from genai_config._masking import copied
from genai_config._settings import forks
from genai_config._transport.http import CANCELLATION, Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.exceptions import GenAIConfigError

T = TypeVar("T")

# The error of a wait in vain is there when the bound is reached, not after.
_WAITED_FRACTION = 0.95
_SHORTEST_WAIT = 0.001

_Outcome: TypeAlias = "tuple[Any, GenAIConfigError | None]"


class Flight:
    """Work under way, such as a search for credentials, and its outcome for all who wait.

    Attributes:
        started: When it started, by the clock that is never set back.
        landing: The result, or the error for the waiters to raise copies of.
        cancellation: Hangs up, if it is abandoned.
        abandoned: Whether another has been started in its place.
        found: The credentials that it has found, if it finds any; None: not yet.
        news: What to tell those who watch tokens.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.landing: futures.Future[_Outcome] = futures.Future()
        self.landing.set_running_or_notify_cancel()
        self.cancellation = Cancellation()
        self.abandoned = False
        self.found: Any = None
        self.news: events.TokenEvent | None = None


_Work: TypeAlias = "Callable[[Flight], T]"


class Flights(ABC):
    """What does work for any number of threads and event loops.

    Args:
        auth_timeout: Seconds that a caller waits.
        monotonic: The time in seconds since whenever, that is never set back.
    """

    def __init__(self, auth_timeout: float, monotonic: Callable[[], float]) -> None:
        self._auth_timeout = auth_timeout
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._flights: dict[_Work[Any], Flight] = {}
        _ALIVE.add(self)

    def start_anew(self) -> None:
        """In a forked child: work under way stays with the parent.

        A thread of the parent may have held the lock.
        """
        self._lock = threading.Lock()
        self._flights = {}

    @abstractmethod
    def _late(self, flight: Flight, timeout: float | None) -> GenAIConfigError:
        """The error of who has waited in vain, for `auth_timeout` or `timeout` seconds."""

    @abstractmethod
    def _failed(self, reason: str, remedy: str) -> GenAIConfigError:
        """The error of work that cannot be done."""

    @abstractmethod
    def _told(self, error: BaseException) -> GenAIConfigError:
        """What those who wait are told of an error, as an error of its own."""

    @abstractmethod
    def _abandon(self) -> None:
        """Work is abandoned; called with the lock held."""

    def _wait(self, work: _Work[T], timeout: float | None) -> T:
        for flight, seconds in self._waits(work, timeout):
            if futures.wait([flight.landing], seconds).done:
                return cast("T", _result(flight.landing.result()))
        raise self._late(flight, timeout)

    async def _wait_async(self, work: _Work[T], timeout: float | None) -> T:
        for flight, seconds in self._waits(work, timeout):
            landing = asyncio.wrap_future(flight.landing)
            try:
                await asyncio.wait([landing], timeout=seconds)
                if landing.done():
                    return cast("T", _result(landing.result()))
            finally:
                # Its loop may be gone when the flight lands, which itself goes on: it is others'.
                landing.cancel()
        raise self._late(flight, timeout)

    def _waits(self, work: _Work[Any], timeout: float | None) -> Iterator[tuple[Flight, float]]:
        """The flights that one caller waits for, and for how many seconds each.

        Who boards late waits until the flight is overdue, and for the rest of the time for the one
        that takes its place.
        """
        bound = self._auth_timeout if timeout is None else min(timeout, self._auth_timeout)
        left = bound * _WAITED_FRACTION
        while True:
            flight = self._join(work)
            due = self._auth_timeout - (self._monotonic() - flight.started)
            seconds = min(left, max(due, _SHORTEST_WAIT))
            yield flight, seconds
            left -= seconds
            if left <= 0:
                return

    def _join(self, work: _Work[Any]) -> Flight:
        """The flight that does this work: the one under way, or a new one."""
        with self._lock:
            flight = self._flights.get(work)
            now = self._monotonic()
            if flight is not None:
                if now - flight.started < self._auth_timeout:
                    return flight
                flight.abandoned = True
                flight.cancellation.cancel()
                self._abandon()
            flight = Flight(now)
            try:
                threading.Thread(
                    target=self._fly,
                    args=(work, flight),
                    name="genai-config credentials",
                    daemon=True,
                ).start()
            except RuntimeError as error:
                reason = str(error)
            else:
                # Only now: where no thread can be started, nobody is to wait for one.
                self._flights[work] = flight
                return flight
        raise self._failed(reason, "raise the limit of threads (ulimit -u), or use fewer.")

    def _fly(self, work: _Work[Any], flight: Flight) -> None:
        CANCELLATION.set(flight.cancellation)
        outcome: _Outcome
        try:
            outcome = work(flight), None
        except BaseException as error:  # noqa: BLE001 -- told to those who wait
            # A copy: the error's own frames hold credentials, and would hold every waiter's.
            outcome = None, self._told(error)
        with self._lock:
            if self._flights.get(work) is flight:
                del self._flights[work]
        flight.landing.set_result(outcome)
        if flight.news is not None:
            # Only now: nobody is to wait for those who watch.
            events.tell(flight.news)


def _result(outcome: _Outcome) -> Any:
    """What came of a flight; each who waits raises an error of their own."""
    result, error = outcome
    if error is not None:
        raise copied(error)
    return result


# Those that somebody holds, pooled or not.
_ALIVE: weakref.WeakSet[Flights] = weakref.WeakSet()


@forks.in_children
def _start_all_anew() -> None:
    for one in list(_ALIVE):
        one.start_anew()
