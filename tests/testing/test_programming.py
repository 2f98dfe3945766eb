from __future__ import annotations

import asyncio
import concurrent.futures
import re
from typing import Any

import pytest
import requests
from google.ai import generativelanguage_v1beta as glm
from google.api_core import exceptions, retry

from genai_config.testing import FakeClock, GeminiServer
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.programming import Programming

BASE = "models/gemini-3.6-flash"
REQUEST = glm.GenerateContentRequest(model=BASE, contents=[{"parts": [{"text": "hi"}]}])


@pytest.fixture
def ask(server: GeminiServer, wire: Any) -> Any:
    """Asks once, without retries, and returns the text."""
    client = wire.client("GenerativeService")
    metadata = [("x-goog-api-key", server.api_key())]

    def once(again: Any = None, **options: Any) -> str:
        response = client.generate_content(REQUEST, metadata=metadata, retry=again, **options)
        return str(response.candidates[0].content.parts[0].text)

    return once


def post(server: GeminiServer, key: str, method: str = "generateContent") -> requests.Response:
    """Asks once over plain HTTP, on a connection of its own."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"https://{server.rest_endpoint}/v1beta/{BASE}:{method}"
        return session.post(url, params={"key": key}, json={}, verify=str(server.ca_file))


def test_dropped(server: GeminiServer, ask: Any) -> None:
    """The connection is cut, and the next request makes a new one."""
    ask()
    server.drop()
    with pytest.raises((exceptions.ServiceUnavailable, requests.ConnectionError)):
        ask()
    # The client may be about to notice that the connection is gone.
    ask(retry.Retry(retry.if_exception_type(exceptions.ServiceUnavailable), initial=0.01))
    first, dropped, last = server.requests
    assert (first.status, dropped.status, last.status) == ("OK", "UNAVAILABLE", "OK")
    assert first.connection == dropped.connection != last.connection


def test_dropped_alone(server: GeminiServer, http: requests.Session) -> None:
    """Over REST the connections of others stay."""
    key = server.api_key()
    url = f"https://{server.rest_endpoint}/v1beta/{BASE}:generateContent?key={key}"
    assert http.post(url, json={}).ok
    server.drop()
    with pytest.raises(requests.ConnectionError):
        post(server, key)
    assert http.post(url, json={}).ok
    first, _, last = server.requests
    assert first.connection == last.connection


def test_dropped_stream(server: GeminiServer, channel: Any) -> None:
    """A stream is cut before it begins."""
    server.drop()
    client = glm.GenerativeServiceClient(
        transport=glm.GenerativeServiceClient.get_transport_class("grpc")(channel=channel)
    )
    metadata = [("x-goog-api-key", server.api_key())]
    with pytest.raises(exceptions.ServiceUnavailable):
        list(client.stream_generate_content(REQUEST, metadata=metadata, retry=None))


def test_delayed(server: GeminiServer, ask: Any) -> None:
    """Requests wait for as long as they are told, or until they are released."""
    server.delay(0.01)
    assert ask()
    server.delay(3600)
    with pytest.raises((exceptions.DeadlineExceeded, requests.ReadTimeout)):
        ask(timeout=0.05)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask)
        while not waiting.done():
            server.release()
    assert waiting.result()
    server.delay(0)
    assert ask()


@pytest.mark.parametrize(
    ("program", "form"),
    [
        (lambda server: server.fail("RESOURCE_EXHAUSTED"), 'fail(1, "RESOURCE_EXHAUSTED")'),
        (lambda server: server.drop("next"), "drop(1)"),
        (lambda server: server.tokens.fail("invalid_grant"), "tokens.fail(1, 500)"),
    ],
)
def test_how_many_comes_first(server: GeminiServer, program: Any, form: str) -> None:
    """What is no number is refused with the right form, before any request."""
    with pytest.raises(TypeError, match=re.escape(form)):
        program(server)


def test_failures_then_success(server: GeminiServer, ask: Any) -> None:
    """Some requests fail, then all is well."""
    server.fail(2)
    for _ in range(2):
        with pytest.raises(exceptions.ServiceUnavailable):
            ask()
    assert ask()


def test_an_error_of_the_service_is_an_answer(server: GeminiServer, ask: Any) -> None:
    """A function may raise what the SDK's callers know; it is no error of the test."""

    def busy(_: Any) -> str:
        raise exceptions.ResourceExhausted("slow down")

    server.respond("*", busy)
    with pytest.raises(exceptions.TooManyRequests, match="slow down"):
        ask()
    assert server.errors == []


