"""Many threads and tasks that make calls at moments that are fixed beforehand."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Callers:
    """The threads and tasks, and what they noted down.

    Args:
        threads: How many threads there are.
        tasks: How many tasks; a multiple of the threads.
        period: Seconds from one call of a caller to its next.
        duration: Seconds that all of it takes.

    Attributes:
        begin: When the first call is due, by the monotonic clock.
        of_threads: The moment and the end of each call of a thread, failed ones included.
        of_tasks: Those of the tasks.
        failed: How many failed.
        ticks: When the event loop was to come back to a task that waited, and by how many seconds
            it was late.
    """

    def __init__(self, threads: int, tasks: int, period: float, duration: float) -> None:
        self._threads, self._tasks = threads, tasks
        self._period, self._duration = period, duration
        self.begin = math.inf
        self.of_threads: list[tuple[float, float]] = []
        self.of_tasks: list[tuple[float, float]] = []
        self.failed = 0
        self.ticks: list[tuple[float, float]] = []

    def run(
        self,
        call: Callable[[], object],
        call_async: Callable[[], Awaitable[object]],
        tick: float | None = None,
    ) -> None:
        """Makes all calls, after one of each kind that does not count.

        Args:
            call: What a thread does.
            call_async: What a task does.
            tick: Seconds between two looks at how late the event loop is; None: nobody looks.
        """
        call()
        self.begin = time.monotonic() + 0.5
        threads = [
            threading.Thread(target=self._thread, args=(i, call)) for i in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        asyncio.run(self._run_tasks(call_async, tick))
        for thread in threads:
            thread.join()

    def _moments(self, caller: int) -> Iterator[float]:
        """When a caller's calls are due: evenly spread over the callers."""
        first = self.begin + self._period * caller / (self._threads + self._tasks)
        for i in range(math.ceil(self._duration / self._period)):
            if first + i * self._period < self.begin + self._duration:
                yield first + i * self._period

    def _thread(self, caller: int, call: Callable[[], object]) -> None:
        for due in self._moments(caller * (1 + self._tasks // self._threads)):
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                call()
            except Exception:  # noqa: BLE001 -- counted, whatever it is
                self.failed += 1
            self.of_threads.append((due, time.monotonic()))

    async def _run_tasks(self, call: Callable[[], Awaitable[object]], tick: float | None) -> None:
        await call()

        async def task(caller: int) -> None:
            for due in self._moments(caller):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                try:
                    await call()
                except Exception:  # noqa: BLE001 -- counted, whatever it is
                    self.failed += 1
                self.of_tasks.append((due, time.monotonic()))

        every = 1 + self._tasks // self._threads
        callers = (i for i in range(self._threads + self._tasks) if i % every)
        ticking = () if tick is None else (self._tick(tick),)
        await asyncio.gather(*map(task, callers), *ticking)

    async def _tick(self, tick: float) -> None:
        due = self.begin
        while due < self.begin + self._duration:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = time.monotonic() - due
            self.ticks.append((due, late))
            due += max(late, tick)
