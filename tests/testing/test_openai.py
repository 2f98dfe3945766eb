from __future__ import annotations

import importlib
import importlib.util
import json
import ssl
from typing import TYPE_CHECKING, Any

import openai
import pytest
from google.api_core import exceptions
from google.oauth2 import service_account

from genai_config.testing._service import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from genai_config.testing import GeminiServer

# The transport of openai itself: httpx2 since 3.0, httpx before.
httpx: Any = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")

PROMPT: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "hi there"}]},
]
VERTEX = "projects/mine/locations/global/endpoints"
MODEL = "google/gemini-3.6-flash"


@pytest.fixture
def base(server: GeminiServer) -> str:
    """The URL of the server."""
    return f"https://{server.rest_endpoint}"


@pytest.fixture
def connect(server: GeminiServer, base: str) -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients that trust the server and try once."""
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    with httpx.Client(verify=trust, trust_env=False) as http:

        def make(key: str, path: str = "v1beta/openai", **more: Any) -> openai.OpenAI:
            return openai.OpenAI(
                api_key=key, base_url=f"{base}/{path}", http_client=http, max_retries=0, **more
            )

        yield make


@pytest.fixture
def gemini(server: GeminiServer, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """A client of the Gemini API, with a key."""
    return connect(server.api_key())


@pytest.fixture
def token(server: GeminiServer, fetch: Any) -> str:
    """A person's token with the scope of Vertex AI alone."""
    return str(fetch(server.user_credentials([rules.CLOUD_PLATFORM])))


