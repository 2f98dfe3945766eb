"""OpenAI's clients on Vertex AI while short-lived tokens end: ours, and the other ways to do it.

16 threads share one synchronous client and 64 tasks one asynchronous client, of which they hold
`client.chat`. As in `tokens`, each calls at moments that are fixed beforehand, and a call's time
runs from its moment.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import os
import ssl
import statistics
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from benchmarks.callers import Callers
from benchmarks.local import fresh, local_server, measured
from benchmarks.tokens import DELAY, LIFETIME, PERIOD, THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Call = Callable[[], object]
    CallAsync = Callable[[], Awaitable[object]]

THREADS, TASKS = 16, 64
# Each side has two processes of its own, the second time in the reverse order.
ROUNDS, LIFETIMES = 2, 6
DURATION = LIFETIME * LIFETIMES
# What a held `client.chat` of the published refresher shows, it shows in these.
LIFETIMES_HELD = 2
# As in `tokens`, for both processes.
REFRESHES = ROUNDS * math.ceil(DURATION / (LIFETIME * 0.9))
TICK = 0.005

HEAD = (
    "contender", "failed calls", "refreshes", "p50, threads", "p50, tasks", "p99",
    "loop blocked, longest", "loop blocked, in all", "ours is best or equal",
)  # fmt: skip
SIDES = {
    "ours": "**`genai_config.openai`**",
    "provider": "`openai.providers.vertex`",
    "callable": "`api_key=` a function over google-auth",
    "refresher": "the published refresher, `client.chat` at each call",
    "held": "the published refresher, `client.chat` held",
}


class Run(NamedTuple):
    """What one side's callers went through in one process; lists have an element per lifetime.

    Attributes:
        calls: How many calls there were.
        failed: How many of them failed.
        refreshes: How many tokens were fetched.
        threads: Median of the threads' calls, in seconds.
        tasks: That of the tasks' calls.
        high: The 99th percentile of all.
        longest: By how much the event loop was late at most, in seconds.
        blocked: By how much it was late in all, the times left out when it was less than a tick.
    """

    calls: int
    failed: int
    refreshes: int
    threads: list[float]
    tasks: list[float]
    high: list[float]
    longest: list[float]
    blocked: list[float]


TIMES = ("threads", "tasks", "high", "longest", "blocked")


def settings() -> dict[str, Any]:
    """What the page tells of it; asked before the first row."""
    return {
        "priority": undisturbed(),
        "openai": metadata.version("openai"), "google_auth": metadata.version("google-auth"),
        "threads": THREADS, "tasks": TASKS, "rounds": ROUNDS, "lifetimes": ROUNDS * LIFETIMES,
        "lifetime": LIFETIME, "duration": DURATION, "whole": ROUNDS * DURATION, "delay": DELAY,
        "period": PERIOD, "rate": (THREADS + TASKS) / PERIOD, "refreshes": REFRESHES,
        "threshold": THRESHOLD, "tick": TICK * 1e3,
    }  # fmt: skip


def undisturbed() -> str:
    """Goes before all other work on the machine, where that is allowed; says which it became."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError):  # no Linux; not root
        return "ordinary"
    return "real-time"


def rows() -> Iterator[tuple[Any, ...]]:
    """All sides, in turn, in fresh processes."""
    runs: dict[str, list[Run]] = {side: [] for side in SIDES}
    with local_server() as server:
        for i in range(ROUNDS):
            for side in reversed(SIDES) if i % 2 else SIDES:
                if side == "held" and i:
                    continue
                lifetimes = LIFETIMES_HELD if side == "held" else LIFETIMES
                file = server.ask(lifetime=LIFETIME, delay=DELAY)
                server.ask(report=True)
                found = fresh(__name__, side=side, info=server.info, file=file, lifetimes=lifetimes)
                runs[side].append(run_of(found, server.ask(report=True), lifetimes))
    ours = runs["ours"]
    kept = not any(run.failed for run in ours) and sum(run.refreshes for run in ours) <= REFRESHES
    for side, theirs in runs.items():
        yield cells(SIDES[side], theirs, kept and is_best(ours, theirs))


def is_best(ours: list[Run], theirs: list[Run]) -> bool:
    """Whether ours is behind in no column by more than noise."""
    if _is_lost(theirs):
        return True
    return all(_quartiles(ours, what)[0] <= _quartiles(theirs, what)[2] for what in TIMES)


def _is_lost(runs: list[Run]) -> bool:
    """Whether most calls failed: then there are no times to speak of."""
    return sum(run.failed for run in runs) > sum(run.calls for run in runs) / 2


def _quartiles(runs: list[Run], what: str) -> list[float]:
    return statistics.quantiles([value for run in runs for value in getattr(run, what)], n=4)


def cells(name: str, runs: list[Run], kept: bool) -> tuple[Any, ...]:  # noqa: FBT001 -- a row's
    """A row of the table: what a contender's runs have shown."""
    calls, failed = sum(run.calls for run in runs), sum(run.failed for run in runs)
    times = ["–"] * len(TIMES)
    if not _is_lost(runs):
        for i, what in enumerate(TIMES):
            low, middle, high = (value * 1e3 for value in _quartiles(runs, what))
            times[i] = f"{middle:.1f} ({low:.1f} to {high:.1f}) ms"
        whole = sum(sum(run.blocked) for run in runs)
        times[-1] = f"{whole * 1e3:,.0f} ms; a lifetime {times[-1]}"
    refreshes = sum(run.refreshes for run in runs)
    return (name, f"{failed:,} of {calls:,}", f"{refreshes}", *times, kept)


