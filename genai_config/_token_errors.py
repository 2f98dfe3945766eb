"""The errors of tokens that could not be had: who gave none, for whom, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config._secrets import scrub
from genai_config.exceptions import CredentialsTimeoutError, TokenRefreshError

if TYPE_CHECKING:
    from genai_config._credentials import Found


def timeout_error(found: Found | None, auth_timeout: float) -> CredentialsTimeoutError:
    """What the caller hears when `auth_timeout` ends.

    Args:
        found: The credentials that no token came for; None: they were not found.
        auth_timeout: The seconds that were waited.
    """
    what = (
        f"The token endpoint {token_endpoint(found.credentials)} has given no token for "
        f"{found.description}"
        if found
        else "No OAuth credentials were found"
    )
    return CredentialsTimeoutError(
        f"{what} within auth_timeout={auth_timeout:g} s.",
        "see whether that address can be reached from here (a proxy? a firewall?), or raise "
        "auth_timeout."
        if found
        else "set NO_GCE_CHECK=true if this is not a Google Cloud machine, or raise auth_timeout.",
    )


def is_timeout(error: Exception) -> bool:
    """Whether what a refresh ended in is the bound of its transport."""
    import requests

    reason = error.args[0] if error.args else None
    return isinstance(error, TimeoutError) or isinstance(reason, requests.Timeout)


def token_endpoint(credentials: Any) -> str:
    """The address that credentials fetch their tokens from, as far as they tell."""
    for name in ("_token_url", "token_uri", "_token_uri"):
        address = getattr(credentials, name, None)
        if isinstance(address, str):
            return address
    return "(unknown)"


def refresh_error(found: Found, error: Exception) -> TokenRefreshError:
    """What the caller hears when a refresh failed."""
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, GoogleAuthError):
        # What follows the first argument is the body of an answer.
        reason = scrub(str(error.args[0]) if error.args else type(error).__name__)
    else:
        reason = scrub(f"{type(error).__name__}: {error}")
    remedy = (
        "log in again: gcloud auth application-default login; for a service account, create a new "
        "key."
        if "invalid_grant" in reason
        else "see whether the address is right and can be reached from here."
    )
    return TokenRefreshError(
        f"No access token from {token_endpoint(found.credentials)} for {found.description}: "
        f"{reason}",
        remedy,
    )
