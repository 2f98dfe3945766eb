"""Async calls over REST: off the event loop, so many at once at most, broken off when cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from genai_config import override, safe_configure
from genai_config._transport import http
from genai_config._transport import threads as _threads
from genai_config._transport.http import CANCELLATION, Cancellation
from genai_config._transport.threads import OffTheLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"


@pytest.fixture(autouse=True)
def over_rest(server: GeminiServer) -> Iterator[None]:
    """A configuration that sends everything over REST; whatever the server holds is let go."""
    safe_configure(
        api_key=server.api_key(),
        transport="rest",
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
    )
    yield
    server.release()


async def ask() -> str:
    """One request."""
    text: str = (await genai.GenerativeModel(MODEL).generate_content_async("hi")).text
    return text


def at_work() -> list[threading.Thread]:
    """The threads that make calls."""
    return [one for one in threading.enumerate() if one.name == "genai-config call"]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what threads do."""

    async def look() -> None:
        while not condition():  # noqa: ASYNC110 -- threads set no event of a loop's
            await asyncio.sleep(0)

    await asyncio.wait_for(look(), 30)


class TestBounds:
    async def test_so_many_at_once(self, server: GeminiServer) -> None:
        """A hundred tasks keep no more than sixty-four threads, and all get their answers."""
        server.hang()
        tasks = [asyncio.create_task(ask()) for _ in range(100)]
        await until(lambda: len(at_work()) == _threads.EACH)
        server.release()
        assert len(await asyncio.gather(*tasks)) == 100
        assert len(server.requests) == 100

    def test_a_loop_that_is_closed_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also if calls have waited for their turn there."""
        monkeypatch.setattr(_threads, "EACH", 1)
        loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

        async def call_twice() -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await asyncio.gather(OffTheLoop().call(int), OffTheLoop().call(int))

        for _ in range(2):
            asyncio.run(call_twice())
        gc.collect()
        assert loops[0]() is None

    async def test_the_loops_own_executor_is_left_alone(self, server: GeminiServer) -> None:
        """What a program runs there itself does not wait for slow calls."""
        server.hang()
        tasks = [asyncio.create_task(ask()) for _ in range(100)]
        await until(lambda: len(at_work()) == _threads.EACH)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 10) == 1
        server.release()
        await asyncio.gather(*tasks)

    async def test_no_thread_can_be_started(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The caller hears of it, and the place is free again."""

        def no_thread(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            for _ in range(_threads.EACH + 1):
                with pytest.raises(RuntimeError, match="can't start"):
                    await ask()
        assert await ask()
        assert len(server.requests) == 1


class TestCancelling:
    async def test_a_call_under_way(self, server: GeminiServer) -> None:
        """Its caller goes on at once, its request is broken off and is not made again."""
        server.hang()
        task = asyncio.create_task(ask())
        await until(lambda: len(at_work()) == 1)
        cancellation = await self.connected(at_work()[0])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancellation.cancelled
        await until(lambda: not at_work())
        server.release()
        await ask()
        # The first one may have been broken off before the server had it.
        assert len(server.requests) in (1, 2)

    async def connected(self, thread: threading.Thread) -> Cancellation:
        """The cancellation of a thread's call, once it has a connection."""
        context = thread._args[0]  # type: ignore[attr-defined] # threading keeps them there
        await until(lambda: context[CANCELLATION].connection is not None)
        cancellation: Cancellation = context[CANCELLATION]
        return cancellation

    async def test_a_call_whose_connection_has_gone_to_another(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is cancelled between the end of its answer and its own: the other is left alone."""
        returned, cancelled = threading.Event(), threading.Event()
        put = HTTPConnectionPool._put_conn

        def slowly(pool: HTTPConnectionPool, connection: Any) -> None:
            put(pool, connection)
            if not returned.is_set():
                returned.set()
                assert cancelled.wait(30)

        monkeypatch.setattr(HTTPConnectionPool, "_put_conn", slowly)
        first = asyncio.create_task(ask())
        await until(returned.is_set)
        server.hang()
        threads = at_work()
        other = asyncio.create_task(ask())
        await until(lambda: len(at_work()) == 2)
        await self.connected(next(one for one in at_work() if one not in threads))
        first.cancel()
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.release()
        assert await other
        # Asked once each, over one connection.
        assert len(server.requests) == 2
        assert len({request.connection for request in server.requests}) == 1

    async def test_a_call_that_waits_for_its_turn(self, server: GeminiServer) -> None:
        """It is never made."""
        server.hang()
        tasks = [asyncio.create_task(ask()) for _ in range(_threads.EACH)]
        await until(lambda: len(at_work()) == _threads.EACH)
        late = asyncio.create_task(ask())
        await asyncio.sleep(0)
        late.cancel()
        server.release()
        await asyncio.gather(*tasks)
        with pytest.raises(asyncio.CancelledError):
            await late
        assert len(server.requests) == _threads.EACH

    async def test_a_call_that_waits_for_others(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that is cancelled while another tenant has all the places leaves its own."""
        monkeypatch.setattr(_threads, "MOST", 1)
        monkeypatch.setattr(_threads, "EACH", 1)
        server.hang()
        first = asyncio.create_task(ask())
        await until(lambda: len(at_work()) == 1)
        with override(api_key=server.api_key("other")):
            late = asyncio.create_task(ask())
            await asyncio.sleep(0)
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            server.release()
            await first
            assert await ask()
        assert len(server.requests) == 2

    async def test_a_stream_that_is_left(self, server: GeminiServer) -> None:
        """Its connection is closed; the next call has another."""
        server.respond(MODEL, ["one ", "two ", "three"])
        client = genai.GenerativeModel(MODEL)
        response = await client.generate_content_async("hi", stream=True)
        stream: Any = response._iterator
        await stream.aclose()
        assert await ask()
        first, second = (request.connection for request in server.requests)
        assert first != second

    async def test_a_stream_that_is_cancelled(self) -> None:
        """Whoever waits for its next part is let go at once."""
        fetching, go_on = threading.Event(), threading.Event()

        def count() -> Iterator[int]:
            yield 0
            fetching.set()
            go_on.wait()

        numbers: AsyncIterator[int] = await OffTheLoop().call(count)
        assert await anext(numbers) == 0
        task = asyncio.ensure_future(anext(numbers))
        await asyncio.to_thread(fetching.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    async def test_what_is_left_without_a_connection(self) -> None:
        """There is nothing to close."""
        numbers: Any = await OffTheLoop().call(lambda: iter(range(3)))
        assert await anext(numbers) == 0
        await numbers.aclose()
        await until(lambda: not at_work())

    async def test_a_stream_that_ends(self, server: GeminiServer) -> None:
        """Its connection serves the next call."""
        server.respond(MODEL, ["one ", "two ", "three"])
        client = genai.GenerativeModel(MODEL)
        response = await client.generate_content_async("hi", stream=True)
        assert [chunk.text async for chunk in response] == ["one ", "two ", "three"]
        assert await ask()
        first, second = (request.connection for request in server.requests)
        assert first == second

    def test_a_loop_that_closes_with_a_call_under_way(self, server: GeminiServer) -> None:
        """Nobody is left to be told, and nothing is printed."""
        server.hang()

        async def leave() -> None:
            asyncio.create_task(ask())  # noqa: RUF006 -- it is left alone on purpose
            await until(lambda: len(at_work()) == 1)

        asyncio.run(leave())
        threads = at_work()
        server.release()
        for thread in threads:
            thread.join(10)
        assert at_work() == []
        assert asyncio.run(ask())

    async def test_what_is_returned_one_by_one(self) -> None:
        """It is fetched in threads too, in the context of its caller."""
        seen: set[str] = set()

        def count() -> Iterator[int]:
            for number in range(3):
                seen.add(threading.current_thread().name)
                yield number

        numbers: AsyncIterator[int] = await OffTheLoop().call(count)
        assert [number async for number in numbers] == [0, 1, 2]
        assert seen == {"genai-config call"}


class TestCancellation:
    @pytest.fixture
    def session(self, server: GeminiServer) -> Iterator[requests.Session]:
        """A session with pooled connections."""
        with requests.Session() as session:
            http.mount(session, server.ca_file, None)
            yield session

    def test_nothing_is_sent_any_more(
        self, server: GeminiServer, session: requests.Session
    ) -> None:
        """So an SDK that tries again ends."""
        cancellation = Cancellation()
        cancellation.cancel()
        token = CANCELLATION.set(cancellation)
        try:
            with pytest.raises(CancelledError):
                session.get(f"https://{server.rest_endpoint}/v1beta/models")
        finally:
            CANCELLATION.reset(token)
        assert server.requests == []

    @pytest.mark.parametrize("during", ["_get_conn", "_new_conn"])
    def test_nothing_is_sent_after_it(
        self,
        server: GeminiServer,
        session: requests.Session,
        monkeypatch: pytest.MonkeyPatch,
        during: str,
    ) -> None:
        """Who is cancelled before there is a connection sends nothing over it."""
        cancellation = Cancellation()
        owner = HTTPConnectionPool if during == "_get_conn" else HTTPConnection
        original = getattr(owner, during)

        def cancelled(*args: Any, **kwargs: Any) -> Any:
            cancellation.cancel()
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, during, cancelled)
        token = CANCELLATION.set(cancellation)
        try:
            with pytest.raises(CancelledError):
                session.get(f"https://{server.rest_endpoint}/v1beta/models")
        finally:
            CANCELLATION.reset(token)
        assert server.requests == []

    def test_a_connection_that_serves_another_is_left_alone(
        self, server: GeminiServer, session: requests.Session
    ) -> None:
        """Cancelling what is over breaks nothing off."""
        url, cancellation = f"https://{server.rest_endpoint}/v1beta/models", Cancellation()
        token = CANCELLATION.set(cancellation)
        response = session.get(url, stream=True)
        CANCELLATION.reset(token)
        (connection,) = [cancellation.connection]
        before = connection.cancellation
        assert response.json()
        assert (before, connection.cancellation) == (cancellation, None)
        assert vars(cancellation)["connection"] is None
        session.get(url)
        cancellation.cancel()
        session.get(url)
        assert len({request.connection for request in server.requests}) == 1

    def test_a_connection_that_is_closed(
        self, server: GeminiServer, session: requests.Session
    ) -> None:
        """There is nothing to break off."""
        cancellation = Cancellation()
        token = CANCELLATION.set(cancellation)
        session.get(f"https://{server.rest_endpoint}/v1beta/models", stream=True)
        CANCELLATION.reset(token)
        cancellation.connection.close()
        cancellation.cancel()
        assert cancellation.cancelled
