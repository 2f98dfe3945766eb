"""Every wait has a bound: what vanishes, hangs or drips ends with a cause, and the rest goes on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import grpc
import pytest
import requests
import trustme
from google.api_core import exceptions
from google.api_core.retry import Retry

from genai_config import override, reset, safe_configure
from genai_config._models import MODEL
from genai_config._transport import channels, http, http_call, threads, unreachable
from genai_config._transport.http_errors import HttpCallError
from genai_config._transport.pool import Pool
from genai_config.testing import FakeClock, GeminiServer

# It has no type information.
core: Any = exceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.transport.conftest import Relay


def configure(server: GeminiServer, endpoint: str, transport: Any = "grpc", **more: Any) -> None:
    """Points every request at an endpoint."""
    safe_configure(
        api_key=server.api_key("mine"),
        transport=transport,
        ca_certs=server.ca_file,
        client_options={"api_endpoint": endpoint},
        **more,
    )


def ask(**options: Any) -> str:
    """One request."""
    text: str = genai.GenerativeModel(MODEL).generate_content("hi", **options).text
    return text


async def ask_async(**options: Any) -> str:
    """One request that is awaited."""
    answer = await genai.GenerativeModel(MODEL).generate_content_async("hi", **options)
    return str(answer.text)


BOTH: tuple[Callable[..., Any], ...] = (ask, lambda **more: asyncio.run(ask_async(**more)))
"""One request in each calling mode."""


def seconds_of(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.monotonic()
    call()
    return time.monotonic() - start


class TestSwallowed:
    """Connections whose packets vanish, without a word to either end."""

    def test_grpc(self, server: GeminiServer, grpc_relay: Relay) -> None:
        """The connection is dropped within seconds, and the call is made anew."""
        configure(server, grpc_relay.endpoint)
        ask()
        grpc_relay.swallow()
        assert seconds_of(ask) < 10

    def test_grpc_awaited(self, server: GeminiServer, grpc_relay: Relay) -> None:
        """So it is with asyncio."""
        configure(server, grpc_relay.endpoint)

        async def two() -> float:
            await ask_async()
            grpc_relay.swallow()
            start = time.monotonic()
            await ask_async()
            return time.monotonic() - start

        assert asyncio.run(two()) < 10

    def test_no_ping_without_calls(self) -> None:
        """Servers take offence at those; and no more than gRPC allows for a request."""
        options = dict(channels._OPTIONS)
        assert options["grpc.keepalive_permit_without_calls"] == 0
        assert "grpc.http2.max_pings_without_data" not in options

    def test_rest_after_a_call_in_vain(
        self, server: GeminiServer, relay_to: Callable[[str], Relay]
    ) -> None:
        """The call under way ends with its bound, and the next has a connection of its own."""
        relay = relay_to(server.rest_endpoint)
        configure(server, relay.endpoint, "rest")
        with ThreadPoolExecutor(3) as pool:  # several connections, that all will have died
            list(pool.map(lambda _: ask(), range(3)))
        relay.swallow()
        with override(timeout=1), pytest.raises(Exception, match="within 1 s"):
            ask()
        assert seconds_of(ask) < 10

    def test_rest_idle(
        self,
        server: GeminiServer,
        relay_to: Callable[[str], Relay],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A connection that was idle for a minute is not used again."""
        clock = FakeClock()
        monkeypatch.setattr(http, "clock", clock)
        relay = relay_to(server.rest_endpoint)
        configure(server, relay.endpoint, "rest")
        ask()
        clock.advance(19)
        ask()
        assert len({request.connection for request in server.requests}) == 1
        relay.swallow()
        clock.advance(60)
        assert seconds_of(ask) < 10

    def test_rest_a_connection_that_was_closed_meanwhile(
        self, server: GeminiServer, relay_to: Callable[[str], Relay]
    ) -> None:
        """What was sent over it got no answer, and is sent once more."""
        relay = relay_to(server.rest_endpoint)
        configure(server, relay.endpoint, "rest")
        ask()
        relay.hang_up_on_next()
        ask()
        assert len({request.connection for request in server.requests}) == 2


