from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from genai_config import openai as ours
from genai_config import safe_configure
from genai_config._auth import headers

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

PROMPT: Any = [{"role": "user", "content": "hi"}]
CHAT: Any = {"model": "gemini-3.6-flash", "messages": PROMPT}

pytestmark = pytest.mark.usefixtures("vertex")


def statuses(server: GeminiServer) -> list[str]:
    """What has become of the requests so far."""
    return [request.status for request in server.requests]


async def asked(server: GeminiServer) -> None:
    """Returns when a token has been asked for; the server says so to nobody."""
    while server.tokens.count == 0:  # noqa: ASYNC110 -- likewise
        await asyncio.sleep(0)


def test_a_token_is_fetched_once(server: GeminiServer) -> None:
    """And used as long as it is valid."""
    with ours.client() as client:
        for _ in range(3):
            client.chat.completions.create(**CHAT)
    assert server.tokens.count == 1
    assert len({request.connection for request in server.requests}) == 1


def test_a_token_that_has_ended_is_not_sent(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is fetched first: the service sees none that it would refuse."""
    with ours.client() as client:
        chat = client.chat
        chat.completions.create(**CHAT)
        monkeypatch.setattr(headers, "clock", lambda: time.time() + server.tokens.lifetime)
        chat.completions.create(**CHAT)
    assert (statuses(server), server.tokens.count) == (["OK", "OK"], 2)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_token_is_replaced_and_the_request_replayed(
    server: GeminiServer, naps: list[str], *, stream: bool
) -> None:
    """Once, at once, for streams as well."""
    with ours.client() as client:
        client.chat.completions.create(**CHAT)
        server.expire_tokens()
        done = client.chat.completions.create(**CHAT, stream=stream)
        assert not stream or list(done)
    assert statuses(server) == ["OK", "UNAUTHENTICATED", "OK"]
    assert (server.tokens.count, naps) == (2, [])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_for_an_async_client(
    server: GeminiServer, naps: list[str], *, stream: bool
) -> None:
    """Once, at once, for streams as well."""
    async with ours.async_client() as client:
        await client.chat.completions.create(**CHAT)
        server.expire_tokens()
        done: Any = await client.chat.completions.create(**CHAT, stream=stream)
        assert not stream or [one async for one in done]
    assert statuses(server) == ["OK", "UNAUTHENTICATED", "OK"]
    assert (server.tokens.count, naps) == (2, [])


def test_who_is_refused_twice_hears_it(server: GeminiServer, naps: list[str]) -> None:
    """From the service, as OpenAI's error, with the remedy."""
    server.fail(2, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
    with ours.client() as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(**CHAT)
    assert "invalid authentication credentials" in caught.value.message
    assert "gcloud auth application-default login" in str(caught.value)
    assert (statuses(server), naps) == (["UNAUTHENTICATED"] * 2, [])


def test_a_key_is_not_sent_again(server: GeminiServer) -> None:
    """There is no other."""
    safe_configure(api_key=server.api_key())
    server.fail(9, "UNAUTHENTICATED", "no")
    with ours.client(backend="gemini") as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**CHAT)
    assert len(server.requests) == 1


def test_a_retry_carries_a_fresh_token(
    server: GeminiServer, naps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended while OpenAI's client waited for its next attempt is not sent."""
    with ours.client() as client:
        client.chat.completions.create(**CHAT)
        source = client._client.link.attach()._source  # type: ignore[attr-defined] # ours
        sleep = type(client)._sleep_for_retry

        def long(self: Any, **how: Any) -> None:
            source.invalidate(source.token())
            sleep(self, **how)

        monkeypatch.setattr(openai.OpenAI, "_sleep_for_retry", long)
        server.fail(1, "UNAVAILABLE")
        client.chat.completions.create(**CHAT)
    assert statuses(server) == ["OK", "UNAVAILABLE", "OK"]
    assert (server.tokens.count, naps) == (2, ["OpenAI"])


async def test_an_async_client_retries(server: GeminiServer, naps: list[str]) -> None:
    """As OpenAI's does."""
    async with ours.async_client() as client:
        server.fail(2, "UNAVAILABLE")
        await client.chat.completions.create(**CHAT)
    assert statuses(server) == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert naps == ["AsyncOpenAI"] * 2


def test_threads_share_one_flight(server: GeminiServer) -> None:
    """Eight requests that are refused at once lead to one new token."""
    with ours.client() as client:
        client.chat.completions.create(**CHAT)
        server.expire_tokens()
        barrier = threading.Barrier(8, timeout=30)

        def ask(_: int) -> Any:
            barrier.wait()
            return client.chat.completions.create(**CHAT)

        with ThreadPoolExecutor(8) as pool:
            assert all(done.choices for done in pool.map(ask, range(8)))
    assert server.tokens.count == 2


async def test_tasks_share_one_flight(server: GeminiServer) -> None:
    """And so do eight tasks, with the threads' clients beside them."""
    async with ours.async_client() as client:
        with ours.client() as other:
            waiting = [client.chat.completions.create(**CHAT) for _ in range(8)]
            waiting.append(asyncio.to_thread(lambda: other.chat.completions.create(**CHAT)))
            assert all(done.choices for done in await asyncio.gather(*waiting))
    assert server.tokens.count == 1


async def test_the_event_loop_goes_on_meanwhile(server: GeminiServer) -> None:
    """While a token is on its way, everything else runs."""
    server.tokens.hang()
    async with ours.async_client() as client:
        task = asyncio.ensure_future(client.chat.completions.create(**CHAT))
        await asked(server)
        assert not task.done()
        server.tokens.release()
        assert (await task).choices


async def test_who_is_cancelled_leaves_the_others_their_token(server: GeminiServer) -> None:
    """The flight goes on for those who still wait."""
    server.tokens.hang()
    async with ours.async_client() as client:
        tasks = [asyncio.ensure_future(client.chat.completions.create(**CHAT)) for _ in range(2)]
        await asked(server)
        tasks[0].cancel()
        server.tokens.release()
        assert (await tasks[1]).choices
        assert tasks[0].cancelled()
    assert server.tokens.count == 1
