"""Every method of every service, sync and async: the server sees what the routing table says."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import google.ai.generativelanguage as glm
import google.generativeai as genai
import pytest
from google.api_core.exceptions import GoogleAPICallError, PermissionDenied
from google.generativeai import client as client_lib
from google.generativeai import retriever

from genai_config import base_models, override, safe_configure, tuned_models
from genai_config._models import TUNING_SOURCE
from genai_config._routing.decision import BASE_SCOPES, RETRIEVER_SCOPES, RULES, TUNED_SCOPES
from genai_config._sdk.clients import RoutingClient
from genai_config.exceptions import (
    APIKeyRequiredError,
    ConfigurationError,
    CredentialsNotFoundError,
)

if TYPE_CHECKING:
    from genai_config import GenAIConfig
    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"
HELLO = "Hello from models/gemini-3.6-flash"

# (service, method) for all but the upload, which is the SDK's own HTTP code. Older versions of the
# SDK's clients have fewer services and methods.
METHODS = sorted(
    {
        (rule.service, method)
        for rule in RULES
        for method in rule.methods
        if rule.service == "operations"
        or (
            rule.need != "api_key"
            and hasattr(getattr(glm, f"{rule.service.title()}ServiceClient", None), method)
        )
    }
)


def requests_for(service: str, method: str) -> list[tuple[dict[str, Any], str]]:
    """Requests of a method, each with the credentials that it must carry."""
    (rule,) = [r for r in RULES if r.service == service and method in r.methods]
    if service == "operations":
        return [({"name": "tunedModels/a/operations/b"}, "oauth")]
    if rule.need in ("tuned", "retriever"):
        return [({}, "oauth")]
    if method in ("get_operation", "list_operations"):
        return [({"name": "tunedModels/a/operations/b"}, "oauth"), ({"name": "x/y"}, "api_key")]
    cases: list[tuple[dict[str, Any], str]] = [({}, "api_key")]
    for field in rule.fields:
        tuned = "corpora/mine" if field == "semantic_retriever.source" else TUNED
        value: Any = tuned
        for part in reversed(field.split(".")):
            value = {part: value}
        if "requests" in value:
            value = {"requests": [value["requests"]]}
        cases.append((value, "oauth"))
    return cases


def call(client: Any, method: str, request: dict[str, Any]) -> Any:
    """Sends a request as the SDK does; operations take a bare name."""
    if client._service == "operations":
        arguments: dict[str, Any] = {"name": request["name"]}
        if method == "list_operations":
            arguments["filter_"] = ""
        return getattr(client, method)(**arguments)
    return getattr(client, method)(request)


@pytest.mark.usefixtures("adc", "configured")
@pytest.mark.parametrize(("service", "method"), METHODS)
def test_each_method_carries_what_its_row_says(
    server: GeminiServer, service: str, method: str
) -> None:
    """With a key and ADC at hand, each request leaves with the credentials of its rule."""
    client = RoutingClient(service, asynchronous=False)
    for request, auth in requests_for(service, method):
        server.clear()
        with contextlib.suppress(GoogleAPICallError):
            answer = call(client, method, request)
            if hasattr(answer, "__iter__"):
                list(answer)
        assert [r.auth for r in server.requests] == [auth]


@pytest.mark.usefixtures("adc", "configured")
@pytest.mark.parametrize(
    ("service", "method"), [pair for pair in METHODS if pair[0] != "operations"]
)
def test_each_async_method_carries_what_its_row_says(
    server: GeminiServer, service: str, method: str
) -> None:
    """The same for the asynchronous clients."""

    async def send(request: dict[str, Any]) -> None:
        with contextlib.suppress(GoogleAPICallError):
            answer = await call(client, method, request)
            if hasattr(answer, "__aiter__"):
                async for _ in answer:
                    pass

    client = RoutingClient(service, asynchronous=True)
    for request, auth in requests_for(service, method):
        server.clear()
        asyncio.run(send(request))
        assert [r.auth for r in server.requests] == [auth]


@pytest.mark.usefixtures("adc", "configured")
def test_scopes_follow_the_need(server: GeminiServer) -> None:
    """Tuned models, corpora and (without a key) base models each ask for their own scopes."""
    genai.GenerativeModel(TUNED).generate_content("hi")
    list(retriever.list_corpora())
    with override(auth="oauth"):
        genai.GenerativeModel(BASE).generate_content("hi")
    with override(auth="oauth", scopes=TUNED_SCOPES):
        genai.GenerativeModel(BASE).generate_content("hi")
    assert [r.scopes for r in server.requests] == [
        set(TUNED_SCOPES),
        set(RETRIEVER_SCOPES),
        set(BASE_SCOPES),
        set(TUNED_SCOPES),
    ]


@pytest.mark.usefixtures("adc", "configured")
def test_a_tuned_model_is_made_polled_and_listed_by_oauth(server: GeminiServer) -> None:
    """A long-running operation and a pager carry OAuth to their end."""
    operation = genai.create_tuned_model(
        source_model=f"models/{TUNING_SOURCE}",
        training_data=[{"text_input": "1", "output": "2"}],
        id="mine",
    )
    operation.update()
    for i in range(3):
        genai.create_tuned_model(
            source_model=f"models/{TUNING_SOURCE}",
            training_data=[{"text_input": "1", "output": "2"}],
            id=f"more-{i}",
        )
    listed = list(genai.list_tuned_models(page_size=1))
    assert len(listed) == 4
    assert {r.auth for r in server.requests} == {"oauth"}
    assert len([r for r in server.requests if r.method.endswith("ListTunedModels")]) >= 4


@pytest.mark.usefixtures("adc", "configured")
def test_a_stream_carries_the_credentials_of_its_model(server: GeminiServer) -> None:
    """Chunk by chunk, base with the key and tuned with OAuth."""
    for model in (BASE, TUNED):
        chunks = [c.text for c in genai.GenerativeModel(model).generate_content("hi", stream=True)]
        assert len(chunks) > 1
    assert [r.auth for r in server.requests] == ["api_key", "oauth"]


@pytest.mark.usefixtures("adc", "configured")
def test_rest_goes_through_the_sdks_own_transport(server: GeminiServer) -> None:
    """REST for base and for tuned models, with the credentials of each."""
    safe_configure(
        transport="rest",
        tuned_transport="rest",
        client_options={"api_endpoint": server.rest_endpoint},
    )
    genai.GenerativeModel(BASE).generate_content("hi")
    assert list(genai.list_tuned_models()) == []
    genai.GenerativeModel(BASE).count_tokens("hi")
    for chunk in genai.GenerativeModel(BASE).generate_content("hi", stream=True):
        assert chunk.text
    seen = [(r.transport, r.auth) for r in server.requests]
    assert seen == [("rest", "api_key"), ("rest", "oauth"), *[("rest", "api_key")] * 2]


@pytest.mark.usefixtures("adc", "configured")
async def test_async_over_rest_leaves_the_event_loop_free(server: GeminiServer) -> None:
    """Unary calls, streams and lists work where the SDK has no async REST at all."""
    safe_configure(transport="rest", client_options={"api_endpoint": server.rest_endpoint})
    model = genai.GenerativeModel(BASE)
    assert (await model.generate_content_async("hi")).text == HELLO
    chunks = [c.text async for c in await model.generate_content_async("hi", stream=True)]
    assert "".join(chunks) == HELLO
    assert [c async for c in retriever.list_corpora_async()] == []
    assert {r.transport for r in server.requests} == {"rest"}


# Forced modes and scopes for a model type


@pytest.mark.usefixtures("adc", "configured")
def test_tuned_models_forces_oauth_and_base_models_the_key(server: GeminiServer) -> None:
    """Inside, the mode holds for every request; a request that cannot be fails at once."""
    base, tuned = genai.GenerativeModel(BASE), genai.GenerativeModel(TUNED)
    with tuned_models():
        base.generate_content("hi")
    with base_models(transport="grpc"):
        base.generate_content("hi")
        with pytest.raises(PermissionDenied):
            tuned.generate_content("hi")
        with tuned_models():
            tuned.generate_content("hi")
    assert [r.auth for r in server.requests] == ["oauth", "api_key", "api_key", "oauth"]


@pytest.mark.usefixtures("adc")
async def test_scopes_for_a_model_type_under_async_with(
    server: GeminiServer, configured: GenAIConfig
) -> None:
    """Entering looks for credentials off the event loop."""
    del configured
    async with tuned_models():
        await genai.GenerativeModel(TUNED).generate_content_async("hi")
    async with base_models():
        await genai.GenerativeModel(BASE).generate_content_async("hi")
    async with override(auth="oauth"):
        await genai.GenerativeModel(BASE).generate_content_async("hi")
    assert [r.auth for r in server.requests] == ["oauth", "api_key", "oauth"]


@pytest.mark.usefixtures("adc", "configured")
def test_tuned_models_can_be_sent_over_rest(server: GeminiServer) -> None:
    """Where gRPC is blocked, tuned_models(transport="rest") goes round it."""
    options = {"api_endpoint": server.rest_endpoint}
    with tuned_models(transport="rest", client_options=options):
        list(genai.list_tuned_models())
    with tuned_models(transport="grpc_asyncio"):
        list(genai.list_tuned_models())
    assert [r.transport for r in server.requests] == ["rest", "grpc"]


@pytest.mark.usefixtures("configured")
def test_tuned_models_fails_on_entry_without_credentials() -> None:
    """The error names what was looked for and the login command with both scopes."""
    with pytest.raises(CredentialsNotFoundError) as caught, tuned_models():
        pytest.fail("entered")
    text = str(caught.value)
    assert "GOOGLE_APPLICATION_CREDENTIALS (not set)" in text
    assert "gcloud auth application-default login --client-id-file=" in text
    assert ",".join(TUNED_SCOPES) in text


async def test_tuned_models_fails_on_async_entry_without_credentials() -> None:
    """The same under async with and for a decorated coroutine function."""
    safe_configure(api_key="k")
    with pytest.raises(CredentialsNotFoundError):
        async with tuned_models():
            pytest.fail("entered")

    @tuned_models()
    async def decorated() -> None:
        pytest.fail("entered")

    with pytest.raises(CredentialsNotFoundError):
        await decorated()


def test_base_models_fails_on_entry_without_any_credentials() -> None:
    """Base models take either; the error names both, and how to get each."""
    with pytest.raises(CredentialsNotFoundError) as caught, base_models():
        pytest.fail("entered")
    text = str(caught.value)
    for part in ("GEMINI_API_KEY (not set)", "GOOGLE_APPLICATION_CREDENTIALS", "api_key="):
        assert part in text


def test_a_base_model_without_anything_says_that_a_key_would_do() -> None:
    """What most people lack is named first."""
    safe_configure(transport="grpc")
    with pytest.raises(CredentialsNotFoundError, match="an API key: safe_configure") as caught:
        genai.GenerativeModel(BASE).generate_content("hi")
    assert "gcloud auth application-default login" in str(caught.value)


def test_base_models_with_a_forced_mode() -> None:
    """A forced mode without its credentials fails on entry, naming that one alone."""
    with pytest.raises(APIKeyRequiredError, match="GEMINI_API_KEY"), base_models(auth="api_key"):
        pytest.fail("entered")
    with pytest.raises(CredentialsNotFoundError) as caught, base_models(auth="oauth"):
        pytest.fail("entered")
    assert "GEMINI_API_KEY" not in caught.value.problem


@pytest.mark.usefixtures("adc", "configured")
def test_base_models_without_a_key_goes_by_oauth(server: GeminiServer) -> None:
    """ADC serves base models too."""
    from genai_config import UNSET

    with base_models(api_key=UNSET):
        genai.GenerativeModel(BASE).generate_content("hi")
    assert [r.auth for r in server.requests] == ["oauth"]


@pytest.mark.usefixtures("configured")
def test_a_forced_key_is_sent_for_a_tuned_model(server: GeminiServer) -> None:
    """auth="api_key": the service decides, and the caller hears what it says."""
    with override(auth="api_key"), pytest.raises(PermissionDenied):
        genai.GenerativeModel(TUNED).generate_content("hi")
    assert [(r.auth, r.status) for r in server.requests] == [("api_key", "PERMISSION_DENIED")]


def test_an_endpoint_with_a_path_is_for_rest_alone(server: GeminiServer) -> None:
    """A path cannot be sent over gRPC: the error says what to set."""
    safe_configure(
        api_key="k", client_options={"api_endpoint": f"https://{server.rest_endpoint}/p"}
    )
    with pytest.raises(ConfigurationError, match='transport="rest"'):
        genai.GenerativeModel(BASE).generate_content("hi")
    assert client_lib.get_default_generative_client() is not None
