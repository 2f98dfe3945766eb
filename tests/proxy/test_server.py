"""The proxy over real sockets: what it sends on, whom it refuses, and how it ends."""

from __future__ import annotations

import http.client
import itertools
import json
import logging
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from genai_config import get_config, safe_configure
from genai_config._clients.link import attached_to, http_options
from genai_config._clients.resolve import resolve
from genai_config._proxy import exchange
from genai_config._proxy import server as _server
from genai_config._proxy.rules import _stays_below
from genai_config._proxy.server import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

    Upstream = Any  # tests/proxy/conftest.py

PROMPT: Any = [{"role": "user", "content": "hi"}]
MODEL = "gemini-3.6-flash"
PLACE = "projects/my-project/locations/global/endpoints/openapi"
KEY = "k" * 43
SECONDS = 30.0


@pytest.fixture
def proxy(server: GeminiServer, oauth: None, start: Callable[..., Proxy]) -> Proxy:
    """A proxy to the server's Vertex AI."""
    del oauth
    return start(f"https://{server.rest_endpoint}/v1/{PLACE}")


@pytest.fixture
def to_upstream(upstream: Upstream, oauth: None, start: Callable[..., Proxy]) -> Proxy:
    """A proxy to the service that the test plays."""
    del oauth
    return start(upstream.url)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, with the key of the proxy."""
    with connected(proxy) as made:
        yield made


def connected(proxy: Proxy, key: str = KEY) -> openai.OpenAI:
    """OpenAI's client, which tries once."""
    return openai.OpenAI(
        api_key=key,
        base_url=proxy.url,
        organization="org-1",
        project="proj-1",
        max_retries=0,
        timeout=SECONDS,
    )


def ask(client: openai.OpenAI, model: str = MODEL) -> str | None:
    """One answer."""
    done = client.chat.completions.create(model=model, messages=PROMPT)
    return done.choices[0].message.content


def dial(proxy: Proxy) -> socket.socket:
    """A connection to the proxy."""
    port = int(proxy.url.rpartition(":")[2].partition("/")[0])
    return socket.create_connection(("127.0.0.1", port), SECONDS)


