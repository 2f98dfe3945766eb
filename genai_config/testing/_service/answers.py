"""What a test answers with, in any of its forms, as messages of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genai_config.testing import _schemas
from genai_config.testing._service import samples, strict_json
from genai_config.testing._service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

_STOP = 1
# What google-genai's own answers have beside those of the service.
_NOT_SENT = ("sdkHttpResponse", "automaticFunctionCallingHistory", "parsed")


def check(answer: Any) -> None:
    """Refuses what cannot be answered with; functions are not called, iterators not read.

    Raises:
        TypeError: It is of no form that is understood.
        ValueError: It is a dict with fields that the service has not.
    """
    if answer is None or callable(answer) or isinstance(answer, Iterator):
        return
    for chunk in answer if isinstance(answer, list | tuple) else (answer,):
        if not isinstance(chunk, Exception):
            to_response(chunk)


def to_response(answer: Any) -> Any:
    """An answer, or a chunk of one, as a GenerateContentResponse.

    Raises:
        TypeError: It is of no form that is understood.
        ValueError: It is a dict with fields that the service has not.
    """
    response = _schemas.message("gemini", "GenerateContentResponse")()
    if isinstance(answer, str):
        response.candidates.add().content.parts.add().text = answer
        return response
    known = getattr(answer, "_result", None) or answer  # the SDK's own class around the message
    message = getattr(known, "_pb", known)
    if hasattr(message, "DESCRIPTOR"):
        _fill(response, message.DESCRIPTOR.name, message.SerializeToString())
    elif isinstance(answer, dict):
        _read(response, answer, _kind(answer))
    elif hasattr(answer, "model_dump"):
        given = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        given = {name: value for name, value in given.items() if name not in _NOT_SENT}
        _read(response, given, type(answer).__name__)
    else:
        raise TypeError(
            f"respond() takes no {type(answer).__name__}: give a text, a dict, a message of the "
            "SDK's (Part, FunctionCall, Content, Candidate, GenerateContentResponse), or an error"
        )
    return response


def _fill(response: Any, kind: str, serialized: bytes) -> None:
    _holder(response, kind).MergeFromString(serialized)


def _read(response: Any, given: dict[str, Any], kind: str) -> None:
    try:
        strict_json.read(given, _holder(response, kind))
    except ServiceError as error:
        raise ValueError(f"respond() cannot answer with this: {error.message}") from None


def _holder(response: Any, kind: str) -> Any:
    """The part of a response that a message of some kind is put into."""
    if kind == "GenerateContentResponse":
        return response
    candidate = response.candidates.add()
    if kind == "Candidate":
        return candidate
    if kind == "Content":
        return candidate.content
    part = candidate.content.parts.add()
    parts = {"Part": part, "FunctionCall": part.function_call, "Blob": part.inline_data}
    if kind not in parts:
        raise TypeError(f"respond() takes no {kind}")
    if kind != "Part":
        # Touched only now: the fields of a choice displace each other.
        parts[kind].SetInParent()
    return parts[kind]


def _kind(given: dict[str, Any]) -> str:
    names = {name.replace("_", "").lower() for name in given}
    if names & {"candidates", "promptfeedback", "usagemetadata"}:
        return "GenerateContentResponse"
    if names & {"content", "finishreason"}:
        return "Candidate"
    return "Content" if "parts" in names else "Part"


def by_default(request: Any) -> Any:
    """The answer of a model that nobody has told what to answer.

    A model that was given functions calls the first that it may, once; one that is to answer in
    JSON answers with the least that fits the schema; any other says who it is.
    """
    call = _call(request)
    if call is not None:
        return {"functionCall": call}
    settings = request.generation_config
    if settings.response_mime_type == "application/json":
        if settings.HasField("response_schema"):
            return json.dumps(samples.sample(strict_json.to_dict(settings.response_schema)))
        if settings.HasField("response_json_schema"):
            schema = strict_json.to_dict(settings.response_json_schema)
            return json.dumps(samples.sample(schema))
        return "{}"
    return f"Hello from {request.model}"


def _call(request: Any) -> dict[str, Any] | None:
    functions = [one for tool in request.tools for one in tool.function_declarations]
    config = request.tool_config.function_calling_config
    mode = type(config).DESCRIPTOR.fields_by_name["mode"].enum_type.values_by_number[config.mode]
    last = request.contents[-1].parts if request.contents else []
    answered = any(part.WhichOneof("data") == "function_response" for part in last)
    allowed = [
        one
        for one in functions
        if not config.allowed_function_names or one.name in config.allowed_function_names
    ]
    if not allowed or answered or mode.name == "NONE":
        return None
    schema: Any = {}
    if allowed[0].HasField("parameters"):
        schema = strict_json.to_dict(allowed[0].parameters)
    elif allowed[0].HasField("parameters_json_schema"):
        schema = strict_json.to_dict(allowed[0].parameters_json_schema)
    found = samples.sample(schema)
    return {"name": allowed[0].name, "args": found if isinstance(found, dict) else {}}


def whole(responses: Iterable[Any]) -> Any:
    """The chunks of an answer as one."""
    merged = _schemas.message("gemini", "GenerateContentResponse")()
    texts: dict[int, list[str]] = {}
    for response in responses:
        rest = type(merged)()
        rest.CopyFrom(response)
        del rest.candidates[:]
        merged.MergeFrom(rest)
        for index, candidate in enumerate(response.candidates):
            if index == len(merged.candidates):
                merged.candidates.add()
            _append(merged.candidates[index], candidate, texts.setdefault(index, []))
    for index, candidate in enumerate(merged.candidates):
        _flush(candidate, texts[index])
    return merged


def _append(merged: Any, candidate: Any, texts: list[str]) -> None:
    """Adds a chunk of a candidate; texts are collected, as adding to a text copies it."""
    rest = type(candidate)()
    rest.CopyFrom(candidate)
    del rest.content.parts[:]
    merged.MergeFrom(rest)
    for part in candidate.content.parts:
        plain = part.WhichOneof("data") == "text" and len(part.ListFields()) == 1
        if plain:
            texts.append(part.text)
        else:
            _flush(merged, texts)
            merged.content.parts.append(part)


def _flush(merged: Any, texts: list[str]) -> None:
    if texts:
        merged.content.parts.add().text = "".join(texts)
        texts.clear()


def completed(request: Any, responses: Iterable[Any]) -> Iterator[Any]:
    """The chunks of an answer with all that they have besides what a test has given."""
    asked = sum(words(content) for content in request.contents)
    said = 0
    pending = None
    try:
        for response in responses:
            if pending is not None:
                yield pending
            if len(response.candidates) == 1:
                said += words(response.candidates[0].content)
            pending = _completed(request, response, asked, said)
    except Exception:
        # What has come before an error is sent all the same.
        if pending is not None:
            yield pending
        raise
    if pending is not None:
        for candidate in pending.candidates:
            candidate.finish_reason = candidate.finish_reason or _STOP
        yield pending


def _completed(request: Any, response: Any, asked: int, said: int) -> Any:
    for candidate in response.candidates:
        candidate.content.role = candidate.content.role or "model"
    if len(response.candidates) == 1:
        for index in range(1, request.generation_config.candidate_count):
            response.candidates.add().CopyFrom(response.candidates[0])
            response.candidates[-1].index = index
    if not response.HasField("usage_metadata"):
        usage = response.usage_metadata
        usage.prompt_token_count = asked
        usage.candidates_token_count = said
        usage.total_token_count = asked + said
    response.model_version = response.model_version or request.model.rpartition("/")[2]
    return response


def words(content: Any) -> int:
    """How much there is in a content, by the server's own measure: words."""
    return sum(len(part.text.split()) for part in content.parts)
