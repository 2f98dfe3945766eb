"""The meaning of a request, whichever SDK sent it; pure.

The two SDKs send the same meaning in different forms. Only these differences are ignored:

- roles: a content without one is the user's; a system instruction has none
- chunks: a turn of the model is one turn, and its consecutive texts are one text
- embeddings: one text may be sent alone or as a batch of one; a batch repeats the model
- token counts: the contents may be sent alone or inside a request
- uploads: all steps of the protocol are one request
- lists: all pages are one request, whatever their size
- names that the service gives to files and caches are numbered in order of appearance; a thought
  signature is only present or absent
- functions: the form of their schemas, their return types, which only google-genai sends, and
  whitespace in descriptions
- empty messages and lists

What cannot be read is never the same as anything, and the rest is compared without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._compare.schemas import levelled
from genai_config._masking import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from genai_config.testing import RecordedRequest

_PLUMBING = frozenset(("Discovery.GetRest", "FileService.UploadMedia"))
_GENERATED_NAMES = frozenset(("name", "sizeBytes", "uri", "sha256Hash", "source"))
_UNKNOWN = "unknown request"


class Meaning(NamedTuple):
    """The meaning of a request.

    Attributes:
        method: "GenerateContent".
        resource: The model, or another resource: "models/gemini-3.6-flash".
        credentials: "api_key", "oauth", "none" or "both".
        body: The remaining fields: contents, config, tools.
        status: "OK", or the code of the error that the server returned.
        problem: Why the request cannot be compared; "" if it can.
    """

    method: str
    resource: str
    credentials: str
    body: dict[str, Any]
    status: str
    problem: str = ""


def meanings(requests: Iterable[RecordedRequest]) -> list[Meaning]:
    """The meanings of the requests of a run, in their order."""
    return list(_meanings(list(requests)))


def _meanings(requests: list[RecordedRequest]) -> Iterator[Meaning]:
    uploaded = False
    names = _Names()
    for request in requests:
        if request.method in _PLUMBING:
            uploaded = uploaded or request.method == "FileService.UploadMedia"
            continue
        look, uploaded = uploaded and request.method == "FileService.GetFile", False
        if look and request.headers.get("user-agent", "").find("google-genai-sdk") < 0:
            continue  # the old SDK fetches each file after the upload
        try:
            one = _meaning(request, names)
        except Exception as error:  # noqa: BLE001 -- one request must not hide the others
            problem = f"it could not be read: {described(error)}"
            one = _unreadable(request, problem)
        if one is not None:
            yield one


def _meaning(request: RecordedRequest, names: _Names) -> Meaning | None:
    """The meaning of a request; None for the next page of a list."""
    if request.message is None:
        return _unreadable(request, _why_unreadable(request))
    body = _as_dict(request.message)
    if body.pop("pageToken", None):
        return None
    body.pop("pageSize", None)
    method = request.method.rpartition(".")[2]
    method, body = _LEVELLED.get(method, lambda m, b: (m, b))(method, body)
    for name in ("model", "name"):
        if body.get(name) == request.resource:
            del body[name]
    resource = names.numbered(request.resource)
    body = names.numbered(_tidy(body))
    return Meaning(method, resource, request.auth, body, request.status)


def _unreadable(request: RecordedRequest, problem: str) -> Meaning:
    """What is known of a request without its contents: for an unknown URL, what it looks like."""
    method, resource = request.method.rpartition(".")[2], request.resource
    if not method:
        match = re.fullmatch(r"/v1(?:beta1?)?/(.+?)(?::(\w+))?", resource)
        verb = (match[2] or "") if match else ""
        resource = match[1] if match else resource
        method = f"{verb[:1].upper()}{verb[1:]}" or _UNKNOWN
    return Meaning(method, resource, request.auth, {}, request.status, problem)


def _why_unreadable(request: RecordedRequest) -> str:
    if not request.method:
        return f"{request.status}: the service has no method at {request.resource}"
    if request.status != "OK":
        return f"{request.status}: the service cannot read it"
    return "its contents are not recorded"


class _Names:
    """Replaces the names that the service has given with numbers."""

    _GIVEN = re.compile(r"(?:https://[^/]+/v1(?:beta)?/)?(files|cachedContents)/([\w-]+)")

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def numbered(self, value: Any) -> Any:
        """A value in which all such names are replaced."""
        if isinstance(value, dict):
            return {
                name: "given" if name == "thoughtSignature" else self.numbered(one)
                for name, one in value.items()
            }
        if isinstance(value, list):
            return [self.numbered(one) for one in value]
        return self._GIVEN.sub(self._number, value) if isinstance(value, str) else value

    def _number(self, match: re.Match[str]) -> str:
        given = (match[1], match[2])
        number = self._numbers.setdefault(given, len(self._numbers) + 1)
        return f"{match[1]}/{number}"


def _as_dict(message: Any) -> dict[str, Any]:
    from google.protobuf import json_format

    found: dict[str, Any] = json_format.MessageToDict(getattr(message, "_pb", message))
    return found


def _generated(method: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for content in body.pop("contents", []):
        content.setdefault("role", "user")
        if content["role"] == "model":
            content["parts"] = _joined(content.get("parts", []))
        if turns and content["role"] == turns[-1]["role"] == "model":
            turns[-1]["parts"] = _joined([*turns[-1].get("parts", []), *content.get("parts", [])])
        else:
            turns.append(content)
    if turns:
        body["contents"] = turns
    if "systemInstruction" in body:
        body["systemInstruction"].pop("role", None)
    for tool in body.get("tools", []):
        for function in tool.get("functionDeclarations", []):
            for name in ("response", "responseJsonSchema"):
                function.pop(name, None)
            function["description"] = " ".join(function.get("description", "").split())
            schema = function.pop("parametersJsonSchema", None) or function.get("parameters")
            if schema:
                function["parameters"] = levelled(schema)
    return method, body


def _joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts with consecutive texts joined."""
    found: list[dict[str, Any]] = []
    for part in parts:
        if found and part.keys() == found[-1].keys() == {"text"}:
            found[-1] = {"text": found[-1]["text"] + part["text"]}
        else:
            found.append(part)
    return found


def _counted(method: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    inner = body.pop("generateContentRequest", {})
    inner.pop("model", None)
    return method, _generated(method, {**inner, **body})[1]


def _embedded(_method: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    requests = body.pop("requests", None) or [body]
    for request in requests:
        request.pop("model", None)
        request.get("content", {}).pop("role", None)
    return "EmbedContent", {"requests": requests}


def _cached(method: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    inner = body.get("cachedContent", body)
    return method, _generated(method, dict(inner))[1]


def _uploaded(method: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return method, {k: v for k, v in body.items() if k not in _GENERATED_NAMES or k == "name"}


_LEVELLED: dict[str, Any] = {
    "GenerateContent": _generated,
    "StreamGenerateContent": _generated,
    "CountTokens": _counted,
    "EmbedContent": _embedded,
    "BatchEmbedContents": _embedded,
    "CreateCachedContent": _cached,
    "CreateFile": _uploaded,
}


def _tidy(value: Any) -> Any:
    """A value without its empty fields, which mean the same as absent ones."""
    if isinstance(value, dict):
        tidied = {name: _tidy(one) for name, one in value.items()}
        return {name: one for name, one in tidied.items() if one not in ({}, [], "")}
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    return value
