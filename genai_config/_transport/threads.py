"""Synchronous REST calls made off the event loop: each in a daemon thread, so many at once at most.

The loop's own executor is not used for it: a few slow calls would hold up all that the program
runs there itself, and its threads are waited for when the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import proto

from genai_config._transport.http import CANCELLATION, Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 64
"""Calls that one event loop has under way at once; further ones wait."""

# Not by weak references: a semaphore that somebody has waited for holds its loop.
_PLACES: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}
_END = object()


async def off_the_loop(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Awaits a synchronous call; what it returns one by one is fetched off the loop too.

    Whoever is cancelled is let go at once, and the request is broken off.
    """
    cancellation = Cancellation()
    result = await _run(cancellation, functools.partial(function, *args, **kwargs))
    if isinstance(result, Iterable) and not isinstance(result, proto.Message):
        return _fetched(cancellation, result)
    return result


async def _fetched(cancellation: Cancellation, result: Iterable[Any]) -> AsyncIterator[Any]:
    items = iter(result)
    is_fetching, item = True, None
    try:
        while (item := await _run(cancellation, functools.partial(next, items, _END))) is not _END:
            is_fetching = False
            yield item
            is_fetching = True
    finally:
        if item is not _END:
            cancellation.cancel()
            # A thread that is fetching closes what it sees broken off.
            if not is_fetching and hasattr(result, "cancel"):
                result.cancel()


async def _run(cancellation: Cancellation, work: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    if loop not in _PLACES:
        for closed in [other for other in list(_PLACES) if other.is_closed()]:
            _PLACES.pop(closed, None)
        _PLACES[loop] = asyncio.Semaphore(MOST)
    places = _PLACES[loop]
    await places.acquire()

    def free(_: Future[Any]) -> None:
        # The thread may outlive the loop.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(places.release)

    outcome: Future[Any] = Future()
    outcome.set_running_or_notify_cancel()
    # The place is free when the thread has ended, whether or not anybody waits for it still.
    outcome.add_done_callback(free)
    context = contextvars.copy_context()
    context.run(CANCELLATION.set, cancellation)
    try:
        threading.Thread(
            target=_work, args=(context, work, outcome), name="genai-config call", daemon=True
        ).start()
    except RuntimeError as error:  # no thread can be started
        outcome.set_exception(error)
    try:
        return await asyncio.wrap_future(outcome)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise


def _work(context: contextvars.Context, work: Callable[[], Any], outcome: Future[Any]) -> None:
    try:
        result = context.run(work)
    except BaseException as error:  # noqa: BLE001 -- handed to whoever waits
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
