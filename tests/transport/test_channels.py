"""Connections: shared by all, with the credentials of one client on each of its calls."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import ssl
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import google.generativeai as genai
import grpc
import pytest
import trustme
from google.ai import generativelanguage_v1beta as glm
from google.ai.generativelanguage_v1beta.services import generative_service
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import Request
from google.generativeai import client as client_lib
from grpc import aio

from genai_config import override, reset, safe_configure
from genai_config._auth import headers as _headers
from genai_config._auth.credentials import Found
from genai_config._auth.headers import TokenHeaders
from genai_config._auth.key_headers import KeyHeaders
from genai_config._auth.token_source import TokenSource
from genai_config._routing.decision import TUNED_SCOPES, Route
from genai_config._settings.model import GenAIConfig
from genai_config._settings.secrets import Secret
from genai_config._transport import channels
from genai_config._transport.call_credentials import Attempts, NoCredentials, Rejection
from genai_config._transport.channel_pool import ChannelPool
from genai_config._transport.grpc_async import AsyncSharedChannel
from genai_config._transport.grpc_sync import SharedChannel
from genai_config.exceptions import CredentialsNotFoundError, TokenRefreshError
from genai_config.testing._wire.grpc_side import _sockets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


def point(server: GeminiServer, transport: Any = "grpc", **settings: Any) -> None:
    """Points every request at the server, over one transport."""
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    safe_configure(
        transport=transport,
        tuned_transport=transport,
        ca_certs=server.ca_file,
        client_options={"api_endpoint": endpoint},
        **settings,
    )


def ask(model: str = BASE) -> str:
    """One request."""
    text: str = genai.GenerativeModel(model).generate_content("hi").text
    return text


async def ask_async(model: str = BASE) -> str:
    """One request that is awaited."""
    text: str = (await genai.GenerativeModel(model).generate_content_async("hi")).text
    return text


async def ask_for_a_stream(model: str = BASE) -> str:
    """One request that is awaited, and whose answer comes in chunks."""
    response = await genai.GenerativeModel(model).generate_content_async("hi", stream=True)
    return "".join([chunk.text async for chunk in response])


def open_connections(server: GeminiServer) -> int:
    """How many sockets of this process are connected to the server."""
    ports = {int(end.rpartition(":")[2]) for end in (server.grpc_endpoint, server.rest_endpoint)}
    count = 0
    for one in _sockets():
        with one, contextlib.suppress(OSError):  # it may have no other end
            count += one.family != socket.AF_UNIX and one.getpeername()[1] in ports
    return count


def until_closed(server: GeminiServer) -> None:
    """Waits until no socket is connected to the server."""
    deadline = time.monotonic() + 10
    attempts = iter(lambda: time.monotonic() < deadline, False)
    assert any(open_connections(server) == 0 for _ in attempts)


lists_sockets = pytest.mark.skipif(
    not Path("/dev/fd").is_dir(), reason="the system does not list a process's sockets"
)


class TestSharing:
    async def test_all_share_one_connection(self, server: GeminiServer) -> None:
        """Services, tenants and credentials go over one connection per calling mode."""
        point(server, credentials=server.external_account_file())
        for key in (server.api_key("a"), server.api_key("b")):
            with override(api_key=key):
                await asyncio.to_thread(ask)
                await asyncio.to_thread(lambda: list(genai.list_models()))
                await ask_async()
                await ask_for_a_stream()
        await asyncio.to_thread(ask, TUNED)
        await ask_async(TUNED)
        assert {request.status for request in server.requests} == {"OK"}
        assert {request.identity for request in server.requests} == {"a", "b", "workload-1"}
        assert len({request.connection for request in server.requests}) == 2

    def test_tasks_that_alternate_keep_their_keys(self, server: GeminiServer) -> None:
        """On one connection, at the same time, every call carries its own client's key."""
        point(server)

        async def tenant(name: str) -> None:
            key, model = server.api_key(name), genai.GenerativeModel(BASE)
            for i in range(10):
                with override(api_key=key, default_metadata=[("x-tenant", name)]):
                    await model.generate_content_async("hi", stream=bool(i % 2))

        async def all_of_them() -> None:
            await asyncio.gather(*(tenant(f"tenant-{i}") for i in range(8)))

        asyncio.run(all_of_them())
        assert len(server.requests) == 80
        for request in server.requests:
            assert request.identity == request.headers["x-tenant"]

    def test_closing_all(self, server: GeminiServer) -> None:
        """After a reset everything connects anew."""
        for _ in range(2):
            point(server, api_key=server.api_key())
            ask()
            reset()
        first, second = (request.connection for request in server.requests)
        assert first != second

    @lists_sockets
    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_a_reset_closes_what_is_open(self, server: GeminiServer, transport: Any) -> None:
        """No socket is left, though the model is held still."""
        point(server, transport, api_key=server.api_key())
        model = genai.GenerativeModel(BASE)
        model.generate_content("hi")
        assert open_connections(server) > 0
        reset()
        until_closed(server)

    @lists_sockets
    @pytest.mark.parametrize(
        "transport",
        [
            pytest.param(
                "grpc",
                marks=pytest.mark.skipif(
                    tuple(map(int, grpc.__version__.split(".")[:2])) < (1, 84),
                    reason="older gRPC closes what a loop has no use for when the loop ends",
                ),
            ),
            "rest",
        ],
    )
    async def test_a_reset_in_a_loop(self, server: GeminiServer, transport: Any) -> None:
        """It closes those of the loop as well, while that runs."""
        point(server, transport, api_key=server.api_key())
        await ask_async()
        assert open_connections(server) > 0
        reset()
        await asyncio.to_thread(until_closed, server)

    def test_a_client_that_is_closed_leaves_the_others_alone(self, server: GeminiServer) -> None:
        """Closing the transport of one client closes nothing that is shared."""
        point(server, api_key=server.api_key())
        ask()
        client_lib.get_default_generative_client().transport.close()
        ask()
        first, second = (request.connection for request in server.requests)
        assert first == second

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_credentials_take_the_place_of_the_callers(
        self, server: GeminiServer, transport: Any
    ) -> None:
        """A key in `metadata` and the key that is configured are not sent side by side."""
        point(server, transport, api_key=server.api_key("mine"))
        client = client_lib.get_default_generative_client()
        client.count_tokens(model=f"models/{BASE}", metadata=[("x-goog-api-key", "other")])
        assert server.requests[-1].identity == "mine"

    async def test_credentials_take_the_place_of_an_async_callers(
        self, server: GeminiServer
    ) -> None:
        """Over grpc_asyncio just the same."""
        point(server, api_key=server.api_key("mine"))
        client = client_lib.get_default_generative_async_client()
        await client.count_tokens(model=f"models/{BASE}", metadata=[("x-goog-api-key", "other")])
        assert server.requests[-1].identity == "mine"


