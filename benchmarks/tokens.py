"""Many callers of a tuned model while short-lived tokens end, one after the other.

64 threads and 256 tasks share one set of credentials. Each calls at moments that are fixed
beforehand, and a call's time runs from its moment: who is held up by others waits, too.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from benchmarks.callers import Callers
from benchmarks.local import TUNED, a_request, fresh, measured
from benchmarks.measure import Row, quartiles, ratio_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from benchmarks.local import Server

THREADS, TASKS = 64, 256
# Seconds. A new token takes DELAY to come, as if from a network; all callers together make a call
# every 5 ms, which leaves the processors idle most of the time.
LIFETIME, LIFETIMES, DELAY, PERIOD = 5, 3, 0.2, 1.6
DURATION = LIFETIME * LIFETIMES
# This library renews a token after 90 % of its life at the earliest; the first one counts as well.
REFRESHES = math.ceil(DURATION / (LIFETIME * 0.9))
# google-auth takes a token for old 225 s before it ends: these would never be young. They stand for
# the hour that a real one lives.
THRESHOLD = 225 * LIFETIME / 3600
ROUNDS = 2
SETTINGS = {
    "lifetime": LIFETIME, "duration": DURATION, "delay": DELAY, "period": PERIOD,
    "rate": (THREADS + TASKS) / PERIOD, "refreshes": REFRESHES, "threshold": THRESHOLD,
    "rounds": ROUNDS,
}  # fmt: skip
"""What the page tells of it."""
SIDES = {
    "google-auth": "bare SDK: google-auth's `before_request` by each caller",
    "refresher": "the published refresher: `if not creds.valid: creds.refresh()`",
}


class Run(NamedTuple):
    """What one side's callers went through.

    Attributes:
        refreshes: How many tokens were fetched.
        refused: How many requests the server answered with 401.
        failed: How many calls failed.
        middle: Median of a call, in seconds.
        high: The 99th percentile.
        steady: That of the calls during which no token was on its way.
        by_lifetime: That of the calls in each lifetime; at 90 % of it the token is renewed.
    """

    refreshes: int
    refused: int
    failed: int
    middle: float
    high: float
    steady: float
    by_lifetime: list[float]


def tokens(server: Server) -> Iterator[Row]:
    """This library, google-auth and the published refresher in turn, in fresh processes."""
    runs: dict[str, list[Run]] = {side: [] for side in ("ours", *SIDES)}
    for i in range(ROUNDS):
        for side in list(runs) if i % 2 else reversed(runs):
            file = server.ask(lifetime=LIFETIME, delay=DELAY)
            server.ask(report=True)
            found = fresh(__name__, side=side, info=server.info, file=file)
            runs[side].append(_run(**found, report=server.ask(report=True)))
    ours = runs.pop("ours")
    ratio = ratio_of([(high, run.steady) for run in ours for high in run.by_lifetime])
    kept = (
        max(run.refreshes for run in ours) <= REFRESHES
        and not any(run.refused or run.failed for run in ours)
        and ratio.low <= 2
    )
    for side, theirs in runs.items():
        yield Row(
            f"{LIFETIMES} token lifetimes, {THREADS} threads and {TASKS} tasks", SIDES[side],
            _told(ours), _told(theirs), f"p99 / steady: {quartiles(ratio)}",
            f"≤ {REFRESHES} refreshes, no 401, p99 ≤ 2 × steady", kept,
        )  # fmt: skip


def _told(runs: list[Run]) -> str:
    """The medians of a side, for the table."""

    def median(what: str) -> float:
        found: list[float] = [getattr(run, what) for run in runs]
        return statistics.median(found)

    return (
        f"{median('refreshes'):,.0f} refreshes, {median('refused'):,.0f} × 401, "
        f"{median('failed'):,.0f} failed, p50 {median('middle') * 1e3:.1f} ms, "
        f"p99 {median('high') * 1e3:.1f} ms (steady {median('steady') * 1e3:.1f} ms)"
    )


def _run(calls: list[tuple[float, float]], failed: int, report: dict[str, Any]) -> Run:
    refreshes = sorted(report["refreshes"])
    times = [end - start for start, end in calls]
    steady = [
        end - start
        for start, end in calls
        if not any(start <= came and asked <= end for asked, came in refreshes)
    ]
    begin = min(start for start, _ in calls)
    slices: list[list[float]] = [[] for _ in range(LIFETIMES)]
    for start, end in calls:
        slices[int((start - begin) / LIFETIME)].append(end - start)
    return Run(
        len(refreshes),
        report["statuses"].get("UNAUTHENTICATED", 0),
        failed,
        statistics.median(times),
        _p99(times),
        _p99(steady),
        [_p99(some) for some in slices],
    )


def _p99(times: list[float]) -> float:
    # Who fetches tokens all the time has no call without one on its way.
    return statistics.quantiles(times, n=100)[-1] if len(times) > 1 else math.nan


def _ours(info: dict[str, Any], file: str) -> tuple[Any, Any]:
    from google.generativeai import client as client_lib

    from genai_config import safe_configure

    safe_configure(
        credentials=file, ca_certs=info["ca"], client_options={"api_endpoint": info["grpc"]}
    )
    client = client_lib.get_default_generative_client()
    client_async = client_lib.get_default_generative_async_client()
    request = a_request(TUNED)
    return (lambda: client.generate_content(request)), (
        lambda: client_async.generate_content(request)
    )


def _google_auth(info: dict[str, Any], file: str) -> tuple[Any, Any]:
    import google.ai.generativelanguage as glm

    options: Any = {"api_endpoint": info["grpc"]}
    credentials = _credentials(file)
    client = glm.GenerativeServiceClient(credentials=credentials, client_options=options)
    asynchronous = glm.GenerativeServiceAsyncClient
    made: list[Any] = []
    request = a_request(TUNED)

    def call_async() -> Awaitable[object]:
        if not made:  # it belongs to the loop that runs
            made.append(asynchronous(credentials=credentials, client_options=options))
        answer: Awaitable[object] = made[0].generate_content(request)
        return answer

    return (lambda: client.generate_content(request)), call_async


def _refresher(info: dict[str, Any], file: str) -> tuple[Any, Any]:
    import google.ai.generativelanguage as glm
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import Request

    settings: dict[str, Any] = {
        "credentials": AnonymousCredentials(),
        "client_options": {"api_endpoint": info["grpc"]},
    }
    credentials = _credentials(file)
    client = glm.GenerativeServiceClient(**settings)
    made: list[Any] = []
    request = a_request(TUNED)

    def header() -> list[tuple[str, str]]:
        if not credentials.valid:
            credentials.refresh(Request())
        return [("authorization", f"Bearer {credentials.token}")]

    def call_async() -> Awaitable[object]:
        if not made:  # it belongs to the loop that runs
            made.append(glm.GenerativeServiceAsyncClient(**settings))
        answer: Awaitable[object] = made[0].generate_content(request, metadata=header())
        return answer

    return (lambda: client.generate_content(request, metadata=header())), call_async


def _credentials(file: str) -> Any:
    from google.auth import identity_pool

    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    return identity_pool.Credentials.from_file(file, scopes=scopes)


def _measure(side: str, info: dict[str, Any], file: str) -> dict[str, Any]:
    """The times of all calls, and how many failed."""
    from google.auth import _helpers

    scaled = dt.timedelta(seconds=THRESHOLD)
    with mock.patch.object(_helpers, "REFRESH_THRESHOLD", scaled):
        sides = {"ours": _ours, "google-auth": _google_auth, "refresher": _refresher}
        call, call_async = sides[side](info, file)
        callers = Callers(THREADS, TASKS, PERIOD, DURATION)
        callers.run(call, call_async)
    return {"calls": callers.of_threads + callers.of_tasks, "failed": callers.failed}


if __name__ == "__main__":
    measured(_measure)
