from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal

import openai
import pytest

from genai_config import openai as ours
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

PROMPT: Any = [{"role": "user", "content": "hi"}]
CHAT: Any = {"model": "gemini-3.6-flash", "messages": PROMPT}


class Elsewhere:
    """A server of somebody else's, which writes down what it is sent.

    Attributes:
        url: Its address.
        seen: The headers of the requests.
    """

    def __init__(self, location: str = "") -> None:
        self.seen: list[dict[str, str]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(307 if location else 200)
                self.send_header("location", location)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., Elsewhere]]:
    """Starts servers of somebody else's."""
    with contextlib.ExitStack() as undo:

        def start(location: str = "") -> Elsewhere:
            made = Elsewhere(location)
            thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
            thread.start()
            undo.callback(thread.join)
            undo.callback(made.server.server_close)
            undo.callback(made.server.shutdown)
            return made

        yield start


@pytest.mark.usefixtures("gemini")
def test_a_redirect_is_not_followed(elsewhere: Callable[..., Elsewhere]) -> None:
    """Neither key nor prompt goes where a service points to; the error says where that is."""
    other = elsewhere()
    first = elsewhere(f"{other.url}/v1beta/openai/chat/completions")
    with ours.client(base_url=f"{first.url}/v1beta/openai") as client:
        for one in (client, client.with_options(max_retries=0)):
            with pytest.raises(openai.APIStatusError) as caught:
                one.chat.completions.create(**CHAT)
            assert f"redirect to {other.url}" in str(caught.value)
            assert "Remedy: give the base_url" in str(caught.value)
    assert len(first.seen) == 2
    assert other.seen == []


@pytest.mark.usefixtures("gemini")
async def test_an_async_client_follows_none_either(elsewhere: Callable[..., Elsewhere]) -> None:
    """Also if it is told to."""
    other = elsewhere()
    first = elsewhere(f"{other.url}/")
    async with ours.async_client(base_url=f"{first.url}/v1beta/openai") as client:
        with pytest.raises(openai.APIStatusError, match="redirect"):
            await client.post("/x", body={}, cast_to=object, options={"follow_redirects": True})
    assert other.seen == []


@pytest.mark.usefixtures("gemini")
def test_another_origin_gets_nothing(
    elsewhere: Callable[..., Elsewhere], server: GeminiServer, naps: list[str]
) -> None:
    """Not by an absolute URL, not by another base URL, not with a password in the URL."""
    other = elsewhere()
    with ours.client() as client:
        moved = client.with_options()
        moved.base_url = other.url
        attempts: list[Callable[[], Any]] = [
            lambda: client.post(f"{other.url}/chat/completions", body={}, cast_to=object),
            lambda: client.get("http://api.openai.com/v1/models", cast_to=object),
            lambda: client.get(
                f"http://{server.rest_endpoint}/v1beta/openai/models", cast_to=object
            ),
            lambda: client.get(f"https://me:pw@{server.rest_endpoint}/models", cast_to=object),
            lambda: moved.chat.completions.create(**CHAT),
            lambda: client.with_options(base_url=other.url).chat.completions.create(**CHAT),
        ]
        for attempt in attempts:
            with pytest.raises(ConfigurationError, match="sends its credentials to") as caught:
                attempt()
            assert isinstance(caught.value, openai.OpenAIError)
            assert "pw" not in str(caught.value)
        whole = f"https://{server.rest_endpoint}/v1beta/openai/chat/completions"
        posted: Any = client.post(whole, body=CHAT, cast_to=object)
        assert posted["choices"]
    assert (other.seen, naps) == ([], [])


@pytest.mark.usefixtures("gemini")
async def test_nor_from_an_async_client(elsewhere: Callable[..., Elsewhere]) -> None:
    """Likewise."""
    other = elsewhere()
    async with ours.async_client() as client:
        with pytest.raises(ConfigurationError, match="alone"):
            await client.post(f"{other.url}/chat/completions", body={}, cast_to=object)
    assert other.seen == []


@pytest.mark.usefixtures("vertex")
def test_a_callers_authorization_is_replaced(server: GeminiServer) -> None:
    """Per call or per client: what is sent is the token, and nothing beside it."""
    mine = {"Authorization": "Bearer mine"}
    with ours.client(default_headers=mine) as client:
        client.chat.completions.create(**CHAT)
        client.chat.completions.create(**CHAT, extra_headers=mine)
        client.chat.completions.create(**CHAT, extra_headers={"authorization": "Basic bWluZQ=="})
        client.chat.completions.create(**CHAT, extra_headers={"Authorization": openai.Omit()})
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer ***"] * 4
    assert {request.identity for request in server.requests} == {"user-1@example.com"}


@pytest.mark.usefixtures("gemini")
def test_the_placeholder_stays_at_home(elsewhere: Callable[..., Elsewhere]) -> None:
    """What is sent is the key that is configured, or nothing."""
    first = elsewhere()
    with ours.client(base_url=f"{first.url}/openai") as client:
        client.post("/x", body={}, cast_to=object)
        client._client.link.attach = Anonymous  # type: ignore[attr-defined] # ours
        client.post("/x", body={}, cast_to=object)
    keyed, bare = first.seen
    assert keyed["authorization"].startswith("Bearer AIza")
    assert "authorization" not in bare


class Anonymous:
    """Credentials that send nothing."""

    kind: Literal["none"] = "none"
    owner = 0
    renewable = False

    def headers(self, _: float | None = None) -> tuple[tuple[str, str], ...]:
        return ()
