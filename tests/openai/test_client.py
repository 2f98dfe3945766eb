from __future__ import annotations

import importlib
import importlib.util
import inspect
import ssl
import sys
from typing import TYPE_CHECKING, Any, Literal

import openai
import pydantic
import pytest

from genai_config import openai as ours
from genai_config import override, safe_configure
from genai_config.exceptions import ConfigurationError, OAuthRequiredError, UnknownSettingError

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

# The transport of openai itself: httpx2 since 3.0, httpx before.
httpx: Any = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")

PROMPT: Any = [{"role": "user", "content": "hi"}]
HELLO = "Hello from models/gemini-3.6-flash"


def ask(client: openai.OpenAI, model: str = "gemini-3.6-flash", **more: Any) -> str | None:
    """One chat."""
    done = client.chat.completions.create(model=model, messages=PROMPT, **more)
    text: str | None = done.choices[0].message.content
    return text


class Answer(pydantic.BaseModel):
    number: int


@pytest.mark.usefixtures("vertex")
def test_a_client_is_openais(server: GeminiServer) -> None:
    """Everything it can do goes to Vertex AI, with OAuth and the model's whole name."""
    server.respond("*", '{"number": 7}')
    with ours.client() as client:
        assert isinstance(client, openai.OpenAI)
        create = client.chat.completions.create
        assert create(model="gemini-3.6-flash", messages=PROMPT).choices
        stream = create(model="models/gemini-3.6-flash", messages=PROMPT, stream=True)
        assert "".join(one.choices[0].delta.content or "" for one in stream) == '{"number": 7}'
        parsed = client.beta.chat.completions.parse(
            model="gemini-3.6-flash", messages=PROMPT, response_format=Answer
        )
        assert parsed.choices[0].message.parsed == Answer(number=7)
        raw = client.chat.completions.with_raw_response.create(
            model="gemini-3.6-flash", messages=PROMPT
        )
        assert raw.status_code == 200
        with client.chat.completions.with_streaming_response.create(
            model="gemini-3.6-flash", messages=PROMPT
        ) as streamed:
            assert streamed.parse().choices
        body = {"model": "gemini-3.6-flash", "messages": PROMPT}
        posted: Any = client.post("/chat/completions", body=body, cast_to=object)
        assert posted["choices"]
        assert body["model"] == "gemini-3.6-flash"
        assert ask(client, "ignored", extra_body={"model": "gemini-3.6-flash"})
    assert {request.resource for request in server.requests} == {"google/gemini-3.6-flash"}
    assert {(request.auth, request.identity) for request in server.requests} == {
        ("oauth", "user-1@example.com")
    }
    assert {request.headers["x-goog-user-project"] for request in server.requests} == {
        "billed-project"
    }
    assert client.is_closed()


@pytest.mark.usefixtures("vertex")
def test_embeddings(server: GeminiServer) -> None:
    """Models of embeddings are Google's as well."""
    with ours.client() as client:
        assert client.embeddings.create(model="gemini-embedding-2", input="a").data
    assert server.requests[0].resource == "google/gemini-embedding-2"


@pytest.mark.usefixtures("vertex")
async def test_an_async_client_is_openais(server: GeminiServer) -> None:
    """It does the same."""
    async with ours.async_client() as client:
        assert isinstance(client, openai.AsyncOpenAI)
        create = client.chat.completions.create
        done = await create(model="gemini-3.6-flash", messages=PROMPT)
        assert done.choices[0].message.content == HELLO
        stream = await create(model="gemini-3.6-flash", messages=PROMPT, stream=True)
        assert "".join([one.choices[0].delta.content or "" async for one in stream]) == HELLO
    assert {request.auth for request in server.requests} == {"oauth"}
    assert server.requests[0].resource == "google/gemini-3.6-flash"


@pytest.mark.usefixtures("vertex")
def test_an_endpoint_of_ones_own(server: GeminiServer) -> None:
    """Its model may have any name."""
    with ours.client(endpoint="1234", api_version="v1beta1") as client:
        assert client.base_url.path == (
            "/v1beta1/projects/my-project/locations/global/endpoints/1234/"
        )
        ask(client, "")
    assert server.requests[0].status == "OK"


@pytest.mark.usefixtures("gemini")
def test_the_gemini_api(server: GeminiServer) -> None:
    """With the key; with another that is given; with OAuth, if that is what is configured."""
    with ours.client() as client:
        assert ask(client, "google/gemini-3.6-flash") == HELLO
    with ours.client(api_key=server.api_key("another"), project=None) as client:
        ask(client)
    credentials = server.user_credentials(quota_project="billed-project")
    with override(auth="oauth", credentials=credentials), ours.client(backend="gemini") as client:
        ask(client)
    assert [request.identity for request in server.requests] == [
        "mine",
        "another",
        "user-1@example.com",
    ]
    assert server.requests[0].resource == "gemini-3.6-flash"


