"""Every error and warning of this library.

Each error says what was asked and what was found (``problem``), and what to type next (``remedy``).
Where the SDK or google-auth would have raised an exception of its own, ours is also of that type,
so an ``except`` clause written for the SDK goes on working.
"""

from __future__ import annotations

from google.auth.exceptions import DefaultCredentialsError, RefreshError

from genai_config._masking import without_secrets


class GenAIConfigError(Exception):
    """Base of every error raised by genai_config; secrets in its texts are masked.

    Args:
        problem: What was asked and what was found.
        remedy: What to do next, ready to type where that is possible.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        problem, remedy = without_secrets(problem), without_secrets(remedy)
        # Both go to `args`, so that the error survives a trip between processes. Not super(): in an
        # error that is OpenAI's as well, the next class wants other arguments.
        Exception.__init__(self, problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  Remedy: {self.remedy}" if self.remedy else self.problem


class ConfigurationError(GenAIConfigError, ValueError):
    """A setting was refused; nothing has been changed."""


class UnknownSettingError(ConfigurationError, TypeError):
    """A setting of that name does not exist."""


class UnsupportedRequestError(GenAIConfigError, ValueError):
    """The request holds something that the service does not support; nothing was sent."""


class CredentialsError(GenAIConfigError):
    """Base of the errors about credentials."""


class APIKeyRequiredError(CredentialsError, ValueError):
    """The request needs an API key and none is configured, or its use was ruled out."""


class OAuthRequiredError(CredentialsError):
    """The request needs OAuth credentials and ``auth="api_key"`` rules them out."""


class CredentialsNotFoundError(CredentialsError, DefaultCredentialsError):
    """No OAuth credentials were found where they were looked for."""


class InvalidCredentialsError(CredentialsNotFoundError):
    """Credentials were found, but what was found cannot be used."""


class SecretReferenceError(CredentialsError):
    """What a reference to a secret refers to could not be read."""


class TokenRefreshError(CredentialsError, RefreshError):
    """The token endpoint did not give an access token."""


class CredentialsTimeoutError(TokenRefreshError, TimeoutError):
    """Finding credentials or fetching a token took longer than ``auth_timeout``."""


class RawConfigureError(GenAIConfigError, RuntimeError):
    """``raw_configure="error"`` forbids a call, or under "isolate" it is unclear who makes one."""


class SecretPicklingError(GenAIConfigError, TypeError):
    """A configuration that holds a literal secret cannot be pickled."""


class GenAIConfigWarning(UserWarning):
    """Base of every warning of genai_config; secrets in its text are masked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_secrets(message))


class APIKeyWarning(GenAIConfigWarning):
    """The API key looks like a placeholder, or like another vendor's."""


class ThoughtSignatureWarning(GenAIConfigWarning):
    """A conversation continues under another identity than that of its thought signatures."""


class EnvironmentConflictWarning(GenAIConfigWarning):
    """Two environment variables give different values for one setting."""


class EnvironmentValueWarning(GenAIConfigWarning):
    """An environment variable holds an invalid value, and is ignored."""


class UnusedScopeWarning(GenAIConfigWarning):
    """``override(…)`` or the like was called, but neither entered nor used as a decorator."""


class RawConfigureWarning(GenAIConfigWarning):
    """A raw ``genai.configure()`` dropped settings."""