@pytest.fixture
def vertex(token: str, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """A client of Vertex AI, with a token."""
    headers = {"x-goog-user-project": "mine"}
    return connect(token, f"v1beta1/{VERTEX}/openapi", default_headers=headers)


def error_of(call: Callable[[], Any]) -> dict[str, Any]:
    """What a refused call is told: a list of one error."""
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    (body,) = caught.value.response.json()
    assert body["error"]["code"] == caught.value.status_code
    error: dict[str, Any] = body["error"]
    return error


def test_chat(server: GeminiServer, gemini: openai.OpenAI) -> None:
    """A key is a bearer token here, and the answer is the model's."""

    def answer(request: Any) -> str:
        assert request.system_instruction.parts[0].text == "Be kind."
        assert [part.text for part in request.contents[0].parts] == ["hi there"]
        assert request.generation_config.temperature == 0.5
        assert request.generation_config.stop_sequences == ["x"]
        return "Hello yourself"

    server.respond("gemini-3.6-flash", answer)
    done = gemini.chat.completions.create(
        model="gemini-3.6-flash", messages=PROMPT, temperature=0.5, stop="x"
    )
    assert done.choices[0].message.content == "Hello yourself"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (2, 2)
    (request,) = server.requests
    assert (request.method, request.resource) == ("OpenAI.ChatCompletions", "gemini-3.6-flash")
    assert (request.auth, request.identity, request.transport) == ("api_key", "key-1", "rest")
    assert request.headers["authorization"] == "Bearer ***"


def test_stream(server: GeminiServer, gemini: openai.OpenAI) -> None:
    """A stream comes in chunks; the usage at its end, if it is asked for."""
    server.respond(MODEL, ["a", "b"])
    plain = list(gemini.chat.completions.create(model=MODEL, messages=PROMPT, stream=True))
    assert [one.choices[0].delta.content for one in plain] == ["a", "b"]
    assert [one.choices[0].finish_reason for one in plain] == [None, "stop"]
    counted = gemini.chat.completions.create(
        model=MODEL, messages=PROMPT, stream=True, stream_options={"include_usage": True}
    )
    *_, last = counted
    assert last.usage
    assert last.usage.total_tokens == 4


def test_stream_breaks(server: GeminiServer, gemini: openai.OpenAI) -> None:
    """A stream may end in an error."""
    server.respond("*", ["a", exceptions.ServiceUnavailable("gone")])
    stream = gemini.chat.completions.create(model=MODEL, messages=PROMPT, stream=True)
    assert next(stream).choices[0].delta.content == "a"
    with pytest.raises(openai.APIError, match="gone"):
        next(stream)


def test_programmed(server: GeminiServer, gemini: openai.OpenAI) -> None:
    """What a test tells the server holds here too."""

    def ask(**options: Any) -> Any:
        return gemini.chat.completions.create(model=MODEL, messages=PROMPT, **options)

    server.fail(1, "RESOURCE_EXHAUSTED", "slow down")
    assert error_of(ask)["message"] == "slow down"
    server.drop()
    with pytest.raises(openai.APIConnectionError):
        ask()
    server.hang()
    with pytest.raises(openai.APITimeoutError):
        ask(timeout=0.05)
    server.release()
    assert ask().choices


def test_embeddings(gemini: openai.OpenAI) -> None:
    """Embeddings come as numbers or packed, for one text or many."""
    model = "gemini-embedding-2"
    many = gemini.embeddings.create(model=model, input=["a b", "c"])
    plain = gemini.embeddings.create(model=model, input="a b", encoding_format="float")
    packed: Any = gemini.embeddings.create(model=model, input="a b", encoding_format="base64")
    assert many.usage.prompt_tokens == 3
    assert many.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert isinstance(packed.data[0].embedding, str)
    assert many.data[1].embedding != many.data[0].embedding


def test_models(server: GeminiServer, gemini: openai.OpenAI, vertex: openai.OpenAI) -> None:
    """Models can be listed and looked at, under the names that the place knows them by."""
    assert "models/gemini-3.6-flash" in [one.id for one in gemini.models.list()]
    assert gemini.models.retrieve("gemini-3.6-flash").id == "models/gemini-3.6-flash"
    assert error_of(lambda: gemini.models.retrieve("none"))["status"] == "NOT_FOUND"
    with pytest.raises(openai.NotFoundError) as caught:
        vertex.models.list()
    assert caught.value.response.headers["content-type"].startswith("text/html")
    methods = [one.method for one in server.requests]
    assert methods == ["OpenAI.ListModels", *["OpenAI.RetrieveModel"] * 2, "OpenAI.ListModels"]


def test_oauth_on_gemini(
    server: GeminiServer, connect: Callable[..., openai.OpenAI], token: str
) -> None:
    """The Gemini API's endpoint takes a token as well, as long as it is one."""
    headers = {"x-goog-user-project": "mine"}
    client = connect(token, default_headers=headers)
    assert client.models.list().data
    assert server.requests[0].identity == "user-1@example.com"
    server.expire_tokens()
    error = error_of(client.models.list)
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"
    assert error_of(connect("a.b.c").models.list)["status"] == "UNAUTHENTICATED"


def test_unknown_key(connect: Callable[..., openai.OpenAI]) -> None:
    """A key that is not valid is an invalid argument."""
    error = error_of(connect("AIzaX").models.list)
    assert (error["code"], error["details"][0]["reason"]) == (400, "API_KEY_INVALID")


def test_vertex(server: GeminiServer, vertex: openai.OpenAI) -> None:
    """Vertex AI takes tokens with the scope of the cloud, and is told whose quota it is."""
    done = vertex.chat.completions.create(model=MODEL, messages=PROMPT)
    assert done.choices[0].message.content == "Hello from models/gemini-3.6-flash"
    (request,) = server.requests
    assert (request.resource, request.auth) == (MODEL, "oauth")
    assert request.headers["x-goog-user-project"] == "mine"


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("gemini-3.6-flash", 400, "Malformed publisher model"),
        ("meta/llama", 404, "publishers/meta/models/llama` was not found"),
        ("google/none", 404, "publishers/google/models/none` was not found"),
    ],
)
def test_vertex_models(vertex: openai.OpenAI, model: str, code: int, message: str) -> None:
    """On Vertex AI a model's name has a publisher, and is one of theirs."""
    error = error_of(lambda: vertex.chat.completions.create(model=model, messages=PROMPT))
    assert error["code"] == code
    assert message in error["message"]


def test_vertex_endpoint(connect: Callable[..., openai.OpenAI], token: str) -> None:
    """An endpoint of one's own has one model, whatever it is called."""
    headers = {"x-goog-user-project": "mine"}
    client = connect(token, f"v1/{VERTEX}/123", default_headers=headers)
    assert client.chat.completions.create(model="", messages=PROMPT).choices