def request(
    *headers: str, line: str = "POST /v1/chat/completions", body: bytes = b"", key: str = KEY
) -> bytes:
    """A request with the right key, unless others are given."""
    lines = [f"{line} HTTP/1.1", "host: localhost", f"authorization: Bearer {key}", *headers]
    if not any(one.startswith(("content-length", "transfer-encoding")) for one in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def reply(connection: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer on a connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response, response.read()


def told(proxy: Proxy, sent: bytes) -> tuple[int, str]:
    """Status and message of an error in OpenAI's form."""
    with dial(proxy) as connection:
        connection.sendall(sent)
        response, body = reply(connection)
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert KEY not in error["message"]
    return response.status, error["message"]


# What passes


def test_openais_client(server: GeminiServer, client: openai.OpenAI) -> None:
    """Answers and streams; the service sees our token, and nothing that is for OpenAI."""
    assert ask(client) == f"Hello from models/{MODEL}"
    stream = client.chat.completions.create(model=MODEL, messages=PROMPT, stream=True)
    assert "".join(one.choices[0].delta.content or "" for one in stream) == (
        f"Hello from models/{MODEL}"
    )
    assert ask(client, f"google/{MODEL}") == f"Hello from models/{MODEL}"
    assert [(r.auth, r.identity, r.resource) for r in server.requests] == [
        ("oauth", "user-1@example.com", f"google/{MODEL}")
    ] * 3
    for seen in server.requests:
        assert seen.headers["x-goog-user-project"] == "quota-project"
        assert not {"openai-organization", "openai-project"} & set(seen.headers)


def test_the_gemini_api(server: GeminiServer, start: Callable[..., Proxy]) -> None:
    """The key of the Gemini API takes the place of the proxy's."""
    safe_configure(api_key=server.api_key("mine"), ca_certs=server.ca_file)
    proxy = start(f"https://{server.rest_endpoint}/v1beta/openai", "gemini")
    with connected(proxy) as client:
        assert ask(client, f"google/{MODEL}") == f"Hello from models/{MODEL}"
        server.revoke("mine")
        with pytest.raises(openai.BadRequestError):
            ask(client)
    assert [(r.identity, r.resource) for r in server.requests] == [("mine", MODEL)] * 2


def test_many_at_once_and_a_token_that_ends(server: GeminiServer, client: openai.OpenAI) -> None:
    """Requests whose token is refused are sent once more, all with the same new one."""
    together = threading.Barrier(16)

    def one(_: int) -> str | None:
        together.wait(SECONDS)
        return ask(client)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(one, range(16))) == {f"Hello from models/{MODEL}"}
        assert server.tokens.count == 1
        server.expire_tokens()
        assert set(pool.map(one, range(16))) == {f"Hello from models/{MODEL}"}
    assert server.tokens.count == 2


def test_headers_of_either_side(upstream: Upstream, to_upstream: Proxy) -> None:
    """What is between two ends stays between them; the rest passes, and the path as it came."""
    with dial(to_upstream) as connection:
        connection.sendall(
            request(
                "cookie: a=b", "x-goog-api-key: other", "x-goog-user-project: other", "x-mine: 1",
                "connection: keep-alive, x-hop", "x-hop: 1", "te: trailers", "accept-encoding: br",
                line="GET /v1/models/google%2Fgemini?a=b%20c&d",
            )
        )  # fmt: skip
        seen = upstream.accept()
        assert seen.line == f"GET /v1/{PLACE}/models/google%2Fgemini?a=b%20c&d HTTP/1.1"
        assert seen.headers.get_all("authorization") != [f"Bearer {KEY}"]
        assert seen.headers["x-goog-user-project"] == "quota-project"
        assert seen.headers["host"] in upstream.url
        assert {name.lower() for name in seen.headers} == {
            "host", "x-mine", "accept-encoding", "authorization", "x-goog-user-project",
        }  # fmt: skip
        seen.answer(
            b"compressed", "content-encoding: br", "set-cookie: a=b", "connection: x-hop",
            "x-hop: 1", "alt-svc: h3", "x-request-id: 7", "date: today", "server: theirs",
        )  # fmt: skip
        response, body = reply(connection)
    assert body == b"compressed"
    assert dict(response.headers) == {
        "content-length": "10",
        "content-encoding": "br",
        "x-request-id": "7",
        "date": "today",
        "server": "theirs",
    }


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content_type", "body", "sent"),
    [
        ("application/json", b'{"model": "gemma-x"}', b'{"model": "google/gemma-x"}'),
        ("application/json", b'{"model":"google/gemini-x"}', None),
        ("application/json", b'{"model": 1}', None),
        ("application/json", b"[1]", None),
        ("application/json", b"[" * 100_000, None),
        ("application/json", b"\xff", None),
        (FORM, b'{"model": "gemma-x"}', b'{"model": "google/gemma-x"}'),
        (FORM, b"model=gemma-x", None),
    ],
    ids=["short", "whole", "number", "list", "deep", "garbage", "curl", "form"],
)  # fmt: skip
def test_the_models_name_is_completed(
    upstream: Upstream, to_upstream: Proxy, content_type: str, body: bytes, sent: bytes | None
) -> None:
    """In JSON that names one, whatever its type; anything else is the service's to judge."""
    with dial(to_upstream) as connection:
        connection.sendall(request(f"content-type: {content_type}", body=body))
        seen = upstream.accept()
        assert seen.body(int(seen.headers["content-length"])) == (sent or body)
        seen.answer(b"")
        reply(connection)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_passes_through(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy], *, chunked: bool
) -> None:
    """It goes on before it has come as a whole, and cannot be sent again after a 401."""
    del oauth
    proxy = start(upstream.url, kept=4)
    head = "transfer-encoding: chunked" if chunked else "content-length: 10"
    parts = [b"6\r\nabcdef\r\n", b"4\r\nghij\r\n0\r\n\r\n"] if chunked else [b"abcdef", b"ghij"]
    with dial(proxy) as connection:
        connection.sendall(request(head) + parts[0])
        seen = upstream.accept()
        assert seen.headers.get("content-length") == (None if chunked else "10")
        assert b"abcdef" in seen.body(11 if chunked else 6)
        connection.sendall(parts[1])
        assert b"ghij" in seen.body(14 if chunked else 4)
        seen.answer(b"no", status="401 Unauthorized")
        response, body = reply(connection)
        assert response.status == 401
        assert json.loads(body)["error"]["type"] == "authentication_error"
        # The refused token is forgotten all the same.
        connection.sendall(request())
        again = upstream.accept()
        assert again.headers["authorization"] != seen.headers["authorization"]
        again.answer(b"yes")
        assert reply(connection)[1] == b"yes"


