"""What a refusal of the OpenAI-compatible endpoints means, and what to do about it: pure."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._auth import refusals
from genai_config._masking import scrub
from genai_config._models import MODEL
from genai_config.exceptions import ConfigurationError, TokenRefreshError

if TYPE_CHECKING:
    from genai_config._clients.target import Target
    from genai_config.exceptions import GenAIConfigError


# What there is of OpenAI's API on each service: there a 404 is for a model, a file or a batch.
_SERVED = {
    "vertex": re.compile(r"/(chat/completions|embeddings)$"),
    "gemini": re.compile(r"/(chat/completions|embeddings|models|images|videos|files|batches)(/|$)"),
}
# What to use in place of the rest, by the first part of its path.
_INSTEAD = {
    "models": f"name a model in the request, such as 'google/{MODEL}'; genai-config proxy --model "
    "lists those that you name",
    "files": "put the file into Cloud Storage and give its gs:// address, or use the Gemini API: "
    "backend='gemini'",
    "batches": "use google-genai: genai_config.google_genai.client().batches",
    "realtime": "use the Live API of google-genai: "
    "genai_config.google_genai.client().aio.live.connect(…)",
}


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


def explanation(  # noqa: PLR0913 -- what an answer is read by
    target: Target,
    status: int,
    found: Refusal,
    location: str = "",
    *,
    path: str = "",
    credential: refusals.Credential = "token",
) -> str:
    """What to add to the message of an error; "" if there is nothing to say.

    Args:
        target: Where the request was sent.
        status: The HTTP status.
        found: What the service said.
        location: Where it sent the request on to, if it did.
        path: The path of the request below the target's URL; "" if it is not known.
        credential: The kind of what was sent.
    """
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return (
            f"{target.origin} answers with a redirect to {scrub(location)}, which is not followed: "
            "credentials and prompts go to the origin that is configured, and nowhere else."
            "\n  Remedy: give the base_url where the service is."
        )
    said = f"{found.reason}: {found.message}" if found.reason else found.message
    if status == HTTPStatus.NOT_FOUND and path and not _SERVED[target.backend].match(path):
        return f"{said or 'no reason is given.'}\n  Remedy: {_instead(target, path)}"
    place = (target.project, target.location, target.endpoint)
    sent = refusals.Sent(credential, target.backend, "", *place)
    means = refusals.meaning(sent, refusals.Answer(status, found.reason, found.message))
    return said if means is None else f"{said or 'no reason is given.'}\n  Meaning: {means}"


def _instead(target: Target, path: str) -> str:
    """What to do where OpenAI's API has something that the service does not have."""
    instead = _INSTEAD.get(path.split("/")[1], "use Chat Completions or Embeddings")
    title = target.title[0].upper() + target.title[1:]
    return f"{instead}. ({title} does not have {scrub(path)} of OpenAI's API.)"


def no_realtime(target: Target) -> GenAIConfigError:
    """The error of a realtime connection: neither service has that of OpenAI's API."""
    return ConfigurationError(
        f"{target.title[0].upper()}{target.title[1:]} has no realtime connections of OpenAI's API.",
        f"{_INSTEAD['realtime']}.",
    )


# By the class's name: there are httpx's and httpx2's.
_TOO_SLOW = ("ReadTimeout", "WriteTimeout")


def unreachable(target: Target, cause: BaseException | None) -> str:
    """What to add to the message of an error of the connection."""
    reason = scrub(f"{type(cause).__name__}: {cause}") if cause else "no answer"
    where = f" for location={target.location}" if target.location else ""
    remedy = "check whether the address is right and can be reached from here (proxy=, ca_certs=)."
    if type(cause).__name__ in _TOO_SLOW:
        remedy = (
            "the service was reached, and has not answered in time: give a larger timeout= "
            "(genai-config proxy --timeout), or stream the answer."
        )
    return f"{target.origin}{where}: {reason}\n  Remedy: {remedy}"


def in_openais_form(status: int, message: str, reason: str = "") -> bytes:
    """The body of an error as OpenAI's service would send it.

    Args:
        status: The HTTP status.
        message: What was asked, what was found, and the remedy.
        reason: Google's reason; "" if there is none.
    """
    is_servers = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    usual = ("server_error" if is_servers else "invalid_request_error", None)
    kind, code = _TYPES.get(status, usual)
    error = {"message": message, "type": kind, "param": None, "code": reason or code}
    return json.dumps({"error": error}).encode()


_TYPES: dict[int, tuple[str, str | None]] = {
    HTTPStatus.UNAUTHORIZED: ("authentication_error", "invalid_api_key"),
    HTTPStatus.FORBIDDEN: ("permission_error", None),
    HTTPStatus.TOO_MANY_REQUESTS: ("rate_limit_error", "too_many_requests"),
}


def googles_in_openais_form(
    target: Target, status: int, body: bytes, path: str, credential: refusals.Credential
) -> bytes:
    """The body of an error of Google's in OpenAI's form, with the remedy.

    Args:
        target: Where the request was sent.
        status: The HTTP status.
        body: What the service said: JSON, or a page of HTML.
        path: The path of the request's URL.
        credential: The kind of what was sent.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    found = refusal(document)
    said = explanation(target, status, found, path=target.below(path), credential=credential)
    return in_openais_form(status, said or f"{target.title} answers {status}.", found.reason)


def answer_to(error: GenAIConfigError) -> tuple[HTTPStatus, dict[str, str]]:
    """The status and headers with which clients that know only HTTP hear of an error of ours."""
    if isinstance(error, ConfigurationError):
        return HTTPStatus.BAD_REQUEST, {}
    if isinstance(error, TokenRefreshError):
        return HTTPStatus.SERVICE_UNAVAILABLE, {}
    # OpenAI's clients take the header for what it says: somebody has to log in first.
    return HTTPStatus.BAD_GATEWAY, {"x-should-retry": "false"}
