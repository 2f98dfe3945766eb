"""Several accounts in one process, and what the module hands on of OpenAI's."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import TYPE_CHECKING, Any

import openai
import pytest
from google.ai import generativelanguage_v1beta as glm
from google.api_core.exceptions import NotFound

from genai_config import get_config, safe_configure
from genai_config import openai as ours
from genai_config.exceptions import ConfigurationError, GenAIConfigError
from genai_config.testing._service import rules

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

PROMPT: Any = [{"role": "user", "content": "hi"}]
MODEL = "google/gemini-test"


def ask(client: openai.OpenAI, **more: Any) -> None:
    """One chat."""
    client.chat.completions.create(model=MODEL, messages=PROMPT, **more)


async def ask_async(client: openai.AsyncOpenAI) -> None:
    """One chat."""
    await client.chat.completions.create(model=MODEL, messages=PROMPT)


@pytest.fixture
def place(server: GeminiServer) -> dict[str, Any]:
    """What a client needs to reach the local server, given to it alone."""
    return {
        "ca_certs": server.ca_file,
        "client_options": {"api_endpoint": server.rest_endpoint},
        "location": "global",
    }


def test_a_profile_of_its_own(
    server: GeminiServer,
    place: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client takes it alone; what it was given goes before."""
    key_file = server.service_account_file("of-the-profile")
    text = f"[profiles.prod]\ncredentials = {json.dumps(str(key_file))}\nproject = 'its-project'\n"
    (tmp_path / "genai-config.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = ours.client(profile="prod", backend="vertex", **place)
    other = ours.client(profile="prod", backend="vertex", project="another-project", **place)
    assert "/projects/its-project/" in str(made.base_url)
    assert "/projects/another-project/" in str(other.base_url)
    ask(made)
    ask(other)
    seen = [(one.auth, str(one.identity).partition("@")[0]) for one in server.requests]
    assert seen == [("oauth", "of-the-profile")] * 2
    assert get_config().project is None


async def test_two_accounts_beside_a_key_of_the_environment(
    server: GeminiServer, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request carries its own account, from sync clients, async ones and copies."""
    monkeypatch.setenv("GEMINI_API_KEY", server.api_key("environment"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    accounts = {
        f"project-{name}": server.user_credentials(
            [rules.CLOUD_PLATFORM], quota_project=f"project-{name}"
        )
        for name in ("one", "two")
    }
    made = [
        (ours.client(credentials=account, project=project, **place),
         ours.async_client(credentials=account, project=project, **place))
        for project, account in accounts.items()
    ]  # fmt: skip
    for client, async_client in made:
        ask(client)
        ask(client.with_options(timeout=9))
        await ask_async(async_client)
        client.close()
    assert [request.headers["x-goog-user-project"] for request in server.requests] == [
        *["project-one"] * 3,
        *["project-two"] * 3,
    ]
    assert len({request.identity for request in server.requests}) == 2
    assert {request.auth for request in server.requests} == {"oauth"}
    assert get_config().credentials is None


def test_given_credentials_go_before_a_configured_key(
    server: GeminiServer, place: dict[str, Any]
) -> None:
    """Also on the Gemini API: they were given to this very client."""
    safe_configure(api_key=server.api_key("everybodys"))
    del place["location"]
    credentials = server.user_credentials(quota_project="billed-project")
    with ours.client(backend="gemini", credentials=credentials, **place) as client:
        ask(client)
    assert server.requests[0].auth == "oauth"


def test_the_project_of_given_credentials_goes_before_the_environments(
    server: GeminiServer, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable may be another program's; a configured project is a choice."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    given = {"credentials": server.service_account_file(), **place}
    assert "/projects/project/" in str(ours.client(**given).base_url)
    safe_configure(project="configured")
    assert "/projects/configured/" in str(ours.client(**given).base_url)


def test_a_function_as_key(place: dict[str, Any]) -> None:
    """The error names the argument that takes it, and the function."""
    token: Any = lambda: "ya29.token"  # noqa: E731 -- on purpose
    with pytest.raises(ConfigurationError, match="credentials="):
        ours.client(api_key=token, **place)


@pytest.mark.usefixtures("vertex")
def test_a_quota_project_of_the_request(server: GeminiServer) -> None:
    """What a client or a request names itself goes before the login's own."""
    with ours.client(default_headers={"x-goog-user-project": "of-the-client"}) as client:
        ask(client)
        ask(client, extra_headers={"x-goog-user-project": "of-the-request"})
    assert [request.headers["x-goog-user-project"] for request in server.requests] == [
        "of-the-client",
        "of-the-request",
    ]


@pytest.mark.usefixtures("vertex")
@pytest.mark.parametrize(
    ("model", "theirs", "status"),
    [("gpt-4o", openai.NotFoundError, 404), ("no model", openai.BadRequestError, 400)],
)
def test_a_wrong_model_has_a_status(model: str, theirs: Any, status: int) -> None:
    """Libraries that fall back to another model go by OpenAI's class and the status."""
    with ours.client() as client, pytest.raises(theirs) as caught:
        client.chat.completions.create(model=model, messages=PROMPT)
    error: Any = caught.value
    assert ConfigurationError in type(error).__mro__
    assert (error.status_code, error.response.status_code) == (status, status)
    assert error.message == str(error)
    assert error.remedy in str(error)
    assert error.request.url.path.endswith("/chat/completions")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert isinstance(again, theirs)
    assert str(again) == str(error)


@pytest.mark.usefixtures("vertex")
async def test_a_wrong_model_of_an_async_client() -> None:
    """Likewise."""
    async with ours.async_client() as client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="gpt-4o", messages=PROMPT)


@pytest.mark.parametrize("variable", ["GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"])
@pytest.mark.parametrize(
    ("said", "host"), [("True", "aiplatform"), ("0", "generativelanguage"), ("maybe", "")]
)
def test_google_genais_variables_say_which_service(
    variable: str, said: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key and a location are no question then; what is neither yes nor no leaves it open."""
    safe_configure(api_key="key", location="global", project="my-project")
    monkeypatch.setenv(variable, said)
    if host:
        assert ours.client().base_url.host.startswith(host)
    else:
        with pytest.raises(ConfigurationError, match="backend="):
            ours.client()


@pytest.mark.parametrize("resource", ["chat/completions", "embeddings"])
def test_a_base_url_with_what_the_client_adds(resource: str) -> None:
    """It is told before a request goes to an address that does not exist."""
    url = f"https://generativelanguage.googleapis.com/v1beta/openai/{resource}"
    with pytest.raises(ConfigurationError, match=f"without /{resource}"):
        ours.client(base_url=url, api_key="key")


class TestTheModule:
    """`from genai_config import openai` takes the place of `import openai`."""

    def test_what_it_does_not_define_is_openais(self) -> None:
        """Errors and types are there under the usual names."""
        assert ours.RateLimitError is openai.RateLimitError
        assert ours.types is openai.types
        assert {"RateLimitError", "client", "OpenAI"} <= set(dir(ours))
        with pytest.raises(AttributeError, match="no_such_name"):
            _ = ours.no_such_name
        assert not hasattr(ours, "__no_such__")

    @pytest.mark.usefixtures("vertex")
    def test_its_classes_are_constructors(self, server: GeminiServer) -> None:
        """They take OpenAI's arguments and ours."""
        with ours.OpenAI(location="global", max_retries=0, timeout=8) as client:
            assert isinstance(client, openai.OpenAI)
            assert (client.max_retries, client.timeout) == (0, 8)
            ask(client)
        asyncio.run(ask_async(ours.AsyncOpenAI(location="global")))
        assert {request.auth for request in server.requests} == {"oauth"}


class TestTheHttpClient:
    """What other libraries take: connections, credentials and names of models in one object."""

    @pytest.mark.usefixtures("vertex")
    def test_a_client_of_openais_own(self, server: GeminiServer) -> None:
        """A bare client sends with our credentials, and the model's name is completed."""
        http = ours.http_client()
        with openai.OpenAI(api_key="x", base_url=str(http.base_url), http_client=http) as client:
            client.chat.completions.create(model="gemini-test", messages=PROMPT)
        assert {request.identity for request in server.requests} == {"user-1@example.com"}
        assert server.requests[0].resource == MODEL

    @pytest.mark.usefixtures("vertex")
    async def test_an_async_client_of_openais_own(self, server: GeminiServer) -> None:
        """Likewise."""
        http = ours.async_http_client(location="global")
        async with openai.AsyncOpenAI(
            api_key="x", base_url=str(http.base_url), http_client=http
        ) as client:
            await client.chat.completions.create(model="gemini-test", messages=PROMPT)
        assert server.requests[0].resource == MODEL
        assert server.requests[0].auth == "oauth"

    @pytest.mark.usefixtures("vertex")
    def test_our_own_client_takes_it(self, server: GeminiServer) -> None:
        """Several clients may share its connections."""
        with ours.http_client() as http:
            ask(ours.OpenAI(http_client=http))
        assert server.requests[0].resource == MODEL

    @pytest.mark.usefixtures("vertex")
    async def test_a_body_that_is_a_stream_goes_as_it_is(self, server: GeminiServer) -> None:
        """It is read once, by whoever sends it."""

        async def pieces() -> Any:
            yield b'{"model": "google/gemini-test", "messages": '
            yield b'[{"role": "user", "content": "hi"}]}'

        async with ours.async_http_client() as http:
            answer = await http.post(
                f"{http.base_url}chat/completions",
                content=pieces(),
                headers={"content-type": "application/json"},
            )
        assert answer.status_code == 200
        assert server.requests[0].resource == MODEL

    @pytest.mark.usefixtures("vertex")
    def test_its_timeout_is_the_configurations(self) -> None:
        """In seconds, for each step of a request."""
        safe_configure(timeout=3)
        assert ours.http_client().timeout.read == 3
        with pytest.raises(ConfigurationError, match=r"safe_configure\(timeout="):
            ours.http_client(timeout=3)  # type: ignore[call-arg] # that is what is tested

    @pytest.mark.usefixtures("vertex")
    def test_it_takes_no_arguments_of_openais(self) -> None:
        """Those belong to the client that is made with it."""
        arguments: Any = {"max_retries": 1}
        with pytest.raises(GenAIConfigError, match="max_retries"):
            ours.http_client(**arguments)

    @pytest.mark.usefixtures("vertex")
    def test_a_wrong_model(self) -> None:
        """The error is ours: a bare client knows nothing of it."""
        http = ours.http_client()
        with (
            openai.OpenAI(api_key="x", base_url=str(http.base_url), http_client=http) as client,
            pytest.raises(ConfigurationError, match="gpt-4o"),
        ):
            client.chat.completions.create(model="gpt-4o", messages=PROMPT)

    @pytest.mark.usefixtures("vertex")
    def test_errors_come_in_openais_form(self, server: GeminiServer) -> None:
        """A bare client shows what Google said and the remedy, and the status is kept."""
        server.respond("*", NotFound("no such model"))
        http = ours.http_client()
        with (
            openai.OpenAI(api_key="x", base_url=str(http.base_url), http_client=http) as client,
            pytest.raises(openai.NotFoundError, match="gcloud ai endpoints list") as caught,
        ):
            client.chat.completions.create(model="gemini-test", messages=PROMPT)
        assert "no such model" in caught.value.message
        with pytest.raises(openai.NotFoundError) as twice:
            ask(ours.OpenAI(http_client=ours.http_client()))
        assert str(twice.value).count("Meaning:") == 1

    async def test_without_credentials_it_answers(
        self, server: GeminiServer, place: dict[str, Any]
    ) -> None:
        """A bare client hears the remedy in an answer, and does not try again."""
        http = ours.async_http_client(project="my-project", **place)
        async with openai.AsyncOpenAI(
            api_key="x", base_url=str(http.base_url), http_client=http
        ) as client:
            with pytest.raises(openai.InternalServerError, match="application-default login"):
                await client.chat.completions.create(model="gemini-test", messages=PROMPT)
        assert server.requests == []


CALL = glm.FunctionCall(name="get_weather", args={"city": "Paris"})
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}


class TestSignedToolCalls:
    """Gemini 3 wants its tool calls back signed; the libraries above OpenAI's drop that."""

    @staticmethod
    def answered(call: Any) -> list[Any]:
        """A conversation with the call as such libraries repeat it, and its result."""
        function = {"name": call.function.name, "arguments": call.function.arguments}
        bare = {"id": call.id, "type": "function", "function": function}
        return [
            *PROMPT,
            {"role": "assistant", "content": None, "tool_calls": [bare]},
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]

    @pytest.mark.usefixtures("vertex")
    @pytest.mark.parametrize("streams", [False, True])
    def test_they_are_signed_again(self, server: GeminiServer, *, streams: bool) -> None:
        """Whether the call came in a stream or as a whole."""
        server.respond("*", [CALL])
        chats = ours.client().chat.completions
        ask: Any = {"model": "gemini-3.6-flash", "tools": [TOOL]}
        if streams:
            chunks: Any = chats.create(**ask, messages=PROMPT, stream=True)
            (call,) = [one for c in chunks for one in c.choices[0].delta.tool_calls or []]
        else:
            (call,) = chats.create(**ask, messages=PROMPT).choices[0].message.tool_calls or []
        server.respond("*", "It is sunny.")
        done = chats.create(**ask, messages=self.answered(call))
        assert done.choices[0].message.content == "It is sunny."

    @pytest.mark.usefixtures("vertex")
    async def test_those_of_an_async_http_client(self, server: GeminiServer) -> None:
        """Likewise, from a stream that a library reads."""
        server.respond("*", [CALL])
        http = ours.async_http_client()
        base = str(http.base_url)
        ask: Any = {"model": "gemini-3.6-flash", "tools": [TOOL]}
        async with openai.AsyncOpenAI(api_key="x", base_url=base, http_client=http) as client:
            chats = client.chat.completions
            chunks: Any = await chats.create(**ask, messages=PROMPT, stream=True)
            (call,) = [one async for c in chunks for one in c.choices[0].delta.tool_calls or []]
            server.respond("*", "It is sunny.")
            done = await chats.create(**ask, messages=self.answered(call))
        assert done.choices[0].message.content == "It is sunny."

    @pytest.mark.usefixtures("vertex")
    async def test_what_is_read_to_its_end(self, server: GeminiServer) -> None:
        """Pieces arrive as they were, whoever reads them."""
        server.respond("*", "It is sunny.")
        body = {"model": "gemini-3.6-flash", "messages": PROMPT, "stream": True}
        async with ours.async_http_client() as http:
            url = f"{http.base_url}chat/completions"
            async with http.stream("POST", url, json=body) as answer:
                text = "".join([piece async for piece in answer.aiter_text()])
        assert text.endswith("data: [DONE]\n\n")
