"""The service over REST: from URL and body to the request message, and back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from genai_config.testing import recording
from genai_config.testing.core import Call, Service
from genai_config.testing.errors import ServiceError
from genai_config.testing.methods import Binding, bindings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request

# https://cloud.google.com/apis/docs/system-parameters
_SYSTEM = frozenset(
    {"$alt", "alt", "key", "access_token", "fields", "prettyPrint", "$prettyPrint", "quotaUser"}
)
_VERBS = ["GET", "POST", "PATCH", "PUT", "DELETE"]


def application(service: Service, pool: ThreadPoolExecutor) -> Starlette:
    """The REST server's application; requests are answered in the pool's threads."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(pool, _answer, service, request, body, pool)
        except ServiceError as error:
            return JSONResponse(error.to_json(), error.http_status)

    return Starlette(routes=[Route("/{path:path}", endpoint, methods=_VERBS)])


def _answer(service: Service, request: Request, body: bytes, pool: ThreadPoolExecutor) -> Response:
    binding, values = _find(request)
    message = _message(binding, values, request, body)
    client = request.client
    call = Call(
        transport="rest",
        headers=recording.join(request.headers.items()),
        connection=f"ipv4:{client.host}:{client.port}" if client else "",
        key=request.query_params.get("key"),
    )
    messages = service.answer(binding.method, message, call)
    alt = request.query_params.get("$alt", "")
    texts = (_to_json(one, enums_as_numbers="enum-encoding=int" in alt) for one in messages)
    if not binding.method.streams:
        return Response(next(texts), media_type="application/json")
    if request.query_params.get("alt") == "sse":
        return StreamingResponse(_aside(_events(texts), pool), media_type="text/event-stream")
    return StreamingResponse(_aside(_array(texts), pool), media_type="application/json")


def _find(request: Request) -> tuple[Binding, tuple[str, ...]]:
    for binding in bindings():
        match = binding.pattern.fullmatch(request.url.path)
        if match and binding.verb == request.method:
            return binding, match.groups()
    raise ServiceError("NOT_FOUND", f"{request.method} {request.url.path} is no method.")


def _message(binding: Binding, values: Iterable[str], request: Request, body: bytes) -> Any:
    message = binding.method.request()
    try:
        if binding.body == "*":
            json_format.Parse(body or b"{}", message)
        elif binding.body:
            json_format.Parse(body or b"{}", getattr(message, binding.body))
        json_format.ParseDict(_query(message.DESCRIPTOR, request), message)
    except json_format.ParseError as error:
        raise ServiceError("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
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
        if name in _SYSTEM:
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
        repeated = field is not None and field.label == field.LABEL_REPEATED
        holder[last] = values if repeated else values[-1]
    return found


def _field(descriptor: Any, name: str) -> Any:
    if descriptor is None:
        return None
    return descriptor.fields_by_camelcase_name.get(name) or descriptor.fields_by_name.get(name)


def _to_json(message: Any, *, enums_as_numbers: bool) -> str:
    return str(json_format.MessageToJson(message, use_integers_for_enums=enums_as_numbers))


def _array(texts: Iterator[str]) -> Iterator[str]:
    # An error in the middle is one more element: the status has been sent long since.
    prefix = "["
    try:
        for text in texts:
            yield prefix + text
            prefix = ",\r\n"
    except ServiceError as error:
        yield prefix + json.dumps(error.to_json())
        prefix = ","
    yield "[]" if prefix == "[" else "]"


def _events(texts: Iterator[str]) -> Iterator[str]:
    try:
        for text in texts:
            yield f"data: {json.dumps(json.loads(text))}\r\n\r\n"
    except ServiceError as error:
        yield f"data: {json.dumps(error.to_json())}\r\n\r\n"


async def _aside(texts: Iterator[str], pool: ThreadPoolExecutor) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    while (text := await loop.run_in_executor(pool, next, texts, None)) is not None:
        yield text
