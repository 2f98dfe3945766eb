"""Whom the proxy serves, what it sends on, and what it says to the others: pure."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from genai_config._clients import errors
from genai_config.exceptions import GenAIConfigError

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
_LONGEST_TARGET = 8000
# https://cloud.google.com/apis/docs/system-parameters, and what stands for headers and the method.
_CREDENTIAL_PARAMETER = re.compile(
    r"(^|&)\s*(key|access_token|oauth_token|\$httpHeaders|\$httpMethod)=", re.IGNORECASE
)

# https://datatracker.ietf.org/doc/html/rfc9110#section-7.6.1, and what HTTP/1.1 makes anew.
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade")
)  # fmt: skip
NOT_SENT_ON = _HOP_BY_HOP | {
    "authorization", "content-length", "cookie", "expect", "host", "openai-organization",
    "openai-project", "origin", "x-goog-api-key", "x-goog-user-project", "x-http-method",
    "x-http-method-override", "x-method-override",
}  # fmt: skip
"""Headers that are between the program and the proxy, or for OpenAI; credentials are ours."""
NOT_SENT_BACK = _HOP_BY_HOP | {"alt-svc", "set-cookie", "strict-transport-security"}
"""Headers that are between the service and the proxy."""


class Access(NamedTuple):
    """Whom the proxy serves.

    Attributes:
        key: The key that callers must know.
        url: The proxy's address, for those who look for it.
        hosts: Further names of this machine that a Host header may have, lower-case.
        origins: Web pages that may ask, as their Origin header names them.
    """

    key: str
    url: str
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()


class Limits(NamedTuple):
    """How much is too much.

    Attributes:
        requests: Requests under way at once.
        patience: Seconds that another waits for its turn.
        body: Bytes of a request's body.
        kept: Bytes of a body that is kept until it is answered: it can be sent again after a 401,
            and its model's name be completed. What is larger passes through as it is.
        timeout: Seconds without a byte from the service, or from the client.
    """

    requests: int = 64
    patience: float = 5.0
    body: int = 100 << 20
    kept: int = 8 << 20
    timeout: float = 600.0


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
        self._headers = headers

    def body(self) -> bytes:
        """The error in OpenAI's form."""
        return errors.in_openais_form(self.status, self._message)

    def headers(self, size: int) -> dict[str, str]:
        """The headers of the answer, for a body of this size."""
        own = {"content-type": "application/json", "content-length": str(size)}
        return own | self._headers


def as_refusal(error: GenAIConfigError) -> Refusal:
    """What a client hears of an error of ours."""
    status, headers = errors.answer_to(error)
    return Refusal(status, error.problem, error.remedy, **headers)


def check_host(headers: list[tuple[str, str]], access: Access) -> str:
    """Checks that a request means this machine, and comes from a program or an allowed page.

    Args:
        headers: The headers of the request, by lower-cased name.
        access: Whom the proxy serves.

    Returns:
        The page that asks; "" for a program.

    Raises:
        Refusal: It is a request that is not served.
    """
    hosts = [value for name, value in headers if name == "host"]
    # A web page may have given this machine's address to a name of its own.
    if len(hosts) != 1 or not (_HOST.fullmatch(hosts[0]) or _name_of(hosts[0]) in access.hosts):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "The Host header of the request does not name this machine.",
            f"send requests to {access.url}, or start the proxy with --allow-host.",
        )
    origins = [value for name, value in headers if name == "origin"]
    if origins and (len(origins) > 1 or origins[0] not in access.origins):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "The request comes from a web page that is not allowed to use this proxy.",
            "send requests from a program, or start the proxy with --allow-origin.",
        )
    return "".join(origins)


def _name_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def check_key(headers: list[tuple[str, str]], access: Access) -> None:
    """Checks that the caller knows the key.

    Raises:
        Refusal: The caller does not.
    """
    given = [value for name, value in headers if name == "authorization"]
    scheme, _, sent = (given[0] if len(given) == 1 else "").partition(" ")
    # compare_digest takes a time that tells nothing about the key.
    is_known = secrets.compare_digest(sent.strip().encode(), access.key.encode())
    if not is_known or scheme.lower() != "bearer":
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "The request has another key than this proxy's."
            if sent
            else "The request has no Authorization header with this proxy's key.",
            "export OPENAI_API_KEY=… as the proxy has printed it; it is a new one after each "
            "start, unless there is a --key-file.",
        )


def cors_headers(origin: str) -> dict[str, str]:
    """What lets a web page read the answer: https://fetch.spec.whatwg.org/#http-cors-protocol."""
    if not origin:
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": ", ".join(_METHODS),
        "access-control-allow-headers": "authorization, content-type, x-stainless-arch, "
        "x-stainless-async, x-stainless-helper-method, x-stainless-lang, x-stainless-os, "
        "x-stainless-package-version, x-stainless-poll-helper, x-stainless-retry-count, "
        "x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout",
        "access-control-max-age": "600",
        "vary": "origin",
    }


def models_answer(path: str, models: tuple[str, ...]) -> dict[str, Any] | None:
    """OpenAI's list of models, or one of them; None: the path is for neither.

    Raises:
        Refusal: There is no such model.
    """
    described = [
        {"id": model, "object": "model", "created": 0, "owned_by": model.rpartition("/")[0]}
        for model in models
    ]
    path = unquote(path.partition("?")[0])
    if path == "/models":
        return {"object": "list", "data": described}
    if not path.startswith("/models/"):
        return None
    wanted = path.removeprefix("/models/")
    for one in described:
        if one["id"] == wanted:
            return one
    raise Refusal(
        HTTPStatus.NOT_FOUND,
        f"This proxy was started for {', '.join(models)}, and not for {wanted!r}.",
        f"start it with --model {wanted} as well.",
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
            f"This proxy does not forward {method} requests.",
            f"send {', '.join(_METHODS)}.",
            allow=", ".join(_METHODS),
        )
    if len(target) + len(query) > _LONGEST_TARGET:
        raise Refusal(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"The request's address is longer than {_LONGEST_TARGET} characters.",
            "send what belongs to the request in its body.",
        )
    if _CREDENTIAL_PARAMETER.search(unquote(query)):
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            "The request's address holds a credential.",
            "leave out key= and access_token=: the proxy adds the credentials that are needed.",
        )
    path = target.removeprefix(PREFIX)
    if path == target or not path.startswith("/"):
        raise Refusal(
            HTTPStatus.NOT_FOUND,
            "This proxy forwards requests to one base URL, and the address is outside it.",
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
