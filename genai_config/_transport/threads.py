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
from collections.abc import AsyncGenerator, Hashable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import proto
from google.api_core.exceptions import DeadlineExceeded

from genai_config._transport.http import CANCELLATION, Cancellation
from genai_config._transport.loop_streams import OfItsLoop

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 256
"""Calls that one event loop has under way at once; further ones wait."""

EACH = 64
"""Calls of one tenant among them: one whose calls hang leaves places to the others."""

_END = object()


class _Places:
    """The places of one event loop."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(MOST)
        self._of_tenant: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    async def take(self, tenant: Hashable) -> Callable[[], None]:
        """Waits for a place; returns what gives it back."""
        own = self._of_tenant.get(tenant)
        if own is None:
            own = self._of_tenant[tenant] = asyncio.Semaphore(EACH)
        await own.acquire()
        try:
            await self._all.acquire()
        except asyncio.CancelledError:
            own.release()
            raise

        def give_back() -> None:
            self._all.release()
            own.release()

        return give_back


# Not by weak references: a semaphore that somebody has waited for holds its loop.
_PLACES: dict[asyncio.AbstractEventLoop, _Places] = {}


def _places() -> _Places:
    loop = asyncio.get_running_loop()
    if loop not in _PLACES:
        for closed in [other for other in list(_PLACES) if other.is_closed()]:
            _PLACES.pop(closed, None)
        _PLACES[loop] = _Places()
    return _PLACES[loop]


class OffTheLoop:
    """Awaits synchronous calls of one tenant.

    Args:
        tenant: Whose calls they are.
        timeout: Seconds for a call, the wait for a place included; None: no bound.
    """

    def __init__(self, tenant: Hashable = None, timeout: float | None = None) -> None:
        self._tenant = tenant
        self._timeout = timeout

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Awaits a synchronous call; what it returns one by one is fetched off the loop too.

        Whoever is cancelled is let go at once, and the request is broken off.

        Raises:
            DeadlineExceeded: It took longer than `timeout`.
        """
        cancellation = Cancellation()
        work = functools.partial(function, *args, **kwargs)
        try:
            result = await asyncio.wait_for(self._run(cancellation, work), self._timeout)
        except asyncio.TimeoutError:
            if self._timeout is None:
                raise
            raise DeadlineExceeded(f"No answer within timeout={self._timeout:g} s.") from None
        if isinstance(result, Iterable) and not isinstance(result, proto.Message):
            return OfItsLoop(self._fetched(cancellation, result))
        return result

    async def _fetched(
        self, cancellation: Cancellation, result: Iterable[Any]
    ) -> AsyncGenerator[Any, None]:
        items = iter(result)
        is_fetching, item = True, None
        fetch = functools.partial(next, items, _END)
        try:
            while (item := await self._run(cancellation, fetch)) is not _END:
                is_fetching = False
                yield item
                is_fetching = True
        finally:
            if item is not _END:
                cancellation.cancel()
                # A thread that is fetching closes what it sees broken off.
                if not is_fetching and hasattr(result, "cancel"):
                    result.cancel()

    async def _run(self, cancellation: Cancellation, work: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        give_back = await _places().take(self._tenant)

        def free(_: Future[Any]) -> None:
            # The thread may outlive the loop.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(give_back)

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
