"""Fixtures for tests of code on google-generativeai; nothing happens in a test that uses none.

Options of the server and of the configuration are given with a marker::

    @pytest.mark.gemini(transport="rest", token_lifetime=5)
    def test_something(gemini_server): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genai_config.testing import FakeClock, GeminiServer, VertexProject


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers",
        "gemini(transport='grpc', token_lifetime=3600, tuning_polls=2, tuning='served', "
        "models='any', network=False): options of the genai_config fixtures.",
    )


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("gemini"))):
        if marker.args:
            raise pytest.UsageError(
                f"@pytest.mark.gemini takes options by name, not {marker.args[0]!r}: "
                "@pytest.mark.gemini(transport='rest'), for example."
            )
        options.update(marker.kwargs)
    known = {"transport", "token_lifetime", "tuning_polls", "tuning", "models", "network"}
    if unknown := options.keys() - known:
        raise pytest.UsageError(
            f"@pytest.mark.gemini has no option {min(unknown)!r}; "
            f"it has {', '.join(sorted(known))}."
        )
    return options


@pytest.fixture
def isolated_config(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test runs as on a machine that has no key, no credentials and no network."""
    from genai_config.testing import isolated

    with isolated(network=_options(request).get("network", False)):
        yield


@pytest.fixture
def fake_clock(
    isolated_config: None,  # noqa: ARG001 -- for its order
) -> Iterator[FakeClock]:
    """The time that tokens expire by, here and at the server; it moves by `advance(seconds)`."""
    from genai_config.testing import FakeClock

    with FakeClock().installed() as clock:
        yield clock


@pytest.fixture
def gemini_server(
    request: pytest.FixtureRequest,
    isolated_config: None,  # noqa: ARG001 -- for its order
) -> Iterator[GeminiServer]:
    """A local Gemini server that has seen nothing yet, and a configuration that points at it.

    Code under test may call `safe_configure()` or a raw ``genai.configure()``: both merge.
    """
    from genai_config.testing import serving

    options = _options(request)
    if "fake_clock" in request.fixturenames:
        options["clock"] = request.getfixturevalue("fake_clock")
    options.pop("network", None)
    with serving(**options) as server:
        yield server


@pytest.fixture
def gemini_api_key(gemini_server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A valid API key of the server, exported as GEMINI_API_KEY."""
    key = gemini_server.api_key("test-key")
    monkeypatch.setenv("GEMINI_API_KEY", key)
    return key


@pytest.fixture
def gemini_adc(gemini_server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Application Default Credentials: the key file of a service account of the server."""
    path = gemini_server.service_account_file("test-account")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


@pytest.fixture
def gemini_vertex(
    gemini_server: GeminiServer,
    gemini_adc: Path,  # noqa: ARG001 -- Vertex AI takes OAuth alone
) -> VertexProject:
    """The server's Vertex AI: a project that the configuration points at, with ADC for it."""
    from genai_config.testing import vertex_project

    return vertex_project(gemini_server)
