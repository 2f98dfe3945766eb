"""Tokens: fetched once for all who wait, used until their margin, never waited for without end."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.auth import jwt
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials as EndUser

from genai_config._auth import credentials as _credentials
from genai_config._auth import flights
from genai_config._auth import headers as _headers
from genai_config._auth.credentials import Found
from genai_config._auth.token import Token
from genai_config._auth.token_source import TokenSource
from genai_config._routing.decision import BASE_SCOPES, TUNED_SCOPES
from genai_config._settings.model import GenAIConfig
from genai_config.exceptions import (
    CredentialsNotFoundError,
    CredentialsTimeoutError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Endpoint:
    """A token source of the server's workload, and what there is to see of it.

    Attributes:
        started: Set as soon as a flight is about to fetch a token.
        clock: The time of day.
        steady: The time of the clock that nobody sets.
        found: How often credentials were looked for.
        flight: The thread that fetched last.
    """

    def __init__(self, server: GeminiServer) -> None:
        self.tokens = server.tokens
        self.file = server.external_account_file()
        self.clock = Clock()
        self.steady = Clock()
        self.started = threading.Event()
        self.found = 0
        self.flight = threading.current_thread()
        self._session = requests.Session()

    def source(self, auth_timeout: float = 10) -> TokenSource:
        """A new source."""
        return TokenSource(self._find, self._request, auth_timeout, self.clock, self.steady)

    def landed(self) -> None:
        """Waits until the next flight has left and landed."""
        assert self.started.wait(10)
        self.flight.join(10)
        self.started.clear()

    def _find(self) -> Found:
        self.found += 1
        return _credentials.find(self.file, TUNED_SCOPES)

    def _request(self) -> Request:
        self.flight = threading.current_thread()
        self.started.set()
        return Request(self._session)

    def close(self) -> None:
        """Answers those that wait still, and hangs up."""
        self.tokens.release()
        self._session.close()


@pytest.fixture
def endpoint(server: GeminiServer) -> Iterator[Endpoint]:
    """The token endpoint of this test's server."""
    opened = Endpoint(server)
    yield opened
    opened.close()


async def started(endpoint: Endpoint) -> None:
    """Waits until a flight has left."""
    assert await asyncio.to_thread(endpoint.started.wait, 10)


