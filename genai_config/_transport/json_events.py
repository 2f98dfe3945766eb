"""The JSON data of answers: whole, or as the events of a stream (SSE). Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc

from genai_config._transport.http_errors import HttpCallError, error_in

if TYPE_CHECKING:
    from collections.abc import Iterator


def events(pieces: Iterator[bytes], server: str) -> Iterator[Any]:
    """The JSON data of server-sent events.

    Raises:
        HttpCallError: An event is an error, or the stream ends in the middle of one.
    """
    lines: list[bytes] = []
    rest, came = b"", False
    for piece in pieces:
        came = True
        *complete, rest = (rest + piece).split(b"\n")
        for line in complete:
            line = line.rstrip(b"\r")  # noqa: PLW2901 -- lines may end either way
            if line.startswith(b"data:"):
                lines.append(line[5:])
            elif not line and lines:
                yield _event(lines, server)
                lines = []
            elif line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
                lines.append(line)  # an error may come as plain JSON
    if rest or lines:
        yield _event([*lines, rest.removeprefix(b"data:")], server)
    elif not came:
        parsed(b"", server)


def _event(lines: list[bytes], server: str) -> Any:
    data = parsed(b"\n".join(lines), server)
    error = error_in(data)
    if error is not None:
        raise error
    return data


def parsed(body: bytes, server: str) -> Any:
    """The data of a whole answer.

    Raises:
        HttpCallError: There is none, or it is not whole.
    """
    if not body.strip():
        # Even what has no answer is answered with {}: a head that broke off looks like a whole one.
        raise HttpCallError(
            grpc.StatusCode.UNAVAILABLE, f"The connection to {server} failed: no answer came."
        )
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HttpCallError(
            grpc.StatusCode.INTERNAL, f"The answer of {server} is not complete JSON."
        ) from None
