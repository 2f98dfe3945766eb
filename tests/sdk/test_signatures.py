"""Chats whose parts carry thought signatures, and what becomes of them on another identity."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.api_core.exceptions import InvalidArgument

from genai_config import override, safe_configure
from genai_config._models import MODEL
from genai_config._sdk import signatures
from genai_config.exceptions import ThoughtSignatureWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No signature is known of other tests."""
    signatures._owners.clear()
    yield
    signatures._owners.clear()


@pytest.fixture
def chat(server: GeminiServer) -> Any:
    """A chat that calls a function by itself."""
    safe_configure(
        api_key=server.api_key("mine"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
    model = genai.GenerativeModel(MODEL, tools=[weather])
    return model.start_chat(enable_automatic_function_calling=True)


def test_one_identity_is_no_news(chat: Any) -> None:
    """Turn after turn."""
    for _ in range(2):
        assert chat.send_message("How is the weather in Oslo?").text


def test_another_key_is_told_before_it_is_sent(chat: Any, server: GeminiServer) -> None:
    """And the service refuses it, as foretold."""
    chat.send_message("How is the weather in Oslo?")
    with (
        override(api_key=server.api_key("other")),
        pytest.warns(ThoughtSignatureWarning, match="start a new chat") as told,
        pytest.raises(InvalidArgument),
    ):
        chat.send_message("And in Rome?")
    assert told[0].filename == __file__


def test_another_key_is_told_to_those_who_await(chat: Any, server: GeminiServer) -> None:
    """Likewise."""
    chat.send_message("How is the weather in Oslo?")
    with (
        override(api_key=server.api_key("other")),
        pytest.warns(ThoughtSignatureWarning),
        pytest.raises(InvalidArgument),
    ):
        asyncio.run(chat.send_message_async("And in Rome?"))


def test_a_warning_that_is_an_error_stops_the_request(chat: Any, server: GeminiServer) -> None:
    """Nothing is sent then."""
    chat.send_message("How is the weather in Oslo?")
    before = len(server.requests)
    with warnings.catch_warnings(), override(api_key=server.api_key("other")):
        warnings.simplefilter("error", ThoughtSignatureWarning)
        with pytest.raises(ThoughtSignatureWarning):
            chat.send_message("And in Rome?")
    assert len(server.requests) == before


def test_so_many_are_known(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(signatures, "_MOST", 1)
    for _ in range(2):
        chat.send_message("How is the weather in Oslo?")
    assert len(signatures._owners) == 1
