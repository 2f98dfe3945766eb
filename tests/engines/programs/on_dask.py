"""Dask: a LocalCluster with processes, reached through a relay by the client and by the workers."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import recording
from distributed import Client, LocalCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Dask:
    """A cluster of worker processes.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int = 2) -> None:
        self._undo = contextlib.ExitStack()
        cluster = self._undo.enter_context(
            LocalCluster(n_workers=0, threads_per_worker=2, dashboard_address=":0")
        )
        self._scheduler: Any = cluster.scheduler
        port = int(self._scheduler.address.rpartition(":")[2])
        self._relay = recording.Relay(port)
        self._undo.callback(self._relay.close)
        address = f"tcp://127.0.0.1:{self._relay.port}"
        self._scheduler.contact_address = address  # where the workers connect
        cluster.scale(workers)
        self.client = self._undo.enter_context(Client(address))
        self.client.wait_for_workers(workers, timeout=120)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What the function makes of each item, in the workers."""
        futures = self.client.map(function, items, pure=False)
        self._pages = self._shown()  # while the tasks are there
        results: list[Any] = self.client.gather(futures)
        return results

    def each(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function returns in each of the workers, all at once."""
        workers = [*self.client.scheduler_info(n_workers=-1)["workers"]]
        futures = [
            self.client.submit(function, *arguments, workers=[worker], pure=False)
            for worker in workers
        ]
        results: list[Any] = self.client.gather(futures)
        return results

    def wire(self) -> bytes:
        """All that passed the relay, and what the scheduler knows and shows."""
        known = repr(self.client.run_on_scheduler(_state)).encode()
        return self._relay.recorded + known + self._pages + self._shown()

    def close(self) -> None:
        """Ends the cluster."""
        self._undo.close()

    def _shown(self) -> bytes:
        """The scheduler's JSON and pages."""
        root = f"http://127.0.0.1:{self._scheduler.http_server.port}"
        seen: dict[str, bytes] = {}
        waiting = [
            "/json/counts.json",
            "/json/identity.json",
            "/json/index.html",
            "/info/main/workers.html",
            "/info/logs.html",
            "/info/call-stacks.html",
            "/sitemap.json",
            "/metrics",
        ]
        waiting += [f"/info/task/{key}.html" for key in [*self._scheduler.tasks][:20]]
        while waiting:
            path = waiting.pop()
            seen[path] = b""
            with contextlib.suppress(OSError):  # not there in this version, or gone
                with urllib.request.urlopen(root + path, timeout=30) as answer:  # noqa: S310 -- http
                    seen[path] = answer.read()
                links = re.findall(
                    rb'href="\.\./(worker/[^"]+\.html|task/[^"]+\.html)"', seen[path]
                )
                found = {f"/info/{link.decode()}" for link in links[:50]}
                waiting += found - seen.keys() - {*waiting}
        assert any(seen.values())
        return b"".join(seen.values())


def _state(dask_scheduler: Any) -> list[Any]:
    """What the scheduler holds of each task and each worker, and its log."""
    tasks = [
        (key, repr(task), vars_of(task.run_spec), task.exception_text, task.traceback_text)
        for key, task in dask_scheduler.tasks.items()
    ]
    workers = [repr(worker.identity()) for worker in dask_scheduler.workers.values()]
    return [tasks, workers, list(dask_scheduler.get_logs()), dask_scheduler.get_events()]


def vars_of(spec: Any) -> str:
    """The serialized form of a task, as the scheduler keeps it."""
    frames = getattr(spec, "frames", None) or getattr(spec, "data", None)
    return repr((spec, frames and [bytes(frame) for frame in frames]))
