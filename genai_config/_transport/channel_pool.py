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
    """One channel, and the calls on it; a ``with`` block ends the place that was taken for it.

    Args:
        channel: The channel.
        lock: Held by whoever takes a place or gives it back.
    """

    def __init__(self, channel: C, lock: threading.Lock) -> None:
        self.channel = channel
        self.used = clock()
        self.taken = 0
        self._lock = lock
        # Weak, as a call that is forgotten is cancelled, and a callback for its end would hold it.
        self.kept: set[weakref.ref[Any]] = set()
        self.methods: dict[tuple[Any, ...], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.taken -= 1

    def calls(self) -> int:
        """How many have neither ended nor been forgotten, or have not been seen to."""
        return self.taken + len(self.kept)

    def has_room(self) -> bool:
        """Whether one more call need not wait, though there were enough at the last look."""
        for call in list(self.kept):
            kept = call()
            if kept is None or kept.done():
                self.kept.discard(call)
        return self.calls() < _ROOM_AGAIN

    def keep_for(self, call: Any) -> None:
        """Leaves a place to a call until it ends, or is forgotten."""
        self.kept.add(weakref.ref(call, self.kept.discard))

    def method(self, description: tuple[Any, ...]) -> Any:
        """A method of the channel, kept in `methods`: gRPC makes it anew each time it is asked.

        Args:
            description: "unary_unary" or "unary_stream", the path, serializer and deserializer.
        """
        kind, *others = description
        method = self.methods[description] = getattr(self.channel, kind)(*others)
        return method


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

    def take(self, places: int = 1) -> Connection[C]:
        """The first connection that has a place for one more call.

        Args:
            places: 1: for a ``with`` block, which gives it back; 0: for a call that keeps it.
        """
        with self._lock:
            for connection in self._connections:
                if connection.taken + len(connection.kept) < FULL or connection.has_room():
                    break
            else:
                connection = self._another()
            connection.taken += places
            if len(self._connections) > 1:
                self._drop_idle(connection)
            return connection

    def _another(self) -> Connection[C]:
        """A new connection; if there may be no more, the one with the fewest calls."""
        if len(self._connections) == MOST:
            return min(self._connections, key=Connection.calls)
        connection = Connection(self._connect(), self._lock)
        self._connections.append(connection)
        return connection

    def _drop_idle(self, taken: Connection[C]) -> None:
        taken.used = now = clock()
        # A channel closes with the last reference to it.
        self._connections[1:] = [
            one for one in self._connections[1:] if one.calls() or now - one.used < IDLE
        ]
