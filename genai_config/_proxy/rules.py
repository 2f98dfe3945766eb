"""Whom the proxy serves, what it sends on, and what it says to the others: pure."""

from __future__ import annotations

import json
import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

from genai_config.exceptions import ConfigurationError, GenAIConfigError, TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Iterable


PREFIX = "/v1"
"""Where the target's base URL is on the proxy."""

_METHODS = ("GET", "POST", "DELETE")
_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
# https://datatracker.ietf.org/doc/html/rfc3986#section-3.3; a query has "?" as well.
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_DECODINGS = 4

# https://datatracker.ietf.org/doc/html/rfc9110#section-7.6.1, and what HTTP/1.1 makes anew.
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade")
)  # fmt: skip
NOT_SENT_ON = _HOP_BY_HOP | {
    "authorization", "content-length", "cookie", "expect", "host", "openai-organization",
    "openai-project", "x-goog-api-key", "x-goog-user-project",
}  # fmt: skip
"""Headers that are between the program and the proxy, or for OpenAI; credentials are ours."""
NOT_SENT_BACK = _HOP_BY_HOP | {"alt-svc", "set-cookie", "strict-transport-security"}
"""Headers that are between the service and the proxy."""


class Refusal(Exception):  # noqa: N818 -- an answer, more than an error
    """What a client hears in place of the service's answer.

    Args:
        status: The HTTP status.
        problem: What was asked and what was found.
        remedy: What to do next.
        headers: Further headers.
    """

    def __init__(self, status: HTTPStatus, problem: str, remedy: str = "", **headers: str) -> None:
        super().__init__(status, problem)
        self.status = status
        self._message = str(GenAIConfigError(problem, remedy))
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def body(self) -> bytes:
        """The error in OpenAI's form."""
        is_ours = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        usual = ("server_error" if is_ours else "invalid_request_error", None)
        kind, code = _TYPES.get(self.status, usual)
        error = {"message": self._message, "type": kind, "param": None, "code": code}
        return json.dumps({"error": error}).encode()

    def headers(self, size: int) -> dict[str, str]:
        """The headers of the answer, for a body of this size."""
        own = {"content-type": "application/json", "content-length": str(size)}
        return own | self._headers


_TYPES = {
    HTTPStatus.UNAUTHORIZED: ("authentication_error", "invalid_api_key"),
    HTTPStatus.FORBIDDEN: ("permission_error", None),
    HTTPStatus.TOO_MANY_REQUESTS: ("rate_limit_error", "too_many_requests"),
}


def as_refusal(error: GenAIConfigError) -> Refusal:
    """What a client hears of an error of ours."""
    if isinstance(error, ConfigurationError):
        return Refusal(HTTPStatus.BAD_REQUEST, error.problem, error.remedy)
    if isinstance(error, TokenRefreshError):
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.problem, error.remedy)
    # OpenAI's clients take the header for what it says: somebody has to log in first.
    return Refusal(HTTPStatus.BAD_GATEWAY, error.problem, error.remedy, x_should_retry="false")


def check_caller(headers: Iterable[tuple[str, str]], key: str, url: str) -> None:
    """Checks who asks.

    Args:
        headers: The headers of the request, by lower-cased name.
        key: The key that callers must know.
        url: The proxy's address, for those who look for it.

    Raises:
        Refusal: It is somebody who is not served.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    hosts = found.get("host", [])
    # A web page may have given this machine's address to a name of its own.
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "This proxy is for this machine, and the request's Host header names another.",
            f"send requests to {url}",
        )
    if "origin" in found:
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "This proxy is not for the pages of a browser.",
            "send requests from a program, without an Origin header.",
        )
    given = found.get("authorization", [])
    scheme, _, sent = (given[0] if len(given) == 1 else "").partition(" ")
    # compare_digest takes a time that tells nothing about the key.
    is_known = secrets.compare_digest(sent.strip().encode(), key.encode())
    if not is_known or scheme.lower() != "bearer":
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "The request has another key than this proxy's."
            if sent
            else "The request does not have this proxy's key as a bearer token.",
            "export OPENAI_API_KEY=… as the proxy has printed it; it is a new one after each "
            "start, unless there is a --key-file.",
        )


def path_below(method: str, target: str, query: str, url: str) -> str:
    """The part of a request's target that comes after the base URL, with its query.

    Args:
        method: The HTTP method.
        target: The target as it was sent, without the query.
        query: The query; "" if there is none.
        url: The proxy's address, for those who look for it.

    Raises:
        Refusal: It is for something else than what is below the base URL.
    """
    if method not in _METHODS:
        raise Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"This proxy does not send {method} requests on.",
            f"send {', '.join(_METHODS)}.",
            allow=", ".join(_METHODS),
        )
    path = target.removeprefix(PREFIX)
    if path == target or not path.startswith("/"):
        raise Refusal(
            HTTPStatus.NOT_FOUND,
            "This proxy sends requests on to one place, and the address is not in it.",
            f"export OPENAI_BASE_URL={url}",
        )
    if not (_PATH.fullmatch(path) and _QUERY.fullmatch(query) and _stays_below(path)):
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            "The request's path has an empty part, '.' or '..' in it, or a character that belongs "
            "in no URL.",
            f"send it to {url}/chat/completions, for example.",
        )
    return f"{path}?{query}" if query else path


def _stays_below(path: str) -> bool:
    """Whether a path leads nowhere else, however often it may be decoded on its way."""
    for _ in range(_DECODINGS):
        # Some servers drop what follows a semicolon.
        parts = [part.partition(";")[0] for part in path.split("/")[1:]]
        if not path.isprintable() or "\\" in path or {"", ".", ".."}.intersection(parts):
            return False
        decoded = unquote(path)
        if decoded == path:
            return True
        path = decoded
    return False


def passed_on(headers: Iterable[tuple[str, str]], without: frozenset[str]) -> list[tuple[str, str]]:
    """The headers, by lower-cased name, that are for the other end, too."""
    headers = list(headers)
    named = {
        one.strip().lower()
        for name, value in headers
        if name == "connection"
        for one in value.split(",")
    }
    if any(name == "transfer-encoding" for name, _ in headers):
        # https://datatracker.ietf.org/doc/html/rfc9112#section-6.3: then it counts for nothing.
        named.add("content-length")
    return [(name, value) for name, value in headers if name not in without | named]
