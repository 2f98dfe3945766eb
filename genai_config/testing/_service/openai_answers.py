"""The service's answers in OpenAI's JSON."""

from __future__ import annotations

import base64
import itertools
import json
import struct
from typing import TYPE_CHECKING, Any

from genai_config.testing._service import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FINISHED = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "MALFORMED_FUNCTION_CALL": "function_call_filter: MALFORMED_FUNCTION_CALL",
}
_NUMBERS = itertools.count(1)


def completion(
    identifier: str, created: int, model: str, responses: Iterator[Any]
) -> dict[str, Any]:
    """A whole answer."""
    (response,) = responses
    choices = []
    for candidate in response.candidates:
        message = _message(candidate.content)
        choices.append(
            {
                "index": candidate.index,
                "message": {"role": "assistant", "content": None, **message},
                "finish_reason": _finished(candidate, calls="tool_calls" in message),
            }
        )
    if not choices:
        choices.append(_blocked("message"))
    return {
        "id": identifier,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
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
    used: dict[str, Any] = {}
    called: dict[int, int] = {}
    for response in responses:
        used = _usage(response)
        choices = []
        for candidate in response.candidates:
            delta = _message(candidate.content)
            before = called.get(candidate.index, 0)
            for position, call in enumerate(delta.get("tool_calls", []), before):
                call["index"] = position
            called[candidate.index] = before + len(delta.get("tool_calls", []))
            finished = None
            if candidate.finish_reason:
                finished = _finished(candidate, calls=called[candidate.index] > 0)
            delta = {"role": "assistant", **delta}
            choices.append({"index": candidate.index, "delta": delta, "finish_reason": finished})
        yield {**head, "choices": choices or [_blocked("delta")]}
    if usage:
        yield {**head, "choices": [], "usage": used}


def _blocked(kind: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": None}
    return {"index": 0, kind: message, "finish_reason": "content_filter"}


def _finished(candidate: Any, *, calls: bool) -> str:
    values = candidate.DESCRIPTOR.fields_by_name["finish_reason"].enum_type.values_by_number
    name = values[candidate.finish_reason].name
    if name == "STOP" and calls:
        return "tool_calls"
    return _FINISHED.get(name, f"content_filter: {name}")


def _message(content: Any) -> dict[str, Any]:
    """Text and calls; thoughts are not shown, as OpenAI's protocol has no place for them.

    Raises:
        ValueError: There is something that it has no place for either.
    """
    texts, calls = [], []
    found: dict[str, Any] = {}
    for part in content.parts:
        kind = part.WhichOneof("data")
        if kind == "function_call":
            calls.append(_call(part))
        elif kind == "text" and not part.thought:
            texts.append(part.text)
            if part.thought_signature:
                found["extra_content"] = _extra(part)
        elif kind not in ("text", None):
            raise ValueError(f"a chat of OpenAI's has no place for {kind} in an answer")
    if texts or not calls:
        found["content"] = "".join(texts)
    if calls:
        found["tool_calls"] = calls
    return found


def _call(part: Any) -> dict[str, Any]:
    call = part.function_call
    arguments = strict_json.to_dict(call.args) if call.HasField("args") else {}
    found: dict[str, Any] = {
        "id": call.id or f"function-call-{next(_NUMBERS)}",
        "type": "function",
        "function": {"name": call.name, "arguments": json.dumps(arguments)},
    }
    # https://ai.google.dev/gemini-api/docs/thought-signatures, on OpenAI's clients
    return {**found, "extra_content": _extra(part)} if part.thought_signature else found


def _extra(part: Any) -> dict[str, Any]:
    signature = base64.b64encode(part.thought_signature).decode()
    return {"google": {"thought_signature": signature}}


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


def _usage(response: Any) -> dict[str, Any]:
    used = response.usage_metadata
    found: dict[str, Any] = {
        "prompt_tokens": used.prompt_token_count,
        "completion_tokens": used.candidates_token_count + used.thoughts_token_count,
        "total_tokens": used.total_token_count,
    }
    if used.thoughts_token_count:
        found["completion_tokens_details"] = {"reasoning_tokens": used.thoughts_token_count}
    if used.cached_content_token_count:
        found["prompt_tokens_details"] = {"cached_tokens": used.cached_content_token_count}
    return found