def test_two_lengths(upstream: Upstream, oauth: None, start: Callable[..., Proxy]) -> None:
    """Where a body comes in chunks, its Content-Length counts for nothing, and goes no further."""
    del oauth
    proxy = start(upstream.url, kept=4)
    chunks = b"6\r\nabcdef\r\n0\r\n\r\n"
    both = ("transfer-encoding: chunked", "content-length: 3")
    with dial(proxy) as connection:
        connection.sendall(request(*both) + chunks[:11])
        seen = upstream.accept()
        connection.sendall(chunks[11:])
        assert (seen.headers["transfer-encoding"], "content-length" in seen.headers) == (
            "chunked",
            False,
        )
        assert seen.body(len(chunks)) == chunks
        head = ("HTTP/1.1 200 OK", "connection: close", *both, "", "")
        seen.socket.sendall("\r\n".join(head).encode() + chunks)
        response, body = reply(connection)
        assert (response.getheader("content-length"), body) == (None, b"abcdef")


def test_a_header_that_is_not_ascii(upstream: Upstream, to_upstream: Proxy) -> None:
    """It goes on byte by byte, whatever its encoding."""
    with dial(to_upstream) as connection:
        connection.sendall(request())
        upstream.accept().answer(b"yes", "x-said: \u65e5\u672c")
        response, body = reply(connection)
    assert (response.status, body) == (200, b"yes")
    assert response.headers["x-said"].encode("latin-1").decode() == "\u65e5\u672c"


def test_a_token_is_refused_twice(upstream: Upstream, to_upstream: Proxy) -> None:
    """Then the client hears it."""
    with dial(to_upstream) as connection:
        connection.sendall(request())
        for _ in range(2):
            upstream.accept().answer(b"[]", status="401 Unauthorized")
        response, body = reply(connection)
    assert (response.status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")


def test_an_answer_before_the_end_of_the_request(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy]
) -> None:
    """It ends the request; the rest is thrown away, and the connection serves on."""
    del oauth
    proxy = start(upstream.url, kept=4)
    with dial(proxy) as connection:
        connection.sendall(request("content-length: 10000000") + b"x" * 100)
        seen = upstream.accept()
        seen.body(100)
        seen.answer(b"", status="400 Bad Request")
        seen.socket.shutdown(socket.SHUT_RD)
        connection.sendall(b"x" * 9_999_900)
        response, _ = reply(connection)
        # Whether it can still be read when the rest cannot be sent is up to the system.
        assert response.status in (400, 502)
        connection.sendall(request())
        upstream.accept().answer(b"next")
        assert reply(connection)[1] == b"next"


# Who is refused


def replaced(old: str, new: str) -> bytes:
    """A request in which something is different."""
    return request().replace(old.encode(), new.encode())