def test_a_quota_says_when_another_try_makes_sense(
    server: GeminiServer, ask: Any, wire: Any
) -> None:
    """What is beyond it is refused with the seconds that are left, until it is lifted."""
    server.limit(2, 3600)
    assert ask()
    assert ask()
    with pytest.raises(exceptions.TooManyRequests, match="2 requests in 3600 seconds") as caught:
        ask()
    (detail,) = caught.value.details
    if wire.name == "grpc":
        delay = detail.retry_delay.ToTimedelta().total_seconds()
    else:
        delay = float(detail["retryDelay"].removesuffix("s"))
    assert 0 < delay <= 3600
    server.limit(None)
    assert ask()
    assert [r.status for r in server.requests] == ["OK", "OK", "RESOURCE_EXHAUSTED", "OK"]


def test_a_quota_begins_anew() -> None:
    """With the first request after the window has ended, by the server's clock."""
    clock = FakeClock()
    programming = Programming(clock)
    programming.limit(1, 5)
    for _ in range(2):
        programming.enter()
        clock.advance(2)
        with pytest.raises(ServiceError) as caught:
            programming.enter()
        assert caught.value.retry_after == 3
        clock.advance(3)


def broken(_: Any) -> str:
    """An answer that fails the test it was written for."""
    pytest.fail("not this prompt")


def provoke(server: GeminiServer) -> requests.Response:
    """Makes a request whose answer fails."""
    server.respond("*", broken)
    return post(server, server.api_key())


def test_errors_come_out(caplog: pytest.LogCaptureFixture) -> None:
    """What a function raised is raised when the block ends, and logged."""

    def block() -> None:
        with GeminiServer() as server:
            assert provoke(server).status_code == 500
            assert server.requests[0].status == "INTERNAL"

    with pytest.raises(pytest.fail.Exception, match="not this prompt"):
        block()
    assert caplog.records[0].name == "genai_config.testing"
    assert "not this prompt" in caplog.text


def test_errors_come_out_of_stop() -> None:
    """Once."""
    server = GeminiServer()
    server.start()
    provoke(server)
    with pytest.raises(pytest.fail.Exception):
        server.stop()
    server.stop()


def test_errors_do_not_hide_others() -> None:
    """A block that is raising already goes on with its own error."""

    def block() -> None:
        with GeminiServer() as server:
            provoke(server)
            raise LookupError

    with pytest.raises(LookupError):
        block()


def test_errors_of_the_servers_own(
    server: GeminiServer, ask: Any, monkeypatch: pytest.MonkeyPatch, channel: Any
) -> None:
    """What nobody expects is an internal error, and the test hears of it."""

    def broken_identify(*_: Any, **__: Any) -> Any:
        raise LookupError

    monkeypatch.setattr(server._service.registry, "identify", broken_identify)
    with pytest.raises(exceptions.InternalServerError):
        ask()
    client = glm.GenerativeServiceClient(
        transport=glm.GenerativeServiceClient.get_transport_class("grpc")(channel=channel)
    )
    with pytest.raises(exceptions.InternalServerError):
        list(client.stream_generate_content(REQUEST, retry=None))
    assert [type(error) for error in server.errors] == [LookupError, LookupError]
    server.errors.clear()


def test_errors_in_the_middle(server: GeminiServer, channel: Any) -> None:
    """What fails after the first chunk is an internal error as well."""
    server.respond("*", iter(["a", 5]))
    client = glm.GenerativeServiceClient(
        transport=glm.GenerativeServiceClient.get_transport_class("grpc")(channel=channel)
    )
    metadata = [("x-goog-api-key", server.api_key())]
    stream = iter(client.stream_generate_content(REQUEST, metadata=metadata))
    assert next(stream).candidates
    with pytest.raises(exceptions.InternalServerError):
        next(stream)
    assert [type(error) for error in server.errors] == [TypeError]
    server.errors.clear()


@pytest.mark.parametrize("raised", [None, LookupError()])
async def test_async_errors(raised: Exception | None) -> None:
    """They come out of an async block as out of the other."""

    def end() -> None:
        if raised:
            raise raised

    async def block() -> None:
        async with GeminiServer() as server:
            await asyncio.to_thread(provoke, server)
            end()

    with pytest.raises(LookupError if raised else pytest.fail.Exception):
        await block()