@pytest.fixture
def listening() -> Iterator[Callable[..., int]]:
    """Starts servers that speak no gRPC, each for all its life; gives their ports."""
    sockets: list[socket.socket] = []

    def start(handle: Callable[[socket.socket], None], context: Any = None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    if context is not None:
                        connection = context.wrap_socket(connection, server_side=True)
                    handle(connection)
                except OSError:
                    """The client hung up, which is what is tested."""
                finally:
                    connection.close()

        running.append(threading.Thread(target=run, daemon=True))
        running[-1].start()
        return int(listener.getsockname()[1])

    running: list[threading.Thread] = []
    yield start
    for one in sockets:
        one.shutdown(socket.SHUT_RDWR)
        one.close()
    for thread in running:
        thread.join(10)


def http_only(connection: socket.socket) -> None:
    """Answers as a proxy that knows HTTP/1.1 alone."""
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


class TestUnreachable:
    """A call that cannot reach the service says why, and does not take ten minutes for it."""

    @pytest.fixture(autouse=True)
    def patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Less of it than in earnest."""
        monkeypatch.setattr(unreachable, "PATIENCE", 0.5)

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_a_certificate_that_does_not_verify(
        self, server: GeminiServer, tmp_path: Path, transport: str
    ) -> None:
        """It is tried once: waiting makes it no better."""
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        rest = transport == "rest"
        configure(server, server.rest_endpoint if rest else server.grpc_endpoint, transport)
        safe_configure(ca_certs=other)
        with pytest.raises(core.ServiceUnavailable, match="ca_certs"):
            ask()

    def test_a_proxy_that_speaks_http_alone(
        self, server: GeminiServer, tmp_path: Path, listening: Callable[..., int]
    ) -> None:
        """It breaks TLS open, and offers no HTTP/2."""
        ca = trustme.CA()
        file = tmp_path / "ca.pem"
        ca.cert_pem.write_to_path(str(file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost").configure_cert(context)
        configure(server, f"localhost:{listening(http_only, context)}")
        safe_configure(ca_certs=file)
        for call in BOTH:
            with pytest.raises(core.ServiceUnavailable, match='transport="rest"'):
                call()

    def test_rest_where_grpc_alone_is_spoken(self, server: GeminiServer) -> None:
        """The remedy is an address for REST, and not REST itself."""
        configure(server, server.grpc_endpoint, "rest")
        for call in BOTH:
            with pytest.raises(core.ServiceUnavailable, match="takes gRPC alone") as caught:
                call()
            assert "api_endpoint" in str(caught.value)
            assert 'transport="rest"' not in str(caught.value)

    def test_grpc_where_rest_alone_is_spoken(self, server: GeminiServer) -> None:
        """REST is the remedy, and nothing is tried again."""
        configure(server, server.rest_endpoint)
        for call in BOTH:
            with pytest.raises(core.ServiceUnavailable, match='transport="rest"'):
                call()

    def test_nobody_listens(self, server: GeminiServer) -> None:
        """That may change, and is tried for a while."""
        configure(server, "localhost:1")
        for call in BOTH:
            with pytest.raises(core.ServiceUnavailable, match="api_endpoint"):
                call()

    @pytest.mark.parametrize("status", [407, 403])
    def test_a_proxy_that_refuses(
        self, server: GeminiServer, listening: Callable[..., int], status: int
    ) -> None:
        """What it wants is said."""

        def refuse(connection: socket.socket) -> None:
            connection.recv(1000)
            connection.sendall(f"HTTP/1.1 {status} No\r\n\r\n".encode())

        configure(server, "example.com:443", proxy=f"http://localhost:{listening(refuse)}")
        for transport in ("grpc", "rest"):
            safe_configure(transport=transport)
            with pytest.raises(core.ServiceUnavailable, match="proxy"):
                ask()

    def test_a_bound_of_the_call_is_kept(self, server: GeminiServer) -> None:
        """The time for trying is no longer than the call's own."""
        configure(server, "localhost:1", timeout=0.2)
        with pytest.raises(core.ServiceUnavailable, match="api_endpoint"):
            ask()

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("failed to connect to all addresses; last error: Handshake read failed", "firewall"),
            ("errors resolving nope.invalid:443: Domain name not found", "api_endpoint"),
            ("failed to connect to all addresses; WRONG_VERSION_NUMBER", "port"),
            ("failed to connect to all addresses; last error: strange", "network"),
        ],
    )
    def test_other_causes(self, text: str, remedy: str) -> None:
        """As gRPC says them."""
        told = unreachable.explained(core.ServiceUnavailable(text))
        assert remedy in str(told).partition("Remedy")[2]

    @pytest.mark.parametrize("says", ["UNEXPECTED_EOF", "Handshake read failed", "strange"])
    def test_remedies_are_those_of_the_transport(self, says: str) -> None:
        """Whoever uses REST is not told to use it."""
        text = f"failed to connect to all addresses; {says}"
        over_grpc = unreachable.explained(core.ServiceUnavailable(text))
        assert 'transport="rest"' in str(over_grpc)
        failed = HttpCallError(grpc.StatusCode.UNAVAILABLE, text)
        for error in (core.from_grpc_error(failed), requests.ConnectionError(text)):
            told = str(unreachable.explained(error))
            assert "Remedy" in told
            assert 'transport="rest"' not in told

    @pytest.mark.parametrize(
        "error",
        [
            core.ServiceUnavailable("The model is overloaded"),
            core.RetryError("Timeout", cause=None),
            requests.ReadTimeout("no connection refused here"),
        ],
    )
    def test_other_errors_stay(self, error: Exception) -> None:
        """An answer of the service is none of these."""
        assert unreachable.explained(error) is error


