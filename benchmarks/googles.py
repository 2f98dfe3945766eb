"""google-genai's client on Vertex AI while short-lived tokens expire: ours, and theirs alone.

As in `openais`: 16 threads share one client, and 64 tasks of one event loop its `aio`.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
from importlib import metadata
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks import openais
from benchmarks.callers import Callers
from benchmarks.local import fresh, local_server, measured
from benchmarks.openais import (
    HEAD,
    LIFETIMES,
    REFRESHES,
    ROUNDS,
    TASKS,
    THREADS,
    TICK,
    Run,
    cells,
    is_best,
    run_of,
)
from benchmarks.tokens import DELAY, LIFETIME, PERIOD, THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HEAD", "rows", "settings"]

SIDES = {
    "ours": "**`genai_config.google_genai`**",
    "alone": "`google.genai.Client(vertexai=True)`",
}


def settings() -> dict[str, Any]:
    """What the page tells of it; asked before the first row."""
    found = openais.settings()
    del found["openai"]
    return {**found, "google_genai": metadata.version("google-genai")}


def rows() -> Iterator[tuple[Any, ...]]:
    """Both sides, in turn, in fresh processes."""
    runs: dict[str, list[Run]] = {side: [] for side in SIDES}
    with local_server() as server:
        for i in range(ROUNDS):
            for side in reversed(SIDES) if i % 2 else SIDES:
                file = server.ask(lifetime=LIFETIME, delay=DELAY)
                server.ask(report=True)
                found = fresh(__name__, side=side, info=server.info, file=file, lifetimes=LIFETIMES)
                runs[side].append(run_of(found, server.ask(report=True), LIFETIMES))
    ours = runs["ours"]
    kept = not any(run.failed for run in ours) and sum(run.refreshes for run in ours) <= REFRESHES
    for side, theirs in runs.items():
        yield cells(SIDES[side], theirs, kept and is_best(ours, theirs))


def _client(side: str, info: dict[str, Any]) -> Any:
    url = f"https://{info['rest']}"
    place: Any = {"project": "my-project", "location": "us-central1"}
    if side == "ours":
        from genai_config import google_genai, safe_configure

        safe_configure(ca_certs=info["ca"])
        return google_genai.client(backend="vertex", http_options={"base_url": url}, **place)
    from google import genai

    trust = {"verify": ssl.create_default_context(cafile=info["ca"])}
    options = genai.types.HttpOptions(base_url=url, client_args=trust, async_client_args=trust)
    return genai.Client(vertexai=True, http_options=options, **place)


def _measure(side: str, info: dict[str, Any], file: str, lifetimes: int) -> dict[str, Any]:
    """The times of all calls, how many failed, and how late the event loop was."""
    from google.auth import _helpers

    os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = file
    os.environ["GOOGLE_CLOUD_PROJECT"] = "my-project"
    request: Any = {"model": "gemini-3.6-flash", "contents": "Why is the sky blue?"}
    with mock.patch.object(_helpers, "REFRESH_THRESHOLD", dt.timedelta(seconds=THRESHOLD)):
        client = _client(side, info)
        callers = Callers(THREADS, TASKS, PERIOD, LIFETIME * lifetimes)
        callers.run(
            lambda: client.models.generate_content(**request),
            lambda: client.aio.models.generate_content(**request),
            TICK,
        )
    return {
        "begin": callers.begin, "threads": callers.of_threads, "tasks": callers.of_tasks,
        "failed": callers.failed, "ticks": callers.ticks,
    }  # fmt: skip


if __name__ == "__main__":
    measured(_measure)
