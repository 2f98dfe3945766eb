"""API keys by their shape: kinds, mistakes that are refused, and those that are told."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from genai_config import UNSET, get_config, override, safe_configure
from genai_config._settings import keys
from genai_config._settings.secrets import Secret
from genai_config.exceptions import APIKeyWarning, ConfigurationError

GOOGLES = {"api_endpoint": "generativelanguage.googleapis.com"}


STANDARD = "AIzaSyD-0123456789abcdefghijklmnopqrstu"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("AIzaSyD-0123456789abcdefghijklmnopqrstuv", "standard key"),
        ("AQ.Ab8RN6K0123456789_abcdefghijklmnopqrstuvwxyz-ABCDEFG", "auth key"),
        ("test-key", "key"),
        ("aq.lower", "key"),
        ("sk-0123456789", "OpenAI-style key"),
        ("sk-ant-0123456789", "Anthropic-style key"),
    ],
)
def test_the_kind_of_a_key(key: str, kind: str) -> None:
    """By what it starts with; any other text is a key as well."""
    assert keys.kind(key) == kind


@pytest.mark.parametrize("key", [STANDARD, "AQ.Ab8RN6K0123456789_abcdefghijklmnopqrstuvwxyz"])
def test_googles_keys(key: str) -> None:
    """They are known by their looks, with white space around them too, and nothing is said."""
    for given in (key, f" {key}\n", Secret(key)):
        with override(api_key=given) as config:
            assert isinstance(config.api_key, Secret)
            assert config.api_key.is_googles
            assert config.api_key.get_secret_value() == key
    assert not keys.suspicion(key)
    assert not keys.is_googles(f"{key} ")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("AIza0123456789'", "quotation mark"),
        ('"AIza0123456789', "quotation mark"),
        ("ya29.a0AfH6SMB-secret", "credentials="),
        ("eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl", "credentials="),
        ("auth_tokens/0123456789abcdef", "Live API"),
        ('{"type": "service_account", "private_key": "made-up"}', "credentials="),
        ("{'type': 'service_account'}", "credentials="),
        ("-----BEGIN PRIVATE KEY-----\nmade-up", "credentials="),
        ("/made-up/key.json", "credentials="),
        ("keys/prod.json", "credentials="),
        ("~/gemini-key", "from_file("),
        (r"C:\keys\gemini", "from_file("),
        ("/run/secrets/gemini", "from_file("),
        ("undefined", "quotation marks"),
        ("None", "UNSET"),
        ("null", "unset the variable"),
        ("YOUR_API_KEY", "placeholder"),
        ("your-gemini-api-key-here", "placeholder"),
        ("<your key>", "placeholder"),
        ("$GEMINI_API_KEY", "placeholder"),
        ("${GEMINI_API_KEY}", "placeholder"),
        ("$(cat key)", "placeholder"),
        ("{{api_key}}", "placeholder"),
        ("INSERT_KEY_HERE", "placeholder"),
        ("AIzaSyYOUR_API_KEY", "placeholder"),
        ("AIzaSyYOUR_GEMINI_API_KEY_HERE_PLEASE", "placeholder"),
        (f"GEMINI_API_KEY={STANDARD}", "equals sign"),
        (f"export GEMINI_API_KEY={STANDARD}", "equals sign"),
        (f"key={STANDARD}", "equals sign"),
        (f"https://x.example/?key={STANDARD}", "URL"),
        (f"{STANDARD},{STANDARD}", "several"),
        (f"{STANDARD}\n{STANDARD}", "several"),
        (f"{STANDARD}{STANDARD}", "several"),
        ("AQ.Ab8RN6K01234567890123, AQ.Ab8RN6K01234567890124", "several"),
        ("AIza...", "whole key"),
        ("AIza***", "whole key"),
        ("AIza…stuv", "whole key"),
        ("abc...", "whole key"),
        ("1//0made-up-refresh-token", "refresh token"),
        ("GOCSPX-made-up", "OAuth client"),
        ('{"from_env": "TEAM"}', "__API_KEY__FROM_ENV"),
        ('{"from_command": ["touch", "made-up"]}', "from_env('NAME')"),
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


def test_the_name_of_unset_is_no_key() -> None:
    """What was meant is UNSET itself."""
    with pytest.raises(ConfigurationError, match="UNSET"):
        safe_configure(api_key="UNSET")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "service_account", "private_key": "made-up"}, ["credentials="]),
        ({"from_envv": "made-up"}, ["api_key", "'from_envv'", "'from_env'"]),
        ({"env": "made-up"}, ["dict", "from_env", "from_file", "from_command"]),
        (7, ["int", "from_env", "from_file", "from_command"]),
    ],
)
def test_what_is_no_text(given: Any, told: list[str]) -> None:
    """A key file's content belongs elsewhere; what is meant for a reference hears of the forms."""
    with pytest.raises(ConfigurationError) as caught:
        safe_configure(api_key=given)
    assert all(part in str(caught.value) for part in told)
    assert "made-up" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "looks"),
    [
        ("GEMINI_API_KEY", "a placeholder"),
        ("api-key", "a placeholder"),
        ("xxxxxxxx", "a placeholder"),
        ("****", "a placeholder"),
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
    monkeypatch.setenv("GEMINI_API_KEY", "my-api-key")
    with pytest.warns(APIKeyWarning, match="placeholder"):
        get_config()
    monkeypatch.setenv("GEMINI_API_KEY", "YOUR_API_KEY")
    with pytest.raises(ConfigurationError, match="GEMINI_API_KEY"):
        get_config()


def test_a_second_credential_among_the_headers() -> None:
    """Google refuses it, so it is refused where it is given; a gateway may want one of its own."""
    header: dict[str, Any] = {"default_metadata": [("Authorization", "Bearer made-up")]}
    before = get_config()
    for given in (header, {**header, "client_options": GOOGLES}):
        with pytest.raises(ConfigurationError) as caught:
            safe_configure(**given)
        for part in ("authorization", "api_key=", "credentials=lambda: TOKEN", "api_endpoint"):
            assert part in str(caught.value)
        assert "made-up" not in str(caught.value)
        with pytest.raises(ConfigurationError, match="authorization"), override(**given):
            pytest.fail("entered")
    assert get_config() == before
    safe_configure(client_options={"api_endpoint": "https://gateway.example.com/v1"})
    assert safe_configure(**header).default_metadata == (("authorization", "Bearer made-up"),)


def test_a_gateway_has_keys_of_its_own() -> None:
    """Google's service is asked at Google's hosts alone."""
    safe_configure(api_key="sk-gateway", client_options={"api_endpoint": "gateway.example.com"})
    with pytest.warns(APIKeyWarning), override(client_options=GOOGLES):
        get_config()


@pytest.mark.parametrize(
    "key",
    ["k", "test-key", "my-key", "fake", "tenant-1", "dummy", "secret", "none", "$2b$12$made/up",
     "Put-42-monkey", "insert_1_turkey", "bXlrZXk==", "mykey==",
     "AIzaSy-made-up-and-longer-than-thirty-nine-characters"],
)  # fmt: skip
def test_a_test_key_is_taken_silently(key: str) -> None:
    """Whoever plays the service knows what to do with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safe_configure(api_key=key)
    safe_configure(api_key=UNSET)
