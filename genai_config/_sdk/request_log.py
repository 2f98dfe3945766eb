"""The SDK's own log of gRPC requests, only while somebody reads it.

The log is an interceptor: with it a call costs a tenth more, though nothing is logged.
"""

from __future__ import annotations

import logging
from typing import Any


class LoggedChannel:
    """The attribute in which a gRPC transport of the SDK keeps its channel with the log."""

    def __get__(self, transport: Any, owner: Any) -> Any:
        return self if transport is None else transport.__dict__["_genai_config_channel"]

    def __set__(self, transport: Any, logged: Any) -> None:
        logger = logging.getLogger(type(transport).__mro__[1].__module__)
        channel = _LoggedOrNotChannel(transport._grpc_channel, logged, logger)
        transport.__dict__["_genai_config_channel"] = channel


class _LoggedOrNotChannel:
    """Two channels, one of which logs.

    Args:
        plain: Ours.
        logged: The same with the SDK's interceptor.
        logger: The SDK's logger.
    """

    def __init__(self, plain: Any, logged: Any, logger: logging.Logger) -> None:
        self._plain = plain
        self._logged = logged
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def unary_unary(self, *method: Any, **options: Any) -> LoggedOrNot:
        """A unary method, logged or not."""
        plain = self._plain.unary_unary(*method, **options)
        return LoggedOrNot(plain, self._logged.unary_unary(*method, **options), self._logger)


class LoggedOrNot:
    """A unary method of two channels, one of which logs.

    Args:
        plain: The method of the one.
        logged: That of the other.
        logger: The SDK's logger.
    """

    def __init__(self, plain: Any, logged: Any, logger: logging.Logger) -> None:
        self._plain = plain
        self._logged = logged
        self._is_read = logger.isEnabledFor

    def __call__(self, request: Any, **options: Any) -> Any:
        chosen = self._logged if self._is_read(logging.DEBUG) else self._plain
        return chosen(request, **options)
