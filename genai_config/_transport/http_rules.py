"""The Gemini API's own rules for its calls over REST: verb, path, body. A table, and pure.

Read off the SDK's REST transports (google-ai-generativelanguage 0.6.15); a test compares it with
those of the version that is installed. Some of what gRPC has, REST has not: counting tokens or
embedding with a tuned model.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from genai_config._masking import scrub
from genai_config._transport import json_codec
from genai_config._transport.exchange import Exchange
from genai_config.exceptions import UnsupportedRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "v1beta"

RULES: dict[str, tuple[str, str, str]] = {
    "CacheService.CreateCachedContent": ("POST", "cachedContents", "cached_content"),
    "CacheService.DeleteCachedContent": ("DELETE", "{name=cachedContents/*}", ""),
    "CacheService.GetCachedContent": ("GET", "{name=cachedContents/*}", ""),
    "CacheService.ListCachedContents": ("GET", "cachedContents", ""),
    "CacheService.UpdateCachedContent": (
        "PATCH", "{cached_content.name=cachedContents/*}", "cached_content",
    ),
    "DiscussService.CountMessageTokens": ("POST", "{model=models/*}:countMessageTokens", "*"),
    "DiscussService.GenerateMessage": ("POST", "{model=models/*}:generateMessage", "*"),
    "FileService.CreateFile": ("POST", "files", "*"),
    "FileService.DeleteFile": ("DELETE", "{name=files/*}", ""),
    "FileService.GetFile": ("GET", "{name=files/*}", ""),
    "FileService.ListFiles": ("GET", "files", ""),
    "GenerativeService.BatchEmbedContents": ("POST", "{model=models/*}:batchEmbedContents", "*"),
    "GenerativeService.CountTokens": ("POST", "{model=models/*}:countTokens", "*"),
    "GenerativeService.EmbedContent": ("POST", "{model=models/*}:embedContent", "*"),
    "GenerativeService.GenerateAnswer": ("POST", "{model=models/*}:generateAnswer", "*"),
    "GenerativeService.GenerateContent": (
        "POST", "{model=models/*}:generateContent | {model=tunedModels/*}:generateContent", "*",
    ),
    "GenerativeService.StreamGenerateContent": (
        "POST",
        ("{model=models/*}:streamGenerateContent | "
         "{model=tunedModels/*}:streamGenerateContent"),
        "*",
    ),
    "ModelService.CreateTunedModel": ("POST", "tunedModels", "tuned_model"),
    "ModelService.DeleteTunedModel": ("DELETE", "{name=tunedModels/*}", ""),
    "ModelService.GetModel": ("GET", "{name=models/*}", ""),
    "ModelService.GetTunedModel": ("GET", "{name=tunedModels/*}", ""),
    "ModelService.ListModels": ("GET", "models", ""),
    "ModelService.ListTunedModels": ("GET", "tunedModels", ""),
    "ModelService.UpdateTunedModel": ("PATCH", "{tuned_model.name=tunedModels/*}", "tuned_model"),
    "PermissionService.CreatePermission": (
        "POST", "{parent=tunedModels/*}/permissions | {parent=corpora/*}/permissions", "permission",
    ),
    "PermissionService.DeletePermission": (
        "DELETE", "{name=tunedModels/*/permissions/*} | {name=corpora/*/permissions/*}", "",
    ),
    "PermissionService.GetPermission": (
        "GET", "{name=tunedModels/*/permissions/*} | {name=corpora/*/permissions/*}", "",
    ),
    "PermissionService.ListPermissions": (
        "GET", "{parent=tunedModels/*}/permissions | {parent=corpora/*}/permissions", "",
    ),
    "PermissionService.TransferOwnership": ("POST", "{name=tunedModels/*}:transferOwnership", "*"),
    "PermissionService.UpdatePermission": (
        "PATCH",
        ("{permission.name=tunedModels/*/permissions/*} | "
         "{permission.name=corpora/*/permissions/*}"),
        "permission",
    ),
    "PredictionService.Predict": ("POST", "{model=models/*}:predict", "*"),
    "RetrieverService.BatchCreateChunks": (
        "POST", "{parent=corpora/*/documents/*}/chunks:batchCreate", "*",
    ),
    "RetrieverService.BatchDeleteChunks": (
        "POST", "{parent=corpora/*/documents/*}/chunks:batchDelete", "*",
    ),
    "RetrieverService.BatchUpdateChunks": (
        "POST", "{parent=corpora/*/documents/*}/chunks:batchUpdate", "*",
    ),
    "RetrieverService.CreateChunk": ("POST", "{parent=corpora/*/documents/*}/chunks", "chunk"),
    "RetrieverService.CreateCorpus": ("POST", "corpora", "corpus"),
    "RetrieverService.CreateDocument": ("POST", "{parent=corpora/*}/documents", "document"),
    "RetrieverService.DeleteChunk": ("DELETE", "{name=corpora/*/documents/*/chunks/*}", ""),
    "RetrieverService.DeleteCorpus": ("DELETE", "{name=corpora/*}", ""),
    "RetrieverService.DeleteDocument": ("DELETE", "{name=corpora/*/documents/*}", ""),
    "RetrieverService.GetChunk": ("GET", "{name=corpora/*/documents/*/chunks/*}", ""),
    "RetrieverService.GetCorpus": ("GET", "{name=corpora/*}", ""),
    "RetrieverService.GetDocument": ("GET", "{name=corpora/*/documents/*}", ""),
    "RetrieverService.ListChunks": ("GET", "{parent=corpora/*/documents/*}/chunks", ""),
    "RetrieverService.ListCorpora": ("GET", "corpora", ""),
    "RetrieverService.ListDocuments": ("GET", "{parent=corpora/*}/documents", ""),
    "RetrieverService.QueryCorpus": ("POST", "{name=corpora/*}:query", "*"),
    "RetrieverService.QueryDocument": ("POST", "{name=corpora/*/documents/*}:query", "*"),
    "RetrieverService.UpdateChunk": (
        "PATCH", "{chunk.name=corpora/*/documents/*/chunks/*}", "chunk",
    ),
    "RetrieverService.UpdateCorpus": ("PATCH", "{corpus.name=corpora/*}", "corpus"),
    "RetrieverService.UpdateDocument": (
        "PATCH", "{document.name=corpora/*/documents/*}", "document",
    ),
    "TextService.BatchEmbedText": ("POST", "{model=models/*}:batchEmbedText", "*"),
    "TextService.CountTextTokens": ("POST", "{model=models/*}:countTextTokens", "*"),
    "TextService.EmbedText": ("POST", "{model=models/*}:embedText", "*"),
    "TextService.GenerateText": (
        "POST", "{model=models/*}:generateText | {model=tunedModels/*}:generateText", "*",
    ),
    "Operations.GetOperation": ("GET", "{name=**/operations/*}", ""),
    "Operations.ListOperations": ("GET", "{name=**}/operations", ""),
    "Operations.DeleteOperation": ("DELETE", "{name=**/operations/*}", ""),
    "Operations.CancelOperation": ("POST", "{name=**/operations/*}:cancel", "*"),
}  # fmt: skip
"""By service and method: the verb, the paths (one of them fits), and the field that is the body.

