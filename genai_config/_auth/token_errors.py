"""The errors of tokens that could not be had: who gave none, for whom, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config._settings.secrets import scrub
from genai_config.exceptions import CredentialsTimeoutError, TokenRefreshError

if TYPE_CHECKING:
    from genai_config._auth.credentials import Found

# How google-auth says that there is no refresh token.
_NOTHING_LEFT = "do not contain the necessary fields"


def timeout_error(found: Found | None, auth_timeout: float) -> CredentialsTimeoutError:
    """What the caller hears when `auth_timeout` ends.

    Args:
        found: The credentials that no token came for; None: they were not found.
        auth_timeout: The seconds that were waited.
    """
    bound = f"within auth_timeout={auth_timeout:g} s."
    if found is None:
        return CredentialsTimeoutError(
            f"No OAuth credentials were found {bound}",
            "set NO_GCE_CHECK=true if this is not a Google Cloud machine, or raise auth_timeout.",
        )
    endpoint = token_endpoint(found.credentials)
    if not endpoint:
        return CredentialsTimeoutError(
            f"No access token came from {found.description} {bound}",
            "see what keeps it, or raise auth_timeout.",
        )
    return CredentialsTimeoutError(
        f"The token endpoint {endpoint} has given no token for {found.description} {bound}",
        "see whether that address can be reached from here (a proxy? a firewall?), or raise "
        "auth_timeout.",
    )


def is_timeout(error: Exception) -> bool:
    """Whether what a refresh ended in is the bound of its transport."""
    import requests

    reason = error.args[0] if error.args else None
    return isinstance(error, TimeoutError) or isinstance(reason, requests.Timeout)


def token_endpoint(credentials: Any) -> str:
    """The address that credentials were fetching their token from; "": they do not tell."""
    from google.auth import compute_engine, impersonated_credentials
    from google.auth.compute_engine import _metadata

    # An external account that acts for a service account fetches a token of its own first.
    credentials = getattr(credentials, "_impersonated_credentials", None) or credentials
    if isinstance(credentials, impersonated_credentials.Credentials):
        source = getattr(credentials, "_source_credentials", None)
        if not getattr(source, "valid", True):
            return token_endpoint(source)
        return getattr(credentials, "_iam_endpoint_override", None) or (
            f"https://iamcredentials.{credentials.universe_domain}/v1/projects/-/serviceAccounts/"
            f"{credentials.service_account_email}:generateAccessToken"
        )
    if isinstance(credentials, compute_engine.Credentials):
        host = getattr(_metadata, "_GCE_METADATA_HOST", "metadata.google.internal")
        return f"http://{host}/computeMetadata/v1/"
    for name in ("_token_url", "token_uri", "_token_uri"):
        address = getattr(credentials, name, None)
        if isinstance(address, str):
            return address
    return ""


def refresh_error(found: Found, error: Exception) -> TokenRefreshError:
    """What the caller hears when a refresh failed."""
    from google.auth.exceptions import GoogleAuthError

    endpoint = token_endpoint(found.credentials)
    kind = type(error).__name__
    if isinstance(error, GoogleAuthError):
        # What follows the first argument is the body of an answer.
        reason = scrub(str(error.args[0]) if error.args else "") or kind
    else:
        reason = scrub(f"{kind}: {error}")
        if endpoint and isinstance(error, (AttributeError, LookupError, TypeError, ValueError)):
            reason = f"what came is no answer of a token endpoint ({reason})"
    if _NOTHING_LEFT in reason:
        return TokenRefreshError(
            f"The access token of {found.description} has run out or was refused by the service, "
            "and they have nothing to get another with.",
            "give credentials that can be refreshed: Application Default Credentials, a key file, "
            "or a function that gives a token.",
        )
    if "invalid_grant" in reason:
        remedy = (
            "log in again: gcloud auth application-default login; for a service account, create a "
            "new key."
        )
    elif endpoint:
        remedy = "see whether the address is right and can be reached from here."
    else:
        remedy = "see what it does when it is called by itself."
    whose = f"{endpoint} for {found.description}" if endpoint else found.description
    return TokenRefreshError(f"No access token from {whose}: {reason}", remedy)
