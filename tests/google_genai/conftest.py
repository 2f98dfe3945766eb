"""google-genai's client on the local server, and what lies about in the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genai_config import safe_configure

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer


@pytest.fixture(autouse=True)
def keys_lying_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment that are not ours to send."""
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-of-somebody-else")
    for name in ("USE_VERTEXAI", "USE_ENTERPRISE", "HTTP_CLIENT", "API_VERSION"):
        monkeypatch.delenv(f"GOOGLE_GENAI_{name}", raising=False)


@pytest.fixture
def gemini(server: GeminiServer) -> None:
    """The Gemini API, with a key."""
    safe_configure(
        api_key=server.api_key("mine"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
    )