class TestLoops:
    def test_the_connections_of_closed_loops_are_forgotten(self, server: GeminiServer) -> None:
        """A loop that is over is no longer held once another one connects."""
        point(server, api_key=server.api_key())
        loops = []

        async def call() -> None:
            loops.append(asyncio.get_running_loop())
            await ask_async()
            await ask_async()

        for _ in range(3):
            asyncio.run(call())
        assert list(channels._LOOPS) == loops[-1:]
        assert len({request.connection for request in server.requests}) == 3

    def test_a_loop_that_runs_is_kept(self, server: GeminiServer) -> None:
        """Loops beside one another keep their connections."""
        point(server, api_key=server.api_key())
        barrier = threading.Barrier(2)

        async def call() -> None:
            await ask_async()
            await asyncio.to_thread(barrier.wait, 10)
            await ask_async()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: asyncio.run(call()), range(2)))
        assert len({request.connection for request in server.requests}) == 2


class TestAsyncSharedChannel:
    @pytest.fixture
    def shared(self, server: GeminiServer) -> channels.Address:
        """The address of the server."""
        return channels.Address(server.grpc_endpoint, server.ca_file, None, None)

    async def test_it_is_a_channel(self, server: GeminiServer, shared: channels.Address) -> None:
        """It has the state of the shared channel, and makes calls with its own credentials."""
        pool = channels.loop_connections().async_channels(shared)
        bound = KeyHeaders(Secret(server.api_key("mine")))
        async with AsyncSharedChannel(pool, lambda: bound) as mine:
            state = mine.get_state(try_to_connect=True)
            assert state is grpc.ChannelConnectivity.IDLE
            await mine.wait_for_state_change(state)
            await mine.channel_ready()
            assert mine.get_state() is grpc.ChannelConnectivity.READY
            call = mine.unary_unary(
                "/google.ai.generativelanguage.v1beta.ModelService/ListModels",
                request_serializer=glm.ListModelsRequest.serialize,
                response_deserializer=glm.ListModelsResponse.deserialize,
            )
            assert (await call(glm.ListModelsRequest())).models
        assert [request.identity for request in server.requests] == ["mine"]

    async def test_closing_it_leaves_the_shared_one_open(self, shared: channels.Address) -> None:
        """Others are using that one."""
        pool = channels.loop_connections().async_channels(shared)
        mine = AsyncSharedChannel(pool, lambda: KeyHeaders(Secret("k")))
        await mine.close(grace=1)
        await pool.first.channel_ready()
        assert channels.loop_connections().async_channels(shared) is pool

    async def test_what_no_service_has(self, shared: channels.Address) -> None:
        """There is no client streaming in the SDK, nor here."""
        pool = channels.loop_connections().async_channels(shared)
        mine = AsyncSharedChannel(pool, lambda: KeyHeaders(Secret("k")))
        for method in (mine.stream_unary, mine.stream_stream):
            with pytest.raises(NotImplementedError):  # what grpc has there
                method("/service/method")

    @pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
    async def test_without_credentials_a_call_has_failed(
        self, server: GeminiServer, shared: channels.Address, kind: str
    ) -> None:
        """Whatever is waited for, the error is ours; nothing of it is left to be printed later."""
        bound = _headers.for_route(GenAIConfig(), Route("oauth", "grpc_asyncio", TUNED_SCOPES, ()))
        pool = channels.loop_connections().async_channels(shared)
        call = getattr(AsyncSharedChannel(pool, lambda: bound), kind)("/service/method")(b"")
        told: list[Any] = []
        call.add_done_callback(told.append)
        with pytest.raises(CredentialsNotFoundError):
            await (call if kind == "unary_unary" else call.read())
        for waiting in (call.wait_for_connection, call.code, call.initial_metadata):
            with pytest.raises(CredentialsNotFoundError):
                await waiting()
        assert told == [call]
        assert call.done()
        assert not call.cancelled()
        assert not call.cancel()
        del call, waiting, told[:]
        gc.collect()
        assert server.requests == []

    @pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
    async def test_a_call_that_grpc_refuses(
        self, server: GeminiServer, shared: channels.Address, kind: str
    ) -> None:
        """With a key it is refused at once, with a token when that is there."""
        pool = channels.loop_connections().async_channels(shared)
        renewable = TokenHeaders(source_of(server.user_credentials()), "mine")
        call = getattr(AsyncSharedChannel(pool, lambda: renewable), kind)("/a/b")(b"", unknown=1)
        with pytest.raises(TypeError, match="unknown"):
            await call.code()
        channel = AsyncSharedChannel(pool, lambda: KeyHeaders(Secret("k")))
        with pytest.raises(TypeError, match="unknown"):
            await channel.unary_unary("/a/b")(b"", unknown=1)
        sync = SharedChannel(channels.connections().channels(shared), lambda: renewable)
        with pytest.raises(TypeError, match="unknown"):
            sync.unary_stream("/a/b")(b"", unknown=1)

    async def test_what_a_call_tells(self, server: GeminiServer, shared: channels.Address) -> None:
        """As gRPC's, before it is under way and when it is over."""
        bound = TokenHeaders(source_of(server.user_credentials()), "mine")
        channel = AsyncSharedChannel(
            channels.loop_connections().async_channels(shared), lambda: bound
        )
        service = "/google.ai.generativelanguage.v1beta.GenerativeService"
        request_ = glm.GenerateContentRequest(model=TUNED, contents=[{"parts": [{"text": "hi"}]}])
        types = TestReplayedCall.TYPES
        for name, kind in (
            ("GenerateContent", channel.unary_unary),
            ("StreamGenerateContent", channel.unary_stream),
        ):
            told: list[Any] = []
            call = kind(f"{service}/{name}", **types)(request_)
            call.add_done_callback(told.append)
            assert not call.done()
            assert isinstance(await call.initial_metadata(), aio.Metadata)
            assert [a async for a in call] if name.startswith("Stream") else await call
            assert isinstance(await call.trailing_metadata(), aio.Metadata)
            assert await call.details() == ""
            call.add_done_callback(told.append)
            await asyncio.sleep(0)
            assert len(told) == 2
        answers = kind(f"{service}/{name}", **types)(request_)
        assert aiter(answers) is aiter(answers)
        assert await anext(aiter(answers))
        # Whoever stops waiting for it does not stop it.
        waiter = asyncio.ensure_future(kind(f"{service}/{name}", **types)(request_).code())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

    async def test_a_call_without_credentials_is_over(self, shared: channels.Address) -> None:
        """Whoever comes later learns that it has ended; there is no time to wait for."""
        bound = _headers.for_route(GenAIConfig(), Route("oauth", "grpc_asyncio", TUNED_SCOPES, ()))
        pool = channels.loop_connections().async_channels(shared)
        call = AsyncSharedChannel(pool, lambda: bound).unary_unary("/service/method")(b"")
        with pytest.raises(CredentialsNotFoundError):
            await call
        told: list[Any] = []
        call.add_done_callback(told.append)
        assert told == [call]
        assert call.time_remaining() is None


