"""What the server remembers of each request: everything but the secrets."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from genai_config.testing._service.rules import Auth

_SECRET = frozenset({"authorization", "x-goog-api-key", "cookie", "key", "access_token"})


@dataclass(frozen=True)
class RecordedRequest:
    """One request as the server saw it, refused ones included.

    Attributes:
        method: "GenerativeService.GenerateContent".
        resource: The resource that the request names, such as "models/gemini-3.6-flash".
        transport: "grpc" or "rest".
        auth: "api_key", "oauth", "none", or "both", which is refused.
        identity: The name of the key or account that was verified; None if unknown.
        scopes: The scopes of the token.
        headers: The headers by lower-cased name, secrets masked. A key in the URL is "?key".
        connection: The connection's name; one per connection.
        status: "OK" or the code of the error.
        message: What was asked, as a protobuf message; of a request to Vertex AI without a body,
            the parameters. None for what is no method of the service, and for OpenAI's.
    """

    method: str
    resource: str
    transport: Literal["grpc", "rest"]
    auth: Auth
    identity: str | None
    scopes: frozenset[str]
    headers: Mapping[str, str]
    connection: str
    status: str = "OK"
    message: Any = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        told = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr]
        # Its kind alone: it may be long, and hold anything.
        kind = None if self.message is None else f"<{type(self.message).__name__}>"
        return f"{type(self).__name__}({', '.join(told)}, message={kind})"


class Log:
    """The list of requests, for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[RecordedRequest] = []

    def append(self, request: RecordedRequest) -> None:
        """Adds a request."""
        with self._lock:
            self._requests.append(request)

    def snapshot(self) -> list[RecordedRequest]:
        """A copy of the list."""
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._requests.clear()


def join(pairs: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """One text per lower-cased header name; binary values in base64."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        text = value if isinstance(value, str) else base64.b64encode(value).decode()
        key = name.lower()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def masked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers, read-only, without the secrets; the scheme of a token stays."""
    return MappingProxyType(
        {
            name: _mask(value) if name.lstrip("?") in _SECRET else value
            for name, value in headers.items()
        }
    )


def _mask(value: str) -> str:
    scheme, space, _ = value.partition(" ")
    return f"{scheme} ***" if space else "***"