class Given(Credentials):
    """Credentials of a user's own, whose refresh is a function."""

    def __init__(self, refresh: Callable[[Given], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self._function = refresh

    def refresh(self, request: Any) -> None:
        """Calls the function."""
        del request
        self._function(self)


def source_of(credentials: Any, clock: Callable[[], float] = time.time) -> TokenSource:
    """A source of credentials that need no network."""
    found = Found(credentials, "these", None, None)
    return TokenSource(lambda: found, lambda: None, 30, clock)


def flight() -> flights.Flight:
    """A flight that nobody waits for."""
    return flights.Flight(time.monotonic())


def no_thread(_: threading.Thread) -> None:
    """Starts none: the system has no more."""
    raise RuntimeError("can't start new thread")


class TestOneForAll:
    def test_threads_share_one_refresh(self, endpoint: Endpoint) -> None:
        """Sixty-four threads that come at once cost one request."""
        source = endpoint.source()
        endpoint.tokens.hang()
        barrier = threading.Barrier(65)

        def token(_: int) -> str:
            barrier.wait(10)
            return source.token()

        with ThreadPoolExecutor(64) as threads:
            tokens = threads.map(token, range(64))
            barrier.wait(10)
            assert endpoint.started.wait(10)
            endpoint.tokens.release()
            assert len(set(tokens)) == 1
        assert (endpoint.tokens.count, endpoint.found) == (1, 1)

    async def test_tasks_share_one_refresh(self, endpoint: Endpoint) -> None:
        """So do two hundred and fifty-six tasks."""
        source = endpoint.source()
        endpoint.tokens.hang()
        tasks = [asyncio.create_task(source.token_async()) for _ in range(256)]
        await started(endpoint)
        endpoint.tokens.release()
        assert len(set(await asyncio.gather(*tasks))) == 1
        assert (endpoint.tokens.count, endpoint.found) == (1, 1)

    async def test_threads_and_tasks_share_one_refresh(self, endpoint: Endpoint) -> None:
        """A thread's flight is boarded by a task."""
        source = endpoint.source()
        endpoint.tokens.hang()
        thread = asyncio.create_task(asyncio.to_thread(source.token))
        await started(endpoint)
        task = asyncio.create_task(source.token_async())
        await asyncio.sleep(0)
        endpoint.tokens.release()
        assert await thread == await task
        assert endpoint.tokens.count == 1

    def test_event_loops_share_one_token(self, endpoint: Endpoint) -> None:
        """Loops that follow one another, and run beside one another, use the same source."""
        source = endpoint.source()
        first = {asyncio.run(source.token_async()) for _ in range(2)}
        source.invalidate(*first)
        endpoint.tokens.hang()
        endpoint.started.clear()
        with ThreadPoolExecutor(4) as threads:
            others = [threads.submit(lambda: asyncio.run(source.token_async())) for _ in range(4)]
            assert endpoint.started.wait(10)
            endpoint.tokens.release()
            second = {other.result() for other in others}
        assert (len(first), len(second), endpoint.tokens.count) == (1, 1, 2)
        assert first != second

    async def test_credentials_are_found_once(self, endpoint: Endpoint) -> None:
        """Whoever asks first finds them for all, and a token needs no other look."""
        source = endpoint.source()
        found = await source.found_async()
        assert source.found() is found
        assert await source.found_async() is found
        await source.token_async()
        assert endpoint.found == 1

    def test_a_flight_that_lands_before_the_next_starts(self, endpoint: Endpoint) -> None:
        """Who found no token, and then starts a flight after all, takes the one just fetched."""
        source = endpoint.source()
        token = source.token()
        assert source._renew(flight()).value == token
        assert endpoint.tokens.count == 1


class TestWindows:
    @pytest.fixture
    def source(self, endpoint: Endpoint) -> TokenSource:
        """A source that has fetched one token."""
        source = endpoint.source()
        source.token()
        endpoint.landed()
        return source

    def test_a_token_is_renewed_behind_everybodys_back(
        self, endpoint: Endpoint, source: TokenSource
    ) -> None:
        """Before an hour's token ends, one request is made for another; nobody waits for it."""
        first = source.token()
        endpoint.clock.now += 3600 - 225 - 5
        assert source.token() == first
        assert not endpoint.started.is_set()
        endpoint.clock.now += 60
        endpoint.tokens.hang()
        with ThreadPoolExecutor(64) as threads:
            assert set(threads.map(lambda _: source.token(), range(64))) == {first}
            assert asyncio.run(source.token_async()) == first
        endpoint.tokens.release()
        endpoint.landed()
        assert source.token() != first
        assert (endpoint.tokens.count, endpoint.found) == (2, 1)

    def test_a_token_at_its_end_is_waited_for(
        self, endpoint: Endpoint, source: TokenSource
    ) -> None:
        """In its last minute nobody is given it, and all wait for the one request for another."""
        first = source.token()
        endpoint.clock.now += 3600 - 59
        endpoint.tokens.hang()
        with ThreadPoolExecutor(64) as threads:
            tokens = threads.map(lambda _: source.token(), range(64))
            assert endpoint.started.wait(10)
            endpoint.tokens.release()
            assert len({first, *tokens}) == 2
        assert endpoint.tokens.count == 2

    async def test_tasks_renew_as_well(self, endpoint: Endpoint) -> None:
        """It is the same for tasks."""
        source = endpoint.source()
        first = await source.token_async()
        assert await source.token_async() == first
        endpoint.clock.now += 3600
        assert await source.token_async() != first

    def test_a_short_lived_token_has_short_windows(self, endpoint: Endpoint) -> None:
        """A token of a hundred seconds is left alone for ninety, and used for ninety-seven."""
        endpoint.tokens.lifetime = 100
        source = endpoint.source()
        first = source.token()
        endpoint.landed()
        endpoint.clock.now += 88
        assert source.token() == first
        assert not endpoint.started.is_set()
        endpoint.clock.now += 6
        assert source.token() == first
        endpoint.landed()
        second = source.token()
        assert second != first
        endpoint.clock.now += 101
        assert source.token() != second
        assert endpoint.tokens.count == 3

    def test_not_all_at_once(self) -> None:
        """Sources that got their tokens together do not all renew them together."""

        def refresh(it: Given) -> None:
            it.token = "ya29.given"
            it.expiry = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
            it.expiry += dt.timedelta(hours=1)

        margins = {3600 - source_of(Given(refresh))._renew(flight()).stale for _ in range(64)}
        assert max(margins) - min(margins) > 5
        assert all(0.8 * 225 - 1 < margin < 225 + 1 for margin in margins)

    def test_one_that_fails_is_logged(
        self, endpoint: Endpoint, source: TokenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The valid token serves on; the log says why, and none of the secrets; later: again."""
        first = source.token()
        endpoint.clock.now += 3600 - 170
        body = {"error": "invalid_grant", "error_description": f"{first} 1//0a-refresh-token"}
        endpoint.tokens.fail(1, status=400, body=body)
        assert source.token() == first
        endpoint.landed()
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("genai_config.tokens", "WARNING")
        assert "invalid_grant" in record.getMessage()
        assert first not in caplog.text
        assert "0a-refresh-token" not in caplog.text
        # Nobody is held up by it, not even by a search for the credentials.
        assert source.token() == first
        assert source.found() is source.found()
        assert not source._flights
        assert (endpoint.tokens.count, endpoint.found) == (2, 1)
        endpoint.steady.now += 0.2 * (225 - 60)
        assert source.token() == first
        endpoint.landed()
        assert source.token() != first
        assert (endpoint.tokens.count, endpoint.found) == (3, 2)

    def test_who_comes_between_a_failure_and_the_pause(
        self, endpoint: Endpoint, source: TokenSource
    ) -> None:
        """A flight that was asked for before another had failed does not try again at once."""
        endpoint.clock.now += 3600 - 170
        endpoint.tokens.fail(1, status=400, body="no")
        first = source.token()
        endpoint.landed()
        assert source._renew(flight()).value == first
        assert endpoint.tokens.count == 2

    @pytest.mark.parametrize("end", ["dies", "is refused"])
    async def test_one_that_fails_when_the_token_has_gone(
        self, endpoint: Endpoint, end: str
    ) -> None:
        """A token that ends while another is fetched serves nobody: who waits hears of it."""
        source = endpoint.source()
        first = await source.token_async()
        await asyncio.to_thread(endpoint.landed)
        endpoint.clock.now += 3600 - 170
        endpoint.tokens.hang()
        endpoint.tokens.fail(1, status=400, body="no")
        assert await source.token_async() == first
        await started(endpoint)
        if end == "dies":
            endpoint.clock.now += 170
        else:
            source.invalidate(first)
        waiter = asyncio.create_task(source.token_async())
        await asyncio.sleep(0)
        endpoint.tokens.release()
        with pytest.raises(TokenRefreshError):
            await waiter
        assert endpoint.tokens.count == 2

    def test_a_thread_that_cannot_be_started(
        self,
        endpoint: Endpoint,
        source: TokenSource,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Without a thread the token is not renewed, and serves on."""
        first = source.token()
        endpoint.clock.now += 3600 - 170
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            assert source.token() == first
            assert source.token() == first
        assert caplog.text.count("can't start new thread") == 1


class TestClocks:
    def test_one_that_is_set_forward(self, endpoint: Endpoint) -> None:
        """Everything looks old then: one request is made, and its token is kept."""
        source = endpoint.source()
        first = source.token()
        endpoint.clock.now += 10_000
        second = source.token()
        assert second != first
        assert source.token() == second
        assert endpoint.tokens.count == 2

    def test_one_that_is_far_ahead(self, endpoint: Endpoint) -> None:
        """Tokens that seem to have ended before they came are used for a minute."""
        endpoint.clock.now += 10_000
        source = endpoint.source()
        first = source.token()
        endpoint.clock.now += 59
        assert source.token() == first
        endpoint.clock.now += 2
        assert source.token() != first
        assert endpoint.tokens.count == 2

    def test_one_that_is_set_back(self, endpoint: Endpoint) -> None:
        """A token does not get younger: after an hour it is renewed, whatever the clock says."""
        source = endpoint.source()
        first = source.token()
        endpoint.clock.now -= 10_000
        endpoint.steady.now += 3000
        assert source.token() == first
        endpoint.steady.now += 600
        assert source.token() != first
        assert endpoint.tokens.count == 2

    def test_a_token_without_an_end(self) -> None:
        """It is used until it is refused."""
        tokens = iter(("first", "second"))
        clock = Clock()
        source = source_of(Given(lambda it: setattr(it, "token", next(tokens))), clock)
        assert source.token() == "first"
        clock.now += 1e9
        assert source.token() == "first"
        source.invalidate("first")
        assert source.token() == "second"


class TestWhatCredentialsBring:
    def test_a_token_that_came_with_them(self, endpoint: Endpoint) -> None:
        """A bare access token is used as it is: there may be nothing to refresh it with."""
        source = source_of(EndUser("ya29.given"))
        assert source.token() == "ya29.given"
        source.invalidate("ya29.given")
        with pytest.raises(TokenRefreshError, match="cannot be renewed"):
            source.token()
        assert endpoint.tokens.count == 0

    def test_a_token_that_came_with_them_and_is_old(self, server: GeminiServer) -> None:
        """One that has run out is renewed, and so is one that runs out later."""
        user = server.user_credentials()
        user.token = "ya29.given"
        user.expiry = dt.datetime.fromtimestamp(time.time() - 1, dt.timezone.utc).replace(
            tzinfo=None
        )
        clock = Clock()
        found = Found(user, "these", None, None)
        with requests.Session() as session:
            source = TokenSource(lambda: found, lambda: Request(session), 30, clock)
            first = source.token()
            assert first != "ya29.given"
            clock.now += 3600 - 50
            # Still good for google-auth's own eyes, but ours have seen it, and its margin.
            assert source.token() != first
        assert server.tokens.count == 2

    def test_a_token_of_bytes(self, server: GeminiServer) -> None:
        """A self-signed token of google.auth.jwt is bytes; headers want text."""
        credentials = jwt.Credentials.from_service_account_info(
            server.service_account_info(), audience="https://localhost/"
        )
        assert source_of(credentials).token().startswith("eyJ")

    def test_no_token_at_all(self) -> None:
        """Anonymous credentials have none, and are never asked to refresh."""
        assert source_of(AnonymousCredentials()).token() == ""

    def test_our_own_error(self) -> None:
        """Credentials that end in one of this library's errors are not explained once more."""

        def fail(_: object) -> None:
            raise CredentialsNotFoundError("Nothing here.")

        with pytest.raises(CredentialsNotFoundError, match=re.escape("Nothing here.")):
            source_of(Given(fail)).token()


class TestInvalidate:
    def test_the_refused_token_is_forgotten(self, endpoint: Endpoint) -> None:
        """A token that the service refused is not used again."""
        source = endpoint.source()
        first = source.token()
        source.invalidate(first)
        assert source.token() != first

    def test_a_newer_token_is_kept(self, endpoint: Endpoint) -> None:
        """Many that were refused with the same token lead to one refresh."""
        source = endpoint.source()
        first = source.token()
        source.invalidate(first)
        second = source.token()
        source.invalidate(first)
        assert source.token() == second
        assert endpoint.tokens.count == 2

    def test_before_there_is_one(self, endpoint: Endpoint) -> None:
        """Nothing is forgotten, and nothing fails."""
        endpoint.source().invalidate("any")


class TestFailure:
    def test_a_failure_is_not_remembered(self, endpoint: Endpoint) -> None:
        """The next who asks tries again, and with what is on disk by then."""
        source = endpoint.source()
        endpoint.tokens.fail(1, status=400, body="no")
        with pytest.raises(TokenRefreshError) as caught:
            source.token()
        assert isinstance(caught.value, RefreshError)
        assert source.token()
        assert (endpoint.tokens.count, endpoint.found) == (2, 2)

    async def test_everybody_on_the_flight_hears_of_it(self, endpoint: Endpoint) -> None:
        """One failure reaches all who waited for it."""
        source = endpoint.source()
        endpoint.tokens.hang()
        endpoint.tokens.fail(1, status=400, body="no")
        tasks = [asyncio.create_task(source.token_async()) for _ in range(8)]
        await started(endpoint)
        endpoint.tokens.release()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in errors} == {TokenRefreshError}
        assert endpoint.tokens.count == 1

    @pytest.mark.parametrize(
        "error", [RefreshError(), RefreshError("RefreshError", {"id_token": 1})]
    )
    def test_an_error_without_words(self, error: RefreshError) -> None:
        """Its kind is told, and never the body that google-auth keeps beside it."""

        def refresh(_: object) -> None:
            raise error

        with pytest.raises(TokenRefreshError) as caught:
            source_of(Given(refresh)).token()
        assert caught.value.problem == "No access token from these: RefreshError"

    def test_an_answer_without_a_token(self) -> None:
        """A refresh that ends well and brings nothing is a failure: nothing is sent without."""
        with pytest.raises(TokenRefreshError, match="no token in the answer"):
            source_of(Given(lambda _: None)).token()

    def test_a_thread_that_cannot_be_started(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the caller's error at once, and leaves no flight for others to wait for."""
        source = endpoint.source()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(TokenRefreshError, match="can't start"):
                source.token()
        assert source.token()

    def test_credentials_that_are_not_there(self) -> None:
        """What finding them says is what the caller hears, from every verb."""

        def find() -> Found:
            raise CredentialsNotFoundError("Nowhere.")

        source = TokenSource(find, lambda: None, 30)
        for ask in (source.token, source.found):
            with pytest.raises(CredentialsNotFoundError, match=re.escape("Nowhere.")):
                ask()

    def test_a_token_shows_nothing_of_itself(self) -> None:
        """Its repr has its windows alone."""
        assert repr(Token("ya29.secret", 12.5, 60)) == "Token(stale=12.5, dead=60)"


class TestTimeout:
    def test_an_endpoint_that_hangs(self, endpoint: Endpoint) -> None:
        """The caller hears in time who hangs, for whom, and what to do."""
        source = endpoint.source(auth_timeout=0.5)
        endpoint.tokens.hang()
        with pytest.raises(CredentialsTimeoutError) as caught:
            source.token()
        error = caught.value
        assert "http://localhost:" in error.problem
        whom = "google.auth.identity_pool.Credentials from "
        assert f"/token has not returned a token for {whom}" in error.problem
        assert str(endpoint.file) in error.problem
        assert error.problem.endswith("within auth_timeout=0.5 s.")
        assert "a proxy? a firewall?" in error.remedy
        assert isinstance(error, (TimeoutError, RefreshError))

    async def test_an_endpoint_that_hangs_for_a_task(self, endpoint: Endpoint) -> None:
        """It is the same for tasks."""
        source = endpoint.source(auth_timeout=0.5)
        endpoint.tokens.hang()
        with pytest.raises(CredentialsTimeoutError, match="/token has not returned a token"):
            await source.token_async()

    async def test_a_search_that_hangs(self) -> None:
        """Before there are credentials, the remedy is about finding them."""
        found, given_up = Found(AnonymousCredentials(), "these", None, None), threading.Event()

        def find() -> Found:
            given_up.wait(10)
            return found

        source = TokenSource(find, lambda: None, 0.05)
        with pytest.raises(CredentialsTimeoutError, match="were found within") as sync:
            source.found()
        with pytest.raises(CredentialsTimeoutError, match="were found within") as awaited:
            await source.found_async()
        given_up.set()
        for caught in (sync, awaited):
            assert "set NO_GCE_CHECK=true" in caught.value.remedy

    def test_a_search_that_hangs_after_a_failure(self) -> None:
        """When a token could not be had and then finding hangs, the error is about finding."""
        hang, given_up = threading.Event(), threading.Event()
        found = Found(Given(lambda _: None), "these", None, None)

        def find() -> Found:
            if hang.is_set():
                given_up.wait(10)
            return found

        source = TokenSource(find, lambda: None, 0.2)
        with pytest.raises(TokenRefreshError, match="no token in the answer"):
            source.token()
        hang.set()
        with pytest.raises(CredentialsTimeoutError, match="No OAuth credentials were found"):
            source.token()
        given_up.set()

    async def test_a_timeout_of_ours_is_passed_on(self) -> None:
        """Finding that ran into a bound of its own is not reported as this one's."""

        def find() -> Found:
            raise CredentialsTimeoutError("Elsewhere.")

        source = TokenSource(find, lambda: None, 30)
        with pytest.raises(CredentialsTimeoutError, match=re.escape("Elsewhere.")):
            source.found()
        with pytest.raises(CredentialsTimeoutError, match=re.escape("Elsewhere.")):
            await source.found_async()

    @pytest.mark.parametrize(
        "error", [TimeoutError("slow"), TransportError(requests.ReadTimeout("slow"))]
    )
    def test_a_bound_of_the_transports(self, error: Exception) -> None:
        """Whoever boards a flight late hears that it timed out as all the others do."""

        def refresh(_: object) -> None:
            raise error

        with pytest.raises(CredentialsTimeoutError, match="No access token came from these within"):
            source_of(Given(refresh)).token()

    def test_who_gave_up_may_ask_again(self, endpoint: Endpoint) -> None:
        """The flight goes on: when the endpoint recovers, its token serves all."""
        source = endpoint.source(auth_timeout=0.05)
        endpoint.tokens.hang()
        with pytest.raises(CredentialsTimeoutError):
            source.token()
        endpoint.tokens.release()
        endpoint.flight.join(10)
        assert source.token()
        assert endpoint.tokens.count == 1

    def test_a_loop_that_is_gone_when_the_flight_lands(
        self, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A program that gave up and ended its loop hears no more of it."""
        source = endpoint.source(auth_timeout=0.05)
        endpoint.tokens.hang()
        with pytest.raises(CredentialsTimeoutError):
            asyncio.run(source.token_async())
        endpoint.tokens.release()
        endpoint.flight.join(10)
        assert not caplog.records

    def test_the_process_ends_all_the_same(self) -> None:
        """A search that never comes back keeps no process alive."""
        program = """
            import threading
            from genai_config._auth.token_source import TokenSource
            from genai_config.exceptions import CredentialsTimeoutError

            source = TokenSource(threading.Event().wait, lambda: None, 0.05)
            try:
                source.token()
            except CredentialsTimeoutError:
                print("gave up")
        """
        assert run(program) == "gave up"


class TestEventLoop:
    async def test_the_loop_goes_on_while_a_refresh_hangs(self, endpoint: Endpoint) -> None:
        """A waiting task blocks nobody."""
        source = endpoint.source()
        endpoint.tokens.hang()
        waiter = asyncio.create_task(source.token_async())
        await started(endpoint)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not waiter.done()
        endpoint.tokens.release()
        assert await waiter

    async def test_who_is_cancelled_leaves_the_flight_to_the_others(
        self, endpoint: Endpoint
    ) -> None:
        """The others get the token that the first had asked for."""
        source = endpoint.source()
        endpoint.tokens.hang()
        first, second = (asyncio.create_task(source.token_async()) for _ in range(2))
        await started(endpoint)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        endpoint.tokens.release()
        assert await second
        assert endpoint.tokens.count == 1


class TestSources:
    def test_one_source_for_equal_settings(self, server: GeminiServer) -> None:
        """Configurations that differ in nothing that matters here share their tokens."""
        file = server.service_account_file()
        one = GenAIConfig(credentials=file, quota_project="my-project", timeout=3)
        other = GenAIConfig(credentials=file, quota_project="other-project", transport="rest")
        assert _headers.source_for(one, TUNED_SCOPES) is _headers.source_for(other, TUNED_SCOPES)

    def test_what_makes_another_source(self, server: GeminiServer) -> None:
        """Other credentials, scopes, audiences, bounds and ways have tokens of their own."""
        file = server.service_account_file()
        config = GenAIConfig(credentials=file)
        sources = {_headers.source_for(config, scopes) for scopes in (TUNED_SCOPES, BASE_SCOPES)}
        for change in (
            {"credentials": server.service_account_file()},
            {"auth_timeout": 7},
            {"ca_certs": server.ca_file},
            {"proxy": "http://localhost:1"},
            {"client_options": {"api_audience": "https://example.com/"}},
        ):
            sources.add(_headers.source_for(config.merge(**change), TUNED_SCOPES))
        assert len(sources) == 7

    @pytest.mark.usefixtures("adc")
    def test_forgetting_them(self) -> None:
        """After a reset credentials are found anew."""
        before = _headers.source_for(GenAIConfig(), TUNED_SCOPES)
        _headers.forget_sources()
        assert _headers.source_for(GenAIConfig(), TUNED_SCOPES) is not before

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    def test_a_forked_child_starts_with_none(self, adc: Path) -> None:
        """A child has none of its parent's sources, whose flights have no thread there."""
        program = """
            import os, sys, threading
            from genai_config._auth import headers as _headers
            from genai_config._settings.model import GenAIConfig

            inside = threading.Event()

            def find(credentials, scopes, audience):
                inside.set()
                threading.Event().wait()

            real, _headers._credentials.find = _headers._credentials.find, find
            config = GenAIConfig(auth_timeout=10)
            source = _headers.source_for(config, ("scope",))
            threading.Thread(target=source.token, daemon=True).start()
            inside.wait()
            _headers._credentials.find = real
            child = os.fork()
            if not child:
                fresh = _headers.source_for(config, ("scope",))
                found = fresh is not source and bool(fresh.token())
                os._exit(0 if found else 1)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), len(_headers._POOL))
        """
        assert run(program, GOOGLE_APPLICATION_CREDENTIALS=os.fspath(adc)) == "0 1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
class TestFork:
    """A source that somebody holds works in a forked child, whatever the parent was at."""

    def test_during_a_refresh(self) -> None:
        """The child fetches a token of its own, though lock and flight are its parent's."""
        program = """
            import faulthandler, os, threading
            from requests.adapters import HTTPAdapter
            from google.auth.transport.requests import Request
            from genai_config._auth import credentials as _credentials
            from genai_config._auth.token_source import TokenSource
            from genai_config.testing import GeminiServer

            asked, real = threading.Event(), HTTPAdapter.send

            def send(adapter, request, **options):
                # Not sooner: Python keeps a module locked that is imported during a fork.
                asked.set()
                return real(adapter, request, **options)

            HTTPAdapter.send = send
            with GeminiServer() as server:
                file = server.external_account_file()
                source = TokenSource(lambda: _credentials.find(file, ()), Request, 10)
                server.tokens.hang()
                threading.Thread(target=source.token, daemon=True).start()
                asked.wait(10)
                with source._lock:
                    child = os.fork()
                    if not child:
                        faulthandler.dump_traceback_later(20, exit=True)
                        os._exit(0 if source.token().startswith("ya29.") else 1)
                server.tokens.release()
                _, status = os.waitpid(child, 0)
                print(os.waitstatus_to_exitcode(status), source.token().startswith("ya29."))
        """
        assert run(program) == "0 True"

    def test_while_a_token_is_renewed(self) -> None:
        """The child goes on with the token that is valid, and renews it by itself."""
        program = """
            import faulthandler, os, threading, time
            from google.auth.transport.requests import Request
            from genai_config._auth import credentials as _credentials
            from genai_config._auth.token_source import TokenSource
            from genai_config.testing import GeminiServer

            now, asked, flights = [time.time()], threading.Event(), []

            def request():
                flights.append(threading.current_thread())
                asked.set()
                return Request()

            def clock():
                return now[0]

            with GeminiServer() as server:
                file = server.external_account_file()
                source = TokenSource(
                    lambda: _credentials.find(file, ()), request, 10, clock, clock
                )
                first = source.token()
                flights[0].join()
                asked.clear()
                now[0] += 3600 - 170
                server.tokens.hang()
                assert source.token() == first
                asked.wait(10)
                child = os.fork()
                if not child:
                    faulthandler.dump_traceback_later(20, exit=True)
                    same = source.token() == first
                    now[0] += 170
                    os._exit(0 if same and source.token() != first else 1)
                server.tokens.release()
                _, status = os.waitpid(child, 0)
                print(os.waitstatus_to_exitcode(status))
        """
        assert run(program) == "0"

    def test_what_is_left_and_what_is_kept(self, endpoint: Endpoint) -> None:
        """Lock and flights are new; the token is kept, and for the next all is looked for anew."""
        source = endpoint.source()
        first = source.token()
        source._flights[source._renew] = flight()
        source._lock.acquire()
        flights._start_all_anew()
        assert source.token() == first
        assert endpoint.found == 1
        source.invalidate(first)
        assert source.token() != first
        assert (endpoint.tokens.count, endpoint.found) == (2, 2)


def run(program: str, **environ: str) -> str:
    """What a program prints that runs in a process of its own, which has to end by itself."""
    done = subprocess.run(  # noqa: S603 -- the tests' own programs
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environ},
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    sys.stderr.write(done.stderr)  # a child that hangs says where
    return done.stdout.strip()
