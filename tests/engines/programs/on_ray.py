"""Ray: a local cluster of one node."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle
from ray.experimental import internal_kv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@ray.remote  # type: ignore[untyped-decorator] # Ray is not installed where types are checked
def _run(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


def _start(tries: int = 3, **options: Any) -> None:
    """Starts a node; on a busy machine that takes longer than the thirty seconds that Ray waits."""
    for left in reversed(range(tries)):
        try:
            ray.init(**options)
        except Exception as error:  # noqa: PERF203 -- starting a node takes far longer
            if "timed out during startup" not in str(error) or not left:
                raise
            ray.shutdown()
        else:
            return


class Ray:
    """A session of Ray in a folder of its own."""

    def __init__(self) -> None:
        # Its sockets need short names.
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp")
        _start(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100 * 1024 * 1024,
            _temp_dir=self._folder.name,
            log_to_driver=False,
        )
        self._sent: list[bytes] = []

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What the function makes of each item, in tasks."""
        self._sent.append(cloudpickle.dumps((function, items)))
        results: list[Any] = ray.get([_run.remote(function, x) for x in items], timeout=300)
        self._sent.append(cloudpickle.dumps(results))
        return results

    def wire(self) -> bytes:
        """The functions and arguments as Ray pickles them, what its store holds, and its logs."""
        keys = [
            (key, space)
            for space in (b"fun", None, b"cls", b"session")
            for key in internal_kv._internal_kv_list(b"", namespace=space)
        ]
        stored = [internal_kv._internal_kv_get(key, namespace=space) or b"" for key, space in keys]
        assert any(stored)
        logs = [p.read_bytes() for p in Path(self._folder.name).rglob("*") if p.is_file()]
        return b"".join([*self._sent, *stored, *logs])

    def close(self) -> None:
        """Ends the session."""
        ray.shutdown()
        self._folder.cleanup()
