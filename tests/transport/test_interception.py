"""Tools that intercept HTTP see our REST requests, as they see the SDK's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest

from genai_config import safe_configure

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

ANSWER = {
    "candidates": [{"content": {"parts": [{"text": "intercepted"}], "role": "model"}}],
}


def ask() -> str:
    """What a model answers."""
    text: str = genai.GenerativeModel("gemini-3.6-flash").generate_content("hi").text
    return text


@pytest.fixture
def served(server: GeminiServer) -> GeminiServer:
    """The local server, over REST, where a request has been sent already."""
    safe_configure(
        api_key=server.api_key("one"),
        transport="rest",
        client_options={"api_endpoint": server.rest_endpoint},
        ca_certs=server.ca_file,
    )
    ask()
    return server


def test_responses(served: GeminiServer) -> None:
    """It replaces what adapters send."""
    responses: Any = pytest.importorskip("responses")
    with responses.RequestsMock() as mock:
        mock.post(
            f"https://{served.rest_endpoint}/v1beta/models/gemini-3.6-flash:generateContent",
            json=ANSWER,
        )
        assert ask() == "intercepted"
    assert len(served.requests) == 1


def test_requests_mock(served: GeminiServer) -> None:
    """It replaces the adapters of sessions."""
    requests_mock: Any = pytest.importorskip("requests_mock")
    with requests_mock.Mocker() as mock:
        mock.post(requests_mock.ANY, json=ANSWER)
        assert ask() == "intercepted"
    assert len(served.requests) == 1


def test_vcrpy(served: GeminiServer, tmp_path: Path) -> None:
    """It replaces connections: nothing goes out, then what was recorded comes back."""
    vcr: Any = pytest.importorskip("vcr")
    errors: Any = pytest.importorskip("vcr.errors")
    cassette = str(tmp_path / "cassette.yaml")
    with (
        vcr.use_cassette(cassette, record_mode="none"),
        pytest.raises(errors.CannotOverwriteExistingCassetteException),
    ):
        ask()
    assert len(served.requests) == 1
    with vcr.use_cassette(cassette, record_mode="once"):
        recorded = ask()
    assert len(served.requests) == 2
    with vcr.use_cassette(cassette, record_mode="none"):
        assert ask() == recorded
    assert len(served.requests) == 2
    ask()
    assert len(served.requests) == 3
