"""What all of REST shares: how a request arrives, and how its answer leaves."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from genai_config.testing._service import recording
from genai_config.testing._service.core import Call
from genai_config.testing._service.errors import DroppedError, ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request

    from genai_config.testing._service.programming import Programming

# https://cloud.google.com/apis/docs/system-parameters
SYSTEM_PARAMETERS = frozenset(
    {"$alt", "alt", "key", "access_token", "fields", "prettyPrint", "$prettyPrint", "quotaUser"}
)
VERBS = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"]


def call_of(request: Request, *, bearer_keys: bool = False) -> Call:
    """How a request arrived."""
    host, port = request.client or ("", 0)
    return Call(
        transport="rest",
        headers=recording.join(request.headers.items()),
        connection=f"ipv4:{host}:{port}",
        key=request.query_params.get("key"),
        bearer_keys=bearer_keys,
    )


def refusal(error: ServiceError, _request: Request | None = None) -> Response:
    """The answer that says no."""
    return JSONResponse(error.to_json(), error.http_status)


def endpoint(
    answer: Callable[[Request, bytes], Response],
    pool: ThreadPoolExecutor,
    programming: Programming,
    refuse: Callable[[ServiceError, Request], Response] = refusal,
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint whose requests are answered in the pool's threads.

    Args:
        answer: Makes the answer to a request and its body.
        pool: The threads.
        programming: What hears of errors of the server's own.
        refuse: Makes the answer that says no to a request.
    """

    async def serve(request: Request) -> Response:
        try:
            body = await request.body()
            return await asyncio.get_running_loop().run_in_executor(pool, answer, request, body)
        except ServiceError as error:
            return refuse(error, request)
        except DroppedError:
            request.app.state.cut(request.client)
            # It comes when the connection is gone: nothing is written to it before.
            await request.receive()
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 -- kept, for the test to hear of
            return refuse(programming.unexpected(request.url.path, error), request)
        return Response()

    return serve


def stream(texts: Iterator[str], media_type: str, pool: ThreadPoolExecutor) -> Response:
    """An answer in pieces, which are made in the pool's threads."""

    async def pieces() -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        while (text := await loop.run_in_executor(pool, _next, texts)) is not None:
            yield text

    return StreamingResponse(pieces(), media_type=media_type)


def _next(texts: Iterator[Any]) -> Any:
    return next(texts, None)


def array(texts: Iterator[str]) -> Iterator[str]:
    """The pieces of a stream as one JSON array, an error as its last element."""
    # The status has been sent long since.
    prefix = "["
    try:
        for text in texts:
            yield prefix + text
            prefix = ",\r\n"
    except ServiceError as error:
        yield prefix + json.dumps(error.to_json())
        prefix = ","
    yield "[]" if prefix == "[" else "]"


def events(texts: Iterator[str]) -> Iterator[str]:
    """The pieces of a stream as server-sent events, an error as the last."""
    try:
        for text in texts:
            yield f"data: {json.dumps(json.loads(text))}\r\n\r\n"
    except ServiceError as error:
        yield f"data: {json.dumps(error.to_json())}\r\n\r\n"
