"""Tests without a Google account: a local Gemini server with the service's real rules.

Importing this package loads nothing of the server: that comes with the first use of a name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_config.testing._service.recording import RecordedRequest
    from genai_config.testing.assertions import assert_auth, assert_requests
    from genai_config.testing.clock import FakeClock
    from genai_config.testing.fixtures import (
        GeminiTestMixin,
        VertexProject,
        serving,
        vertex_project,
    )
    from genai_config.testing.isolation import NetworkBlockedError, isolated
    from genai_config.testing.server import GeminiServer

__all__ = [
    "FakeClock",
    "GeminiServer",
    "GeminiTestMixin",
    "NetworkBlockedError",
    "RecordedRequest",
    "VertexProject",
    "assert_auth",
    "assert_requests",
    "isolated",
    "serving",
    "vertex_project",
]

_LAZY = {
    "FakeClock": "genai_config.testing.clock",
    "GeminiServer": "genai_config.testing.server",
    "GeminiTestMixin": "genai_config.testing.fixtures",
    "NetworkBlockedError": "genai_config.testing.isolation",
    "RecordedRequest": "genai_config.testing._service.recording",
    "VertexProject": "genai_config.testing.fixtures",
    "assert_auth": "genai_config.testing.assertions",
    "assert_requests": "genai_config.testing.assertions",
    "isolated": "genai_config.testing.isolation",
    "serving": "genai_config.testing.fixtures",
    "vertex_project": "genai_config.testing.fixtures",
}


def __getattr__(name: str) -> Any:
    try:
        module = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs {error.name}, which is not installed: "
            "pip install 'genai-config[testing]'",
            name=error.name,
        ) from error