class TestWholeCall:
    """`timeout` bounds all of a call."""

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_retries_and_a_bound_of_the_request(self, server: GeminiServer, transport: str) -> None:
        """A request's own `timeout` is about each attempt."""
        rest = transport == "rest"
        configure(
            server, server.rest_endpoint if rest else server.grpc_endpoint, transport, timeout=2
        )
        server.fail(100, status="UNAVAILABLE")
        for call in BOTH:

            def failing(call: Callable[..., Any] = call) -> None:
                with pytest.raises(core.GoogleAPIError):
                    call(request_options={"timeout": 1})

            assert seconds_of(failing) < 5

    def test_an_answer_that_drips(
        self, server: GeminiServer, listening: Callable[..., int]
    ) -> None:
        """Each byte comes in time, and the whole does not."""
        stop = threading.Event()

        def drip(connection: socket.socket) -> None:
            connection.recv(10_000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(b" ")

        configure(server, f"http://localhost:{listening(drip)}", "rest", timeout=1)

        def failing() -> None:
            with pytest.raises(Exception, match="within 1 s"):
                ask()

        try:
            assert seconds_of(failing) < 5
        finally:
            stop.set()


class TestPlaces:
    """Awaited REST calls take places, so that threads do not become too many."""

    @pytest.fixture(autouse=True)
    def over_rest(self, server: GeminiServer) -> Iterator[None]:
        """All calls go that way; whatever the server holds is let go."""
        configure(server, server.rest_endpoint, "rest")
        yield
        server.release()

    async def test_tenants_do_not_starve_each_other(self, server: GeminiServer) -> None:
        """One whose calls all hang leaves places to the others."""
        server.hang()
        hanging = [asyncio.create_task(ask_async()) for _ in range(threads.EACH + 1)]
        while sum(t.name == "genai-config call" for t in threading.enumerate()) < threads.EACH:  # noqa: ASYNC110 -- threads set no event of a loop's
            await asyncio.sleep(0)
        with GeminiServer() as well:
            address = {"api_endpoint": well.rest_endpoint}
            with override(api_key=well.api_key("another"), client_options=address):
                await asyncio.wait_for(ask_async(), 30)
            assert [one.identity for one in well.requests] == ["another"]
        assert not any(one.done() for one in hanging)
        server.release()
        await asyncio.gather(*hanging)

    async def test_waiting_for_one_counts(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who gets no place in time hears of it in time."""
        monkeypatch.setattr(threads, "EACH", 1)
        server.hang()
        hanging = asyncio.create_task(ask_async())
        await asyncio.sleep(0)
        with override(timeout=0.5), pytest.raises(core.DeadlineExceeded, match=r"0\.5"):
            await ask_async()
        server.release()
        await hanging


class TestPools:
    def test_forgetting_while_others_ask(self) -> None:
        """A reset in one thread is no KeyError in another."""
        pool: Pool[int] = Pool(2)
        stop = threading.Event()

        def forget() -> None:
            while not stop.is_set():
                pool.clear()

        with ThreadPoolExecutor(5) as runners:
            forgetting = runners.submit(forget)
            asked = [
                runners.submit(lambda: [pool.get(i % 4, lambda: 1) for i in range(20_000)])
                for _ in range(4)
            ]
            try:
                assert all(set(one.result()) == {1} for one in asked)
            finally:
                stop.set()
            forgetting.result()

    def test_a_reset_while_others_call(self, server: GeminiServer) -> None:
        """It is the same with the real ones: each call is made on the old or a new connection."""
        stop = threading.Event()

        def forget() -> None:
            while not stop.wait(0.001):
                channels.close_all()

        configure(server, server.grpc_endpoint)
        with ThreadPoolExecutor(5) as runners:
            forgetting = runners.submit(forget)
            asked = [runners.submit(lambda: [ask() for _ in range(20)]) for _ in range(4)]
            try:
                assert all(len(one.result()) == 20 for one in asked)
            finally:
                stop.set()
            forgetting.result()
        reset()

    def test_what_takes_long_to_make_holds_up_no_other(self) -> None:
        """Nor what fails: the next one makes it."""
        pool: Pool[str] = Pool(8)
        started, go_on = threading.Event(), threading.Event()

        def slowly() -> str:
            started.set()
            go_on.wait(30)
            return "slow"

        def failing() -> str:
            raise ValueError("refused")

        with ThreadPoolExecutor(1) as runners:
            slow = runners.submit(pool.get, "slow", slowly)
            started.wait(30)
            assert pool.get("quick", lambda: "quick") == "quick"
            assert pool.peek("slow") is None
            go_on.set()
            assert slow.result() == "slow"
        with pytest.raises(ValueError, match="refused"):
            pool.get("failing", failing)
        assert pool.get("failing", lambda: "made") == "made"

    async def test_a_certificate_that_takes_long(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The event loop runs on while its source is asked."""
        monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
        leaf = trustme.CA().issue_cert("client.example.com")
        pair = (leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
        asked, go_on = threading.Event(), threading.Event()

        def source() -> tuple[bytes, bytes]:
            asked.set()
            go_on.wait(30)
            return pair

        configure(server, server.grpc_endpoint)
        safe_configure(client_options={"client_cert_source": source})
        call = asyncio.create_task(ask_async())
        while not asked.is_set():  # noqa: ASYNC110 -- a thread sets no event of a loop's
            await asyncio.sleep(0)
        assert not call.done()
        go_on.set()
        assert await call


class TestOtherLoops:
    def test_gevent_is_told_once(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, recwarn: Any
    ) -> None:
        """Sockets that were patched do not help gRPC, which blocks all greenlets."""

        class Monkey:
            @staticmethod
            def is_module_patched(name: str) -> bool:
                return name == "socket"

        monkeypatch.setitem(sys.modules, "gevent.monkey", Monkey)
        monkeypatch.setattr(channels, "_warned_of_gevent", False)
        configure(server, server.grpc_endpoint)
        for _ in range(2):
            ask()
            channels.close_all()
        (told,) = [one for one in recwarn if "gevent" in str(one.message)]
        assert "init_gevent()" in str(told.message)

    def test_gevent_that_grpc_knows_of(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, recwarn: Any
    ) -> None:
        """Then there is nothing to say."""

        class Monkey:
            @staticmethod
            def is_module_patched(name: str) -> bool:
                return bool(name)

        monkeypatch.setitem(sys.modules, "gevent.monkey", Monkey)
        monkeypatch.setattr(channels, "_warned_of_gevent", False)
        # The flag itself makes gRPC wait for gevent.
        monkeypatch.setattr(channels, "_is_prepared_for_gevent", lambda: True)
        configure(server, server.grpc_endpoint)
        ask()
        assert not [one for one in recwarn if "gevent" in str(one.message)]

    def test_trio(self, server: GeminiServer) -> None:
        """What needs no asyncio works; an awaited call says what to do instead."""
        trio = pytest.importorskip("trio")
        from genai_config import base_models
        from genai_config.exceptions import ConfigurationError

        configure(server, server.grpc_endpoint)

        async def main() -> str:
            async with base_models():
                with pytest.raises(ConfigurationError, match=r"to_thread\.run_sync"):
                    await ask_async()
                answer: str = await trio.to_thread.run_sync(ask)
                return answer

        assert trio.run(main)


def test_an_answer_of_any_size(server: GeminiServer) -> None:
    """By itself gRPC takes four megabytes."""
    server.respond(MODEL, "x" * 5_000_000)
    configure(server, server.grpc_endpoint)
    assert len(ask()) == 5_000_000
    assert grpc.__version__


def test_a_tls_handshake_that_nobody_answers_over_rest(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no connection, told with the cause, and not an answer that was too late."""
    monkeypatch.setattr(http_call, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(unreachable, "PATIENCE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        configure(server, f"localhost:{mute.getsockname()[1]}", "rest")
        with pytest.raises(core.ServiceUnavailable, match="no answer arrives"):
            ask()


@pytest.mark.parametrize("timeout", [None, 30])
def test_a_retry_without_a_bound(server: GeminiServer, timeout: float | None) -> None:
    """A retry of the caller's goes on for as long as it takes, or as long as the call may."""
    configure(server, server.grpc_endpoint, timeout=timeout)
    server.fail(2, "UNAVAILABLE")
    retry = Retry(initial=0.001, timeout=None)
    options: Any = {"retry": retry, "timeout": None}
    assert genai.GenerativeModel(MODEL).generate_content("hi", request_options=options).text
    assert len(server.requests) == 3
