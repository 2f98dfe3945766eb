"""Python's own pools."""

from __future__ import annotations

import contextlib
import multiprocessing
from concurrent import futures
from typing import TYPE_CHECKING, Any

import recording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKERS = 2


class Multiprocessing:
    """A `multiprocessing.Pool`.

    Args:
        method: How its processes start.
    """

    def __init__(self, method: str) -> None:
        self._undo = contextlib.ExitStack()
        self._pieces = self._undo.enter_context(recording.pipes())
        self._pool = multiprocessing.get_context(method).Pool(WORKERS)
        self._undo.callback(self._pool.join)
        self._undo.callback(self._pool.terminate)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What the function makes of each item, in the workers."""
        return self._pool.map(function, items, chunksize=1)

    def wire(self) -> bytes:
        """All that went through the pipes so far."""
        return b"".join(list(self._pieces))

    def close(self) -> None:
        """Ends the workers."""
        self._undo.close()


class Executor:
    """A pool of `concurrent.futures`.

    Args:
        pool: Makes it.
    """

    def __init__(self, pool: Callable[[], futures.Executor]) -> None:
        self._undo = contextlib.ExitStack()
        self._pieces = self._undo.enter_context(recording.pipes())
        self._pool = self._undo.enter_context(pool())

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What the function makes of each item, in the workers."""
        return list(self._pool.map(function, items))

    def wire(self) -> bytes:
        """All that went through the pipes so far."""
        return b"".join(list(self._pieces))

    def close(self) -> None:
        """Ends the workers."""
        self._undo.close()


def process_pool() -> futures.Executor:
    """A pool of spawned processes, as on macOS and Windows."""
    spawn = multiprocessing.get_context("spawn")
    return futures.ProcessPoolExecutor(WORKERS, mp_context=spawn)


def thread_pool() -> futures.Executor:
    """A pool of threads."""
    return futures.ThreadPoolExecutor(WORKERS)
