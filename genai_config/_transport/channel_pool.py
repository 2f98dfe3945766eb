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

# A connection that was full takes calls again below this number, so that it is not counted anew
# at each call while it is about full.
_ROOM_AGAIN = 75

clock: Callable[[], float] = time.monotonic
"""The time in seconds by which connections become idle."""


class Connection(Generic[C]):
    """One channel, and the calls on it that have neither ended nor been forgotten.

    Args:
        channel: The channel.
        lock: Held by whoever adds or removes a call, or counts them.
    """

    def __init__(self, channel: C, lock: threading.Lock) -> None:
        self.channel = channel
        self.lock = lock
        self.used = clock()
        # Weak, as a call that is forgotten is cancelled, and a callback for its end would hold it.
        self.calls: weakref.WeakSet[Any] = weakref.WeakSet()
        self._methods: dict[Any, Any] = {}

    def has_room(self) -> bool:
        """Whether one more call need not wait."""
        if len(self.calls) < FULL:
            return True
        for call in list(self.calls):
            if call.done():
                self.calls.discard(call)
        return len(self.calls) < _ROOM_AGAIN

    def method(self, kind: str, *description: Any) -> Any:
        """A method of the channel, made once: gRPC makes it anew each time it is asked.

        Args:
            kind: "unary_unary" or "unary_stream".
            description: The path, the serializer, the deserializer.
        """
        key = (kind, *description)
        method = self._methods.get(key)
        if method is None:
            method = self._methods[key] = getattr(self.channel, kind)(*description)
        return method


class Place(Generic[C]):
    """A place for one call, taken while a ``with`` block runs or as long as the call is."""

    __slots__ = ("__weakref__", "connection")

    def __init__(self, connection: Connection[C]) -> None:
        self.connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self.connection.lock:
            self.connection.calls.discard(self)

    def done(self) -> bool:
        """Not before the block ends."""
        return False

    def keep_for(self, call: Any) -> None:
        """Leaves the place to a call that outlives the block."""
        with self.connection.lock:
            self.connection.calls.add(call)


class ChannelPool(Generic[C]):
    """The channels to one address, as many as the calls in flight need.

    Args:
        connect: Makes a channel with a connection of its own.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connections = [Connection(connect(), self._lock)]

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def first(self) -> C:
        """The channel that is always there."""
        return self._connections[0].channel

    def take(self) -> Place[C]:
        """A place for one more call: on the first connection that has one."""
        with self._lock:
            connection = next((one for one in self._connections if one.has_room()), None)
            if connection is None and len(self._connections) < MOST:
                connection = Connection(self._connect(), self._lock)
                self._connections.append(connection)
            elif connection is None:
                connection = min(self._connections, key=lambda one: len(one.calls))
            connection.used = clock()
            place = Place(connection)
            connection.calls.add(place)
            if len(self._connections) > 1:
                self._drop_idle(connection.used)
            return place

    def _drop_idle(self, now: float) -> None:
        # A channel closes with the last reference to it.
        self._connections[1:] = [
            one for one in self._connections[1:] if one.calls or now - one.used < IDLE
        ]