LINE, HOST, BEARER = "POST /v1/chat/completions", "host: localhost", f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (request(key="wrong"), 401, "another key"),
        (request(key=f"{KEY}k"), 401, "another key"),
        (request(key="schlüssel"), 401, "another key"),
        (replaced(BEARER, f"Basic {KEY}"), 401, "another key"),
        (replaced(BEARER, ""), 401, "Authorization"),
        (request(f"authorization: {BEARER}"), 401, "Authorization"),
        (request("origin: http://localhost"), 403, "--allow-origin"),
        (replaced(HOST, "host: evil.example"), 403, "Host header"),
        (replaced(HOST, "host: localhost.evil.example:80"), 403, "Host header"),
        (replaced(HOST, "host: 127.0.0.1@evil.example"), 403, "Host header"),
        (request().replace(b"HTTP/1.1\r\nhost: localhost", b"HTTP/1.0"), 403, "Host header"),
        (request(line="PUT /v1/models"), 405, "PUT"),
        (replaced(LINE, "POST http://evil.example/v1/models"), 404, "OPENAI_BASE_URL="),
        (replaced(LINE, "POST //evil.example/v1/models"), 404, "OPENAI_BASE_URL="),
        (request(line="GET /"), 404, "OPENAI_BASE_URL="),
        (request(line="GET /v1"), 404, "OPENAI_BASE_URL="),
        (request(line="GET /v1@evil.example/x"), 404, "OPENAI_BASE_URL="),
        (request(line="GET /v1/../models"), 400, "'..'"),
        (request(line="GET /v1/%2e%2E/models"), 400, "'..'"),
        (request(line="GET /v1/a|b"), 400, "no URL"),
        (request(line="GET /v1/models?a|b"), 400, "no URL"),
        (
            request("content-type: application/json", body=b'{"model": "gpt-4"}'),
            400,
            "Vertex AI has no model 'gpt-4'",
        ),
        (request("content-length: 104857601"), 413, "104857600 bytes"),
    ],
)
def test_refusals(server: GeminiServer, proxy: Proxy, sent: bytes, status: int, words: str) -> None:
    """Each says what is wrong, in OpenAI's form, and nothing is sent on."""
    found, message = told(proxy, sent)
    assert found == status
    assert words in message
    assert "Remedy: " in message
    assert server.requests == []


@pytest.mark.parametrize("host", ["localhost:80", "LOCALHOST", "127.0.0.1:1", "[::1]:80"])
def test_this_machines_names(proxy: Proxy, host: str) -> None:
    """Each of them is served."""
    with dial(proxy) as connection:
        body = json.dumps({"model": MODEL, "messages": PROMPT}).encode()
        sent = request("content-type: application/json", body=body)
        connection.sendall(sent.replace(b"host: localhost", f"host: {host}".encode()))
        assert reply(connection)[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/.", "/a/./b", "/a/..", "//a", "/a/", "/..;x/a", "/%2e%2e/a", "/%252e%252e/a",
        "/a%2F..%2Fb", "/a%5C..%5Cb", "/a%00b", "/a%0d%0ab", "/%25252525252e%25252525252e",
    ],
)  # fmt: skip
def test_paths_that_lead_elsewhere(path: str) -> None:
    """However they are written."""
    assert not _stays_below(path)


@pytest.mark.parametrize("path", ["/a", "/a/b", "/a%2Fb", "/a..b/.c/...", "/%C3%A9;v=1"])
def test_paths_that_lead_where_they_say(path: str) -> None:
    """A model's name may have a slash."""
    assert _stays_below(path)


def test_openais_client_with_a_wrong_key(proxy: Proxy) -> None:
    """It raises its own error."""
    with (
        connected(proxy, "sk-wrong") as client,
        pytest.raises(openai.AuthenticationError, match="another key") as caught,
    ):
        ask(client)
    assert caught.value.code == "invalid_api_key"


def test_too_many_at_once(upstream: Upstream, oauth: None, start: Callable[..., Proxy]) -> None:
    """Those beyond are refused after a while, with a word on when to come again."""
    del oauth
    proxy = start(upstream.url, requests=1, patience=0.5)
    with dial(proxy) as first, dial(proxy) as second:
        first.sendall(request())
        held = upstream.accept()
        second.sendall(request())
        response, body = reply(second)
        assert (response.status, response.headers["retry-after"]) == (429, "1")
        assert "--max-requests" in json.loads(body)["error"]["message"]
        held.answer(b"one")
        assert reply(first)[1] == b"one"
        second.sendall(request())
        upstream.accept().answer(b"two")
        assert reply(second)[1] == b"two"


