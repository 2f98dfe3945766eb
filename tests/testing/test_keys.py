"""Keys of today, and what the service says to those that it refuses; models that are gone."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from google.api_core import exceptions

from genai_config.testing import GeminiServer

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "models/gemini-3.6-flash"
HI = [{"role": "user", "parts": [{"text": "hi"}]}]


class Refusal(NamedTuple):
    """What a key of some state is told."""

    code: int
    reason: str
    text: str


TODAY = {
    "expired": Refusal(400, "API_KEY_INVALID", "API key expired. Please renew the API key."),
    "leaked": Refusal(403, "", "reported as leaked. Please use another API key."),
    "blocked": Refusal(403, "API_KEY_SERVICE_BLOCKED", "are blocked."),
    "suspended": Refusal(403, "CONSUMER_SUSPENDED", "Consumer 'api_key:{key}' has been suspended."),
    "flagged": Refusal(403, "", "Your project has been denied access."),
    "unsupported": Refusal(401, "ACCESS_TOKEN_TYPE_UNSUPPORTED", "Expected OAuth 2 access token"),
}


@pytest.mark.parametrize("kind", ["standard", "auth"])
def test_both_kinds_are_taken(server: GeminiServer, wire: Any, kind: Any) -> None:
    """In their own shapes."""
    key = server.api_key(kind=kind)
    assert key.startswith({"standard": "AIza", "auth": "AQ."}[kind])
    client = wire.client("GenerativeService")
    request = {"model": MODEL, "contents": HI}
    assert client.generate_content(request, metadata=[("x-goog-api-key", key)]).candidates


@pytest.mark.parametrize("state", TODAY)
def test_refused_keys(server: GeminiServer, wire: Any, state: Any) -> None:
    """Over both wires of the SDK, with code, reason and text."""
    key = server.api_key(kind="auth", state=state)
    client = wire.client("GenerativeService")
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        client.generate_content(
            {"model": MODEL, "contents": HI}, metadata=[("x-goog-api-key", key)], retry=None
        )
    refusal = TODAY[state]
    assert caught.value.code == refusal.code
    assert refusal.text.format(key=key) in caught.value.message
    assert refusal.reason in str(caught.value._error_info or "")
    assert bool(caught.value._error_info) == bool(refusal.reason)
    (request,) = server.requests
    assert request.auth == "api_key"
    assert request.identity == "key-1"


@pytest.fixture
def chat(server: GeminiServer, http: requests.Session) -> Callable[..., Any]:
    """Sends a chat to OpenAI's path with some headers."""

    def send(**headers: str) -> Any:
        url = f"https://{server.rest_endpoint}/v1beta/openai/chat/completions"
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.post(url, json=body, headers=sent).json()

    return send


@pytest.mark.parametrize("state", TODAY)
def test_refused_keys_on_openais_path(server: GeminiServer, chat: Any, state: Any) -> None:
    """The same, as a list."""
    key = server.api_key(state=state)
    ((error,),) = [chat(authorization=f"Bearer {key}")]
    assert error["error"]["code"] == TODAY[state].code
    assert TODAY[state].text.format(key=key) in error["error"]["message"]


def test_an_auth_key_that_is_no_bearer_token(server: GeminiServer, chat: Any) -> None:
    """It is taken in its own header, and there alone."""
    key = server.api_key(kind="auth", state="no_bearer")
    (error,) = chat(authorization=f"Bearer {key}")
    assert error["error"]["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    assert "choices" in chat(x_goog_api_key=key)


def test_two_credentials(server: GeminiServer, chat: Any) -> None:
    """The same key twice is one too many."""
    key = server.api_key()
    (error,) = chat(authorization=f"Bearer {key}", x_goog_api_key=key)
    assert error["error"]["code"] == 400
    assert error["error"]["message"].startswith("Multiple authentication credentials received.")


def test_a_flagged_project_still_lists_models(server: GeminiServer, wire: Any) -> None:
    """So that listing proves little."""
    metadata = [("x-goog-api-key", server.api_key(state="flagged"))]
    assert list(wire.client("ModelService").list_models(metadata=metadata))


def test_kinds_and_states_that_are_none(server: GeminiServer) -> None:
    """Are refused where they are given."""
    with pytest.raises(ValueError, match="'foreign' is none of standard"):
        server.api_key(kind="foreign")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="'lost' is none of valid"):
        server.api_key(state="lost")  # type: ignore[arg-type]  # likewise
    for setting in ("tuning", "models"):
        with pytest.raises(ValueError, match=f"{setting} is"):
            setattr(server, setting, "other")
        assert getattr(server, setting) in ("served", "any")
    with pytest.raises(ValueError, match="'x' is none of alive"):
        server.set_model(MODEL, "x")  # type: ignore[arg-type]  # likewise


# Models


@pytest.fixture
def ask(server: GeminiServer, wire: Any) -> Callable[[str], Any]:
    """Asks a model, and returns the text or the error's."""
    client = wire.client("GenerativeService")
    metadata = [("x-goog-api-key", server.api_key())]

    def once(model: str) -> str:
        try:
            request = {"model": model, "contents": HI}
            response = client.generate_content(request, metadata=metadata, retry=None)
        except exceptions.NotFound as error:
            return str(error.message)
        return str(response.candidates[0].content.parts[0].text)

    return once


