"""Waiting for a token: each caller has a bound and an error of their own, and nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import google.generativeai as genai
import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials as EndUser

from genai_config import GenAIConfig, safe_configure
from genai_config._auth import credentials as _credentials
from genai_config._auth import headers as _headers
from genai_config._auth import key_files
from genai_config._auth.credentials import Found
from genai_config._auth.token_source import TokenSource
from genai_config._masking import copied
from genai_config._routing.decision import TUNED_SCOPES
from genai_config._settings.secrets import SecretMapping
from genai_config.exceptions import CredentialsTimeoutError, TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer


class Given(Credentials):
    """Credentials of a user's own, whose refresh is a function."""

    def __init__(self, refresh: Callable[[Given], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self._function = refresh

    def refresh(self, request: Any) -> None:
        """Calls the function."""
        del request
        self._function(self)


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


def source_of(credentials: Any, auth_timeout: float = 30, **more: Any) -> TokenSource:
    """A source of credentials that need no network."""
    return TokenSource(
        lambda: Found(credentials, "these", None, None), lambda: None, auth_timeout, **more
    )


class Gate:
    """A refresh that fails as soon as it is let go, and gives a token from then on."""

    def __init__(self) -> None:
        self.inside, self.release = threading.Event(), threading.Event()
        self.calls = 0
        self.fails_for_ever = False

    def __call__(self, it: Given) -> None:
        self.calls += 1
        self.inside.set()
        if self.calls > 1 and not self.fails_for_ever:
            it.token = "ya29.second"
            return
        self.release.wait(10)
        raise RefreshError("no")


@pytest.fixture
def gate() -> Iterator[Gate]:
    """One that is let go at the end of the test at the latest."""
    made = Gate()
    yield made
    made.release.set()


class Prompt:
    """Something large that a request holds while it waits."""


class TestOneErrorEach:
    def test_for_threads(self, gate: Gate) -> None:
        """All who wait for one fetch that fails raise an error of their own, with their frames."""
        source, barrier = source_of(Given(gate)), threading.Barrier(33)
        gate.fails_for_ever = True

        def ask(_: int) -> TokenRefreshError:
            barrier.wait(10)
            with pytest.raises(TokenRefreshError) as caught:
                source.token()
            return caught.value

        with ThreadPoolExecutor(32) as threads:
            errors = threads.map(ask, range(32))
            barrier.wait(10)
            assert gate.inside.wait(10)
            gate.release.set()
            found = list(errors)
        assert len({id(error) for error in found}) == 32
        assert len({error.args for error in found}) == 1
        assert max(len(traceback.extract_tb(error.__traceback__)) for error in found) < 10
        assert all(error.__cause__ is error.__context__ is None for error in found)

    async def test_for_tasks(self, gate: Gate) -> None:
        """So do tasks."""
        source = source_of(Given(gate))
        tasks = [asyncio.create_task(source.token_async()) for _ in range(64)]
        assert await asyncio.to_thread(gate.inside.wait, 10)
        gate.release.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert len({id(error) for error in errors}) == 64
        for error in errors:
            assert isinstance(error, TokenRefreshError)
            assert len(traceback.extract_tb(error.__traceback__)) < 10

    def test_nothing_is_kept_alive(self, gate: Gate) -> None:
        """What a request held is gone with its error, while the source lives on."""
        source = source_of(Given(gate))
        gate.release.set()

        def request() -> weakref.ref[Prompt]:
            prompt = Prompt()
            with pytest.raises(TokenRefreshError):
                source.token()
            return weakref.ref(prompt)

        gone = request()
        gc.collect()
        assert gone() is None
        assert source.token() == "ya29.second"

    def test_notes_are_not_shared(self) -> None:
        """What one adds to their error, no other sees; all else of it is equal."""
        error = CredentialsTimeoutError("problem", "remedy")
        error.__notes__ = ["a prompt"]
        copy = copied(error)
        assert type(copy) is CredentialsTimeoutError
        assert (copy.problem, copy.remedy, copy.args) == ("problem", "remedy", error.args)
        assert not hasattr(copy, "__notes__")

    @pytest.mark.parametrize("error", [SystemExit(3), MemoryError("ya29.secret"), KeyError("x")])
    def test_an_error_that_nobody_expects(self, error: BaseException) -> None:
        """Whatever is raised where credentials are found is the caller's, as an error of ours."""

        def find() -> Found:
            raise error

        source = TokenSource(find, lambda: None, 30)
        for ask in (source.token, source.found):
            with pytest.raises(TokenRefreshError, match=type(error).__name__) as caught:
                ask()
            assert "ya29" not in str(caught.value)

    def test_no_frame_holds_a_secret(
        self, server: GeminiServer, report: Callable[[BaseException], str]
    ) -> None:
        """A report with the variables of every frame shows neither token nor refresh token."""
        user = server.user_credentials()
        source = TokenSource(
            lambda: _credentials.find(user.with_token_uri("http://localhost:1/"), TUNED_SCOPES),
            lambda: _headers._request(GenAIConfig()),
            30,
        )
        with pytest.raises(TokenRefreshError) as caught:
            source.token()
        assert report(caught.value).count("localhost:1")
        for secret in (user.refresh_token, user.client_secret):
            assert secret not in report(caught.value)


class TestAbandoned:
    def test_a_function_that_hangs_once(self, gate: Gate) -> None:
        """Who asks after `auth_timeout` is served by another call of it."""
        clock = Clock()
        source = source_of(Given(gate), 0.2, monotonic=clock)
        with pytest.raises(CredentialsTimeoutError):
            source.token()
        clock.now += 1
        assert source.token() == "ya29.second"
        gate.release.set()
        assert source.token() == "ya29.second"

    async def test_for_a_task(self, gate: Gate) -> None:
        """It is the same for tasks."""
        clock = Clock()
        source = source_of(Given(gate), 0.2, monotonic=clock)
        with pytest.raises(CredentialsTimeoutError):
            await source.token_async()
        clock.now += 1
        assert await source.token_async() == "ya29.second"

    def test_who_came_late_waits_for_the_next_too(self, gate: Gate) -> None:
        """Who boards a flight just before it is overdue spends the rest of the time on another."""
        source = source_of(Given(gate), 1)
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(source.token, 0.5)
            assert gate.inside.wait(10)
            with pytest.raises(CredentialsTimeoutError, match=r"timeout=0.5 s"):
                first.result(10)
            assert source.token() == "ya29.second"

    def test_what_comes_of_it_after_all(self) -> None:
        """The token of an abandoned fetch takes no newer one's place."""
        inside, release, clock = threading.Event(), threading.Event(), Clock()
        landed: list[threading.Thread] = []

        def find() -> Found:
            first = not landed
            landed.append(threading.current_thread())

            def refresh(it: Given) -> None:
                if first:
                    inside.set()
                    release.wait(10)
                it.token = "ya29.old" if first else "ya29.new"

            return Found(Given(refresh), "these", None, None)

        source = TokenSource(find, lambda: None, 0.1, monotonic=clock)
        with pytest.raises(CredentialsTimeoutError):
            source.token()
        clock.now += 1
        assert source.token() == "ya29.new"
        release.set()
        landed[0].join(10)
        assert source.token() == "ya29.new"

    def test_an_endpoint_that_drips(self, server: GeminiServer) -> None:
        """An answer that never ends is hung up on; the next is fetched from one that is well."""
        with socket.create_server(("localhost", 0)) as listening:
            dripping = f"http://localhost:{listening.getsockname()[1]}/token"
            addresses = [server.token_uri, dripping]
            hung_up, asked = threading.Event(), threading.Event()

            def drip() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                    asked.set()
                    with contextlib.suppress(OSError):
                        connection.settimeout(10)
                        while True:
                            connection.sendall(b" ")
                            readable, _, _ = select.select([connection], [], [], 0.01)
                            if readable and not connection.recv(4096):
                                break
                hung_up.set()

            def find() -> Found:
                info = SecretMapping({**file, "token_url": addresses.pop()})
                return _credentials.find(info, TUNED_SCOPES)

            file = key_files.read(server.external_account_file())
            clock = Clock()
            request = lambda: _headers._request(GenAIConfig())  # noqa: E731 -- one line
            source = TokenSource(find, request, 0.3, monotonic=clock)
            with ThreadPoolExecutor(1) as threads:
                threads.submit(drip)
                with pytest.raises(CredentialsTimeoutError, match=dripping):
                    source.token()
                assert asked.wait(10)
                clock.now += 1
                assert source.token(10).startswith("ya29.")
                assert hung_up.wait(10)


class TestTheCallsBound:
    def test_it_bounds_the_wait(self, gate: Gate) -> None:
        """A call's `timeout` ends its wait for a token, and its error says which bound it was."""
        source = source_of(Given(gate))
        gate.fails_for_ever = True
        for ask in (source.token, lambda s: asyncio.run(source.token_async(s))):
            with pytest.raises(CredentialsTimeoutError) as caught:
                ask(0.05)
            assert "within timeout=0.05 s." in caught.value.problem
            assert "raise timeout" in caught.value.remedy

    def test_it_bounds_the_search(self) -> None:
        """So it does where credentials are found."""
        release = threading.Event()
        source = TokenSource(lambda: release.wait(10) and None, lambda: None, 30)  # type: ignore[arg-type,return-value] # it finds nothing in time
        for ask in (source.found, lambda s: asyncio.run(source.found_async(s))):
            with pytest.raises(CredentialsTimeoutError, match=r"within timeout=0.05 s"):
                ask(0.05)
        release.set()

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_none_is_left(self, gate: Gate, timeout: float) -> None:
        """A call whose time is over does not wait; a token that is there serves it all the same."""
        source = source_of(Given(gate))
        with pytest.raises(CredentialsTimeoutError):
            source.token(timeout)
        assert source_of(EndUser("ya29.there")).token(10) == "ya29.there"

    def test_the_smaller_bound_counts(self, gate: Gate) -> None:
        """`auth_timeout` bounds a call that has more time."""
        gate.fails_for_ever = True
        with pytest.raises(CredentialsTimeoutError, match=r"within auth_timeout=0.05 s"):
            source_of(Given(gate), 0.05).token(60)


class TestWhatCannotBeSent:
    @pytest.mark.parametrize(
        "token", ["ya29.to\nken", "ya29.tokén", "ya29.token\n", b"ya29.t\xc3\xa9", "a b", 7]
    )
    def test_it_is_told_and_not_kept(
        self, token: Any, report: Callable[[BaseException], str]
    ) -> None:
        """A token that no header can carry is the endpoint's failure; the next fetch heals it."""
        tokens = [token, "ya29.good"]
        source = source_of(Given(lambda it: setattr(it, "token", tokens.pop(0))))
        with pytest.raises(TokenRefreshError, match="not ASCII") as caught:
            source.token()
        assert "ya29" not in report(caught.value)
        assert source.token() == "ya29.good"

    def test_one_that_was_given(self) -> None:
        """Credentials that come with such a token are asked for another."""
        given = Given(lambda it: setattr(it, "token", "ya29.good"))
        given.token = "ya29.bad\n"
        assert source_of(given).token() == "ya29.good"


class TestAnAnswer:
    def failure(self, server: GeminiServer, answer: bytes) -> TokenRefreshError:
        """How a fetch ends from an endpoint that sends this and hangs up."""
        with socket.create_server(("localhost", 0)) as listening, ThreadPoolExecutor(1) as threads:

            def serve() -> None:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    request = b""
                    while b"grant_type" not in request:
                        request += connection.recv(4096)
                    connection.sendall(answer)

            url = f"http://localhost:{listening.getsockname()[1]}/token"
            user = server.user_credentials().with_token_uri(url)
            source = TokenSource(
                lambda: _credentials.find(user, TUNED_SCOPES),
                lambda: _headers._request(GenAIConfig()),
                30,
            )
            threads.submit(serve)
            with pytest.raises(TokenRefreshError) as caught:
                source.token()
            return caught.value

    def test_that_is_too_long(self, server: GeminiServer) -> None:
        """It is read up to a mebibyte, whatever the endpoint announces."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 600000000\r\n\r\n"
        error = self.failure(server, head + b" " * (1 << 21))
        assert "more than 1 MiB" in error.problem

    def test_that_breaks_off(self, server: GeminiServer) -> None:
        """It is the caller's error like any other of the connection."""
        error = self.failure(server, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        assert "can be reached" in error.remedy

    def test_that_has_terminal_escapes(self, server: GeminiServer) -> None:
        """They are not printed as they are, and neither is a secret among them."""
        body = b'{"error": "\\u001b[2Jno", "error_description": "\\u202e1//0a-refresh-token"}'
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body)
        error = self.failure(server, head + body)
        assert str(error).replace("\n", "").isprintable()
        assert "0a-refresh" not in str(error)


class TestAWholeCall:
    """The bound of a call over the wire counts while it waits for its token."""

    @pytest.mark.parametrize("transport", ["grpc", "rest"])
    def test_an_endpoint_that_hangs(
        self, transport: Literal["grpc", "rest"], server: GeminiServer
    ) -> None:
        """`timeout` ends it, however long `auth_timeout` is."""
        rest = transport == "rest"
        safe_configure(
            credentials=server.external_account_file(),
            transport=transport,
            tuned_transport=transport,
            timeout=0.5,
            auth_timeout=60,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.rest_endpoint if rest else server.grpc_endpoint},
        )
        model = genai.GenerativeModel("tunedModels/mine")
        server.tokens.hang()
        begun = time.monotonic()
        for ask in (
            lambda: model.generate_content("hi"),
            lambda: asyncio.run(model.generate_content_async("hi")),
        ):
            # On a busy machine the bound of the whole call may come first.
            with pytest.raises(
                (CredentialsTimeoutError, DeadlineExceeded), match="within timeout="
            ):
                ask()
        assert time.monotonic() - begun < 20
        server.tokens.release()