The body "*" is the whole message but for what is in the path; "" is none, and the rest is the
query.
"""

_VARIABLE = re.compile(r"\{(?P<field>[\w.]+)=(?P<shape>[^}]+)\}")


class _Path(NamedTuple):
    """One path of a rule: what is before the name of a resource, its field and form, the rest."""

    before: str
    field: str
    shape: re.Pattern[str] | None
    after: str


def exchange(method: str, message: Any, context: object = None) -> Exchange:
    """The HTTP request for a call.

    Args:
        method: The service and the method: "GenerativeService.GenerateContent" …
        message: The request, as protobuf has it.
        context: What the call carries; it says nothing here.

    Raises:
        UnsupportedRequestError: REST does not have it, or not for this resource.
    """
    del context
    rule = RULES.get(method)
    if rule is None:
        raise _not_over_rest(method, "")
    verb, _, body_field = rule
    data = json_codec.encode(message)
    path = _fill(method, message, data)
    streams = method.endswith(".StreamGenerateContent")
    # Enums come as numbers where they can, so that those the SDK has no name for are kept.
    alt = ("alt", "sse") if streams else ("$alt", "json;enum-encoding=int")
    query: tuple[tuple[str, str], ...] = (alt,)
    body = None
    if body_field == "*":
        body = data
    elif body_field:
        body = data.pop(body_field_name(message, body_field), {})
    if body_field != "*":
        query += tuple(_query(data))
    return Exchange(verb, f"/{VERSION}/{path}", query, body, json_codec.decode)


def body_field_name(message: Any, field: str) -> str:
    """The name in JSON of a message's field."""
    return str(message.DESCRIPTOR.fields_by_name[field].json_name)


def _fill(method: str, message: Any, data: dict[str, Any]) -> str:
    """The path that fits; what is in it is taken out of the JSON data."""
    named = ""
    for before, field, shape, after in _paths(method):
        if shape is None:
            return before
        holder, value = data, message
        *parents, last = field.split(".")
        for name in parents:
            holder = holder.get(body_field_name(value, name), {})
            value = getattr(value, name)
        named = getattr(value, last)
        if shape.fullmatch(named) and not {".", ".."} & {*named.split("/")}:
            holder.pop(body_field_name(value, last), None)
            return f"{before}{quote(named)}{after}"
    raise _not_over_rest(method, named)


def _not_over_rest(method: str, resource: str) -> UnsupportedRequestError:
    on = f" for {scrub(resource)!r}" if resource else ""
    return UnsupportedRequestError(
        f"The Gemini API has no {method.rpartition('.')[2]}{on} over REST.",
        "send it over gRPC: with override(transport='grpc', tuned_transport='grpc'): …",
    )


@functools.cache
def _paths(method: str) -> tuple[_Path, ...]:
    found = []
    for path in RULES[method][1].split(" | "):
        match = _VARIABLE.search(path)
        if match is None:
            found.append(_Path(path, "", None, ""))
            continue
        shape = match["shape"].replace("**", ".+").replace("*", "[^/]+")
        before, after = path[: match.start()], path[match.end() :]
        found.append(_Path(before, match["field"], re.compile(shape), after))
    return tuple(found)


def _query(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """JSON data as query parameters; no method has a message among them."""
    for name, value in data.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, str(item).lower() if isinstance(item, bool) else str(item)
