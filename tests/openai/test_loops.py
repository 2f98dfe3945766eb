from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from genai_config import openai as ours

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

CHAT: Any = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "hi"}]}

pytestmark = pytest.mark.usefixtures("vertex")


async def ask(client: openai.AsyncOpenAI) -> str | None:
    """One chat."""
    done = await client.chat.completions.create(**CHAT)
    text: str | None = done.choices[0].message.content
    return text


def test_one_client_for_one_loop_after_another(server: GeminiServer) -> None:
    """Each loop has connections of its own, which end with it; a loop uses them again."""
    client = ours.async_client(max_retries=0)
    inner = []

    async def twice() -> None:
        inner.append(await client._client.inner())  # type: ignore[attr-defined] # ours
        assert await ask(client)
        assert await ask(client.with_options(timeout=9))

    # Each in a thread: on Python 3.11 the trace of coverage ends where anyio's TLS does.
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, twice()).result()
        assert inner[-1].is_closed
    assert len({request.connection for request in server.requests}) == 3
    assert len(server.requests) == 6


def test_one_client_for_loops_beside_each_other(server: GeminiServer) -> None:
    """Threads that run loops of their own share the client and the token, but no connection."""
    client = ours.async_client(max_retries=0)
    barrier = threading.Barrier(2, timeout=30)

    async def thrice(_: int) -> None:
        for _ in range(3):
            barrier.wait()
            assert await ask(client)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: asyncio.run(thrice(number)), range(2)))
    assert server.tokens.count == 1
    assert len({request.connection for request in server.requests}) == 2
    assert len(server.requests) == 6


def test_a_loop_that_is_closed_by_force_is_forgotten() -> None:
    """The next loop clears up after it."""
    client = ours.async_client()
    loop = asyncio.new_event_loop()
    inner = loop.run_until_complete(client._client.inner())  # type: ignore[attr-defined] # ours
    loop.close()
    assert asyncio.run(ask(client))
    assert inner not in [made for made, _ in client._client._made.values()]  # type: ignore[attr-defined] # ours


async def test_closing_ends_the_connections(server: GeminiServer) -> None:
    """In this loop; a closed client sends nothing more."""
    client = ours.async_client(max_retries=0)
    await ask(client)
    inner = await client._client.inner()  # type: ignore[attr-defined] # ours
    await client.close()
    assert inner.is_closed
    with pytest.raises((RuntimeError, openai.APIConnectionError)):
        await ask(client)
    await ours.async_client().close()
    assert len(server.requests) == 1


def test_closing_a_sync_client(server: GeminiServer) -> None:
    """Likewise; one that is forgotten is closed."""
    client = ours.client(max_retries=0)
    client.chat.completions.create(**CHAT)
    inner = client._client.inner()  # type: ignore[attr-defined] # ours
    client.close()
    assert inner.is_closed
    with pytest.raises((RuntimeError, openai.APIConnectionError)):
        client.chat.completions.create(**CHAT)
    client = ours.client()
    client.chat.completions.create(**CHAT)
    inner = client._client.inner()  # type: ignore[attr-defined] # ours
    del client
    gc.collect()
    assert inner.is_closed
    assert len(server.requests) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_connections_of_its_own(server: GeminiServer) -> None:
    """Also while the parent waits for a token; the parent's go on."""
    program = f"""
        import asyncio, os, threading
        from genai_config import openai, safe_configure
        from genai_config._auth import token_source

        safe_configure(
            ca_certs={str(server.ca_file)!r},
            client_options={{"api_endpoint": {server.rest_endpoint!r}}},
            credentials={str(server.external_account_file())!r},
            project="my-project", location="global", quota_project="billed-project",
        )
        client, other = openai.client(max_retries=0), openai.async_client(max_retries=0)
        ask = lambda: client.chat.completions.create(**{CHAT!r})

        async def ask_async():
            await other.chat.completions.create(**{CHAT!r})

        ask()
        asyncio.run(ask_async())
        source = client._client.link.attach()._source
        source.invalidate(source.token())
        inside, leave = threading.Event(), threading.Event()
        real = token_source.TokenSource._refresh

        def refresh(self, found, flight):
            inside.set()
            leave.wait()
            real(self, found, flight)

        token_source.TokenSource._refresh = refresh
        waiting = threading.Thread(target=ask)
        waiting.start()
        inside.wait()
        child = os.fork()
        if not child:
            token_source.TokenSource._refresh = real
            ask()
            asyncio.run(ask_async())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        leave.set()
        waiting.join()
        ask()
        print(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(  # noqa: S603 -- the test's own program
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    parent, awaited, childs, its, waited, last = (one.connection for one in server.requests)
    assert parent == waited == last
    assert len({parent, awaited, childs, its}) == 4
