"""Bounded pools of things that are costly to make; what has not been used for long goes first."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from genai_config._settings import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

T = TypeVar("T")


class Key:
    """What a pooled thing depends on: everything in a configuration but what is named.

    A part that is forgotten in a list of parts mixes tenants; one that is forgotten in a list of
    exceptions only makes one thing more.

    Args:
        config: The configuration.
        without: The settings on which the thing does not depend.
        more: What else it depends on.
    """

    __slots__ = ("_hash", "_parts")

    def __init__(
        self, config: Iterable[tuple[str, Any]], without: frozenset[str], *more: Any
    ) -> None:
        settings = [value for name, value in config if name not in without]
        self._parts = (*more, *settings)
        self._hash = hash(self._parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._parts == other._parts

    def __repr__(self) -> str:
        return f"Key({self._hash:x})"


class Itself:
    """A part of a key that equals itself alone.

    A tracer's wrapper of a function compares equal to the function, and has its hash.

    Args:
        thing: The part.
    """

    __slots__ = ("_thing",)

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __hash__(self) -> int:
        return id(self._thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self._thing is other._thing


class _Making(Generic[T]):
    """A thing of a pool, or a place for it while it is made."""

    __slots__ = ("lock", "made", "thing", "used")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.made = False
        self.used = False
        self.thing: T


class Pool(Generic[T]):
    """Makes each thing once, whoever asks at the same time, and keeps `size` of them.

    One that has been used gets a second chance before it has to go.

    What falls out is not closed: others may hold it still, and all that is pooled here closes
    with its last reference. A forked child starts with empty pools: connections and threads stay
    with the parent, and a lock may have been held by a thread that the child does not have.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.start_anew()
        _POOLS.add(self)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing for a key, made if there is none; only those who want the same one wait."""
        making = self._things.get(key)
        if making is not None and making.made:
            making.used = True  # no lock and no order to keep: each request comes by here
            return making.thing
        with self._lock:
            making = self._things.get(key)
            if making is None:
                self._make_room()
                making = self._things[key] = _Making()
        with making.lock:
            if not making.made:
                try:
                    making.thing, making.made = make(), True
                finally:
                    if not making.made:
                        self._drop(key, making)
            return making.thing

    def _make_room(self) -> None:
        while len(self._things) >= self._size:
            key, oldest = self._things.popitem(last=False)
            if oldest.used:  # since it was passed over last
                oldest.used = False
                self._things[key] = oldest

    def _drop(self, key: Hashable, making: _Making[T]) -> None:
        with self._lock:
            if self._things.get(key) is making:
                del self._things[key]

    def peek(self, key: Hashable) -> T | None:
        """The thing for a key, if there is one; it stays as little used as it was."""
        with self._lock:
            making = self._things.get(key)
        return making.thing if making is not None and making.made else None

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._things.clear()

    def start_anew(self) -> None:
        """Forgets everything, in a process in which no other thread uses the pool."""
        self._lock = threading.RLock()
        self._things: OrderedDict[Hashable, _Making[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._things)


_POOLS: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()
_INHERITED: list[Any] = []


@forks.in_children
def _start_anew() -> None:
    for pool in list(_POOLS):
        # Kept, and never used: a process that destroys an asyncio channel of its parent crashes.
        _INHERITED.append(pool._things)  # noqa: SLF001 -- this room's own
        pool.start_anew()
