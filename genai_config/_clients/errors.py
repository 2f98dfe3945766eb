"""What a refusal of the OpenAI-compatible endpoints means, and what to do about it: pure."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._auth import refusals
from genai_config._masking import scrub

if TYPE_CHECKING:
    from genai_config._clients.target import Target


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
    if status == HTTPStatus.NOT_FOUND and path and not _SERVED.match(path):
        return (
            f"{said or 'no reason is given.'}\n  Remedy: use Chat Completions, Embeddings or "
            f"Models: {target.title} does not have {scrub(path)} of OpenAI's API."
        )
    place = (target.project, target.location, target.endpoint)
    sent = refusals.Sent(credential, target.backend, "", *place)
    means = refusals.meaning(sent, refusals.Answer(status, found.reason, found.message))
    return said if means is None else f"{said or 'no reason is given.'}\n  Meaning: {means}"


def unreachable(target: Target, cause: BaseException | None) -> str:
    """What to add to the message of an error of the connection."""
    reason = scrub(f"{type(cause).__name__}: {cause}") if cause else "no answer"
    where = f" for location={target.location}" if target.location else ""
    return (
        f"{target.origin}{where}: {reason}"
        "\n  Remedy: check whether the address is right and can be reached from here (proxy=, "
        "ca_certs=)."
    )
