"""What is refused on Vertex AI, by us before anything is sent or by the service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.api_core import exceptions as errors

from genai_config import base_models, override
from genai_config.exceptions import (
    ConfigurationError,
    OAuthRequiredError,
    UnsupportedRequestError,
)

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"
PARENT = "projects/my-project/locations/us-central1"
ENDPOINT = f"{PARENT}/endpoints/456"
ONCE: Any = {"retry": None, "timeout": 10}

pytestmark = pytest.mark.usefixtures("pointed")


def test_an_alias_that_is_none(server: GeminiServer) -> None:
    """Without an endpoint it is the Gemini API's; under the backend it is refused."""
    model = genai.GenerativeModel("tunedModels/other")
    with override(backend="vertex"), pytest.raises(ConfigurationError) as caught:
        model.generate_content("hi")
    assert "tuned_endpoints=" in caught.value.remedy
    assert server.requests == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: list(genai.list_models()),
        lambda: genai.get_model(f"models/{MODEL}"),
        lambda: list(genai.list_tuned_models()),
        lambda: genai.delete_tuned_model("tunedModels/mine"),
        lambda: list(genai.list_files()),
    ],
)
def test_what_vertex_ai_does_not_have(server: GeminiServer, call: Any) -> None:
    """It is said before anything is sent, with the way that goes."""
    with override(backend="vertex"), pytest.raises(UnsupportedRequestError) as caught:
        call()
    assert "override(backend='gemini')" in caught.value.remedy
    assert server.requests == []


@pytest.mark.parametrize("name", [f"{PARENT}/endpoints/1?x=y", f"{PARENT}/endpoints/../x"])
@pytest.mark.parametrize("how", ["generate_content", "count_tokens"])
def test_hostile_names(server: GeminiServer, name: str, how: str) -> None:
    """They choose nothing; the model that was asked before with a good name does not help."""
    getattr(genai.GenerativeModel(ENDPOINT), how)("hi")
    with pytest.raises(ConfigurationError):
        getattr(genai.GenerativeModel(name), how)("hi")
    with override(backend="vertex"), pytest.raises(ConfigurationError):
        getattr(genai.GenerativeModel("../x"), how)("hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["../x", "cachedContents/a?b", "projects/../x"])
def test_a_cache_with_a_hostile_name(server: GeminiServer, name: str) -> None:
    """It goes into the body, and is looked at nevertheless."""
    model: Any = genai.GenerativeModel(ENDPOINT)
    model._cached_content = name
    with pytest.raises(ConfigurationError):
        model.generate_content("hi")
    assert server.requests == []


def test_a_key_alone() -> None:
    """`auth="api_key"` excludes it, on entry where there is one."""
    with override(auth="api_key"), pytest.raises(OAuthRequiredError):
        genai.GenerativeModel("tunedModels/mine").generate_content("hi")
    with pytest.raises(OAuthRequiredError), base_models(backend="vertex", auth="api_key"):
        pytest.fail("Vertex AI takes no key")


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "caught_as"),
    [
        ("PERMISSION_DENIED", errors.PermissionDenied),
        ("NOT_FOUND", errors.NotFound),
        ("RESOURCE_EXHAUSTED", errors.ResourceExhausted),
        ("INVALID_ARGUMENT", errors.InvalidArgument),
        ("FAILED_PRECONDITION", errors.FailedPrecondition),
        ("ABORTED", errors.Aborted),
        ("INTERNAL", errors.InternalServerError),
        ("UNIMPLEMENTED", errors.MethodNotImplemented),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        ("UNAVAILABLE", errors.ServiceUnavailable),
    ],
)
async def test_the_services_errors(
    server: GeminiServer, status: str, caught_as: Any, *, stream: bool,
    asynchronous: bool,
) -> None:  # fmt: skip
    """Whichever way one asks, it is the same class."""
    server.fail(1, status)
    model = genai.GenerativeModel("tunedModels/mine")
    how: Any = {"stream": stream, "request_options": ONCE}
    with pytest.raises(caught_as):
        await (
            model.generate_content_async("hi", **how)
            if asynchronous
            else asyncio.to_thread(model.generate_content, "hi", **how)
        )
