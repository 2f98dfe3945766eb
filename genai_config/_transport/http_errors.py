"""Errors over HTTP as gRPC has them: one set of classes and details for both transports.

google.api_core makes its exceptions of them: PermissionDenied, which is its Forbidden too, and so
on. Its own reading of HTTP errors gives other classes, and fails on a body that is a list.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# https://cloud.google.com/apis/design/errors; where the body does not say.
_BY_HTTP_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    416: grpc.StatusCode.OUT_OF_RANGE,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_DETAILS = {
    f"type.googleapis.com/{name}": getattr(error_details_pb2, name.rpartition(".")[2])
    for name in (
        "google.rpc.BadRequest", "google.rpc.DebugInfo", "google.rpc.ErrorInfo", "google.rpc.Help",
        "google.rpc.LocalizedMessage", "google.rpc.PreconditionFailure", "google.rpc.QuotaFailure",
        "google.rpc.RequestInfo", "google.rpc.ResourceInfo", "google.rpc.RetryInfo",
    )
}  # fmt: skip
_SHOWN = 200


class HttpCallError(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[misc] # grpc has no type information
    """A call over HTTP that failed, in the form that gRPC's errors have.

    Args:
        code: The gRPC status code.
        details: What went wrong.
        trailing: Names and values as gRPC's trailing metadata has them.
    """

    def __init__(
        self, code: Any, details: str, trailing: tuple[tuple[str, str | bytes], ...] = ()
    ) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details
        self._trailing = trailing

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._trailing

    def initial_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def result(self, timeout: float | None = None) -> Any:
        del timeout
        raise self

    def exception(self, timeout: float | None = None) -> HttpCallError:
        del timeout
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        del timeout
        return self.__traceback__

    def done(self) -> bool:
        return True

    def is_active(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return bool(self._code is grpc.StatusCode.CANCELLED)

    def cancel(self) -> bool:
        return False

    def time_remaining(self) -> float | None:
        return None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        del callback
        return False  # as gRPC says of a call that is over

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


def from_answer(status: int, body: bytes, server: str, headers: Any = ()) -> HttpCallError:
    """The error that an HTTP answer is.

    Args:
        status: The HTTP status.
        body: The answer's body.
        server: Who answered, for an answer that is not Google's.
        headers: The answer's headers; Retry-After is kept.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    trailing = tuple(
        (name.lower(), value) for name, value in dict(headers).items()
        if name.lower() == "retry-after"
    )  # fmt: skip
    error = error_in(data, trailing, status)
    if error is not None:
        return error
    code = _code("", status)
    text = " ".join(body.decode(errors="replace").split())
    shown = f": {text[:_SHOWN]}" if text else ""
    return HttpCallError(code, f"{server} answered HTTP {status}{shown}", trailing)


def not_reached(server: str, error: BaseException) -> HttpCallError:
    """What went wrong on the way to a server, as gRPC says it, so that the cause is found.

    Args:
        server: The server's host and port.
        error: An error of requests or of the system. The outer text is left out, which holds the
            URL, and with it the names of models.
    """
    return HttpCallError(
        grpc.StatusCode.UNAVAILABLE,
        f"failed to connect to all addresses; {server}: {_reason(error)}",
    )


def _reason(error: BaseException) -> str:
    """The innermost of an error's causes, which says most, and names no URL."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((cause for cause in error.args if isinstance(cause, BaseException)), None)
        inner = inner or error.__cause__
        if inner is None:
            return f"{type(error).__name__}: {error}"
        error = inner


def error_in(
    data: Any, trailing: tuple[tuple[str, str | bytes], ...] = (), answered: int = 0
) -> HttpCallError | None:
    """The error in JSON data: ``{"error": …}``, alone or in a list; None: there is none.

    Args:
        data: The data.
        trailing: What the error has beside its details.
        answered: The HTTP status of the answer: a gateway's error may name none, or in words.
    """
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return None
    http_status = error.get("code")
    if not isinstance(http_status, int):
        http_status = answered
    code = _code(str(error.get("status", "")), http_status)
    message = str(error.get("message", ""))
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in _details(error.get("details")):
        status.details.add().Pack(detail)
    return HttpCallError(
        code, message, (*trailing, ("grpc-status-details-bin", status.SerializeToString()))
    )


def _code(name: str, http_status: int) -> Any:
    known = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
    return known.get(name) or _BY_HTTP_STATUS.get(http_status, grpc.StatusCode.UNKNOWN)


def _details(given: Any) -> Iterable[Any]:
    """The details of the kinds that google.api_core knows."""
    for detail in given if isinstance(given, list) else ():
        if not isinstance(detail, dict):
            continue
        known = _DETAILS.get(str(detail.get("@type")))
        if known is None:
            continue
        fields = {name: value for name, value in detail.items() if name != "@type"}
        try:
            yield json_format.ParseDict(fields, known(), ignore_unknown_fields=True)
        except json_format.ParseError:
            continue
