"""Many tenants at once: each call carries its own tenant's key, over shared connections."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import google.generativeai as genai
import pytest

from genai_config import bind, get_config, override, safe_configure
from genai_config._sdk.clients import RoutingClient
from genai_config._settings.secrets import Secret
from genai_config._settings.state import state
from genai_config._transport import channel_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config import GenAIConfig
    from genai_config.testing import GeminiServer

THREADS, TASKS, CALLS = 64, 256, 4
MODEL = "gemini-3.6-flash"


@pytest.fixture
def tiny_switch_interval() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("configured", "tiny_switch_interval")
def test_threads_and_tasks_never_send_another_tenants_key(
    server: GeminiServer, patience: int
) -> None:
    """64 threads and 256 tasks, several calls each, every one under its own key."""
    calls = CALLS * patience
    model = genai.GenerativeModel(MODEL)
    keys = {f"tenant-{i}": server.api_key(f"tenant-{i}") for i in range(THREADS + TASKS)}
    names = list(keys)
    start = threading.Barrier(THREADS + 1)

    def thread(name: str) -> None:
        start.wait()
        with override(api_key=keys[name], default_metadata=[("x-tenant", name)]):
            for _ in range(calls):
                model.generate_content("hi")

    async def task(name: str) -> None:
        async with override(api_key=keys[name], default_metadata=[("x-tenant", name)]):
            for _ in range(calls):
                await model.generate_content_async("hi")

    async def tasks() -> None:
        await asyncio.gather(*(task(name) for name in names[THREADS:]))

    with ThreadPoolExecutor(THREADS) as threads:
        done = [threads.submit(thread, name) for name in names[:THREADS]]
        start.wait()
        asyncio.run(tasks())
    for future in done:
        future.result()
    requests = server.requests
    assert Counter(r.identity for r in requests) == dict.fromkeys(names, calls)
    assert [r for r in requests if r.headers["x-tenant"] != r.identity] == []
    of_threads = {r.connection for r in requests if r.identity in names[:THREADS]}
    of_tasks = {r.connection for r in requests if r.identity in names[THREADS:]}
    assert len(of_threads) == 1
    assert len(of_tasks) <= -(-TASKS // channel_pool.FULL)


@pytest.mark.usefixtures("tiny_switch_interval")
def test_publishing_is_atomic() -> None:
    """Readers see the pair of one call, never half of two."""
    stop = threading.Event()
    seen: set[tuple[str, str | None]] = set()

    def read() -> None:
        while not stop.is_set():
            config = get_config()
            if isinstance(config.api_key, Secret):
                seen.add((config.api_key.get_secret_value(), config.quota_project))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for i in range(200):
        safe_configure(api_key=f"key-{i % 7}", quota_project=f"project-{i % 7}")
    stop.set()
    for reader in readers:
        reader.join()
    assert all(key[-1] == (project or "")[-1] for key, project in seen)
    assert len(state.published) == 1


def test_a_thread_starts_without_its_creators_scopes(configured: GenAIConfig) -> None:
    """As with any context variable; bind() carries them along."""
    del configured
    seen: list[str | None] = []

    def look() -> None:
        seen.append(get_config().quota_project)

    with override(quota_project="my-project"):
        for target in (look, bind(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [None, "my-project"]


@pytest.mark.usefixtures("configured", "tiny_switch_interval")
def test_the_first_call_of_many_threads_makes_one_client() -> None:
    """Sixteen threads on a barrier get the same real client."""
    client = RoutingClient("generative", asynchronous=False)
    barrier = threading.Barrier(16)
    made: set[int] = set()

    def first() -> None:
        barrier.wait()
        made.add(id(client.transport))

    threads = [threading.Thread(target=first) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.usefixtures("configured")
def test_three_event_loops_in_a_row_and_at_once(server: GeminiServer) -> None:
    """Each loop has a connection of its own, and is forgotten when it has closed."""
    from genai_config._transport import channels

    model = genai.GenerativeModel(MODEL)

    async def call() -> None:
        await model.generate_content_async("hi")

    for _ in range(3):
        asyncio.run(call())
    threads = [threading.Thread(target=asyncio.run, args=(call(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 6
    assert len({r.connection for r in server.requests}) == 6
    asyncio.run(call())
    assert len(channels._LOOPS) == 1
