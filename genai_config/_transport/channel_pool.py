"""Several connections to one address: another when those there are full, and fewer again.

An HTTP/2 server takes about a hundred calls at once on one connection, and lets further ones wait
for those (https://grpc.io/docs/guides/performance/).
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

C = TypeVar("C")

FULL = 100
"""Calls in flight on one connection."""

MOST = 16
"""Connections to one address; when all are full, calls wait for others."""

IDLE = 60.0
"""Seconds for which a connection that is needed no longer is kept."""

# Who is full is looked at more closely, and that is not to happen at each of its calls.
_ROOM_AGAIN = 75

clock: Callable[[], float] = time.monotonic
"""The time in seconds since whenever that connections get idle by."""


class Lane(Generic[C]):
    """One connection, and the calls on it: those that are neither over nor forgotten.

    Args:
        channel: The connection.
        lock: Held by whoever adds or removes a call, or looks at them all.
    """

    def __init__(self, channel: C, lock: threading.Lock) -> None:
        self.channel = channel
        self.lock = lock
        self.used = clock()
        # Weak, as a call that is forgotten is cancelled, and a callback for its end would hold it.
        self.calls: weakref.WeakSet[Any] = weakref.WeakSet()

    def has_room(self) -> bool:
        """Whether one more call need not wait."""
        if len(self.calls) < FULL:
            return True
        for call in list(self.calls):
            if call.done():
                self.calls.discard(call)
        return len(self.calls) < _ROOM_AGAIN


class Place(Generic[C]):
    """A place for one call, taken while a ``with`` block runs or as long as the call is."""

    def __init__(self, lane: Lane[C]) -> None:
        self._lane = lane
        self.channel = lane.channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lane.lock:
            self._lane.calls.discard(self)

    def done(self) -> bool:
        """Not before the block ends."""
        return False

    def keep_for(self, call: Any) -> None:
        """Leaves the place to a call that outlives the block."""
        with self._lane.lock:
            self._lane.calls.add(call)


class Lanes(Generic[C]):
    """The channels to one address, as many as the calls in flight need.

    Args:
        connect: Makes a channel with a connection of its own.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._lanes = [Lane(connect(), self._lock)]

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def first(self) -> C:
        """The channel that is always there."""
        return self._lanes[0].channel

    def take(self) -> Place[C]:
        """A place for one more call: on the first connection that has one."""
        with self._lock:
            lane = next((lane for lane in self._lanes if lane.has_room()), None)
            if lane is None and len(self._lanes) < MOST:
                lane = Lane(self._connect(), self._lock)
                self._lanes.append(lane)
            elif lane is None:
                lane = min(self._lanes, key=lambda lane: len(lane.calls))
            lane.used = clock()
            place = Place(lane)
            lane.calls.add(place)
            if len(self._lanes) > 1:
                self._drop_idle(lane.used)
            return place

    def _drop_idle(self, now: float) -> None:
        # A channel closes with the last reference to it.
        self._lanes[1:] = [lane for lane in self._lanes[1:] if lane.calls or now - lane.used < IDLE]
