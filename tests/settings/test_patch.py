"""One call as a flat patch, and how patches merge."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.auth import api_key as google_api_key

from genai_config import UNSET
from genai_config._settings.patch import EMPTY, Patch, combine, make_patch
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({}, {}),
        ({"transport": "rest"}, {"transport": "rest"}),
        ({"transport": UNSET}, {"transport": UNSET}),
        ({"transport": None}, {}),
        (
            {"client_options": {"api_endpoint": "host", "quota_project_id": "my-project"}},
            {"client_options.api_endpoint": "host", "quota_project": "my-project"},
        ),
        (
            {"client_options": ClientOptions(api_endpoint="host", scopes=["email"])},
            {"client_options.api_endpoint": "host", "scopes": ("email",)},
        ),
        (
            {"client_options": {"api_endpoint": UNSET, "api_key": UNSET}},
            {"client_options.api_endpoint": UNSET, "api_key": UNSET},
        ),
        ({"client_options": UNSET}, {"client_options": UNSET}),
        ({"default_metadata": UNSET}, {"default_metadata": UNSET}),
        (
            {"default_metadata": [("X-A", "1"), ("x-b", "2"), ("x-a", "3")]},
            {"default_metadata.x-a": ("1", "3"), "default_metadata.x-b": ("2",)},
        ),
    ],
)
def test_a_call_becomes_a_flat_patch(settings: dict[str, Any], values: dict[str, Any]) -> None:
    """A client option and a header are keys of their own; None is left out, UNSET is kept."""
    assert make_patch(settings).values == values


def test_google_auths_api_key_credentials_are_a_key() -> None:
    """They are no OAuth credentials: the routing has to see a key."""
    patch = make_patch({"credentials": google_api_key.Credentials("made-up")})
    assert patch.values == {"api_key": Secret("made-up")}


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "a", "client_options": {"api_key": "b"}},
        {"client_options": {"api_key": "b"}, "api_key": UNSET},
        {"quota_project": "project-a", "client_options": {"quota_project_id": "project-b"}},
        {"scopes": ["email"], "client_options": {"scopes": ["email"]}},
        {"credentials": "/a", "client_options": {"credentials_file": "/b"}},
        {"api_key": "a", "credentials": google_api_key.Credentials("b")},
    ],
)
def test_one_setting_given_twice_is_refused(settings: dict[str, Any]) -> None:
    """Whichever won, one of the two would be lost without a word."""
    with pytest.raises(ConfigurationError, match=r"is given twice, .* in client_options"):
        make_patch(settings)


def test_a_patch_shows_names_alone() -> None:
    """It may stand in a log line."""
    patch = make_patch({"api_key": "made-up-key", "default_metadata": [("x-a", "made-up")]})
    assert repr(patch) == "Patch(api_key, default_metadata.x-a)"
    assert repr(EMPTY) == "Patch()"


def test_unset_says_what_it_is() -> None:
    """It stands in signatures and error messages."""
    assert repr(UNSET) == "UNSET"
    assert bool(UNSET)


A, B = "default_metadata.x-a", "default_metadata.x-b"
HOST, AUDIENCE = "client_options.api_endpoint", "client_options.api_audience"


@pytest.mark.parametrize(
    ("lower", "upper", "values"),
    [
        ({}, {}, {}),
        ({"timeout": 1.0}, {}, {"timeout": 1.0}),
        ({"timeout": 1.0}, {"timeout": 2.0}, {"timeout": 2.0}),
        ({"timeout": 1.0}, {"timeout": UNSET}, {"timeout": UNSET}),
        ({"timeout": UNSET}, {"timeout": 1.0}, {"timeout": 1.0}),
        ({HOST: "a"}, {AUDIENCE: "b"}, {HOST: "a", AUDIENCE: "b"}),
        ({A: ("1", "2")}, {A: ("3",)}, {A: ("3",)}),
        ({A: ("1",)}, {B: ("2",)}, {A: ("1",), B: ("2",)}),
        (
            {A: ("1",), HOST: "h"},
            {"default_metadata": UNSET},
            {HOST: "h", "default_metadata": UNSET},
        ),
        (
            {A: ("1",), HOST: "h"},
            {"client_options": UNSET, AUDIENCE: "b"},
            {A: ("1",), "client_options": UNSET, AUDIENCE: "b"},
        ),
        (
            {"default_metadata": UNSET},
            {A: ("1",)},
            {"default_metadata": UNSET, A: ("1",)},
        ),
    ],
)
def test_the_later_key_wins(
    lower: dict[str, Any], upper: dict[str, Any], values: dict[str, Any]
) -> None:
    """Key by key; UNSET under a group's name clears the group below it and not above."""
    assert combine(Patch(lower), Patch(upper)).values == values


def test_a_header_that_is_set_again_is_sent_last() -> None:
    """Headers are sent in the order in which they were given."""
    combined = combine(Patch({A: ("1",), B: ("2",)}), Patch({A: ("3",)}))
    assert list(combined.values) == [B, A]