def test_a_request_that_turns_out_too_large(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy]
) -> None:
    """One in chunks does not say it before; what has been sent on breaks off."""
    del oauth
    proxy = start(upstream.url, kept=1, body=5)
    with dial(proxy) as connection:
        connection.sendall(request("transfer-encoding: chunked") + b"3\r\nabc\r\n")
        seen = upstream.accept()
        assert b"abc" in seen.body(8)
        connection.sendall(b"3\r\ndef\r\n")
        assert seen.is_cut()
        response, _ = reply(connection)
    assert response.status == 413


def test_a_client_that_never_ends_its_request(
    oauth: None, upstream: Upstream, start: Callable[..., Proxy]
) -> None:
    """It hears so after the timeout."""
    del oauth
    proxy = start(upstream.url, timeout=0.2)
    status, message = told(proxy, request("content-length: 5") + b"ab")
    assert (status, "--timeout" in message) == (408, True)


# What goes wrong behind it


def test_the_token_endpoint_says_no(server: GeminiServer, client: openai.OpenAI) -> None:
    """Cause and remedy reach the client."""
    server.tokens.fail(1, 400, {"error": "invalid_grant"})
    with pytest.raises(openai.InternalServerError, match="invalid_grant") as caught:
        ask(client)
    assert caught.value.status_code == 503
    assert "Remedy: log in again" in str(caught.value)
    assert ask(client) == f"Hello from models/{MODEL}"


def test_there_are_no_credentials(server: GeminiServer, start: Callable[..., Proxy]) -> None:
    """The client is told not to try again: somebody has to log in."""
    proxy = start(f"https://{server.rest_endpoint}/v1/{PLACE}")
    with dial(proxy) as connection:
        connection.sendall(request())
        response, body = reply(connection)
    assert (response.status, response.headers["x-should-retry"]) == (502, "false")
    error = json.loads(body)["error"]
    assert error["type"] == "server_error"
    assert "gcloud auth application-default login" in error["message"]


def test_nobody_answers(upstream: Upstream, oauth: None, start: Callable[..., Proxy]) -> None:
    """The address is named; that nobody listens is told from that nobody answers."""
    del oauth
    proxy = start(upstream.url, timeout=0.2)
    status, message = told(proxy, request())
    assert (status, "ReadTimeout" in message) == (504, True)
    upstream.close()
    status, message = told(proxy, request())
    assert (status, "ConnectError" in message) == (502, True)
    assert upstream.url.partition("/v1")[0] in message


def test_a_redirect(upstream: Upstream, to_upstream: Proxy) -> None:
    """It is not followed, and not handed on either."""
    with dial(to_upstream) as connection:
        connection.sendall(request())
        upstream.accept().answer(b"", "location: https://evil.example/", status="302 Found")
        response, body = reply(connection)
    assert (response.status, response.headers["location"]) == (502, None)
    assert "redirect to https://evil.example/" in json.loads(body)["error"]["message"]


