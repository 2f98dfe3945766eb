"""The errors of tokens that could not be fetched: who gave none, for whom, and what to do."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._masking import copied, described, scrub, shown_url
from genai_config.exceptions import (
    CredentialsTimeoutError,
    GenAIConfigError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from genai_config._auth.credentials import Found

# How google-auth says that there is no refresh token.
_NOTHING_LEFT = "do not contain the necessary fields"


class _Advice(NamedTuple):
    """One row: what the reason must hold, and the remedy; {robot} is the account acted for."""

    sign: str
    remedy: str


# The first row that fits counts. The reasons of token endpoints are those of RFC 6749, section 5.2,
# and what Google's own add to them; those of IAM are in its ErrorInfo and its messages.
_ADVICE = tuple(
    (re.compile(sign, re.IGNORECASE), remedy)
    for sign, remedy in (
        _Advice("getAccessToken|IAM_PERMISSION_DENIED|roles/iam.serviceAccountTokenCreator",
                "grant the caller the role on the service account: gcloud iam service-accounts "
                "add-iam-policy-binding {robot} --member='user:YOU or serviceAccount:NAME' "
                "--role=roles/iam.serviceAccountTokenCreator"),
        _Advice("SERVICE_DISABLED|has not been used in project|is disabled",
                "gcloud services enable iamcredentials.googleapis.com (in the project that the "
                "message names)"),
        _Advice("invalid_rapt|reauth",
                "your organization requires a new login from time to time: gcloud auth "
                "application-default login"),
        _Advice("reasonable timeframe|token used too early|issued in the future|iat.*exp",
                "set the clock of this machine: the token is signed for another time."),
        _Advice("account not found|invalid gaia|account has been deleted|unknown service account",
                "the service account does not exist: see gcloud iam service-accounts list, and "
                "create a key of one that does."),
        _Advice("Invalid JWT Signature",
                "the service account's key was deleted or belongs to another account: create a new "
                "key."),
        _Advice("invalid_grant",
                "log in again: gcloud auth application-default login; for a service account, "
                "create a new key."),
        _Advice("invalid_client|deleted_client|unauthorized_client",
                "the OAuth client of these credentials was deleted, or its secret changed, or it "
                "may not do this: log in again with --client-id-file, or allow the service account "
                "domain-wide delegation."),
        _Advice("invalid_scope", "give scopes=[…] that exist and that these credentials may have."),
        _Advice("invalid_target",
                "the audience in the file names no workload identity pool or provider: create the "
                "file again with gcloud iam workload-identity-pools create-cred-config."),
        _Advice("temporarily_unavailable|server_error|internal_failure|backend error",
                "the endpoint is failing: try again later; otherwise check whether its address can "
                "be reached from here."),
        _Advice("CERTIFICATE_VERIFY_FAILED|SSLError|TLS CA certificate bundle",
                "give the certificate authority of the endpoint or of the proxy: "
                "safe_configure(ca_certs='/path/to/ca.pem')"),
        _Advice("ProxyError|Unable to connect to proxy|Tunnel connection failed",
                "check whether the proxy is right: safe_configure(proxy='http://host:port'), or "
                "HTTPS_PROXY."),
        _Advice("NameResolutionError|Name or service not known|getaddrinfo|nodename nor servname",
                "the host name cannot be resolved: check the address and DNS. If only a proxy can "
                "reach it: safe_configure(proxy='http://host:port')"),
    )
)  # fmt: skip


def told(error: BaseException) -> GenAIConfigError:
    """What the caller hears of whatever was raised where credentials are found or asked."""
    if isinstance(error, GenAIConfigError):
        return copied(error)
    return TokenRefreshError(
        f"No access token: {described(error)}",
        "give other credentials, or report this if they are Google's own.",
    )


def timeout_error(
    found: Found | None, auth_timeout: float, timeout: float | None = None
) -> CredentialsTimeoutError:
    """What the caller hears when the time for credentials and their token is over.

    Args:
        found: The credentials that no token came for; None: they were not found.
        auth_timeout: The seconds that there are for it.
        timeout: The seconds that the call has for everything; None: it has no such bound.
    """
    name, seconds = "auth_timeout", auth_timeout
    if timeout is not None and timeout < auth_timeout:
        name, seconds = "timeout", timeout
    bound = f"within {name}={seconds:.3g} s."
    if found is None:
        return CredentialsTimeoutError(
            f"No OAuth credentials were found {bound}",
            f"set NO_GCE_CHECK=true if this is not a Google Cloud machine, or raise {name}.",
        )
    endpoint = token_endpoint(found.credentials)
    if not endpoint:
        return CredentialsTimeoutError(
            f"No access token came from {found.description} {bound}",
            f"find out what delays it, or raise {name}.",
        )
    return CredentialsTimeoutError(
        f"The token endpoint {endpoint} has not returned a token for {found.description} {bound}",
        "check whether that address can be reached from here (a proxy? a firewall?), or raise "
        f"{name}.",
    )


def _is_timeout(error: BaseException) -> bool:
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
        return shown_url(getattr(credentials, "_iam_endpoint_override", None) or (
            f"https://iamcredentials.{credentials.universe_domain}/v1/projects/-/serviceAccounts/"
            f"{credentials.service_account_email}:generateAccessToken"
        ))  # fmt: skip
    if isinstance(credentials, compute_engine.Credentials):
        host = getattr(_metadata, "_GCE_METADATA_HOST", "metadata.google.internal")
        return f"http://{host}/computeMetadata/v1/"
    for name in ("_token_url", "token_uri", "_token_uri"):
        address = getattr(credentials, name, None)
        if isinstance(address, str):
            return shown_url(address)
    return ""


def refresh_error(found: Found, error: Exception, auth_timeout: float) -> GenAIConfigError:
    """What the caller hears when a refresh failed.

    Args:
        found: The credentials.
        error: What their refresh ended in.
        auth_timeout: The seconds that there are for it: the transport's bound, too.
    """
    if isinstance(error, GenAIConfigError):
        return error
    if _is_timeout(error):
        return timeout_error(found, auth_timeout)
    endpoint = token_endpoint(found.credentials)
    reason = _reason(error, endpoint)
    if _NOTHING_LEFT in reason:
        return TokenRefreshError(
            f"The access token of {found.description} has expired or was refused by the service, "
            "and cannot be renewed.",
            "give credentials that can be refreshed: Application Default Credentials, a key file, "
            "or a function that gives a token.",
        )
    whose = f"{endpoint} for {found.description}" if endpoint else found.description
    return TokenRefreshError(
        f"No access token from {whose}: {reason}", _remedy(found.credentials, endpoint, reason)
    )


def _reason(error: Exception, endpoint: str) -> str:
    """Why there is no token, as far as the error tells."""
    from google.auth.exceptions import GoogleAuthError

    kind = type(error).__name__
    if isinstance(error, GoogleAuthError):
        # What follows the first argument is the body of an answer.
        said = scrub(str(error.args[0]) if error.args else "") or kind
        denied = _said_by_iam(error.args[1] if len(error.args) > 1 else None)
        return f"{said}: {denied}" if denied else said
    said = described(error)
    if endpoint and isinstance(error, (AttributeError, LookupError, TypeError, ValueError)):
        return f"the response is not that of a token endpoint ({said})"
    return said


def _said_by_iam(body: object) -> str:
    """The reason and the message in an error of Google's APIs; "": it is none."""
    try:
        document = json.loads(body) if isinstance(body, (str, bytes)) else body
    except (ValueError, RecursionError):
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ""
    details = error.get("details")
    reasons = [
        detail["reason"]
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str)
    ]
    parts = (error.get("code"), *reasons[:1], error.get("message"))
    return scrub(" ".join(str(part) for part in parts if part))


def _remedy(credentials: Any, endpoint: str, reason: str) -> str:
    if not endpoint:
        return "call it by itself to see the error."
    for sign, remedy in _ADVICE:
        if sign.search(reason):
            inner = getattr(credentials, "_impersonated_credentials", None) or credentials
            robot = scrub(str(getattr(inner, "service_account_email", None) or "ACCOUNT"))
            return remedy.format(robot=robot)
    return "check whether the address is right and can be reached from here."