@pytest.mark.parametrize("endpoint", ["openapi", "123"])
def test_vertex_without_the_permission(
    server: GeminiServer, connect: Any, fetch: Any, endpoint: str
) -> None:
    """IAM's answer, of the endpoint and not of the model; a role for caches is another matter."""
    account = service_account.Credentials.from_service_account_info(
        server.service_account_info("me"), scopes=[rules.CLOUD_PLATFORM]
    )
    chat = connect(fetch(account), f"v1/{VERTEX}/{endpoint}").chat.completions
    server.deny("me", "aiplatform.cachedContents.create")
    assert chat.create(model=MODEL, messages=PROMPT).choices
    server.deny("me")
    error = error_of(lambda: chat.create(model=MODEL, messages=PROMPT))
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    assert error["details"][0]["metadata"] == {
        "permission": "aiplatform.endpoints.predict", "resource": f"{VERTEX}/{endpoint}"
    }  # fmt: skip
    assert server.requests[-1].status == "PERMISSION_DENIED"


@pytest.fixture
def post(http: requests.Session, base: str) -> Callable[..., dict[str, Any]]:
    """Sends a chat as it is, and returns the one error in the list that comes back."""

    def send(path: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
        (reply,) = http.post(f"{base}/{path}", data=body, headers=headers).json()
        error: dict[str, Any] = reply["error"]
        return error

    return send


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("authorization", "Bearer AIzaX", "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        ("x-goog-api-key", "KEY", "CREDENTIALS_MISSING"),
        ("x-nothing", "", "CREDENTIALS_MISSING"),
    ],
)
def test_vertex_takes_no_key(
    server: GeminiServer, post: Any, header: str, value: str, reason: str
) -> None:
    """A key is refused by Vertex AI wherever it is put, and so is nothing."""
    headers = {header: server.api_key() if value == "KEY" else value}
    body = json.dumps({"model": MODEL, "messages": PROMPT})
    error = post(f"v1/{VERTEX}/openapi/chat/completions", body, headers)
    assert error["code"] == 401
    assert error["details"][0]["reason"] == reason
    assert error["details"][0]["metadata"]["service"] == "aiplatform.googleapis.com"


def test_vertex_scope_and_quota(
    server: GeminiServer, connect: Callable[..., openai.OpenAI], fetch: Any, token: str
) -> None:
    """The scope of the Gemini API does not open Vertex AI; a person needs a quota project."""
    path = f"v1/{VERTEX}/openapi"
    narrow = fetch(server.user_credentials([rules.GENERATIVE]))

    def ask(given: str) -> dict[str, Any]:
        chat = connect(given, path).chat.completions
        return error_of(lambda: chat.create(model=MODEL, messages=PROMPT))

    detail = ask(narrow)["details"][0]
    assert detail["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    assert (
        detail["metadata"]["method"]
        == "google.cloud.aiplatform.v1.PredictionService.ChatCompletions"
    )
    message = ask(token)["message"]
    assert "aiplatform.googleapis.com API requires a quota project" in message


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("chat/completions", "{", "INVALID_ARGUMENT"),
        ("chat/completions", "[]", "INVALID_ARGUMENT"),
        ("chat/completions", '{"model": "m", "messages": [{}]}', "INVALID_ARGUMENT"),
        ("chat/completions", '{"model": "m"}', "INVALID_ARGUMENT"),
        ("embeddings", '{"model": "m", "input": [1]}', "INVALID_ARGUMENT"),
        ("images/generations", "{}", "NOT_FOUND"),
    ],
)
def test_nonsense(server: GeminiServer, post: Any, path: str, body: str, status: str) -> None:
    """What is no request is refused, and written down."""
    headers = {"Authorization": f"Bearer {server.api_key()}"}
    assert post(f"v1beta/openai/{path}", body, headers)["status"] == status
    assert server.requests[0].status == status


async def test_async(server: GeminiServer, base: str) -> None:
    """The async client works as the other."""
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    async with openai.AsyncOpenAI(
        api_key=server.api_key(),
        base_url=f"{base}/v1beta/openai",
        http_client=httpx.AsyncClient(verify=trust, trust_env=False),
    ) as client:
        done = await client.chat.completions.create(model=MODEL, messages=PROMPT)
        assert done.choices[0].message.content == "Hello from models/gemini-3.6-flash"
        stream = await client.chat.completions.create(model=MODEL, messages=PROMPT, stream=True)
        texts = [one.choices[0].delta.content async for one in stream]
        assert texts == ["Hello ", "from ", "models/gemini-3.6-flash"]
        assert [one.id async for one in client.models.list()]