def ask_synchronously_for_a_stream(model: str = BASE) -> str:
    """One request whose answer comes in chunks."""
    response = genai.GenerativeModel(model).generate_content("hi", stream=True)
    return "".join(chunk.text for chunk in response)


UNARY: list[Callable[[str], str]] = [ask, lambda model: asyncio.run(ask_async(model))]
STREAMED: list[Callable[[str], str]] = [
    ask_synchronously_for_a_stream,
    lambda model: asyncio.run(ask_for_a_stream(model)),
]
streams_tuned_models = pytest.mark.skipif(
    tuple(map(int, genai.__version__.split(".")[:3])) < (0, 8, 4),
    reason="before 0.8.4 the SDK streams from tuned models over gRPC alone",
)
in_every_way = pytest.mark.parametrize("asking", [*UNARY, *STREAMED])
in_every_way_over_both = pytest.mark.parametrize(
    ("transport", "asking"),
    [
        *(("grpc", asking) for asking in [*UNARY, *STREAMED]),
        *(("rest", asking) for asking in UNARY),
        *(pytest.param("rest", asking, marks=streams_tuned_models) for asking in STREAMED),
    ],
)


class TestRefusedToken:
    @in_every_way_over_both
    def test_it_is_replaced(
        self, server: GeminiServer, transport: Any, asking: Callable[[str], str]
    ) -> None:
        """A call with a token that the service refuses before its time is made once more."""
        server.respond(TUNED, ["one ", "two ", "three"])
        point(server, transport, credentials=server.external_account_file())
        assert asking(TUNED) == "one two three"
        server.expire_tokens()
        assert asking(TUNED) == "one two three"
        assert [request.status for request in server.requests] == ["OK", "UNAUTHENTICATED", "OK"]
        assert server.tokens.count == 2

    @in_every_way_over_both
    def test_no_more_than_once(
        self, server: GeminiServer, transport: Any, asking: Callable[[str], str]
    ) -> None:
        """A service that refuses new tokens as well is believed."""
        point(server, transport, credentials=server.external_account_file("workload"))
        asking(TUNED)
        server.clear()
        server.fail(10, status="UNAUTHENTICATED")
        with pytest.raises(GoogleAPICallError, match="401"):
            asking(TUNED)
        assert [request.status for request in server.requests] == ["UNAUTHENTICATED"] * 2
        assert server.tokens.count == 2

    @in_every_way_over_both
    def test_another_cannot_be_had(
        self, server: GeminiServer, transport: Any, asking: Callable[[str], str]
    ) -> None:
        """Then the caller hears why: the account is gone."""
        point(server, transport, credentials=server.external_account_file("workload"))
        asking(TUNED)
        server.revoke("workload")
        with pytest.raises(TokenRefreshError, match="invalid_grant"):
            asking(TUNED)
        assert [request.status for request in server.requests] == ["OK", "UNAUTHENTICATED"]

    @in_every_way_over_both
    def test_other_errors_are_no_reason(
        self, server: GeminiServer, transport: Any, asking: Callable[[str], str]
    ) -> None:
        """Any other error is the caller's, and the token is kept."""
        point(server, transport, credentials=server.external_account_file())
        server.fail(1, status="RESOURCE_EXHAUSTED")
        with pytest.raises(GoogleAPICallError, match="429"):
            asking(TUNED)
        asking(TUNED)
        assert server.tokens.count == 1
        assert len(server.requests) == 2

    @in_every_way_over_both
    def test_a_key_is_what_it_is(
        self, server: GeminiServer, transport: Any, asking: Callable[[str], str]
    ) -> None:
        """A key that was refused is not sent once more: there is no other."""
        point(server, transport, api_key=server.api_key())
        server.fail(1, status="UNAUTHENTICATED")
        with pytest.raises(GoogleAPICallError, match="401"):
            asking(BASE)
        assert len(server.requests) == 1

    @in_every_way
    def test_neither_is_nothing(self, server: GeminiServer, asking: Callable[[str], str]) -> None:
        """So it is with anonymous credentials."""
        point(server, credentials=AnonymousCredentials())
        with pytest.raises(GoogleAPICallError, match="unregistered callers"):
            asking(TUNED)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("transport", "stream"),
        [
            ("grpc", False),
            ("grpc", True),
            ("rest", False),
            pytest.param("rest", True, marks=streams_tuned_models),
        ],
    )
    def test_threads_at_once_lead_to_one_refresh(
        self, server: GeminiServer, transport: Any, *, stream: bool
    ) -> None:
        """Hundreds of threads whose token was refused succeed, all with one other."""
        point(server, transport, credentials=server.external_account_file())
        asking = ask_synchronously_for_a_stream if stream else ask
        asking(TUNED)
        server.expire_tokens()
        server.clear()
        count = 200 if transport == "grpc" else 50  # each has a connection of its own over REST
        barrier = threading.Barrier(count)

        def call(_: int) -> None:
            barrier.wait(30)
            asking(TUNED)

        with ThreadPoolExecutor(count) as threads:
            list(threads.map(call, range(count)))
        assert sum(request.status == "OK" for request in server.requests) == count
        assert server.tokens.count == 2

    @pytest.mark.parametrize("asking", [ask_async, ask_for_a_stream])
    async def test_tasks_at_once_lead_to_one_refresh(
        self, server: GeminiServer, asking: Callable[[str], Awaitable[str]]
    ) -> None:
        """So do two hundred tasks."""
        point(server, credentials=server.external_account_file())
        await asking(TUNED)
        server.expire_tokens()
        server.clear()
        await asyncio.gather(*(asking(TUNED) for _ in range(200)))
        assert sum(request.status == "OK" for request in server.requests) == 200
        assert server.tokens.count == 2

    def test_only_the_token_that_was_refused_is_forgotten(self, server: GeminiServer) -> None:
        """Whoever was refused late, with the old token, leaves the new one to the others."""
        bound = TokenHeaders(source_of(server.user_credentials()), None)
        late, early = Attempts(bound), Attempts(bound)
        assert late.headers() == early.headers()
        assert early.again(Rejection(401))
        new = early.headers()
        assert new != late.sent
        assert late.again(Rejection(401))
        assert late.headers() == new
        assert server.tokens.count == 2


