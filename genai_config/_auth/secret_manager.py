"""A secret of Google Cloud's Secret Manager, over REST.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from google.auth.exceptions import TransportError

from genai_config._auth.secret_readers import text_of
from genai_config._masking import described, scrub
from genai_config._transport.call_credentials import Rejection
from genai_config.exceptions import SecretReferenceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._settings.references import Reference
    from genai_config._transport.call_credentials import Attempts

_REMEDIES = {
    HTTPStatus.FORBIDDEN: (
        "grant the account the role: gcloud secrets add-iam-policy-binding {secret} "
        "--project={project} --member='user:YOU or serviceAccount:NAME' "
        "--role=roles/secretmanager.secretAccessor"
    ),
    HTTPStatus.NOT_FOUND: "gcloud secrets versions list {secret} --project={project}",
    HTTPStatus.UNAUTHORIZED: "log in again: gcloud auth application-default login",
}
_OTHERWISE = "see whether the secret has an enabled version, and try again later."


def url_of(reference: Reference, universe: str) -> str:
    """Where a version of a secret is read."""
    name, *endpoints = reference.where
    location = reference.location
    regional = f"secretmanager.{location}.rep.{universe}"
    host = endpoints[0] if endpoints else regional if location else f"secretmanager.{universe}"
    return f"{host if '://' in host else f'https://{host}'}/v1/{name}:access"


def access(reference: Reference, url: str, attempts: Attempts, request: Callable[..., Any]) -> str:
    """The text of a version of a secret.

    Args:
        reference: The secret.
        url: Where it is read.
        attempts: Give the credentials.
        request: What sends, a `google.auth.transport.Request`.

    Raises:
        SecretReferenceError: Secret Manager cannot be reached, or does not give it.
    """
    try:
        answer = request(url, method="GET", headers=dict(attempts.headers()))
        if attempts.again(Rejection(answer.status)):
            answer = request(url, method="GET", headers=dict(attempts.headers()))
    except TransportError as error:
        raise SecretReferenceError(
            f"{reference}: Secret Manager cannot be reached: {described(error)}",
            "see whether its address can be reached from here (a proxy? a firewall?).",
        ) from None
    _, project, *_, secret, _, _ = reference.where[0].split("/")
    words = {"secret": secret, "project": project}
    if answer.status != HTTPStatus.OK:
        remedy = _REMEDIES.get(answer.status, _OTHERWISE).format(**words)
        raise SecretReferenceError(
            f"{reference}: Secret Manager answers {answer.status}: {_said(answer.data)}", remedy
        )
    try:
        content = base64.b64decode(json.loads(answer.data)["payload"]["data"], validate=True)
    except (ValueError, LookupError, TypeError):
        raise SecretReferenceError(
            f"{reference}: what answers is not Secret Manager.", "see whether the address is right."
        ) from None
    return text_of(content, str(reference), "put the key, or a key file's content, into it.")


def _said(body: bytes) -> str:
    """The message in an error of Google's APIs."""
    try:
        return scrub(str(json.loads(body)["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return "no reason is given"
