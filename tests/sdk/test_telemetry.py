"""What those who look on are told of requests."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.ai.generativelanguage_v1beta.services.generative_service.transports import (
    grpc as grpc_transport,
)
from google.api_core.client_logging import StructuredLogFormatter

from genai_config import override
from genai_config._settings.secrets import Secret

if TYPE_CHECKING:
    from genai_config import GenAIConfig

MODEL = "gemini-3.6-flash"


def test_a_log_of_requests(configured: GenAIConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Each says what it is for, and how it goes; no key is in it."""
    with caplog.at_level("DEBUG", "genai_config"):
        genai.GenerativeModel(MODEL).generate_content("hi")
    assert [record.getMessage() for record in caplog.records] == [
        "generative.generate_content: api_key over grpc"
    ]
    assert isinstance(configured.api_key, Secret)
    assert configured.api_key.get_secret_value() not in caplog.text


@pytest.mark.skipif(
    not hasattr(grpc_transport, "_LoggingClientInterceptor"), reason="this SDK writes no such log"
)
@pytest.mark.usefixtures("configured")
def test_the_sdks_own_log() -> None:
    """GOOGLE_SDK_PYTHON_LOGGING_SCOPE=google writes JSON: what a call carries is not in it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(StructuredLogFormatter())
    logger = logging.getLogger("google")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        genai.GenerativeModel(MODEL).generate_content("hi")
        asyncio.run(genai.GenerativeModel(MODEL).generate_content_async("hi"))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert written.getvalue().count("Sending request for") == 2
    assert "genai-config-call" not in written.getvalue()


@pytest.mark.usefixtures("configured")
class TestSpans:
    @pytest.fixture
    def trace(self) -> Any:
        """OpenTelemetry, as a program that traces has imported it."""
        return pytest.importorskip("opentelemetry.trace")

    def test_a_span(self, trace: Any) -> None:
        """The one that is current learns how a request went."""
        noted: dict[str, str] = {}

        class Span(trace.NonRecordingSpan):  # type: ignore[misc] # the module comes at run time
            def is_recording(self) -> bool:
                return True

            def set_attributes(self, attributes: dict[str, str]) -> None:
                noted.update(attributes)

        with trace.use_span(Span(trace.INVALID_SPAN_CONTEXT)):
            genai.GenerativeModel(MODEL).generate_content("hi")
        assert noted == {
            "genai_config.call": "generative.generate_content",
            "genai_config.auth": "api_key",
            "genai_config.transport": "grpc",
        }

    def test_no_span(self, trace: Any) -> None:
        """Nothing is noted where nothing is recorded."""
        assert not trace.get_current_span().is_recording()
        with override(transport="grpc"):
            assert genai.GenerativeModel(MODEL).generate_content("hi").text

    def test_without_opentelemetry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not looked for."""
        monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
        assert genai.GenerativeModel(MODEL).generate_content("hi").text
        assert "opentelemetry.trace" not in sys.modules
