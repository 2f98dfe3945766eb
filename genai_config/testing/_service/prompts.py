"""What a conversation must look like, whatever it came by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config.testing._service.errors import ServiceError

if TYPE_CHECKING:
    from genai_config.testing._service.origins import Origin

_ROLES = ("user", "model", "function")


def check(request: Any, origin: Origin) -> None:
    """Lets a request for an answer pass.

    Raises:
        ServiceError: The service would not understand the conversation.
    """
    if origin.on_vertex and not request.contents:
        raise _invalid("at least one contents field is required")
    for index, content in enumerate(request.contents):
        # Vertex AI wants one on each; for the Gemini API a content without one is the user's.
        if content.role not in _ROLES and (content.role or origin.on_vertex):
            raise _invalid("Please use a valid role: user, model.")
        if origin.on_vertex and not content.parts:
            raise _invalid("Unable to submit request because it must have at least one parts field")
        calls = _count(content, "function_call")
        following = request.contents[index + 1 : index + 2]
        if calls and following and _count(following[0], "function_response") != calls:
            raise _invalid(
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )


def _count(content: Any, kind: str) -> int:
    return sum(part.WhichOneof("data") == kind for part in content.parts)


def _invalid(message: str) -> ServiceError:
    return ServiceError("INVALID_ARGUMENT", message)
