"""A thousand tenants, each with an API key of its own, each making one call."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

from benchmarks.local import BASE, a_request, fresh, measured
from benchmarks.measure import Row, ratio_of, resident, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.local import Server

TENANTS = 1_000
ROUNDS = 5


def tenants(server: Server) -> Iterator[Row]:
    """The time, the memory and the connections of the tenants; fresh processes in turn."""
    keys = server.ask(keys=TENANTS)
    rounds: list[dict[str, dict[str, float]]] = []
    server.ask(report=True)
    for i in range(ROUNDS):
        sides = ["ours", "bare"]
        result = {}
        for side in sides if i % 2 else reversed(sides):
            found = fresh(__name__, side=side, info=server.info, keys=keys)
            result[side] = {**found, "connections": server.ask(report=True)["connections"]}
        rounds.append(result)

    def of(what: str) -> list[tuple[float, float]]:
        return [(result["ours"][what], result["bare"][what]) for result in rounds]

    against = "bare SDK, a client each"
    yield timed(
        "1,000 tenants, a call each: CPU time per tenant", against, ratio_of(of("seconds")), 0.25
    )
    yield timed("… memory per tenant", against, ratio_of(of("bytes")), 0.05, (1 / 1024, "KB"))
    most, theirs = max(ours for ours, _ in of("connections")), of("connections")[0][1]
    yield Row(
        "… connections", against, f"{most:,.0f}", f"{theirs:,.0f}", "–", "1 to 1,000",
        most == 1 and theirs >= TENANTS,
    )  # fmt: skip


def _ours(info: dict[str, Any]) -> Callable[[str], object]:
    from google.generativeai import client as client_lib

    from genai_config import override, safe_configure

    safe_configure(ca_certs=info["ca"], client_options={"api_endpoint": info["grpc"]})
    client = client_lib.get_default_generative_client()
    request = a_request(BASE)

    def call(key: str) -> None:
        with override(api_key=key):
            client.generate_content(request)

    return call


def _bare(info: dict[str, Any]) -> Callable[[str], object]:
    import google.ai.generativelanguage as glm

    clients = []
    request = a_request(BASE)

    def call(key: str) -> None:
        options = {"api_endpoint": info["grpc"], "api_key": key}
        clients.append(glm.GenerativeServiceClient(client_options=options))
        clients[-1].generate_content(request)

    return call


def _measure(side: str, info: dict[str, Any], keys: list[str]) -> dict[str, float]:
    """Seconds and bytes per tenant; the first one, who loads what all need, is not counted."""
    call = {"ours": _ours, "bare": _bare}[side](info)
    first, *others = keys
    call(first)
    gc.collect()
    before, start = resident(), time.process_time()
    for key in others:
        call(key)
    took = time.process_time() - start
    gc.collect()
    return {"seconds": took / len(others), "bytes": (resident() - before) / len(others)}


if __name__ == "__main__":
    measured(_measure)
