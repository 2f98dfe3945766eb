"""google-genai's own client, from the configuration: credentials, places, arguments, loops."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

from google import genai

from genai_config import google_genai, override, safe_configure
from genai_config.exceptions import ConfigurationError, GenAIConfigError
from genai_config.testing._service import rules

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"
HELLO = f"Hello from models/{MODEL}"
ASK: Any = {"model": MODEL, "contents": "hi"}


@pytest.fixture
def vertex(server: GeminiServer) -> None:
    """Vertex AI, for a person who has logged in for it."""
    safe_configure(
        credentials=server.user_credentials([rules.CLOUD_PLATFORM], quota_project="billed"),
        ca_certs=server.ca_file,
        vertex_endpoint=server.rest_endpoint,
        client_options={"api_endpoint": "gateway.example.com"},
        project="my-project",
        location="us-central1",
        backend="vertex",
    )


def seen(server: GeminiServer) -> list[tuple[str, str | None, str]]:
    """Kind of credentials, identity and status of each request."""
    return [(one.auth, one.identity, one.status) for one in server.requests]


@pytest.mark.usefixtures("gemini")
def test_the_configured_key_is_sent(server: GeminiServer) -> None:
    """Whatever key lies about in the environment; sync, streamed and async."""
    client: Any = google_genai.client()
    assert type(client) is genai.Client
    assert client.models.generate_content(**ASK).text == HELLO
    stream: Any = client.models.generate_content_stream(**ASK)
    assert "".join(chunk.text for chunk in stream) == HELLO

    async def ask() -> Any:
        return (await client.aio.models.generate_content(**ASK)).text

    # One client for one event loop after another.
    with ThreadPoolExecutor(1) as pool:
        assert [pool.submit(asyncio.run, ask()).result() for _ in range(2)] == [HELLO, HELLO]
    assert seen(server) == [("api_key", "mine", "OK")] * 4


@pytest.mark.usefixtures("gemini")
@pytest.mark.usefixtures("adc")
def test_tuned_models_take_oauth(server: GeminiServer) -> None:
    """As requests of the old SDK do with this library."""
    client = google_genai.client()
    assert client.models.generate_content(model="tunedModels/mine", contents="hi").text
    ((auth, _, status),) = seen(server)
    assert (auth, status) == ("oauth", "OK")
    with override(auth="api_key"):
        client = google_genai.client()
    with pytest.raises(genai.errors.ClientError, match="PERMISSION_DENIED"):
        client.models.generate_content(model="tunedModels/mine", contents="hi")


@pytest.mark.usefixtures("gemini")
def test_tenants(server: GeminiServer) -> None:
    """A client keeps the scope that it was made in; the shared one follows."""
    with override(api_key=server.api_key("tenant")):
        tenants = google_genai.client()
        google_genai.shared_client().models.generate_content(**ASK)
        assert google_genai.shared_client() is google_genai.shared_client()
    tenants.models.generate_content(**ASK)
    google_genai.shared_client().models.generate_content(**ASK)
    google_genai.client(api_key=server.api_key("other")).models.generate_content(**ASK)
    assert [identity for _, identity, _ in seen(server)] == ["tenant", "tenant", "mine", "other"]


@pytest.mark.usefixtures("gemini")
def test_credentials_for_the_gemini_api(server: GeminiServer) -> None:
    """google-genai alone drops them without a word."""
    account = str(server.service_account_file("account"))
    client = google_genai.client(backend="gemini", credentials=account)
    assert client.models.generate_content(**ASK).text == HELLO
    ((auth, identity, _),) = seen(server)
    assert (auth, str(identity).partition("@")[0]) == ("oauth", "account")


@pytest.mark.usefixtures("vertex")
def test_vertex(server: GeminiServer) -> None:
    """OAuth, the project and location that are configured, the quota project on every request."""
    client = google_genai.client()
    assert client.models.generate_content(**ASK).text
    (request,) = server.requests
    assert (request.auth, request.status) == ("oauth", "OK")
    assert "projects/my-project/locations/us-central1" in request.resource
    assert request.headers["x-goog-user-project"] == "billed"


@pytest.mark.usefixtures("vertex")
def test_names_of_tuned_endpoints(server: GeminiServer) -> None:
    """They are models; one that is not mapped is refused before anything is sent."""
    place = "projects/my-project/locations/us-central1/endpoints/456"
    safe_configure(tuned_endpoints={"tunedModels/mine": place, "tunedModels/short": "789"})
    models = google_genai.client().models
    assert models.generate_content(model="tunedModels/mine", contents="hi").text
    assert models.generate_content(model="tunedModels/short", contents="hi").text
    found = [one.resource for one in server.requests]
    assert found == [place, place.replace("456", "789")]
    with pytest.raises(ConfigurationError, match="tunedModels/none"):
        models.generate_content(model="tunedModels/none", contents="hi")


@pytest.mark.usefixtures("vertex")
def test_a_refused_token_is_replaced(server: GeminiServer) -> None:
    """20 threads after a revocation: one more token, and nobody hears of it."""
    client = google_genai.client()
    client.models.generate_content(**ASK)
    server.expire_tokens()
    barrier = threading.Barrier(20)

    def ask(_: int) -> Any:
        barrier.wait()
        return client.models.generate_content(**ASK).text

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(20)))
    assert server.tokens.count == 2


@pytest.mark.usefixtures("vertex")
async def test_tasks_share_one_flight(server: GeminiServer) -> None:
    """30 tasks at once fetch one token."""
    client = google_genai.client()
    asked = [client.aio.models.generate_content(**ASK) for _ in range(30)]
    assert all(one.text for one in await asyncio.gather(*asked))
    assert server.tokens.count == 1


@pytest.mark.usefixtures("vertex")
def test_errors_of_credentials_are_ours(server: GeminiServer) -> None:
    """Not retried, and not hidden in one of google-genai's."""
    client = google_genai.client()
    server.tokens.fail(400)
    with pytest.raises(GenAIConfigError):
        client.models.generate_content(**ASK)

    async def ask() -> None:
        await client.aio.models.generate_content(**ASK)

    with pytest.raises(GenAIConfigError):
        asyncio.run(ask())


