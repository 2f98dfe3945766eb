"""What the proxy answers itself, whom it lets in further, and what it puts back."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import logging.handlers
import queue
import socket
import threading
from typing import TYPE_CHECKING, Any

import openai
import pytest
from google.api_core.exceptions import NotFound, ResourceExhausted

from genai_config import get_config, safe_configure
from genai_config._clients.link import attached_to, http_options
from genai_config._clients.resolve import resolve
from genai_config._clients.signatures import Reader, Signatures
from genai_config._proxy import connection
from genai_config._proxy.server import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

PLACE = "projects/my-project/locations/global/endpoints/openapi"
KEY = "k" * 43
PROMPT: Any = [{"role": "user", "content": "hi"}]
PAGE = "http://localhost:3000"


@pytest.fixture
def start(server: GeminiServer) -> Iterator[Callable[..., Proxy]]:
    """Starts proxies to the server's Vertex AI, and ends them."""
    safe_configure(
        credentials=server.user_credentials(quota_project="quota-project"), ca_certs=server.ca_file
    )
    running: list[tuple[Proxy, threading.Thread]] = []

    def starting(**options: Any) -> Proxy:
        config = get_config()
        url = f"https://{server.rest_endpoint}/v1/{PLACE}"
        target = resolve(config, base_url=url, backend="vertex")
        attach = lambda: attached_to(config, target)  # noqa: E731 -- one line
        proxy = Proxy(target, attach, http_options(config), key=KEY, **options)
        thread = threading.Thread(target=proxy.run)
        thread.start()
        running.append((proxy, thread))
        return proxy

    yield starting
    for proxy, thread in running:
        proxy.stop()
        thread.join()


