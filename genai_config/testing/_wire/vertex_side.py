"""Vertex AI's native paths: publishers' models, endpoints, cached contents."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.struct_pb2 import Struct
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genai_config.testing._service import rules, strict_json
from genai_config.testing._service.core import Asked, Service
from genai_config.testing._service.errors import VERTEX, ServiceError
from genai_config.testing._service.origins import Origin
from genai_config.testing._service.vertex import Vertex
from genai_config.testing._wire.rest_calls import (
    SYSTEM_PARAMETERS,
    VERBS,
    array,
    call_of,
    endpoint,
    events,
    refusal,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from genai_config.testing._service.rules import Caller

_PATHS = ("/v1/projects/{rest:path}", "/v1/publishers/{rest:path}", "/v1beta1/{rest:path}")

_PLACE = r"(?P<place>projects/[^/]+/locations/[^/:]+)"
_PUBLISHED = rf"(?:{_PLACE}/)?publishers/[^/]+/models/[^/:]+"
_TUNED = rf"{_PLACE}/(?:endpoints|models)/[^/:]+"
_CACHE = rf"{_PLACE}/cachedContents/[^/:]+"


class _Row(NamedTuple):
    """One kind of URL: the verb, the resource, what follows it, the method, the permission."""

    verb: str
    name: str
    suffix: str
    method: str
    permission: str


def _predictions(name: str, **suffixes: str) -> list[_Row]:
    return [_Row("POST", name, f":{one}", suffixes[one], rules.PREDICT) for one in suffixes]


_GENERATE = {
    "generateContent": "GenerateContent",
    "streamGenerateContent": "StreamGenerateContent",
    "countTokens": "CountTokens",
}
_EMBED = {
    "predict": "Predict",
    "embedContent": "EmbedContent",
    "batchEmbedContents": "BatchEmbedContents",
}
_CACHES = "aiplatform.cachedContents."
_ROWS = (
    *_predictions(_PUBLISHED, **_GENERATE, **_EMBED),
    *_predictions(_TUNED, **_GENERATE),
    _Row("POST", _PLACE, "/cachedContents", "CreateCachedContent", f"{_CACHES}create"),
    _Row("GET", _PLACE, "/cachedContents", "ListCachedContents", f"{_CACHES}list"),
    _Row("GET", _CACHE, "", "GetCachedContent", f"{_CACHES}get"),
    _Row("PATCH", _CACHE, "", "UpdateCachedContent", f"{_CACHES}update"),
    _Row("DELETE", _CACHE, "", "DeleteCachedContent", f"{_CACHES}delete"),
    _Row("GET", r"publishers/google", "/models", "ListPublisherModels", ""),
    _Row("GET", _PUBLISHED, "", "GetPublisherModel", ""),
    _Row("GET", _PLACE, "/models", "ListModels", ""),
)
_API = {"Publisher": "ModelGardenService", "Cached": "GenAiCacheService", "Models": "ModelService"}


def routes(service: Service, pool: ThreadPoolExecutor) -> list[BaseRoute]:
    """Where the paths are."""
    vertex = Vertex(service.behaviour)

    def answer(request: Request, body: bytes) -> Response:
        return _answer(service, vertex, request, body, pool)

    serve = endpoint(answer, pool, service.programming, _refusal)
    return [Route(path, serve, methods=VERBS) for path in _PATHS]


def _refusal(error: ServiceError, request: Request) -> Response:
    # What would have been an array of chunks is an array of one error.
    array_of_chunks = request.url.path.endswith(":streamGenerateContent")
    if array_of_chunks and request.query_params.get("alt") != "sse":
        return JSONResponse([error.to_json()], error.http_status)
    return refusal(error)


def _answer(
    service: Service, vertex: Vertex, request: Request, body: bytes, pool: ThreadPoolExecutor
) -> Response:
    call = call_of(request)
    asked = Asked("", "", [request.url.path])
    try:
        version, path = request.url.path.removeprefix("/").split("/", 1)
        row, name, place = _find(request.method, path)
        api = next((_API[one] for one in _API if one in row.method), "PredictionService")
        rpc = f"google.cloud.aiplatform.{version}.{api}.{row.method}"
        asked = Asked(f"{api}.{row.method}", rpc, [name], row.permission)
        message = None
        if request.method in ("POST", "PATCH"):
            message = vertex.understand(row.method, strict_json.loads(body))
    except ServiceError as error:
        service.refuse(asked, call, error)
        raise
    query = dict(request.query_params)
    asked = asked._replace(message=_parameters(query) if message is None else message)

    def work(caller: Caller) -> Iterator[dict[str, Any]]:
        origin = Origin(VERTEX, place, caller.identity)
        if message is None or "Cached" in row.method:
            return vertex.manage(row.method, name, message, query, origin)
        return map(strict_json.to_dict, vertex.answer(row.method, name, message, origin))

    documents = service.answer(asked, call, work)
    if row.method != "StreamGenerateContent":
        return JSONResponse(next(documents))
    texts = map(json.dumps, documents)
    if query.get("alt") == "sse":
        return stream(events(texts), "text/event-stream", pool)
    return stream(array(texts), "application/json", pool)


def _parameters(query: dict[str, str]) -> Struct:
    """What a request without a body asks for: Vertex AI has no message for it here."""
    found = Struct()
    found.update({name: one for name, one in query.items() if name not in SYSTEM_PARAMETERS})
    return found


def _find(verb: str, path: str) -> tuple[_Row, str, str]:
    """The kind of a URL, the resource in it, and the place that the resource is in."""
    for row in _ROWS:
        match = re.fullmatch(f"(?P<name>{row.name}){row.suffix}", path)
        if match and verb == row.verb:
            return row, match["name"], match.groupdict().get("place") or ""
    raise ServiceError("NOT_FOUND", f"The requested URL /{path} was not found on this server.")
