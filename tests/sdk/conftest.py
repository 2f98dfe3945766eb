"""The bare SDK, as it is without this library, on the same local server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from google.generativeai import client as client_lib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer


@pytest.fixture
def bare(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str, Any]]]:
    """The SDK's own manager, new, and what `genai.configure()` needs to reach the server."""
    manager = client_lib._ClientManager()
    monkeypatch.setattr(client_lib, "_client_manager", manager)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(server.ca_file))

    def options(**more: Any) -> dict[str, Any]:
        rest = more.get("transport") == "rest"
        endpoint = server.rest_endpoint if rest else server.grpc_endpoint
        return {"client_options": {"api_endpoint": endpoint, **more.pop("options", {})}, **more}

    yield options
    monkeypatch.setattr(client_lib, "_client_manager", manager)
