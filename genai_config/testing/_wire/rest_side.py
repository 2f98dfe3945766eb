"""The service over REST: from URL and body to the request message, and back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from genai_config.testing._service import strict_json
from genai_config.testing._service.core import Asked, Service
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.methods import Binding, bindings
from genai_config.testing._wire import openai_side, uploads, vertex_side
from genai_config.testing._wire.rest_calls import (
    SYSTEM_PARAMETERS,
    VERBS,
    array,
    call_of,
    endpoint,
    events,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request


def application(service: Service, pool: ThreadPoolExecutor) -> Starlette:
    """The REST server's application; requests are answered in the pool's threads."""

    def answer(request: Request, body: bytes) -> Response:
        return _answer(service, request, body, pool)

    return Starlette(
        routes=[
            *uploads.routes(service, pool),
            *openai_side.routes(service, pool),
            *vertex_side.routes(service, pool),
            Route("/{path:path}", endpoint(answer, pool, service.programming), methods=VERBS),
        ]
    )


def _answer(service: Service, request: Request, body: bytes, pool: ThreadPoolExecutor) -> Response:
    call = call_of(request)
    asked = Asked("", "", [request.url.path])
    try:
        binding, values = _find(request)
        asked = Asked(binding.method.name, binding.method.rpc, values)
        message = _message(binding, values, request, body)
    except ServiceError as error:
        service.refuse(asked, call, error)
        raise
    messages = service.call(binding.method, message, call)
    alt = request.query_params.get("$alt", "")
    texts = (_to_json(one, enums_as_numbers="enum-encoding=int" in alt) for one in messages)
    if not binding.method.streams:
        return Response(next(texts), media_type="application/json")
    if request.query_params.get("alt") == "sse":
        return stream(events(texts), "text/event-stream", pool)
    return stream(array(texts), "application/json", pool)


def _find(request: Request) -> tuple[Binding, tuple[str, ...]]:
    # "v1" is served as "v1beta" is, of which it is a part.
    path = re.sub("^/v1/", "/v1beta/", request.url.path)
    for binding in bindings():
        match = binding.pattern.fullmatch(path)
        if match and binding.verb == request.method:
            return binding, match.groups()
    raise ServiceError("NOT_FOUND", f"{request.method} {request.url.path} is no method.")


def _message(binding: Binding, values: Iterable[str], request: Request, body: bytes) -> Any:
    message = binding.method.request()
    if binding.body:
        holder = message if binding.body == "*" else getattr(message, binding.body)
        strict_json.read(strict_json.loads(body), holder)
    strict_json.read(_query(message.DESCRIPTOR, request), message)
    for variable, value in zip(binding.variables, values, strict=True):
        *path, last = variable.split(".")
        holder = message
        for name in path:
            holder = getattr(holder, name)
        setattr(holder, last, value)
    return message


def _query(descriptor: Any, request: Request) -> dict[str, Any]:
    """The query parameters as JSON: ``a.b=1`` is ``{"a": {"b": "1"}}``."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(request.query_params.keys()):
        if name in SYSTEM_PARAMETERS:
            continue
        *path, last = name.split(".")
        holder, fields = found, descriptor
        for part in path:
            holder = holder.setdefault(part, {})
            field = _field(fields, part)
            fields = field.message_type if field else None
        values: list[Any] = request.query_params.getlist(name)
        field = _field(fields, last)
        if field is not None and field.type == field.TYPE_BOOL:
            values = [value == "true" for value in values]
        repeated = field is not None and strict_json.is_repeated(field)
        holder[last] = values if repeated else values[-1]
    return found


def _field(descriptor: Any, name: str) -> Any:
    if descriptor is None:
        return None
    return descriptor.fields_by_camelcase_name.get(name) or descriptor.fields_by_name.get(name)


def _to_json(message: Any, *, enums_as_numbers: bool) -> str:
    found = json_format.MessageToDict(message, use_integers_for_enums=enums_as_numbers)
    return json.dumps(found, indent=2)
