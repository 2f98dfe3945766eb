"""API keys by their shape: kinds, mistakes that are refused, and those that are told."""

from __future__ import annotations

import warnings

import pytest

from genai_config import UNSET, get_config, override, safe_configure
from genai_config._settings import keys
from genai_config._settings.secrets import Secret
from genai_config.exceptions import APIKeyWarning, ConfigurationError

GOOGLES = {"api_endpoint": "generativelanguage.googleapis.com"}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("AIzaSyD-0123456789abcdefghijklmnopqrstuv", "standard key"),
        ("AQ.Ab8RN6K0123456789_abcdefghijklmnopqrstuvwxyz-ABCDEFG", "auth key"),
        ("test-key", "key"),
        ("aq.lower", "key"),
    ],
)
def test_the_kind_of_a_key(key: str, kind: str) -> None:
    """By what it starts with; any other text is a key as well."""
    assert keys.kind(key) == kind


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("AIza0123456789'", "quotation mark"),
        ('"AIza0123456789', "quotation mark"),
        ("ya29.a0AfH6SMB-secret", "credentials="),
        ("eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl", "credentials="),
        ("auth_tokens/0123456789abcdef", "Live API"),
    ],
)
def test_what_can_be_no_key_is_refused(given: str, told: str) -> None:
    """At once, without a word of it, and the configuration is unchanged."""
    safe_configure(api_key="before")
    with pytest.raises(ConfigurationError) as caught:
        safe_configure(api_key=given)
    assert told in str(caught.value)
    assert given not in str(caught.value)
    key = get_config().api_key
    assert isinstance(key, Secret)
    assert key.get_secret_value() == "before"


@pytest.mark.parametrize(
    ("given", "looks"),
    [
        ("YOUR_API_KEY", "a placeholder"),
        ("your-gemini-api-key-here", "a placeholder"),
        ("<your key>".replace(" ", "_"), "a placeholder"),
        ("$GEMINI_API_KEY", "a placeholder"),
        ("{{api_key}}", "a placeholder"),
        ("GEMINI_API_KEY", "a placeholder"),
        ("api-key", "a placeholder"),
        ("INSERT_KEY_HERE", "a placeholder"),
        ("xxxxxxxx", "a placeholder"),
        ("sk-proj-0123456789", "a key of OpenAI"),
        ("sk-ant-0123456789", "a key of Anthropic"),
        ("gsk_0123456789", "a key of Groq"),
    ],
)
def test_a_placeholder_and_another_vendors_key_are_told(given: str, looks: str) -> None:
    """As a warning, once, which holds nothing of it: a gateway may take what Google does not."""
    with pytest.warns(APIKeyWarning, match=looks) as told:
        safe_configure(api_key=given)
    safe_configure(api_key=given)
    assert len(told) == 1
    assert given not in str(told[0].message)
    assert told[0].filename == __file__


def test_a_key_from_the_environment_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its first use."""
    monkeypatch.setenv("GEMINI_API_KEY", "YOUR_API_KEY")
    with pytest.warns(APIKeyWarning, match="placeholder"):
        get_config()


def test_a_gateway_has_keys_of_its_own() -> None:
    """Google's service is asked at Google's hosts alone."""
    safe_configure(api_key="sk-gateway", client_options={"api_endpoint": "gateway.example.com"})
    with pytest.warns(APIKeyWarning), override(client_options=GOOGLES):
        get_config()


@pytest.mark.parametrize("key", ["k", "test-key", "my-key", "fake", "tenant-1", "dummy", "secret"])
def test_a_test_key_is_taken_silently(key: str) -> None:
    """Whoever plays the service knows what to do with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safe_configure(api_key=key)
    safe_configure(api_key=UNSET)
