"""Errors say what happened and what to do, and are of the types that SDK users catch."""

from __future__ import annotations

import pickle

import pytest
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError

from genai_config import exceptions

ERRORS = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, exceptions.GenAIConfigError)
]
WARNINGS = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, Warning)
]


@pytest.mark.parametrize("error_type", ERRORS)
def test_every_error_shows_its_problem_and_its_remedy(
    error_type: type[exceptions.GenAIConfigError],
) -> None:
    """The text holds both, and each is there as data."""
    error = error_type("No key was found.", "export GEMINI_API_KEY=…")
    assert str(error) == "No key was found.\n  Remedy: export GEMINI_API_KEY=…"
    assert (error.problem, error.remedy) == ("No key was found.", "export GEMINI_API_KEY=…")


@pytest.mark.parametrize("error_type", ERRORS)
def test_an_error_without_a_remedy_is_its_problem(
    error_type: type[exceptions.GenAIConfigError],
) -> None:
    """No empty "Remedy:" is shown."""
    assert str(error_type("No key was found.")) == "No key was found."


@pytest.mark.parametrize("error_type", ERRORS)
def test_every_error_survives_a_trip_between_processes(
    error_type: type[exceptions.GenAIConfigError],
) -> None:
    """A pool of processes hands errors back by pickle."""
    error = pickle.loads(pickle.dumps(error_type("problem", "remedy")))  # noqa: S301 -- our own
    assert type(error) is error_type
    assert (error.problem, error.remedy) == ("problem", "remedy")


@pytest.mark.parametrize(
    ("error_type", "caught_as"),
    [
        (exceptions.ConfigurationError, ValueError),
        (exceptions.UnknownSettingError, TypeError),
        (exceptions.UnknownSettingError, exceptions.ConfigurationError),
        (exceptions.APIKeyRequiredError, ValueError),
        (exceptions.APIKeyRequiredError, exceptions.CredentialsError),
        (exceptions.OAuthRequiredError, exceptions.CredentialsError),
        (exceptions.CredentialsNotFoundError, DefaultCredentialsError),
        (exceptions.InvalidCredentialsError, exceptions.CredentialsNotFoundError),
        (exceptions.TokenRefreshError, RefreshError),
        (exceptions.TokenRefreshError, GoogleAuthError),
        (exceptions.CredentialsTimeoutError, TimeoutError),
        (exceptions.CredentialsTimeoutError, exceptions.TokenRefreshError),
        (exceptions.RawConfigureError, RuntimeError),
        (exceptions.SecretPicklingError, TypeError),
    ],
)
def test_errors_are_caught_as_what_the_sdk_raises(
    error_type: type[Exception], caught_as: type[Exception]
) -> None:
    """An `except` clause written for the SDK, google-auth or Python goes on working."""
    assert issubclass(error_type, caught_as)


@pytest.mark.parametrize("warning", WARNINGS)
def test_every_warning_is_one_of_ours(warning: type[Warning]) -> None:
    """One filter silences or raises all of them."""
    assert issubclass(warning, exceptions.GenAIConfigWarning)
    assert issubclass(warning, UserWarning)
