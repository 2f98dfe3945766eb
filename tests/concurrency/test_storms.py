"""Everything at once, and everything going wrong: right credentials, our errors, in time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
import requests
from google.api_core.exceptions import GoogleAPIError

from genai_config import get_config, override, reset, safe_configure
from genai_config.exceptions import CredentialsTimeoutError, TokenRefreshError
from genai_config.testing import FakeClock, GeminiServer
from genai_config.testing._wire.certificates import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"

over_both = pytest.mark.parametrize("transport", ["grpc", "rest"])


def settings(server: GeminiServer, transport: str = "grpc", **more: Any) -> dict[str, Any]:
    """What sends every request to a server, over one transport."""
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    return {
        "transport": transport,
        "tuned_transport": transport,
        "ca_certs": server.ca_file,
        "client_options": {"api_endpoint": endpoint},
        **more,
    }


def ask(model: str = BASE) -> None:
    """One request."""
    genai.GenerativeModel(model).generate_content("hi")


async def ask_async(model: str = BASE) -> None:
    """One request that is awaited."""
    await genai.GenerativeModel(model).generate_content_async("hi")


def ask_in_a_loop(model: str = BASE) -> None:
    """One request that is awaited, in an event loop of its own."""
    asyncio.run(ask_async(model))


in_both_modes = pytest.mark.parametrize("asking", [ask, ask_in_a_loop])


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails if the block takes longer."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.fixture
def tiny_switch_interval() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def all_at_once(*works: Callable[[], Any]) -> None:
    """Runs functions in threads that start together; what one raises is raised here."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> None:
        barrier.wait(30)
        work()

    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(run, work) for work in works]:
            done.result(60)


def times(count: int, work: Callable[[int], Any]) -> Callable[[], None]:
    """A function that does some work again and again."""

    def again() -> None:
        for number in range(count):
            work(number)

    return again


@pytest.mark.usefixtures("tiny_switch_interval")
class TestEverythingAtOnce:
    @over_both
    def test_who_has_a_scope_does_not_notice(self, server: GeminiServer, transport: str) -> None:
        """Tenants ask in scopes of theirs, while others configure, reset, and open scopes."""
        names = [f"tenant-{number}" for number in range(6)]
        mine = {
            name: settings(
                server, transport, api_key=server.api_key(name), default_metadata=[("x-me", name)]
            )
            for name in names
        }

        def tenant(name: str, asking: Callable[[], None]) -> Callable[[], None]:
            def once(_: int) -> None:
                with override(**mine[name]):
                    asking()

            return times(15, once)

        def nest(number: int) -> None:
            with override(quota_project=f"project-{number}"), override(timeout=7):
                assert get_config().quota_project == f"project-{number}"

        all_at_once(
            *(tenant(name, ask) for name in names[:4]),
            *(tenant(name, ask_in_a_loop) for name in names[4:]),
            times(60, lambda number: safe_configure(api_key=f"other-{number}")),
            times(20, lambda _: reset()),
            times(200, nest),
        )
        assert len(server.requests) == len(names) * 15
        for request in server.requests:
            assert (request.status, request.identity) == ("OK", request.headers["x-me"])

    @over_both
    def test_each_request_is_of_one_configuration(
        self, server: GeminiServer, transport: str
    ) -> None:
        """While the key of all changes, none is sent with another one's header."""
        names = [f"key-{number}" for number in range(5)]
        keys = {name: server.api_key(name) for name in names}
        model = genai.GenerativeModel(BASE)

        def configure(number: int) -> None:
            name = names[number % len(names)]
            safe_configure(api_key=keys[name], default_metadata=[("x-me", name)])

        async def tasks() -> None:
            for _ in range(3):
                await asyncio.gather(*(model.generate_content_async("hi") for _ in range(10)))

        safe_configure(**settings(server, transport), existing_models="follow")
        configure(0)
        all_at_once(
            *[times(15, lambda _: model.generate_content("hi"))] * 4,
            lambda: asyncio.run(tasks()),
            times(100, configure),
            times(100, configure),
        )
        assert len(server.requests) == 4 * 15 + 30
        for request in server.requests:
            assert (request.status, request.identity) == ("OK", request.headers["x-me"])