def ask(
    proxy: Proxy, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """One request and its answer: status, headers, body."""
    host = proxy.url.partition("//")[2].partition("/")[0]
    sent = {"authorization": f"Bearer {KEY}", **headers}
    asking = http.client.HTTPConnection(host, timeout=30)
    asking.request(method, path, body, {name.replace("_", "-"): v for name, v in sent.items()})
    answer = asking.getresponse()
    text = answer.read().decode()
    asking.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


class TestModels:
    def test_they_are_those_it_was_started_for(self, start: Callable[..., Proxy]) -> None:
        """Vertex AI has no list in OpenAI's form."""
        proxy = start(models=("google/one", "google/two"))
        with openai.OpenAI(api_key=KEY, base_url=proxy.url) as client:
            assert [model.id for model in client.models.list()] == ["google/one", "google/two"]
            assert client.models.retrieve("google/two").owned_by == "google"
            with pytest.raises(openai.NotFoundError, match="--model google/three"):
                client.models.retrieve("google/three")

    def test_other_lists_are_the_services(
        self, start: Callable[..., Proxy], server: GeminiServer
    ) -> None:
        """What it does not have, it says."""
        status, _, text = ask(start(models=("one",)), "GET", "/v1/files")
        assert (status, "does not have /files" in text) == (404, True)
        assert server.requests

    def test_the_service_is_asked_without_any(
        self, start: Callable[..., Proxy], server: GeminiServer
    ) -> None:
        """What it answers comes in OpenAI's form."""
        ask(start(), "GET", "/v1/models")
        assert server.requests


class TestErrors:
    def test_googles_errors_come_in_openais_form(
        self, start: Callable[..., Proxy], server: GeminiServer
    ) -> None:
        """With the service's reason and the remedy; the status and Retry-After are kept."""
        server.respond("*", ResourceExhausted("slow down"))
        with (
            openai.OpenAI(api_key=KEY, base_url=start().url, max_retries=0) as client,
            pytest.raises(openai.RateLimitError) as caught,
        ):
            client.chat.completions.create(model="gemini-test", messages=PROMPT)
        assert caught.value.type == "rate_limit_error"
        assert "no body" not in str(caught.value)

    def test_a_refused_model(self, start: Callable[..., Proxy], server: GeminiServer) -> None:
        """The remedy is the one that OpenAI's clients of this library read."""
        server.respond("*", NotFound("no such model"))
        with (
            openai.OpenAI(api_key=KEY, base_url=start().url, max_retries=0) as client,
            pytest.raises(openai.NotFoundError, match="gcloud ai endpoints list"),
        ):
            client.chat.completions.create(model="gemini-test", messages=PROMPT)


class TestAccess:
    def test_another_name_of_the_machine(self, start: Callable[..., Proxy]) -> None:
        """It is allowed by name, whatever its case, and no other is."""
        proxy = start(hosts=("host.docker.internal",), models=("one",))
        assert ask(proxy, "GET", "/v1/models", host="Host.Docker.Internal:80")[0] == 200
        assert ask(proxy, "GET", "/v1/models", host="evil.example")[0] == 403

    def test_an_allowed_page(self, start: Callable[..., Proxy]) -> None:
        """Its browser may ask first, and may read answers and refusals."""
        proxy = start(origins=(PAGE,), models=("one",))
        status, headers, _ = ask(proxy, "OPTIONS", "/v1/models", origin=PAGE, authorization="")
        assert (status, headers["access-control-allow-origin"]) == (204, PAGE)
        assert "authorization" in headers["access-control-allow-headers"]
        for key, expected in ((KEY, 200), ("wrong", 401)):
            status, headers, _ = ask(
                proxy, "GET", "/v1/models", origin=PAGE, authorization=f"Bearer {key}"
            )
            assert (status, headers["access-control-allow-origin"]) == (expected, PAGE)
        assert ask(proxy, "OPTIONS", "/v1/models", origin="http://evil.example")[0] == 403

    def test_credentials_in_the_address(self, start: Callable[..., Proxy]) -> None:
        """They are refused, also in another writing; an address without end is refused too."""
        proxy = start()
        overriding = ("%24httpHeaders=a:b", "$httpMethod=DELETE")
        for query in ("key=x", "a=1&access_token=x", "%6bey=x", *overriding):
            assert ask(proxy, "GET", f"/v1/models?{query}")[0] == 400
        assert ask(proxy, "GET", f"/v1/{'a' * 60_000}")[0] == 414

    def test_headers_that_change_the_method(
        self, start: Callable[..., Proxy], server: GeminiServer
    ) -> None:
        """They go no further."""
        body = json.dumps({"model": "gemini-test", "messages": PROMPT})
        ask(start(), "POST", "/v1/chat/completions", body, x_http_method_override="DELETE")
        assert "x-http-method-override" not in server.requests[0].headers


class TestHealth:
    def test_healthz(self, start: Callable[..., Proxy]) -> None:
        """It needs no key."""
        status, _, text = ask(start(), "GET", "/healthz", authorization="")
        assert (status, text) == (200, "ok\n")

    def test_metrics(self, start: Callable[..., Proxy], server: GeminiServer) -> None:
        """Requests, statuses of the service and tokens are counted; no secret is among them."""
        proxy = start()
        body = json.dumps({"model": "gemini-test", "messages": PROMPT})
        ask(proxy, "POST", "/v1/chat/completions", body)
        server.expire_tokens()
        ask(proxy, "POST", "/v1/chat/completions", body)
        assert ask(proxy, "GET", "/metrics", authorization="")[0] == 401
        status, headers, text = ask(proxy, "GET", "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = text.splitlines()
        assert 'genai_config_proxy_requests_total{status="200"} 2' in lines
        assert 'genai_config_proxy_requests_total{status="401"} 1' in lines
        assert 'genai_config_proxy_upstream_responses_total{status="401"} 1' in lines
        assert 'genai_config_proxy_token_fetches_total{result="ok"} 2' in lines
        assert "genai_config_proxy_requests_in_flight 1" in lines
        assert KEY not in text

    def test_the_access_log(
        self, start: Callable[..., Proxy], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Method, path, status, size and time; neither query nor key."""
        told: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        watch = logging.handlers.QueueHandler(told)
        log = logging.getLogger("genai_config.proxy.access")
        with caplog.at_level(logging.INFO, log.name):
            log.addHandler(watch)
            ask(start(models=("one",)), "GET", "/v1/models?limit=secret")
            line = told.get(timeout=30).getMessage()  # it is written after the answer is sent
            log.removeHandler(watch)
        assert line.startswith('GET "/v1/models" 200 ')
        assert KEY not in caplog.text
        assert "secret" not in caplog.text


class TestConnections:
    def test_half_a_request(
        self, start: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A head that does not come is waited for so long; the first request has no such bound."""
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
        port = int(start().url.rpartition(":")[2].partition("/")[0])
        for sent in (b"", b"GET /v1/models HTTP/1.1\r\nhost: local"):
            with socket.create_connection(("127.0.0.1", port), 30) as half:
                half.sendall(sent)
                assert half.recv(1) == b""

    def test_half_a_second_request(
        self, start: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Likewise on a connection that has served already."""
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
        port = int(start().url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), 30) as half:
            whole = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
            half.sendall(whole + whole[:20])
            with half.makefile("rb") as file:
                assert file.read().endswith(b"ok\n")

    def test_too_many(self, start: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
        """What is one too many is closed; the others are served."""
        monkeypatch.setattr(connection, "CONNECTIONS", 1)
        proxy = start()
        port = int(proxy.url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), 30) as first:
            first.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert first.recv(1000).startswith(b"HTTP/1.1 200")
            second = socket.create_connection(("127.0.0.1", port), 30)
            with second, contextlib.suppress(ConnectionResetError):
                assert second.recv(1) == b""


CALL = {
    "id": "call-1",
    "type": "function",
    "function": {"name": "add", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": "c2lnbmVk"}},
}


class TestSignatures:
    @pytest.mark.parametrize("part", ["message", "delta"])
    @pytest.mark.parametrize("size", [1, 7, 100_000])
    def test_they_are_read_as_they_pass(self, part: str, size: int) -> None:
        """From whole answers and from streams, however the pieces are cut."""
        kept = Signatures()
        answer = json.dumps({"choices": [{part: {"tool_calls": [CALL]}}]}).encode()
        if part == "delta":
            answer = b"data: " + answer + b"\n\ndata: [DONE]\n\n"
        reader = Reader(kept)
        for i in range(0, len(answer), size):
            reader.feed(answer[i : i + size])
        reader.close()
        bare = {name: value for name, value in CALL.items() if name != "extra_content"}
        request: Any = {"messages": [{"role": "user"}, {"tool_calls": [bare]}]}
        assert kept.restored(request)
        assert request["messages"][1]["tool_calls"] == [CALL]
        assert not kept.restored(request)

    @pytest.mark.parametrize(
        "answer",
        [
            b"thought_signature",
            b'["thought_signature"]',
            b'{"choices": "thought_signature"}',
            b'{"choices": ["thought_signature", {"message": 1}, {"message": {"tool_calls": 1}}]}',
            b'{"choices": [{"message": {"tool_calls": [1, {"id": 1, "thought_signature": 1}]}}]}',
        ],
    )
    def test_what_is_none_is_passed_over(self, answer: bytes) -> None:
        """An answer may be anything."""
        kept = Signatures()
        reader = Reader(kept)
        reader.feed(answer)
        reader.close()
        assert len(kept) == 0

    def test_a_line_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not kept; the next line is read again."""
        monkeypatch.setattr("genai_config._clients.signatures._LONGEST", 10)
        kept = Signatures()
        line = json.dumps({"choices": [{"message": {"tool_calls": [CALL]}}]}).encode()
        reader = Reader(kept)
        for piece in (b"x" * 11, b"y" * 11, line + b"\n"):
            reader.feed(piece)
        assert len(kept) == 0
        reader.feed(line[:5])
        reader.feed(line[5:] + b"\n")
        assert len(kept) == 1
        reader.feed(b"x" * 11)
        reader.close()

    def test_the_oldest_are_forgotten(self) -> None:
        """So many bytes are kept."""
        kept = Signatures(most=100)
        for i in range(10):
            kept.keep(f"call-{i}", {"google": "x" * 10})
            kept.keep(f"call-{i}", {"google": "x" * 10})
        assert 0 < len(kept) < 10
        assert kept.restored({"messages": [{"tool_calls": [{"id": "call-9"}]}]})
        assert not kept.restored({"messages": [{"tool_calls": [{"id": "call-0"}]}]})

    def test_in_a_conversation(self, start: Callable[..., Proxy], server: GeminiServer) -> None:
        """A client that drops the signature goes on nevertheless; other bodies go as they are."""
        proxy = start()
        signatures = proxy._signatures
        signatures.keep("call-1", CALL["extra_content"])
        bodies: list[Any] = []
        original = signatures.restored

        def restored(document: Any) -> bool:
            bodies.append(document)
            return original(document)

        signatures.restored = restored  # type: ignore[method-assign] # to see them
        bare = {name: value for name, value in CALL.items() if name != "extra_content"}
        messages = [
            *PROMPT,
            {"role": "assistant", "tool_calls": [bare]},
            {"role": "tool", "tool_call_id": "call-1", "content": "3"},
        ]
        body = json.dumps({"model": "gemini-test", "messages": messages})
        assert ask(proxy, "POST", "/v1/chat/completions", body)[0] == 200
        assert bodies[0]["messages"][1]["tool_calls"] == [CALL]
        ask(proxy, "POST", "/v1/chat/completions", "tool_calls")
        assert server.requests
