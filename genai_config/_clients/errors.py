"""What a refusal of the OpenAI-compatible endpoints means, and what to do about it: pure."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._models import MODEL
from genai_config._settings.secrets import scrub

if TYPE_CHECKING:
    from genai_config._clients.target import Target


class _Advice(NamedTuple):
    """One row: a status, what the reason or message must hold, and the remedy."""

    status: int
    sign: str
    remedy: str


# The first row that fits counts: Google's reason for a missing quota project is SERVICE_DISABLED.
_VERTEX = (
    _Advice(401, "", "log in again: gcloud auth application-default login; a service account's key "
            "may have been deleted: create a new one."),
    _Advice(403, "quota project", "gcloud auth application-default set-quota-project {project}, "
            "or give quota_project='{project}'."),
    _Advice(403, "SERVICE_DISABLED|has not been used in project|is disabled",
            "gcloud services enable aiplatform.googleapis.com --project={project}"),
    _Advice(403, "SCOPE", "give scopes=['https://www.googleapis.com/auth/cloud-platform'] and log "
            "in again: gcloud auth application-default login"),
    _Advice(403, "CONSUMER_INVALID|USER_PROJECT_DENIED|serviceusage",
            "see whether the project is right: {project} (and the quota project, if one is set); "
            "whoever is billed needs roles/serviceusage.serviceUsageConsumer."),
    _Advice(403, "BILLING", "enable billing for the project {project}."),
    _Advice(403, "", "grant the role: gcloud projects add-iam-policy-binding {project} "
            "--member='user:YOU or serviceAccount:NAME' --role=roles/aiplatform.user (and see "
            "whether the project is right)."),
    _Advice(404, "", "see whether the model is served in location={location}, and whether "
            "project={project} and endpoint={endpoint} are right: gcloud ai endpoints list "
            "--region={location} --project={project}"),
    _Advice(400, "Malformed publisher model", f"give model='google/{MODEL}', for example."),
)  # fmt: skip
_GEMINI = (
    _Advice(400, "API_KEY_INVALID|API key", "get another key: "
            "https://aistudio.google.com/apikey, then safe_configure(api_key=…)."),
    _Advice(401, "", "give an API key (safe_configure(api_key=…)), or log in again: gcloud auth "
            "application-default login"),
    _Advice(403, "SCOPE", "log in with the scope that is missing, or give scopes=[…]; an API key "
            "needs none."),
    _Advice(403, "quota project", "gcloud auth application-default set-quota-project PROJECT, or "
            "give quota_project='…'."),
    _Advice(403, "SERVICE_DISABLED|has not been used in project|is disabled",
            "gcloud services enable generativelanguage.googleapis.com"),
    _Advice(403, "", "see whether the key's restrictions, or the account's roles, allow it."),
    _Advice(404, "", "see which models there are: client.models.list()."),
)  # fmt: skip


# What there is of OpenAI's API on one of the services: a model or a file is what is not found.
_SERVED = re.compile(r"/(chat/completions|embeddings|models|images|videos|files|batches)(/|$)")


class Refusal(NamedTuple):
    """What an error of Google's says.

    Attributes:
        message: The message; "" if there is none.
        reason: The reason in its details; "" if there is none.
    """

    message: str
    reason: str


def refusal(body: Any) -> Refusal:
    """Reads the body of an error: Google sends a list with one error, or the error alone."""
    document = body[0] if isinstance(body, list) and body else body
    error = document.get("error", document) if isinstance(document, dict) else {}
    if not isinstance(error, dict):
        error = {}
    details = error.get("details")
    reasons = [
        detail["reason"]
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str)
    ]
    return Refusal(scrub(str(error.get("message", ""))), next(iter(reasons), ""))


def explanation(
    target: Target, status: int, found: Refusal, location: str = "", path: str = ""
) -> str:
    """What to add to the message of an error; "" if there is nothing to say.

    Args:
        target: Where the request was sent.
        status: The HTTP status.
        found: What the service said.
        location: Where it sent the request on to, if it did.
        path: The path of the request below the target's URL; "" if it is not known.
    """
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return (
            f"{target.origin} answers with a redirect to {scrub(location)}, which is not followed: "
            "credentials and prompts go to the origin that is configured, and nowhere else."
            "\n  Remedy: give the base_url where the service is."
        )
    said = f"{found.reason}: {found.message}" if found.reason else found.message
    if status == HTTPStatus.NOT_FOUND and path and not _SERVED.match(path):
        return (
            f"{said or 'no reason is given.'}\n  Remedy: use Chat Completions, Embeddings or "
            f"Models: {target.title} does not have {scrub(path)} of OpenAI's API."
        )
    signs = f"{found.reason} {found.message}"
    for advice in _VERTEX if target.backend == "vertex" else _GEMINI:
        if advice.status == status and re.search(advice.sign, signs):
            place = {
                "project": target.project or "PROJECT",
                "location": target.location or "LOCATION",
                "endpoint": target.endpoint or "ENDPOINT",
            }
            return f"{said or 'no reason is given.'}\n  Remedy: {advice.remedy.format(**place)}"
    return said


def unreachable(target: Target, cause: BaseException | None) -> str:
    """What to add to the message of an error of the connection."""
    reason = scrub(f"{type(cause).__name__}: {cause}") if cause else "no answer"
    where = f" for location={target.location}" if target.location else ""
    return (
        f"{target.origin}{where}: {reason}"
        "\n  Remedy: see whether the address is right and can be reached from here (proxy=, "
        "ca_certs=)."
    )