class TestReplayedCall:
    """Calls as gRPC hands them out, without the SDK around them."""

    GENERATE = "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"
    STREAM = "/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent"
    TYPES: ClassVar[dict[str, Any]] = {
        "request_serializer": glm.GenerateContentRequest.serialize,
        "response_deserializer": glm.GenerateContentResponse.deserialize,
    }

    @pytest.fixture
    def bound(self, server: GeminiServer) -> TokenHeaders:
        """Credentials whose token has been refused already, though nobody knows."""
        server.respond(TUNED, ["one", "two"])
        bound = TokenHeaders(source_of(server.user_credentials()), "mine")
        bound.headers()
        server.expire_tokens()
        return bound

    @pytest.fixture
    def request_(self) -> Any:
        """A request to a tuned model."""
        return glm.GenerateContentRequest(model=TUNED, contents=[{"parts": [{"text": "hi"}]}])

    @pytest.fixture
    def address(self, server: GeminiServer) -> channels.Address:
        """The address of the server."""
        return channels.Address(server.grpc_endpoint, server.ca_file, None, None)

    def test_a_stream_is_the_live_call(
        self,
        server: GeminiServer,
        address: channels.Address,
        bound: TokenHeaders,
        request_: Any,
    ) -> None:
        """After a replay its code is the second call's, and it can be cancelled."""
        channel = SharedChannel(channels.connections().channels(address), lambda: bound)
        stream = channel.unary_stream(self.STREAM, **self.TYPES)
        call = stream(request_, timeout=30)
        assert [chunk.candidates[0].content.parts[0].text for chunk in call] == ["one", "two"]
        assert call.code() is grpc.StatusCode.OK
        server.hang()
        call = stream(request_)
        assert call.cancel()
        with pytest.raises(grpc.RpcError):
            next(call)
        assert call.code() is grpc.StatusCode.CANCELLED

    def test_a_future(
        self, server: GeminiServer, address: channels.Address, bound: TokenHeaders, request_: Any
    ) -> None:
        """Whoever wants the call before its answer gets it at once."""
        bound.refused(bound.headers(), Rejection(401))
        channel = SharedChannel(channels.connections().channels(address), lambda: bound)
        server.hang()
        call = channel.unary_unary(self.GENERATE, **self.TYPES).future(request_)
        assert not call.done()
        server.release()
        assert call.result(10).candidates

    async def test_an_asyncio_stream_is_the_live_call(
        self, server: GeminiServer, address: channels.Address, bound: TokenHeaders, request_: Any
    ) -> None:
        """It is the same with asyncio."""
        channel = AsyncSharedChannel(
            channels.loop_connections().async_channels(address), lambda: bound
        )
        stream = channel.unary_stream(self.STREAM, **self.TYPES)
        call = stream(request_, timeout=30)
        assert (await call.read()).candidates
        assert len([chunk async for chunk in call]) == 1
        assert await call.code() is grpc.StatusCode.OK
        server.hang()
        for method in (stream, channel.unary_unary(self.GENERATE, **self.TYPES)):
            call = method(request_)
            waiter = asyncio.ensure_future(call.code())
            await asyncio.sleep(0)
            assert call.cancel()
            assert await waiter is grpc.StatusCode.CANCELLED

    async def test_a_stream_without_answers(self, address: channels.Address, request_: Any) -> None:
        """It ends as it would by itself, also where its first answer is awaited."""

        class Call:
            async def read(self) -> Any:
                return aio.EOF

        class Channel:
            def unary_stream(self, *_: Any) -> Callable[..., Call]:
                return lambda *_, **__: Call()

        del address
        bound = TokenHeaders(source_of(AnonymousCredentials()), None)
        shared = AsyncSharedChannel(ChannelPool(Channel), lambda: bound)
        assert [answer async for answer in shared.unary_stream("/a/b")(request_)] == []

    def test_the_second_attempt_has_the_time_that_the_first_has_left(self) -> None:
        """A replay does not double a call's timeout."""
        bound = KeyHeaders(Secret("k"))
        assert Attempts(bound).timeout() is None
        assert 9 < (Attempts(bound, 10).timeout() or 0) <= 10
        assert Attempts(bound, -1).timeout() == 0

    def test_what_was_sent_without_a_token(self) -> None:
        """There is nothing to replace, with a quota project or without."""
        for quota_project in (None, "mine"):
            bound = TokenHeaders(source_of(AnonymousCredentials()), quota_project)
            assert not bound.refused(bound.headers(), Rejection(401))


