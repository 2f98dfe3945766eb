"""Between OpenAI's JSON and the service's messages: the one behaviour serves both."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from genai_config.testing import _schemas
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.programming import full_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROLES = {"system": "", "developer": "", "assistant": "model"}
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
}


def prompt(arguments: Mapping[str, Any]) -> Any:
    """The request of a chat, for the service.

    Raises:
        ServiceError: It is not understood.
    """
    request = _schemas.message("gemini", "GenerateContentRequest")(
        model=full_name(arguments["model"])
    )
    try:
        for message in arguments["messages"]:
            role = _ROLES.get(message["role"], "user")
            content = request.contents.add(role=role) if role else request.system_instruction
            for text in _texts(message.get("content")):
                content.parts.add(text=text)
        for name, setting in _SETTINGS.items():
            if arguments.get(name) is not None:
                setattr(request.generation_config, setting, arguments[name])
        stop = arguments.get("stop") or []
        request.generation_config.stop_sequences.extend([stop] if isinstance(stop, str) else stop)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid(error) from error
    return request


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else []:
        if part["type"] == "text":
            yield part["text"]


def texts_to_embed(arguments: Mapping[str, Any]) -> Any:
    """The request of embeddings, for the service.

    Raises:
        ServiceError: It is not understood.
    """
    model = full_name(arguments["model"])
    request = _schemas.message("gemini", "BatchEmbedContentsRequest")(model=model)
    given = arguments.get("input")
    try:
        for text in [given] if isinstance(given, str) else given or []:
            request.requests.add(model=model).content.parts.add(text=text)
    except TypeError as error:
        raise _invalid(error) from error
    return request


def completion(identifier: str, created: int, model: str, response: Any) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": _text(response)}
    return {
        "id": identifier,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(response),
    }


def chunks(
    identifier: str, created: int, model: str, responses: Iterator[Any], *, usage: bool
) -> Iterator[dict[str, Any]]:
    """The pieces of an answer; what it used is a piece of its own, if wanted."""
    head = {
        "id": identifier,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
    }
    used: dict[str, int] = {}
    for response in responses:
        used = _usage(response)
        finished = "stop" if response.candidates[0].finish_reason else None
        delta = {"role": "assistant", "content": _text(response)}
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finished}]}
    if usage:
        yield {**head, "choices": [], "usage": used}


def embeddings(arguments: Mapping[str, Any], request: Any, response: Any) -> dict[str, Any]:
    """The embeddings, as numbers or in base64."""
    packed = arguments.get("encoding_format") == "base64"
    words = sum(len(one.content.parts[0].text.split()) for one in request.requests)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(one.values) if packed else list(one.values),
            }
            for index, one in enumerate(response.embeddings)
        ],
        "model": arguments["model"],
        "usage": {"prompt_tokens": words, "total_tokens": words},
    }


def model(name: str) -> dict[str, Any]:
    """A model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "google"}


def _packed(values: Any) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _text(response: Any) -> str:
    return "".join(part.text for part in response.candidates[0].content.parts)


def _usage(response: Any) -> dict[str, int]:
    used = response.usage_metadata
    return {
        "prompt_tokens": used.prompt_token_count,
        "completion_tokens": used.candidates_token_count,
        "total_tokens": used.total_token_count,
    }


def _invalid(error: Exception) -> ServiceError:
    return ServiceError("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}")