@pytest.mark.usefixtures("vertex")
def test_a_key_opens_no_vertex_ai() -> None:
    """Neither a key nor somebody's token is taken in the place of credentials."""
    with pytest.raises(OAuthRequiredError, match="leave api_key out"):
        ours.client(api_key="key", location="global")
    with pytest.raises(ConfigurationError, match="OAuth access token") as token:
        ours.client(api_key="ya29.token", location="global")
    assert "credentials=" in token.value.remedy
    with pytest.raises(ConfigurationError, match="api_key must be a string"):
        ours.client(api_key=lambda: "key")  # type: ignore[arg-type] # on purpose


@pytest.mark.usefixtures("vertex")
def test_a_client_keeps_what_it_was_made_in(server: GeminiServer) -> None:
    """Scopes that are left, and changes that come later, are not its own."""
    other = server.user_credentials(quota_project="other-project")
    with override(credentials=other, project="other-project"):
        client = ours.client()
    safe_configure(project="third-project", credentials=server.user_credentials())
    with client:
        ask(client)
    assert "/projects/other-project/" in str(client.base_url)
    assert server.requests[0].headers["x-goog-user-project"] == "other-project"


@pytest.mark.usefixtures("vertex")
def test_the_configured_quota_project_goes_before_the_logins(server: GeminiServer) -> None:
    """As everywhere."""
    with override(quota_project="configured-project"), ours.client() as client:
        ask(client)
    assert server.requests[0].headers["x-goog-user-project"] == "configured-project"


@pytest.mark.usefixtures("adc")
def test_the_project_is_that_of_the_credentials(server: GeminiServer) -> None:
    """If no other is known."""
    safe_configure(ca_certs=server.ca_file, client_options={"api_endpoint": server.rest_endpoint})
    with ours.client(location="global") as client:
        ask(client)
    assert "/projects/project/" in str(client.base_url)
    assert server.requests[0].identity == "sa-1@project.iam.gserviceaccount.com"


@pytest.mark.usefixtures("vertex")
def test_what_is_held_stays_fresh(server: GeminiServer) -> None:
    """A resource that was taken from a client, its copies and their copies all renew tokens."""
    with ours.client(max_retries=0) as client:
        chats = [
            client.chat,
            client.with_options(timeout=10).chat,
            client.copy(default_headers={"x-mine": "1"}).with_options(max_retries=1).chat,
        ]
        for chat in chats * 2:
            server.expire_tokens()
            assert chat.completions.create(model="gemini-3.6-flash", messages=PROMPT).choices
    assert [request.status for request in server.requests].count("OK") == 6
    assert server.requests[-1].headers["x-mine"] == "1"


@pytest.mark.usefixtures("vertex")
@pytest.mark.parametrize("name", ["api_key", "project"])
def test_a_copy_is_as_the_client(name: str) -> None:
    """Whoever wants other credentials or another project makes another client."""
    changes: Any = {name: "x"}
    with ours.client() as client, pytest.raises(ConfigurationError, match="make another one"):
        client.with_options(**changes)


