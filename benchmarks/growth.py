"""What a call costs, and what is kept, as the tenants and the scopes become more."""

from __future__ import annotations

import contextvars
import gc
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.local import BASE, a_request, fresh, measured
from benchmarks.measure import ROUNDS, Row, quartiles, ratio_of, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.local import Server

SIZES = (1, 10, 100, 1_000, 10_000)
SMALL, POOLED, LARGE = "10", "1000", "10000"
CALLS = 60
# Bytes that a tenant may leave behind once the pool is full.
LEFT = 100


def growth(server: Server) -> Iterator[Row]:
    """How the time of a call grows with the tenants and with the scopes, and the memory."""
    keys = server.ask(keys=SIZES[-1])
    found = fresh(__name__, info=server.info, keys=keys)
    for what in ("as one of 10,000 tenants, in turn", "in one of 10,000 scopes that are open"):
        times = found[what]
        ratio = ratio_of(list(zip(times[LARGE], times[SMALL], strict=True)))
        each = ", ".join(f"{int(n):,}: {statistics.median(times[n]) * 1e3:.2f}" for n in times)
        yield Row(
            f"a call {what}", "one of 10", f"{each} ms", "–", quartiles(ratio), "≤ 1.5",
            ratio.low <= 1.5,
        )  # fmt: skip
    kept = {n: size / 2**20 for n, size in found["bytes"].items()}
    each = ", ".join(f"{int(n):,}: {size:.2f}" for n, size in kept.items())
    more = (found["bytes"][LARGE] - found["bytes"][POOLED]) / (int(LARGE) - int(POOLED))
    yield Row(
        "memory kept after n tenants", "after 1,000", f"{each} MB", "–",
        f"{more:.0f} bytes for each after that", f"≤ {LEFT} bytes", more <= LEFT,
    )  # fmt: skip


def _measure(info: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """Seconds per call by number and round, and bytes by number of tenants."""
    from google.generativeai import client as client_lib

    from genai_config import get_config, override, safe_configure

    safe_configure(
        ca_certs=info["ca"], client_options={"api_endpoint": info["grpc"]}, api_key=keys[0]
    )
    client = client_lib.get_default_generative_client()
    request = a_request(BASE)

    def one(key: str) -> None:
        with override(api_key=key):
            client.generate_content(request)

    def tenants(count: int) -> Iterator[Callable[[], object]]:
        for key in itertools.cycle(keys[:count]):
            yield lambda: one(key)  # noqa: B023 -- called before the next is made

    scopes = [contextvars.copy_context() for _ in keys]
    for scope in scopes:
        scope.run(override(timeout=60).__enter__)
        scope.run(get_config)

    def open_scopes(count: int) -> Iterator[Callable[[], object]]:
        for scope in itertools.cycle(scopes[:count]):
            yield lambda: scope.run(client.generate_content, request)  # noqa: B023 -- likewise

    client.generate_content(request)
    gc.collect()
    before, kept = resident(), {}
    for count in SIZES:
        for call in itertools.islice(tenants(count), count):
            call()
        gc.collect()
        kept[count] = resident() - before
    return {
        "as one of 10,000 tenants, in turn": _times(tenants),
        "in one of 10,000 scopes that are open": _times(open_scopes),
        "bytes": kept,
    }


def _times(calls: Callable[[int], Iterator[Callable[[], object]]]) -> dict[int, list[float]]:
    """The median of each round for each number, all numbers in turn."""
    lines = {count: calls(count) for count in SIZES}
    times: dict[int, list[float]] = {count: [] for count in SIZES}
    for i in range(ROUNDS):
        for count in SIZES if i % 2 else reversed(SIZES):
            # The others have been at work: what a steady flow of calls has at hand comes first.
            for call in itertools.islice(lines[count], min(count, 100)):
                call()
            took = []
            for call in itertools.islice(lines[count], CALLS):
                start = time.perf_counter()
                call()
                took.append(time.perf_counter() - start)
            times[count].append(statistics.median(took))
    return times


if __name__ == "__main__":
    measured(_measure)