def run_of(found: dict[str, Any], report: dict[str, Any], lifetimes: int) -> Run:
    """What a process has measured, and the server has seen meanwhile, by lifetime."""

    def sliced(noted: list[list[float]]) -> list[list[float]]:
        """Times, lifetime by lifetime."""
        slices: list[list[float]] = [[] for _ in range(lifetimes)]
        for moment, seconds in noted:
            slices[min(int((moment - found["begin"]) / LIFETIME), lifetimes - 1)].append(seconds)
        return slices

    threads, tasks = (
        [[due, end - due] for due, end in found[kind]] for kind in ("threads", "tasks")
    )
    late = sliced(found["ticks"])
    return Run(
        len(threads) + len(tasks),
        found["failed"],
        len(report["refreshes"]),
        [statistics.median(times) for times in sliced(threads)],
        [statistics.median(times) for times in sliced(tasks)],
        [statistics.quantiles(times, n=100)[-1] for times in sliced(threads + tasks)],
        [max(times) for times in late],
        [sum(seconds for seconds in times if seconds > TICK) for times in late],
    )


def _ours(url: str, ca: str) -> tuple[Call, CallAsync]:
    from genai_config import openai, safe_configure

    safe_configure(ca_certs=ca)
    return _held(openai.client(base_url=url), openai.async_client(base_url=url))


def _provider(url: str, ca: str) -> tuple[Call, CallAsync]:
    import openai
    from openai.providers.vertex import vertex

    http, http_async = _http(ca)
    return _held(
        openai.OpenAI(provider=vertex(base_url=url), http_client=http),
        openai.AsyncOpenAI(provider=vertex(base_url=url), http_client=http_async),
    )


def _callable(url: str, ca: str) -> tuple[Call, CallAsync]:
    import google.auth
    import google.auth.transport.requests
    import openai

    creds: Any
    creds, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])

    def key() -> str:
        if not creds.valid:
            creds.refresh(google.auth.transport.requests.Request())
        return str(creds.token)

    async def key_async() -> str:
        return key()

    http, http_async = _http(ca)
    return _held(
        openai.OpenAI(base_url=url, api_key=key, http_client=http),
        openai.AsyncOpenAI(base_url=url, api_key=key_async, http_client=http_async),
    )


def _refresher(url: str, ca: str) -> tuple[Call, CallAsync]:
    client = _refreshing(url, ca)

    def call_async() -> Awaitable[object]:
        return asyncio.to_thread(client.chat.completions.create, **_request())

    return (lambda: client.chat.completions.create(**_request())), call_async


def _refresher_held(url: str, ca: str) -> tuple[Call, CallAsync]:
    chat = _refreshing(url, ca).chat

    def call_async() -> Awaitable[object]:
        return asyncio.to_thread(chat.completions.create, **_request())

    return (lambda: chat.completions.create(**_request())), call_async


def _refreshing(url: str, ca: str) -> Any:
    import google.auth
    import google.auth.transport.requests
    import openai

    # As Google's page on authentication for OpenAI's clients prints it.
    class OpenAICredentialsRefresher:
        def __init__(self, **kwargs: Any) -> None:
            # Set a placeholder key here
            self.client = openai.OpenAI(**kwargs, api_key="PLACEHOLDER")
            self.creds, self.project = google.auth.default(
                scopes=["https://www.googleapis.com/auth/cloud-platform"]
            )

        def __getattr__(self, name: str) -> Any:
            if not self.creds.valid:
                self.creds.refresh(google.auth.transport.requests.Request())

                if not self.creds.valid:
                    raise RuntimeError("Unable to refresh auth")

                self.client.api_key = self.creds.token  # type: ignore[assignment] # as printed
            return getattr(self.client, name)

    return OpenAICredentialsRefresher(base_url=url, http_client=_http(ca)[0])


def _http(ca: str) -> tuple[Any, Any]:
    """What OpenAI's clients make for themselves, with trust in the local server."""
    import openai

    trust = ssl.create_default_context(cafile=ca)
    return openai.DefaultHttpxClient(verify=trust), openai.DefaultAsyncHttpxClient(verify=trust)


def _held(client: Any, client_async: Any) -> tuple[Call, CallAsync]:
    chat, chat_async = client.chat, client_async.chat
    return (
        lambda: chat.completions.create(**_request()),
        lambda: chat_async.completions.create(**_request()),
    )


def _request() -> dict[str, Any]:
    return {
        "model": "google/gemini-3.6-flash",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    }


def _measure(side: str, info: dict[str, Any], file: str, lifetimes: int) -> dict[str, Any]:
    """The times of all calls, how many failed, and how late the event loop was."""
    from google.auth import _helpers

    os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = file
    os.environ["GOOGLE_CLOUD_PROJECT"] = "my-project"
    sides = {
        "ours": _ours, "provider": _provider, "callable": _callable, "refresher": _refresher,
        "held": _refresher_held,
    }  # fmt: skip
    url = f"https://{info['rest']}/v1/projects/my-project/locations/global/endpoints/openapi"
    scaled = dt.timedelta(seconds=THRESHOLD)
    with mock.patch.object(_helpers, "REFRESH_THRESHOLD", scaled):
        call, call_async = sides[side](url, info["ca"])
        callers = Callers(THREADS, TASKS, PERIOD, LIFETIME * lifetimes)
        callers.run(call, call_async, TICK)
    return {
        "begin": callers.begin, "threads": callers.of_threads, "tasks": callers.of_tasks,
        "failed": callers.failed, "ticks": callers.ticks,
    }  # fmt: skip


if __name__ == "__main__":
    measured(_measure)
