"""Connections to one address: one more when those there are full, fewer when they are idle."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.ai import generativelanguage_v1beta as glm

from genai_config._auth.key_headers import KeyHeaders
from genai_config._settings.secrets import Secret
from genai_config._transport import channel_pool, channels
from genai_config._transport.channel_pool import FULL, IDLE, MOST, ChannelPool, Connection
from genai_config._transport.grpc_sync import SharedChannel
from genai_config.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import grpc

    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"


class Call:
    """A call that is over when it is told to be."""

    def __init__(self) -> None:
        self.is_over = False

    def done(self) -> bool:
        """Whether it is."""
        return self.is_over


def numbered() -> ChannelPool[int]:
    """A pool whose channels are 1, 2, 3 and so on."""
    made = iter(range(1, 1000))
    return ChannelPool(lambda: next(made))


def fill(pool: ChannelPool[int], count: int) -> list[Connection[int]]:
    """Takes places and holds them."""
    return [pool.take() for _ in range(count)]


def leave(held: list[Connection[int]]) -> None:
    """Gives places back."""
    for connection in held:
        connection.__exit__()


def address_of(server: GeminiServer) -> channels.Address:
    """Where it is."""
    return channels.Address(server.grpc_endpoint, server.ca_file, None, None)


def until(condition: Callable[[], bool]) -> None:
    """Waits for what other threads do."""
    deadline = time.monotonic() + 30
    assert any(condition() for _ in iter(lambda: time.monotonic() < deadline, False))


class TestGrowth:
    def test_the_first_is_filled_first(self) -> None:
        """A hundred calls need one connection, the next one needs another."""
        pool = numbered()
        held = fill(pool, FULL)
        assert {connection.channel for connection in held} == {1}
        leave(held)
        held = fill(pool, FULL)
        assert {connection.channel for connection in held} == {1}

    def test_a_full_one_is_left_alone(self) -> None:
        """Calls beyond a hundred go over a second, then a third."""
        pool = numbered()
        held = fill(pool, 2 * FULL + 1)
        assert [connection.channel for connection in held] == [1] * FULL + [2] * FULL + [3]
        assert len(pool) == 3

    def test_there_is_an_end_to_it(self) -> None:
        """When as many as there may be are full, calls spread over them."""
        pool = numbered()
        held = fill(pool, MOST * FULL)
        more = fill(pool, MOST)
        assert len(pool) == MOST
        assert sorted(connection.channel for connection in more) == list(range(1, MOST + 1))
        assert len(held) == MOST * FULL

    def test_a_place_is_free_after_the_block(self) -> None:
        """However it ends; whoever holds the exception holds no place."""
        pool = numbered()
        held = fill(pool, FULL - 1)
        kept = [self.failing(pool) for _ in range(3)]
        assert pool.take().channel == 1
        assert (len(held), len(kept)) == (FULL - 1, 3)

    def failing(self, pool: ChannelPool[int]) -> pytest.ExceptionInfo[ValueError]:
        """The error of a call, with its traceback."""
        with pytest.raises(ValueError, match="refused") as raised, pool.take():
            raise ValueError("refused")
        return raised

    def test_a_call_keeps_its_place_until_it_is_over(self) -> None:
        """Its object may live on."""
        pool = numbered()
        calls = [Call() for _ in range(FULL)]
        for call in calls:
            with pool.take() as connection:
                connection.keep_for(call)
        assert pool.take().channel == 2
        for call in calls[:50]:
            call.is_over = True
        assert pool.take().channel == 1

    def test_a_call_that_is_forgotten_has_no_place(self) -> None:
        """Nothing here keeps it from being forgotten."""
        pool = numbered()
        call = Call()
        held = fill(pool, FULL - 1)
        with pool.take() as connection:
            connection.keep_for(call)
        assert pool.take().channel == 2
        del call
        assert pool.take().channel == 1
        assert len(held) == FULL - 1

    def test_threads_count_right(self) -> None:
        """Taken by many at once, no connection gets more than its hundred."""
        pool = numbered()
        barrier = threading.Barrier(8)

        def take(_: int) -> list[Connection[int]]:
            barrier.wait(10)
            return fill(pool, 50)

        with ThreadPoolExecutor(8) as threads:
            held = [one for taken in threads.map(take, range(8)) for one in taken]
        assert (
            sorted(connection.channel for connection in held)
            == [1] * 100 + [2] * 100 + [3] * 100 + [4] * 100
        )


class TestShrinking:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
        """The clock that connections get idle by."""
        clock = FakeClock()
        monkeypatch.setattr(channel_pool, "clock", clock)
        return clock

    def test_idle_ones_are_dropped(self, clock: FakeClock) -> None:
        """A minute after the last call that needed them."""
        pool = numbered()
        leave(fill(pool, FULL + 1))
        clock.advance(IDLE - 1)
        pool.take()
        assert len(pool) == 2
        clock.advance(2)
        pool.take()
        assert len(pool) == 1

    def test_one_with_a_call_is_kept(self, clock: FakeClock) -> None:
        """However long the call takes."""
        pool = numbered()
        held = fill(pool, FULL + 1)
        leave(held[:FULL])
        clock.advance(10 * IDLE)
        pool.take()
        assert len(pool) == 2

    def test_the_first_stays(self, clock: FakeClock) -> None:
        """It is there for the next call."""
        pool = numbered()
        pool.take()
        clock.advance(10 * IDLE)
        assert pool.take().channel == 1
        assert pool.first == 1


class TestOnTheWire:
    """The server takes a hundred calls at once on a connection, as the service does."""

    def test_the_file_of_authorities_is_gone(self, server: GeminiServer, tmp_path: Path) -> None:
        """It was read with the first connection, which serves; so are the others."""
        copy = tmp_path / "ca.pem"
        copy.write_bytes(server.ca_file.read_bytes())
        address = channels.Address(server.grpc_endpoint, copy, None, None)
        pool = channels.connections().channels(address)
        copy.unlink()
        held = [pool.take() for _ in range(FULL + 1)]
        assert held[0] is not held[FULL]

    def test_threads(self, server: GeminiServer, configured: object) -> None:
        """A hundred and fifty threads are served at once, over two connections."""
        del configured
        pool = channels.connections().channels(address_of(server))
        barrier = threading.Barrier(151)
        server.hang()

        def ask(_: int) -> None:
            barrier.wait(30)
            genai.GenerativeModel(MODEL).generate_content("hi")

        with ThreadPoolExecutor(150) as threads:
            asked = threads.map(ask, range(150))
            barrier.wait(30)
            until(lambda: sum(one.calls() for one in pool._connections) == 150)
            server.release()
            list(asked)
        assert len({request.connection for request in server.requests}) == 2
        assert {request.status for request in server.requests} == {"OK"}

    async def test_tasks(self, server: GeminiServer, configured: object) -> None:
        """So are a hundred and fifty tasks, streams among them."""
        del configured
        model = genai.GenerativeModel(MODEL)

        async def ask(number: int) -> None:
            response = await model.generate_content_async("hi", stream=bool(number % 2))
            await response.resolve()

        await asyncio.gather(*(ask(i) for i in range(150)))
        assert len({request.connection for request in server.requests}) == 2
        assert {request.status for request in server.requests} == {"OK"}


class TestSharedChannel:
    """gRPC's own interface, over several connections."""

    METHOD = "/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent"
    REQUEST = glm.GenerateContentRequest(
        model=f"models/{MODEL}", contents=[{"parts": [{"text": "hi"}]}]
    )

    @pytest.fixture
    def pool(self, server: GeminiServer) -> ChannelPool[grpc.Channel]:
        """The connections to the server."""
        return channels.connections().channels(address_of(server))

    @pytest.fixture
    def channel(self, server: GeminiServer, pool: ChannelPool[grpc.Channel]) -> grpc.Channel:
        """A channel with a key."""
        return SharedChannel(pool, lambda: KeyHeaders(Secret(server.api_key())))

    def stream(self, channel: grpc.Channel) -> Any:
        """A stream of answers."""
        return channel.unary_stream(
            self.METHOD,
            glm.GenerateContentRequest.serialize,
            glm.GenerateContentResponse.deserialize,
        )(self.REQUEST)

    def test_a_stream_has_its_place_until_its_end(
        self, server: GeminiServer, pool: ChannelPool[grpc.Channel], channel: grpc.Channel
    ) -> None:
        """And no longer, though its object is held still."""
        server.respond(MODEL, ["one", "two"])
        call = self.stream(channel)
        assert pool._connections[0].calls() == 1
        assert len(list(call)) == 2
        assert call.done()
        held = [pool.take() for _ in range(FULL - 1)]
        pool.take()
        assert pool._connections[0].calls() == len(held)

    def test_a_stream_that_is_forgotten_ends(
        self, server: GeminiServer, pool: ChannelPool[grpc.Channel], channel: grpc.Channel
    ) -> None:
        """It is cancelled, as on a channel of gRPC's own."""
        server.hang()
        call = self.stream(channel)
        assert pool._connections[0].calls() == 1
        del call
        gc.collect()
        assert pool._connections[0].calls() == 0

    def test_what_else_a_channel_can(self, channel: grpc.Channel) -> None:
        """Its state can be watched, and it has methods that stream both ways."""
        ready = threading.Event()

        def watch(state: grpc.ChannelConnectivity) -> None:
            if state.name == "READY":
                ready.set()

        with channel as same:
            same.subscribe(watch, try_to_connect=True)
            assert ready.wait(10)
            same.unsubscribe(watch)
            assert same.stream_unary("/a/b")
            assert same.stream_stream("/a/b")
        channel.close()
        assert list(self.stream(channel))

    def test_without_credentials(
        self, server: GeminiServer, pool: ChannelPool[grpc.Channel]
    ) -> None:
        """It is a channel by itself, and closing it leaves the connections open."""
        key = (("x-goog-api-key", server.api_key("mine")),)
        for _ in range(2):
            with SharedChannel(pool) as channel:
                list_models = channel.unary_unary(
                    "/google.ai.generativelanguage.v1beta.ModelService/ListModels",
                    glm.ListModelsRequest.serialize,
                    glm.ListModelsResponse.deserialize,
                )
                assert list_models(glm.ListModelsRequest(), metadata=key).models
            channel.close()
        assert [request.identity for request in server.requests] == ["mine", "mine"]
        assert len({request.connection for request in server.requests}) == 1
