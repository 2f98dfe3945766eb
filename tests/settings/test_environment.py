"""Environment variables: one table, read in its order."""

from __future__ import annotations

import os

import pytest

from genai_config._settings import environment, validation
from genai_config._settings.environment import Found


def test_names_are_listed_once() -> None:
    """No variable has two rows."""
    names = [variable.name for variable in environment.VARIABLES]
    assert len(names) == len(set(names))


def test_every_row_says_what_the_variable_does() -> None:
    """The documentation is made of these sentences."""
    assert all(variable.meaning.endswith(".") for variable in environment.VARIABLES)


def test_every_row_gives_a_setting_that_exists() -> None:
    """A variable sets what safe_configure() can set."""
    given = {variable.setting for variable in environment.VARIABLES} - {None}
    assert given <= validation.SETTINGS.keys()


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, {}),
        ({"UNRELATED": "x"}, {}),
        ({"GEMINI_API_KEY": ""}, {}),
        ({"GEMINI_API_KEY": " \t\n"}, {}),
        ({"GEMINI_API_KEY": " key\n"}, {"api_key": [Found("GEMINI_API_KEY", "key")]}),
        ({"GOOGLE_API_KEY": "key"}, {"api_key": [Found("GOOGLE_API_KEY", "key")]}),
        (
            {"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": "m"},
            {"api_key": [Found("GEMINI_API_KEY", "m"), Found("GOOGLE_API_KEY", "g")]},
        ),
        (
            {"GEMINI_API_KEY": "", "GOOGLE_API_KEY": "g"},
            {"api_key": [Found("GOOGLE_API_KEY", "g")]},
        ),
        (
            {
                "GOOGLE_CLOUD_QUOTA_PROJECT": "quota",
                "GOOGLE_CLOUD_PROJECT": "vertex",
                "GOOGLE_CLOUD_LOCATION": "us-central1",
            },
            {
                "quota_project": [Found("GOOGLE_CLOUD_QUOTA_PROJECT", "quota")],
                "project": [Found("GOOGLE_CLOUD_PROJECT", "vertex")],
                "location": [Found("GOOGLE_CLOUD_LOCATION", "us-central1")],
            },
        ),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/adc.json"}, {}),
    ],
)
def test_what_is_read(environ: dict[str, str], found: dict[str, list[Found]]) -> None:
    """The first variable that is not blank wins; the others are remembered."""
    assert environment.read(environ) == found


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({}, {}, True),
        ({}, {"UNRELATED": "x"}, True),
        ({}, {"GEMINI_API_KEY": "x"}, False),
        ({"GEMINI_API_KEY": "x"}, {"GOOGLE_API_KEY": "x"}, False),
        ({"GOOGLE_CLOUD_LOCATION": "us"}, {"GOOGLE_CLOUD_LOCATION": "eu"}, False),
    ],
)
def test_the_fingerprint_changes_with_what_is_read(
    before: dict[str, str], after: dict[str, str], *, same: bool
) -> None:
    """Equal fingerprints mean that nothing has changed, and only then."""
    assert (environment.fingerprint(before) == environment.fingerprint(after)) is same


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("UNRELATED", True),
        ("GENAI_CONFIG_FILE", True),
        ("GENAI_CONFIG_PROFILE", False),
        *((v.name, v.setting is None) for v in environment.VARIABLES[2:]),
    ],
)
def test_the_fingerprint_of_this_process(
    monkeypatch: pytest.MonkeyPatch, name: str, *, same: bool
) -> None:
    """The process's own variables are told apart like any others, set and unset."""
    monkeypatch.delenv(name, raising=False)
    before = environment.fingerprint(os.environ)
    monkeypatch.setenv(name, "x")
    assert (environment.fingerprint(os.environ) == before) is same
    monkeypatch.delenv(name)
    assert environment.fingerprint(os.environ) == before


def test_variables_that_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment of this process, and in another mapping."""
    watched = environment.Watched("GEMINI_WATCHED", "GEMINI_UNWATCHED")
    monkeypatch.setenv("GEMINI_WATCHED", "one")
    monkeypatch.delenv("GEMINI_UNWATCHED", raising=False)
    value, none = watched.values(os.environ)
    assert (os.fsdecode(value), none) == ("one", None)
    assert watched.values({"GEMINI_UNWATCHED": "two"}) == (None, "two")


def test_the_fingerprint_of_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is empty names none, and the file counts for a profile that is named."""
    monkeypatch.delenv("GENAI_CONFIG_PROFILE", raising=False)
    before = environment.fingerprint(os.environ)
    monkeypatch.setenv("GENAI_CONFIG_PROFILE", "")
    monkeypatch.setenv("GENAI_CONFIG_FILE", "one.toml")
    assert environment.fingerprint(os.environ) == before
    monkeypatch.setenv("GENAI_CONFIG_PROFILE", "mine")
    named = environment.fingerprint(os.environ)
    monkeypatch.setenv("GENAI_CONFIG_FILE", "two.toml")
    assert environment.fingerprint(os.environ) != named