class Watch(logging.Handler):
    """Tells when the proxy has logged something."""

    def __init__(self) -> None:
        super().__init__()
        self.has_come = threading.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the record."""
        self.text = record.getMessage()
        self.has_come.set()


@pytest.fixture
def log() -> Iterator[Watch]:
    """What the proxy logs."""
    watch = Watch()
    exchange._log.addHandler(watch)
    yield watch
    exchange._log.removeHandler(watch)


def test_an_answer_breaks_off(upstream: Upstream, to_upstream: Proxy, log: Watch) -> None:
    """The client sees that it is not whole, and the log says why."""
    with dial(to_upstream) as connection:
        connection.sendall(request())
        seen = upstream.accept()
        seen.socket.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.read1() == b"a"
        seen.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert log.has_come.wait(SECONDS)
    assert "A response" in log.text


def test_a_client_that_goes(upstream: Upstream, to_upstream: Proxy) -> None:
    """What is under way for it is broken off, whatever it was waiting for."""
    with dial(to_upstream) as connection:
        connection.sendall(request())
        waiting = upstream.accept()
    assert waiting.is_cut()
    with dial(to_upstream) as connection:
        connection.sendall(request())
        streaming = upstream.accept()
        streaming.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na")
        assert connection.recv(1) == b"H"
    assert streaming.is_cut()


def test_a_client_that_goes_while_it_sends(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy]
) -> None:
    """What was sent on of its request breaks off."""
    del oauth
    proxy = start(upstream.url, kept=1)
    with dial(proxy) as connection:
        connection.sendall(request("content-length: 10") + b"abc")
        sending = upstream.accept()
        assert sending.body(3) == b"abc"
    assert sending.is_cut()


def test_a_client_that_does_not_read(
    server: GeminiServer, oauth: None, start: Callable[..., Proxy], log: Watch
) -> None:
    """The service makes no more than the sockets between hold; in the end it is broken off."""
    del oauth
    made = itertools.count()
    server.respond("*", lambda _: (f"{next(made)} {'x' * (64 << 10)}" for _ in range(4000)))
    proxy = start(f"https://{server.rest_endpoint}/v1/{PLACE}", timeout=1)
    body = json.dumps({"model": MODEL, "messages": PROMPT, "stream": True}).encode()
    with dial(proxy) as connection:
        connection.sendall(request("content-type: application/json", body=body))
        assert log.has_come.wait(SECONDS)
        assert "takes its answer no more" in log.text
        assert 0 < next(made) < 1000


# How it ends


def test_it_leaves_nothing(server: GeminiServer, oauth: None) -> None:
    """After the end the port can be had, and there is no thread more than before."""
    del oauth
    before = threads()
    config = get_config()
    target = resolve(config, base_url=f"https://{server.rest_endpoint}/v1/{PLACE}")
    proxy = Proxy(target, lambda: attached_to(config, target), http_options(config))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    with connected(proxy, proxy.key) as client:
        ask(client)
        with pytest.raises(
            OSError, match=f"Port {proxy.url.rpartition(':')[2].partition('/')[0]} "
        ):
            Proxy(target, lambda: attached_to(config, target), {}, port=port_of(proxy))
        proxy.stop()
        thread.join(SECONDS)
    assert threads() == before
    with socket.create_server(("127.0.0.1", port_of(proxy))):
        """The port is free."""


def threads() -> set[threading.Thread]:
    """All but those of the server, which has more of them when it needs them."""
    return {one for one in threading.enumerate() if not one.name.startswith("gemini-server")}


def port_of(proxy: Proxy) -> int:
    """Where a proxy listens."""
    return int(proxy.url.rpartition(":")[2].partition("/")[0])


def test_it_ends_while_requests_are_under_way(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When their time is up, they are broken off at both ends."""
    del oauth
    monkeypatch.setattr(_server, "_GRACE", 0)
    proxy = start(upstream.url)
    with dial(proxy) as connection:
        connection.sendall(request())
        seen = upstream.accept()
        seen.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na")
        assert connection.recv(1) == b"H"
        proxy.stop()
        assert seen.is_cut()
        while connection.recv(1000):
            """The rest of the head, and the piece."""


def test_few_idle_connections_to_the_service_are_kept(
    upstream: Upstream, oauth: None, start: Callable[..., Proxy]
) -> None:
    """Many would make each request slow: httpx looks at all of them again and again."""
    del oauth
    more = 5
    count = _server._IDLE + more
    proxy = start(upstream.url, requests=count)

    def ask(_: int) -> str:
        with connected(proxy) as client:
            made = client.chat.completions.with_raw_response
            return made.create(model=MODEL, messages=PROMPT).text

    with ThreadPoolExecutor(count) as pool:
        asked = pool.map(ask, range(count))
        service = [upstream.accept() for _ in range(count)]
        for one in service:
            one.body(int(one.headers["content-length"]))
            one.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        assert set(asked) == {"{}"}
    # Those that are too many have been closed.
    closed: list[socket.socket] = []
    while len(closed) < more:
        closed, _, _ = select.select([one.socket for one in service], [], [], SECONDS)
        assert closed
    assert [one.recv(1) for one in closed] == [b""] * more
