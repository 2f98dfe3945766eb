"""Where the requests of google-genai's client may go, by which connections, and for how long."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

from google import genai

from genai_config import google_genai, override, safe_configure
from genai_config.exceptions import ConfigurationError, GenAIConfigError
from genai_config.testing._service import rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer

ASK: Any = {"model": "gemini-3.6-flash", "contents": "hi"}


@pytest.fixture
def vertex(server: GeminiServer) -> None:
    """Vertex AI, for a person who has logged in for it."""
    safe_configure(
        credentials=server.user_credentials([rules.CLOUD_PLATFORM]),
        ca_certs=server.ca_file,
        vertex_endpoint=server.rest_endpoint,
        project="my-project",
        location="us-central1",
        backend="vertex",
    )


class Redirecting:
    """A plain server that sends everybody to another path of its own.

    Attributes:
        url: Where it listens.
        seen: The paths that were asked for.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.seen.append(self.path)
                self.send_response(307)
                self.send_header("location", f"{outer.url}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def redirecting() -> Iterator[Redirecting]:
    """The server, while a test runs."""
    made = Redirecting()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.mark.usefixtures("gemini")
async def test_a_redirect_is_not_followed(redirecting: Redirecting) -> None:
    """Neither the key nor the prompt goes where a service points to, awaited or not."""
    client = google_genai.client(http_options={"base_url": redirecting.url})
    with pytest.raises((genai.errors.APIError, GenAIConfigError)):
        client.models.generate_content(**ASK)
    with pytest.raises((genai.errors.APIError, GenAIConfigError)):
        await client.aio.models.generate_content(**ASK)
    assert redirecting.seen
    assert "/elsewhere" not in redirecting.seen


@pytest.mark.usefixtures("gemini")
def test_the_proxy_is_the_configurations(server: GeminiServer) -> None:
    """Requests go through it, or not at all; the environment's is not asked."""
    with override(proxy="http://127.0.0.1:1"):
        client = google_genai.client()
    with pytest.raises(Exception, match=r"127\.0\.0\.1:1|proxy|[Cc]onnect"):
        client.models.generate_content(**ASK)
    assert not server.requests


@pytest.mark.usefixtures("vertex")
def test_a_token_that_does_not_come(server: GeminiServer) -> None:
    """`auth_timeout` bounds the wait, and the error says so."""
    server.tokens.hang()
    with override(auth_timeout=0.5):
        client = google_genai.client()
    with pytest.raises(GenAIConfigError, match="auth_timeout"):
        client.models.generate_content(**ASK)
    server.tokens.release()
    assert not server.requests


def _library() -> Any:
    """The library that this version of google-genai sends with."""
    return importlib.import_module(google_genai._kinds()[0].__module__.partition(".")[0])


@pytest.mark.usefixtures("gemini")
async def test_http_clients_of_the_users_own(server: GeminiServer) -> None:
    """Their hooks and headers stay; the credentials are still the configuration's."""
    library = _library()
    seen: list[str] = []

    async def noted(request: Any) -> None:
        seen.append(f"async {request.method}")

    trust = ssl.create_default_context(cafile=str(server.ca_file))
    mine = library.Client(
        verify=trust, headers={"x-mine": "1"},
        event_hooks={"request": [lambda request: seen.append(request.method)]},
    )  # fmt: skip
    others = library.AsyncClient(verify=trust, event_hooks={"request": [noted]})
    client = google_genai.client(
        http_options=genai.types.HttpOptions(httpx_client=mine, httpx_async_client=others)
    )
    assert client.models.generate_content(**ASK).text
    async with others:
        assert (await client.aio.models.generate_content(**ASK)).text
    mine.close()
    assert seen == ["POST", "async POST"]
    assert [one.identity for one in server.requests] == ["mine", "mine"]
    assert server.requests[0].headers["x-mine"] == "1"


@pytest.mark.usefixtures("gemini")
def test_threads_have_event_loops_of_their_own(server: GeminiServer) -> None:
    """One client for several event loops at the same time."""
    client = google_genai.client()
    barrier = threading.Barrier(4)
    texts: list[str | None] = []

    async def ask() -> None:
        answers = [client.aio.models.generate_content(**ASK) for _ in range(3)]
        texts.extend(answer.text for answer in await asyncio.gather(*answers))

    def run() -> None:
        barrier.wait()
        asyncio.run(ask())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([text for text in texts if text]) == 12
    assert {one.status for one in server.requests} == {"OK"}


@pytest.mark.usefixtures("gemini")
def test_the_shared_client_follows_the_backend(server: GeminiServer) -> None:
    """`backend="vertex"` sends to Vertex AI with OAuth; "gemini", the default, sends the key."""
    google_genai.shared_client().models.generate_content(**ASK)
    with override(
        backend="vertex",
        project="my-project",
        location="us-central1",
        vertex_endpoint=server.rest_endpoint,
        credentials=server.user_credentials([rules.CLOUD_PLATFORM], quota_project="billed"),
    ):
        google_genai.shared_client().models.generate_content(**ASK)
    first, second = server.requests
    assert (first.auth, second.auth) == ("api_key", "oauth")
    assert "projects/my-project" in second.resource


@pytest.mark.usefixtures("gemini")
def test_keys_of_both_kinds(server: GeminiServer) -> None:
    """One of today and an older one are sent in the same way, whatever GOOGLE_API_KEY is."""
    for name in ("AIza-older", "AQ.newer"):
        key = server.api_key(name)
        google_genai.client(api_key=key).models.generate_content(**ASK)
    assert [one.identity for one in server.requests] == ["AIza-older", "AQ.newer"]
    with pytest.raises(ConfigurationError, match="contradict"):
        google_genai.client(backend="vertex", vertexai=False)


def test_the_extra_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    spec = importlib.util.spec_from_file_location("without", google_genai.__file__)
    assert spec
    assert spec.loader
    monkeypatch.setitem(sys.modules, "google.genai", None)
    monkeypatch.delattr("google.genai")
    with pytest.raises(ImportError, match=r"pip install 'genai-config\[google-genai\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
