"""What a request means, whatever SDK wrote it: pure.

The two SDKs say the same in different words. What is levelled here, and nothing else:

- a content without a role is the user's, and a system instruction has no role
- a model's turn that came in chunks is one turn, its texts one text
- one text is embedded alone or as a batch of one; a batch's requests repeat its model
- tokens are counted for contents, or for a request that holds these
- an upload is one request for its file, whatever the steps of the protocol
- pages of a list are one request, whatever their size
- names that the service gives to files and caches are numbered in the order that they come up;
  a thought signature of its is there, or not
- schemas of functions in either form; what they return, which google-genai alone tells; white
  space in descriptions
- empty messages, and values that are the service's own defaults
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._compare.schemas import levelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from genai_config.testing import RecordedRequest

_PLUMBING = frozenset(("Discovery.GetRest", "FileService.UploadMedia"))
_GENERATED_NAMES = frozenset(("name", "sizeBytes", "uri", "sha256Hash", "source"))


class Meaning(NamedTuple):
    """What a request says.

    Attributes:
        method: "GenerateContent".
        resource: The model, or another resource: "models/gemini-3.6-flash".
        credentials: "api_key", "oauth", "none" or "both".
        body: The rest of it: contents, config, tools.
        status: "OK", or the code of the error that it was answered with.
    """

    method: str
    resource: str
    credentials: str
    body: dict[str, Any]
    status: str


def meanings(requests: Iterable[RecordedRequest]) -> list[Meaning]:
    """What the requests of a run say, in their order."""
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
            continue  # the old SDK looks at what it has uploaded
        body = _as_dict(request.message)
        if body.pop("pageToken", None):
            continue  # the next page of the same list
        body.pop("pageSize", None)
        method = request.method.rpartition(".")[2]
        method, body = _LEVELLED.get(method, lambda m, b: (m, b))(method, body)
        for name in ("model", "name"):
            if body.get(name) == request.resource:
                del body[name]
        resource = names.numbered(request.resource)
        body = names.numbered(_tidy(body))
        yield Meaning(method, resource, request.auth, body, request.status)


class _Names:
    """Numbers in the place of names that the service has given."""

    _GIVEN = re.compile(r"(?:https://[^/]+/v1(?:beta)?/)?(files|cachedContents)/([\w-]+)")

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def numbered(self, value: Any) -> Any:
        """A value with numbers in the texts that are in it."""
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
    """Parts of which texts that follow each other are one."""
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
    """Without what is empty, and so the same as left out."""
    if isinstance(value, dict):
        tidied = {name: _tidy(one) for name, one in value.items()}
        return {name: one for name, one in tidied.items() if one not in ({}, [], "")}
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    return value
