"""Thought signatures: given with function calls by Gemini 3 models, and wanted back.

https://ai.google.dev/gemini-api/docs/thought-signatures: in the current turn the first function
call of each step needs its signature; a signature belongs to the login that it was given to.
"""

from __future__ import annotations

import base64
import itertools
import threading
from typing import TYPE_CHECKING, Any

from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.models import has_signatures

if TYPE_CHECKING:
    from genai_config.testing._service.origins import Origin

# The documented ways to say that a call comes from elsewhere. JSON has bytes in base64.
_PLACEHOLDERS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_ALLOWED = frozenset(
    [one.encode() for one in _PLACEHOLDERS] + [base64.urlsafe_b64decode(x) for x in _PLACEHOLDERS]
)


class Signatures:
    """Those that the server has given, and to whom."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._owners: dict[bytes, tuple[str, str | None]] = {}

    def sign(self, model: str, response: Any, origin: Origin, *, first: bool = True) -> bool:
        """Signs the first function call of an answer; returns whether one is yet to come.

        Args:
            model: The model's full name.
            response: The answer, or a chunk of it, which is changed.
            origin: Whose it is.
            first: Whether no earlier chunk had a function call.
        """
        for candidate in response.candidates:
            wanted = first and has_signatures(model)
            for part in candidate.content.parts:
                if part.WhichOneof("data") == "function_call":
                    if wanted and not part.thought_signature:
                        number = next(self._numbers)
                        part.thought_signature = f"signature {number} of {origin.service}".encode()
                    wanted = first = False
                if part.thought_signature:
                    with self._lock:
                        owner = (origin.service, origin.identity)
                        self._owners[part.thought_signature] = owner
        return first

    def check(self, model: str, contents: Any, origin: Origin) -> None:
        """Lets a conversation pass.

        Raises:
            ServiceError: A signature is missing, or was given to somebody else.
        """
        if not has_signatures(model):
            return
        turn = _current_turn(contents)
        for index, content in enumerate(contents):
            calls = [p for p in content.parts if p.WhichOneof("data") == "function_call"]
            if index > turn and calls and not calls[0].thought_signature:
                raise _missing(calls[0].function_call.name, index + 1, origin)
            for part in content.parts:
                if part.thought_signature and not self._is_known(part.thought_signature, origin):
                    raise _foreign(origin)

    def _is_known(self, signature: bytes, origin: Origin) -> bool:
        with self._lock:
            owner = self._owners.get(signature)
        return signature in _ALLOWED or owner == (origin.service, origin.identity)


def _current_turn(contents: Any) -> int:
    """Where the last message of the user is; answers of functions are not the user's own."""
    found = -1
    for index, content in enumerate(contents):
        if content.role != "model" and any(
            part.WhichOneof("data") != "function_response" for part in content.parts
        ):
            found = index
    return found


def _missing(name: str, position: int, origin: Origin) -> ServiceError:
    if origin.on_vertex:
        text = (
            f"Unable to submit request because function call `default_api:{name}` in the "
            f"{position}. content block is missing a `thought_signature`. Learn more: "
            "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thought-signatures"
        )
    else:
        text = (
            "Function call is missing a thought_signature in functionCall parts. This is required "
            "for tools to work correctly, and missing thought_signature may lead to degraded "
            f"model performance. Additional data, function call `default_api:{name}` , position "
            f"{position}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures "
            "for more details."
        )
    return ServiceError("INVALID_ARGUMENT", text)


def _foreign(origin: Origin) -> ServiceError:
    text = "Corrupted thought signature."
    if origin.on_vertex:
        text = (
            "Unable to submit request because Thought signature is not valid.. Learn more: "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini"
        )
    return ServiceError("INVALID_ARGUMENT", text)