@pytest.mark.usefixtures("gemini")
def test_another_origin_gets_nothing() -> None:
    """A base URL in the options of one request is refused before anything is sent."""
    client = google_genai.client()
    options: Any = {"http_options": {"base_url": "https://example.com"}}
    with pytest.raises(ConfigurationError, match=r"example\.com"):
        client.models.generate_content(**ASK, config=options)


@pytest.mark.usefixtures("gemini")
def test_arguments_of_theirs(server: GeminiServer) -> None:
    """They are taken, and what is given stays as it was."""
    given = genai.types.HttpOptions(api_version="v1beta", timeout=5000, headers={"x-mine": "1"})
    client = google_genai.client(vertexai=False, http_options=given, debug_config=None)
    client.models.generate_content(**ASK)
    with override(timeout=7):
        google_genai.client(http_options={"api_version": "v1beta"}).models.generate_content(**ASK)
    first, second = server.requests
    assert (first.headers["x-mine"], first.headers["x-server-timeout"]) == ("1", "5")
    assert second.headers["x-server-timeout"] == "7"
    assert (given.httpx_client, given.base_url) == (None, None)
    with pytest.raises(ConfigurationError, match="contradict"):
        google_genai.client(backend="gemini", enterprise=True)
    google_genai.client(http_options={"base_url": f"https://{server.rest_endpoint}"}).close()


@pytest.mark.usefixtures("gemini")
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_both_generations(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """The library that google-genai is told to use, or another where that is missing."""
    pytest.importorskip(library)
    monkeypatch.setenv("GOOGLE_GENAI_HTTP_CLIENT", library)
    client = google_genai.client()
    assert client.models.generate_content(**ASK).text == HELLO
    monkeypatch.setitem(sys.modules, library, None)
    assert google_genai.client().models.generate_content(**ASK).text == HELLO
    assert len(server.requests) == 2


@pytest.mark.usefixtures("vertex")
def test_what_google_genai_holds_is_a_placeholder() -> None:
    """It asks for credentials where no request of ours goes, and finds no token there."""
    held: Any = google_genai._Bearer()
    held.refresh(None)
    assert (held.expired, "genai-config" in held.token) == (False, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_connections_of_its_own(server: GeminiServer) -> None:
    """The parent's go on."""
    program = f"""
        import os
        from genai_config import google_genai, safe_configure

        safe_configure(
            api_key={server.api_key()!r},
            ca_certs={str(server.ca_file)!r},
            client_options={{"api_endpoint": {server.rest_endpoint!r}}},
        )
        client = google_genai.client()
        ask = lambda: client.models.generate_content(**{ASK!r})
        ask()
        child = os.fork()
        if not child:
            ask()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ask()
        print(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(  # noqa: S603 -- the test's own program
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "0", done.stderr
    parent, childs, last = (one.connection for one in server.requests)
    assert parent == last != childs
