"""OpenAI's clients under the fixtures for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from genai_config import openai, override
from genai_config.testing import isolated, serving

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer


@pytest.mark.usefixtures("gemini_api_key")
def test_gemini_with_the_fixtures(gemini_server: GeminiServer) -> None:
    """The configuration says gRPC, and the client uses REST by itself."""
    with openai.client(backend="gemini", max_retries=0) as client:
        assert client.models.list().data
    assert [(r.identity, r.transport) for r in gemini_server.requests] == [("test-key", "rest")]


@pytest.mark.usefixtures("gemini_adc")
async def test_vertex_with_the_fixtures(gemini_server: GeminiServer) -> None:
    """So does one for Vertex AI, with the account of the test."""
    client = openai.async_client(project="my-project", location="global", max_retries=0)
    async with client:
        await client.embeddings.create(model="gemini-embedding-2", input="a")
    assert [(r.auth, r.transport) for r in gemini_server.requests] == [("oauth", "rest")]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_endpoint_is_the_configurations(transport: Literal["grpc", "rest"]) -> None:
    """The server's, or another one that the test configures."""
    with isolated(), serving(transport=transport) as server:
        key = server.api_key()
        client = openai.client(backend="gemini", api_key=key)
        assert str(client.base_url) == f"https://{server.endpoint}/v1beta/openai/"
        with override(client_options={"api_endpoint": "localhost:1"}):
            client = openai.client(backend="gemini", api_key=key)
        assert str(client.base_url) == "https://localhost:1/v1beta/openai/"