@pytest.mark.usefixtures("vertex")
def test_nothing_of_openais_environment_reaches_google(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither keys nor addresses nor headers; those that are given by hand do."""
    for name, value in {
        "OPENAI_API_KEY": "sk-mine",
        "OPENAI_ADMIN_KEY": "sk-admin",
        "OPENAI_BASE_URL": "https://api.openai.com/v1",
        "OPENAI_ORG_ID": "org-mine",
        "OPENAI_PROJECT_ID": "proj-mine",
        "OPENAI_CUSTOM_HEADERS": "x-mine: secret\nAuthorization: Bearer sk-mine",
    }.items():
        monkeypatch.setenv(name, value)
    with ours.client() as client:
        ask(client)
        ask(client.with_options(timeout=5))
    with ours.client(organization="given", default_headers={"x-mine": "given"}) as client:
        ask(client)
    *bare, given = [request.headers for request in server.requests]
    for headers in bare:
        assert not {"openai-organization", "openai-project", "x-mine"} & headers.keys()
    assert (given["openai-organization"], given["x-mine"]) == ("given", "given")
    assert {request.identity for request in server.requests} == {"user-1@example.com"}
    # Realtime connections, which are no HTTP requests, would carry these.
    assert client.auth_headers == {}


@pytest.mark.usefixtures("vertex")
def test_a_client_shows_no_secret(server: GeminiServer) -> None:
    """What it has for a key is none, and no repr holds a token."""
    with ours.client() as client:
        ask(client)
        assert client.api_key == ours._PLACEHOLDER
        http = client._client
        bound = http.link.attach()  # type: ignore[attr-defined] # ours
        shown = f"{vars(client)} {vars(http)} {vars(http.link)} {bound!r} {client!r}"  # type: ignore[attr-defined] # ours
        token = dict(bound.headers())["authorization"].removeprefix("Bearer ")
    assert len(token) > 10
    assert token not in shown
    assert server.requests


@pytest.mark.usefixtures("vertex")
def test_a_http_client_of_ones_own(server: GeminiServer) -> None:
    """It is used as it is, and gets the credentials on top; closing goes through to it."""
    seen: list[str] = []
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    mine = httpx.Client(
        verify=trust,
        auth=("user", "password"),
        headers={"x-mine": "1"},
        timeout=7,
        event_hooks={"request": [lambda request: seen.append(request.method)]},
    )
    with ours.client(http_client=mine) as client:
        assert client.timeout.read == 7  # type: ignore[union-attr] # so it was given
        ask(client)
        ask(client.with_options(http_client=mine))
    assert [request.headers["x-mine"] for request in server.requests] == ["1", "1"]
    assert {request.identity for request in server.requests} == {"user-1@example.com"}
    assert seen == ["POST", "POST"]
    assert mine.is_closed


@pytest.mark.usefixtures("vertex")
async def test_an_async_http_client_of_ones_own(server: GeminiServer) -> None:
    """Likewise."""
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    mine = httpx.AsyncClient(verify=trust, headers={"x-mine": "1"})
    async with ours.async_client(http_client=mine) as client:
        await client.chat.completions.create(model="gemini-3.6-flash", messages=PROMPT)
    assert server.requests[0].headers["x-mine"] == "1"
    assert mine.is_closed


@pytest.mark.usefixtures("vertex")
def test_a_http_client_of_the_wrong_kind() -> None:
    """OpenAI's client refuses it, as ever."""
    with httpx.Client() as mine, pytest.raises(TypeError, match="http_client"):
        ours.async_client(http_client=mine)


@pytest.mark.usefixtures("vertex")
def test_the_timeout_is_the_configurations() -> None:
    """Unless the client has one of its own."""
    assert ours.client().timeout == openai.OpenAI(api_key="x").timeout
    safe_configure(timeout=3)
    assert ours.client().timeout == 3
    assert ours.client(timeout=4).timeout == 4


@pytest.mark.usefixtures("vertex")
def test_the_proxy_is_the_configurations(server: GeminiServer) -> None:
    """Requests go through it, or not at all."""
    with override(proxy="http://127.0.0.1:1"), ours.client(max_retries=0) as client:
        # The token is fetched through it as well: here it is had already.
        client._client.link.attach = Bare  # type: ignore[attr-defined] # ours
        with pytest.raises(openai.APIConnectionError, match="proxy="):
            ask(client)
    assert not server.requests


class Bare:
    """Credentials that send nothing."""

    kind: Literal["none"] = "none"
    owner = 0
    renewable = False

    def headers(self, _: float | None = None) -> tuple[tuple[str, str], ...]:
        return ()


def test_the_extra_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    spec = importlib.util.spec_from_file_location("without", ours.__file__)
    assert spec
    assert spec.loader
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install 'genai-config\[openai\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_key_is_all_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For Google's own Gemini API."""
    monkeypatch.setenv("GEMINI_API_KEY", "key")
    with ours.client() as client:
        assert client.base_url == "https://generativelanguage.googleapis.com/v1beta/openai/"


@pytest.mark.parametrize("make", [ours.client, ours.async_client])
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("locaton", r"no argument 'locaton'\.\s+Remedy: did you mean 'location'"),
        ("max_retrys", "did you mean 'max_retries'"),
        ("credential", "did you mean 'credentials'"),
    ],
)
def test_an_argument_that_there_is_not(make: Any, argument: str, said: str) -> None:
    """It is named before anything else is found missing."""
    with pytest.raises(UnknownSettingError, match=said):
        make(**{argument: "a secret"})


def test_both_clients_take_the_same() -> None:
    """One list of arguments is enough to check them by."""
    asynchronous = inspect.signature(openai.AsyncOpenAI).parameters
    assert set(inspect.signature(openai.OpenAI).parameters) == set(asynchronous)


def test_a_base_url_that_is_none() -> None:
    """What is neither text nor a URL is not made into one."""
    with pytest.raises(ConfigurationError, match="base_url must be a string, not int"):
        ours.client(base_url=5, backend="gemini")


@pytest.mark.usefixtures("vertex")
def test_the_articles_base_url(server: GeminiServer) -> None:
    """Code that makes the URL itself needs nothing else."""
    safe_configure(project="", location="")
    path = "projects/my-project/locations/global/endpoints/openapi"
    with ours.client(base_url=httpx.URL(f"https://{server.rest_endpoint}/v1/{path}")) as client:
        assert ask(client) == HELLO