class TestRefusedTokens:
    """Threads, and tasks over gRPC, are in test_channels.py."""

    async def test_tasks_over_rest(self, server: GeminiServer) -> None:
        """Two hundred tasks whose token was refused succeed, with one other."""
        safe_configure(**settings(server, "rest", credentials=server.external_account_file()))
        await ask_async(TUNED)
        server.expire_tokens()
        await asyncio.gather(*(ask_async(TUNED) for _ in range(200)))
        assert sum(request.status == "OK" for request in server.requests) == 201
        assert server.tokens.count == 2


class TestTokenEndpoint:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (500, ""),
            (400, {"error": "invalid_grant"}),
            (200, "<html>Log in to the airport's network"),
            (200, {"expires_in": 3600}),
        ],
        ids=["500", "400", "no-json", "no-token"],
    )
    @over_both
    @in_both_modes
    def test_it_fails(
        self,
        server: GeminiServer,
        asking: Callable[[str], None],
        transport: str,
        status: int,
        body: Any,
    ) -> None:
        """The caller hears at once, and the next call succeeds as soon as it can."""
        safe_configure(**settings(server, transport, credentials=server.external_account_file()))
        server.tokens.fail(status=status, body=body)
        with at_most(10), pytest.raises(TokenRefreshError, match="No access token"):
            asking(TUNED)
        assert server.requests == []
        server.tokens.fail(0)
        asking(TUNED)
        assert [request.status for request in server.requests] == ["OK"]

    @over_both
    @in_both_modes
    def test_it_never_answers(
        self, server: GeminiServer, asking: Callable[[str], None], transport: str
    ) -> None:
        """The caller hears within auth_timeout; once it has recovered, the next call succeeds."""
        credentials = server.external_account_file()
        safe_configure(**settings(server, transport, credentials=credentials, auth_timeout=0.3))
        server.tokens.hang()
        with at_most(5), pytest.raises(CredentialsTimeoutError, match=r"auth_timeout=0\.3"):
            asking(TUNED)
        assert server.requests == []
        server.tokens.release()
        with override(auth_timeout=10):
            asking(TUNED)
        assert [request.status for request in server.requests] == ["OK"]


class TestClocks:
    @over_both
    @in_both_modes
    @pytest.mark.parametrize("alone", [False, True])
    def test_a_clock_that_jumps(
        self, asking: Callable[[str], None], transport: str, *, alone: bool
    ) -> None:
        """Forward and back, this machine's alone or the service's with it: every call succeeds."""
        clock = FakeClock()
        of_the_service: dict[str, Any] = {} if alone else {"clock": clock}
        with clock.installed(), GeminiServer(**of_the_service) as server:
            credentials = server.external_account_file()
            safe_configure(**settings(server, transport, credentials=credentials))
            for jump in (0, 7200, -10800, 86400, -86400, 3500, -3500):
                clock.advance(jump)
                asking(TUNED)
            served = [request for request in server.requests if request.status == "OK"]
            assert len(served) == 7
            assert server.tokens.count <= 7


class TestRestart:
    @over_both
    async def test_a_server_that_comes_back(self, transport: str, tmp_path: Path) -> None:
        """After it is up again on the same port, calls of every mode go through."""
        ca = tmp_path / "ca.pem"
        ca.write_bytes(certificate().ca)
        async with GeminiServer() as server:
            first = {**settings(server, transport, api_key=server.api_key()), "ca_certs": ca}
            ports = [
                int(endpoint.rpartition(":")[2])
                for endpoint in (server.grpc_endpoint, server.rest_endpoint)
            ]
            safe_configure(**first)
            await asyncio.to_thread(ask)
            await ask_async()
        ways: list[Callable[[], Any]] = [lambda: asyncio.to_thread(ask), ask_async]
        for asking in ways:
            with (
                at_most(10),
                override(timeout=0.5),
                pytest.raises((GoogleAPIError, requests.ConnectionError)),
            ):
                await asking()
        async with GeminiServer(port=ports[0], rest_port=ports[1]) as server:
            safe_configure(api_key=server.api_key())
            with at_most(15):
                await asyncio.to_thread(ask)
                await ask_async()
            assert [request.status for request in server.requests] == ["OK"] * 2