@pytest.mark.parametrize(
    ("model", "day", "text"),
    [
        ("models/gemini-1.5-flash", "2025-09-29", "is not found for API version v1beta"),
        ("models/gemini-1.5-flash", "2025-09-28", "Hello from"),
        ("models/gemini-2.5-pro", "2026-11-28", "no longer available to new users"),
        ("models/gemini-2.5-pro", "2026-12-01", "Hello from"),
        (MODEL, "2026-11-28", "Hello from"),
    ],
)
def test_models_of_a_day(model: str, day: str, text: str) -> None:
    """What is retired or closed on the server's day is refused, if the test says so."""
    now = dt.datetime.fromisoformat(day).replace(tzinfo=dt.timezone.utc).timestamp()
    with GeminiServer(clock=lambda: now) as server, requests.Session() as session:
        session.trust_env = False
        url = f"https://{server.rest_endpoint}/v1beta/{model}:generateContent"
        send = {"json": {"contents": HI}, "verify": str(server.ca_file)}
        headers = {"x-goog-api-key": server.api_key()}
        assert "Hello from" in session.post(url, headers=headers, **send).text  # type: ignore[arg-type]
        server.models = "today"
        assert text in session.post(url, headers=headers, **send).text  # type: ignore[arg-type]


def test_states_of_one_model(server: GeminiServer, ask: Any) -> None:
    """A test decides on any name."""
    server.set_model("gemini-9-flash", "closed")
    assert "no longer available to new users" in ask("models/gemini-9-flash")
    server.set_model("gemini-9-flash", "retired")
    assert "models/gemini-9-flash is not found" in ask("models/gemini-9-flash")
    server.set_model("gemini-9-flash", "alive")
    assert ask("models/gemini-9-flash").startswith("Hello")


def test_get_model(server: GeminiServer, wire: Any) -> None:
    """It answers for what can be asked, listed or not."""
    client = wire.client("ModelService")
    more: Any = {"metadata": [("x-goog-api-key", server.api_key())], "retry": None}
    assert "embedContent" in (
        client.get_model(name="models/text-embedding-005", **more).supported_generation_methods
    )
    server.respond("mine", "hi")
    for name in ("models/gemini-9-flash", "models/mine"):
        assert client.get_model(name=name, **more).name == name
    server.set_model("gemini-9-flash", "retired")
    with pytest.raises(exceptions.NotFound):
        client.get_model(name="models/gemini-9-flash", **more)


def test_tuning_has_ended(server: GeminiServer, wire: Any, fetch: Any) -> None:
    """Tuned models are listed and deleted, and neither asked nor made any more."""
    token = fetch(server.user_credentials())
    more: Any = {
        "metadata": [("authorization", f"Bearer {token}"), ("x-goog-user-project", "mine")],
        "retry": None,
    }
    models, asking = wire.client("ModelService"), wire.client("GenerativeService")
    create = {"tuned_model": {"display_name": "mine", "base_model": "models/gemini-test"}}
    models.create_tuned_model(create, **more)
    server.tuning = "ended"
    with pytest.raises(exceptions.NotFound, match="createTunedModel"):
        models.create_tuned_model(create, **more)
    with pytest.raises(exceptions.NotFound, match="tunedModels/mine is not found"):
        asking.generate_content({"model": "tunedModels/mine", "contents": HI}, **more)
    assert [one.name for one in models.list_tuned_models(**more)] == ["tunedModels/mine"]
    models.delete_tuned_model(name="tunedModels/mine", **more)
    assert not list(models.list_tuned_models(**more))


def test_operations_outlive_their_models(server: GeminiServer, wire: Any, fetch: Any) -> None:
    """Cancelled or orphaned, they can be listed."""
    token = fetch(server.user_credentials())
    more: Any = {
        "metadata": [("authorization", f"Bearer {token}"), ("x-goog-user-project", "mine")]
    }
    models = wire.client("ModelService")
    if not hasattr(models, "get_operation"):  # pragma: no cover  # up to 0.6.10
        pytest.skip("this version's clients have no operations")
    names = []
    for name in ("one", "two"):
        create = {"tuned_model": {"display_name": name, "base_model": "models/gemini-test"}}
        names.append(models.create_tuned_model(create, **more).operation.name)
    for name in names:
        models.get_operation({"name": name}, **more)
    models.delete_tuned_model(name="tunedModels/two", **more)
    assert models.get_operation({"name": names[1]}, **more).error.code == 5
    listed = models.list_operations({"name": "tunedModels/two"}, **more)
    assert [one.name for one in listed.operations] == names[1:]


def test_google_genai(server: GeminiServer) -> None:
    """Its newest client with tools, streams, schemas and chats, unchanged."""
    genai: Any = pytest.importorskip("google.genai")
    trust = {"verify": ssl.create_default_context(cafile=str(server.ca_file))}
    options = genai.types.HttpOptions(
        base_url=server.base_url, api_version="v1beta", client_args=trust
    )
    model = "gemini-3.6-flash"

    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    with genai.Client(api_key=server.api_key(kind="auth"), http_options=options) as client:
        chat = client.chats.create(model=model, config={"tools": [weather]})
        assert chat.send_message("How is it?").text == f"Hello from models/{model}"
        call = chat.get_history()[1].parts[0]
        assert call.function_call.args == {"city": "text"}
        assert call.thought_signature
        assert chat.send_message("And now?").text
        schema = {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}}
        config: Any = {"response_mime_type": "application/json", "response_schema": schema}
        asked = {"model": model, "contents": "x"}
        assert client.models.generate_content(**asked, config=config).parsed == {"a": 1}
        config = {
            "response_mime_type": "application/json",
            "response_json_schema": {"type": "object", "properties": {"b": {"type": "boolean"}}},
            "thinking_config": {"thinking_level": "LOW"},
            "seed": 1,
        }
        assert client.models.generate_content(**asked, config=config).text == '{"b": true}'
        config = {"tools": [{"function_declarations": [{"name": "f"}]}]}
        chunks = list(client.models.generate_content_stream(**asked, config=config))
        assert chunks[0].function_calls[0].name == "f"
