"""Clients of OpenAI's that are configured for the local server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from genai_config import safe_configure
from genai_config.testing._service import rules

if TYPE_CHECKING:
    from genai_config import GenAIConfig
    from genai_config.testing import GeminiServer


@pytest.fixture(autouse=True)
def without_openais_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's OpenAI account is seen."""
    for name in ("API_KEY", "ADMIN_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)


@pytest.fixture
def vertex(server: GeminiServer) -> GenAIConfig:
    """Vertex AI, for a person who has logged in for it."""
    return safe_configure(
        credentials=server.user_credentials([rules.CLOUD_PLATFORM], quota_project="billed-project"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
        project="my-project",
        location="global",
    )


@pytest.fixture
def gemini(server: GeminiServer) -> GenAIConfig:
    """The Gemini API, with a key."""
    return safe_configure(
        api_key=server.api_key("mine"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
    )


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """OpenAI's waits between two attempts: written down, and left out."""
    taken: list[str] = []

    def sleep(self: Any, **_: Any) -> None:
        taken.append(type(self).__name__)

    async def sleep_async(self: Any, **_: Any) -> None:
        taken.append(type(self).__name__)

    monkeypatch.setattr(openai.OpenAI, "_sleep_for_retry", sleep)
    monkeypatch.setattr(openai.AsyncOpenAI, "_sleep_for_retry", sleep_async)
    return taken
