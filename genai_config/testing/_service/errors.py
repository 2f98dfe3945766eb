"""How the service says no: one error, and its two encodings, gRPC status and JSON body."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "generativelanguage.googleapis.com"
VERTEX = "aiplatform.googleapis.com"

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto ("HTTP Mapping")
HTTP_STATUS = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


MESSAGES = {
    "INVALID_ARGUMENT": "Request contains an invalid argument.",
    "DEADLINE_EXCEEDED": "The request timed out.",
    "NOT_FOUND": "Requested entity was not found.",
    "PERMISSION_DENIED": "The caller does not have permission.",
    "RESOURCE_EXHAUSTED": "You exceeded your current quota.",
    "INTERNAL": "An internal error has occurred. Please retry or report it.",
    "UNAVAILABLE": "The service is currently unavailable.",
    "UNAUTHENTICATED": "Request had invalid authentication credentials.",
}
"""What an error of each status says unless a test gives it other words."""


class DroppedError(Exception):
    """The connection is to be cut: no answer at all.

    Attributes:
        status: What gRPC's clients make of it.
    """

    status = "UNAVAILABLE"


@dataclass
class ServiceError(Exception):
    """An error of the service.

    Attributes:
        status: The name of the canonical code, such as "PERMISSION_DENIED".
        message: The text.
        reason: The reason of the ErrorInfo detail; empty for an error without details.
        metadata: The ErrorInfo's metadata.
        domain: The ErrorInfo's domain.
        violations: The fields of the request that are wrong, and how: the BadRequest detail.
        retry_after: Seconds until another try makes sense: the RetryInfo detail; None: it is none.
    """

    status: str
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    domain: str = "googleapis.com"
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None

    def of(self, service: str) -> ServiceError:
        """The same error, said by another service of Google's."""
        return replace(self, metadata={**self.metadata, "service": service})

    @property
    def http_status(self) -> int:
        """The status code over REST."""
        return HTTP_STATUS[self.status]

    def to_json(self) -> dict[str, Any]:
        """The JSON body over REST."""
        error: dict[str, Any] = {
            "code": self.http_status,
            "message": self.message,
            "status": self.status,
        }
        details: list[dict[str, Any]] = []
        if self.reason:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": self.reason,
                    "domain": self.domain,
                    "metadata": dict(self.metadata),
                }
            )
        if self.violations:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [
                        {**({"field": name} if name else {}), "description": description}
                        for name, description in self.violations
                    ],
                }
            )
        if self.retry_after is not None:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": f"{self.retry_after:.3f}s",
                }
            )
        if details:
            error["details"] = details
        return {"error": error}

    def to_status(self) -> bytes:
        """The serialized google.rpc.Status over gRPC."""
        status = status_pb2.Status(code=code_pb2.Code.Value(self.status), message=self.message)
        if self.reason:
            detail = any_pb2.Any()
            detail.Pack(
                error_details_pb2.ErrorInfo(
                    reason=self.reason, domain=self.domain, metadata=self.metadata
                )
            )
            status.details.append(detail)
        if self.retry_after is not None:
            detail = any_pb2.Any()
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromNanoseconds(round(self.retry_after * 1e9))
            detail.Pack(info)
            status.details.append(detail)
        return bytes(status.SerializeToString())