def source_of(credentials: Any) -> TokenSource:
    """The source of an object's tokens."""
    found = Found(credentials, "these", None, None)
    return TokenSource(lambda: found, Request, 30)


class TestAttached:
    async def test_a_key(self) -> None:
        """It is one header, for both calling modes."""
        route = Route("api_key", "grpc", (), ())
        bound = _headers.for_route(GenAIConfig(api_key=Secret("k")), route)
        assert bound.headers() == await bound.headers_async() == (("x-goog-api-key", "k"),)

    async def test_a_token(self, server: GeminiServer) -> None:
        """It comes with the quota project, for both calling modes."""
        user = server.user_credentials(quota_project="user-project")
        route = Route("oauth", "grpc", TUNED_SCOPES, ())
        bound = _headers.for_route(GenAIConfig(credentials=user), route)
        headers = await bound.headers_async()
        assert headers == bound.headers()
        assert headers == (
            ("authorization", f"Bearer {user.token}"),
            ("x-goog-user-project", "user-project"),
        )

    async def test_a_call_that_brings_none(self) -> None:
        """It has no headers, awaited or not, and nothing better when it is refused."""
        nobody = NoCredentials()
        assert nobody.headers() == await nobody.headers_async() == ()
        rejection = Rejection(401, "")
        assert not nobody.refused((), rejection)
        assert not await nobody.refused_async((), rejection)

    async def test_none(self) -> None:
        """What cannot be found is an error before anything is sent."""
        route = Route("oauth", "grpc", TUNED_SCOPES, ())
        bound = _headers.for_route(GenAIConfig(), route)
        with pytest.raises(CredentialsNotFoundError):
            bound.headers()
        with pytest.raises(CredentialsNotFoundError):
            await bound.headers_async()

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_the_sdks_own_log_shows_neither(
        self, server: GeminiServer, caplog: pytest.LogCaptureFixture, transport: Any
    ) -> None:
        """The SDK logs what it sends; keys and tokens are put there behind its back."""
        key, user = server.api_key(), server.user_credentials(quota_project="my-project")
        point(server, transport, api_key=key, credentials=user)
        with caplog.at_level(logging.DEBUG):
            for model in (BASE, TUNED):
                ask(model)
                asyncio.run(ask_async(model))
        logged = "".join(str(vars(record)) for record in caplog.records)
        # The clients of the first 0.8 releases have no log.
        has_log = hasattr(generative_service.client, "CLIENT_LOGGING_SUPPORTED")
        assert ("GenerateContent" in logged) is has_log
        assert key not in logged
        assert user.token not in logged


class Plain:
    """A gRPC server of its own kind: it answers everybody, and remembers how they came."""

    def __init__(self, credentials: Any = None) -> None:
        self.seen: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool, options=(("grpc.so_reuseport", 0),))
        handlers = {
            "GenerateContent": grpc.unary_unary_rpc_method_handler(self._answer),
            "StreamGenerateContent": grpc.unary_stream_rpc_method_handler(self._stream),
        }
        service = "google.ai.generativelanguage.v1beta.GenerativeService"
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def _answer(self, request: bytes, context: Any) -> bytes:
        del request
        self.seen.append((dict(context.invocation_metadata()), context.auth_context()))
        content = {"parts": [{"text": "plain"}], "role": "model"}
        response = glm.GenerateContentResponse(candidates=[{"content": content}])
        return bytes(glm.GenerateContentResponse.serialize(response))

    def _stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield self._answer(request, context)

    def stop(self) -> None:
        """Ends it."""
        self._server.stop(None).wait()
        self._pool.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers everybody with the name in their certificate."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        certificate: Any = self.connection
        ((_, name),) = certificate.getpeercert()["subjectAltName"]
        content = {"parts": [{"text": name}], "role": "model"}
        body = json.dumps({"candidates": [{"content": content}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Authority(NamedTuple):
    """Who signed the certificates of both ends.

    Attributes:
        file: Its own certificate.
        server: The server's.
        client: The client's.
    """

    file: Path
    server: trustme.LeafCert
    client: trustme.LeafCert

    @staticmethod
    def chain(leaf: trustme.LeafCert) -> bytes:
        """A certificate as PEM."""
        return b"".join(blob.bytes() for blob in leaf.cert_chain_pems)

    def configure(self, port: int, **settings: Any) -> None:
        """Points every request at a server of this machine, with the client's certificate."""
        pair = (self.chain(self.client), self.client.private_key_pem.bytes())
        safe_configure(
            api_key="k",
            ca_certs=self.file,
            client_options={
                "api_endpoint": f"https://localhost:{port}",
                "client_cert_source": lambda: pair,
            },
            **settings,
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A new one, that has signed one certificate for each end."""
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(os.fspath(file))
    return Authority(file, ca.issue_cert("localhost"), ca.issue_cert("client.example.com"))


class TestAddresses:
    def test_none_shows_a_private_key(self) -> None:
        """Errors and debuggers show where it leads, and nothing else."""
        address = channels.Address("localhost:1", None, None, (b"chain", b"private"))
        assert repr(address) == "Address('localhost:1')"

    @pytest.mark.parametrize("scheme", ["http://", "HTTP://"])
    def test_plain_http_on_this_machine(self, scheme: str) -> None:
        """An http:// address is spoken to without TLS, sync, awaited and streamed."""
        server = Plain()
        try:
            safe_configure(
                api_key="k", client_options={"api_endpoint": f"{scheme}localhost:{server.port}"}
            )
            assert ask() == asyncio.run(ask_async()) == asyncio.run(ask_for_a_stream()) == "plain"
        finally:
            server.stop()
        assert [metadata["x-goog-api-key"] for metadata, _ in server.seen] == ["k"] * 3

    def test_a_client_certificate(
        self, monkeypatch: pytest.MonkeyPatch, authority: Authority
    ) -> None:
        """The SDK's option for one works: the server knows who connects."""
        monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
        server = Plain(
            grpc.ssl_server_credentials(
                ((authority.server.private_key_pem.bytes(), authority.chain(authority.server)),),
                root_certificates=authority.file.read_bytes(),
                require_client_auth=True,
            )
        )
        try:
            authority.configure(server.port)
            assert ask() == asyncio.run(ask_async()) == "plain"
        finally:
            server.stop()
        for _, who in server.seen:
            assert who["x509_subject_alternative_name"] == [b"client.example.com"]

    def test_a_client_certificate_over_rest(
        self, monkeypatch: pytest.MonkeyPatch, authority: Authority
    ) -> None:
        """It works over REST as well, where it is presented in another way."""
        monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.server.configure_cert(context)
        with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            try:
                authority.configure(server.server_port, transport="rest")
                assert ask() == "client.example.com"
            finally:
                server.shutdown()


def test_channels_that_nobody_holds_are_closed(server: GeminiServer) -> None:
    """Forgetting a channel is enough to hang up: nothing else holds it."""
    address = channels.Address(server.grpc_endpoint, server.ca_file, None, None)
    channel = weakref.ref(channels.connections().channels(address))
    assert channel() is not None
    channels.close_all()
    gc.collect()
    assert channel() is None
