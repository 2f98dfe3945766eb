"""The service over gRPC with TLS."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from genai_config.testing._service import recording
from genai_config.testing._service.core import Call, Service
from genai_config.testing._service.errors import DroppedError, ServiceError
from genai_config.testing._service.methods import Method, methods

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor

    from genai_config.testing._wire.certificates import Certificate

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    # As the service's front end: further calls on the connection wait.
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


_GRACE = 0.1


class GrpcSide:
    """A gRPC server on a free port.

    Attributes:
        port: The port.
    """

    def __init__(
        self, service: Service, certificate: Certificate, pool: ThreadPoolExecutor
    ) -> None:
        self._server = grpc.server(pool, handlers=(_Handlers(service),), options=_OPTIONS)
        credentials = grpc.ssl_server_credentials(((certificate.key, certificate.chain),))
        self.port: int = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def stop(self) -> None:
        """Stops; what is under way has a moment to end."""
        self._server.stop(_GRACE).wait()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no type information
    def __init__(self, service: Service) -> None:
        self._by_path = {
            path: (_stream_handler if method.streams else _unary_handler)(service, method)
            for path, method in methods().items()
        }

    def service(self, handler_call_details: Any) -> Any:
        return self._by_path.get(handler_call_details.method)


def _unary_handler(service: Service, method: Method) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        functools.partial(_unary, service, method),
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )


def _stream_handler(service: Service, method: Method) -> Any:
    return grpc.unary_stream_rpc_method_handler(
        functools.partial(_stream, service, method),
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )


def _unary(service: Service, method: Method, request: Any, context: Any) -> Any:
    try:
        return next(service.call(method, request, _call(context)))
    except ServiceError as error:
        _abort(context, error)
    except DroppedError:
        _cut(context)
    except Exception as error:  # noqa: BLE001 -- kept, for the test to hear of
        _abort(context, service.programming.unexpected(method.name, error))


def _stream(service: Service, method: Method, request: Any, context: Any) -> Iterator[Any]:
    try:
        yield from service.call(method, request, _call(context))
    except ServiceError as error:
        _abort(context, error)
    except DroppedError:
        _cut(context)
    except Exception as error:  # noqa: BLE001 -- likewise
        _abort(context, service.programming.unexpected(method.name, error))


def _call(context: Any) -> Call:
    return Call("grpc", recording.join(context.invocation_metadata()), context.peer())


def _cut(context: Any) -> NoReturn:
    """Cuts the connection: gRPC has no way to, so its socket is looked for."""
    port = int(context.peer().rpartition(":")[2])
    client = {("127.0.0.1", port), ("::ffff:127.0.0.1", port)}
    for one in _sockets():
        with one, contextlib.suppress(OSError):  # it may have no other end
            if one.getpeername()[:2] in client:
                one.shutdown(socket.SHUT_RDWR)
    _abort(context, ServiceError(DroppedError.status, "Socket closed"))


def _sockets() -> Iterator[socket.socket]:
    """All sockets of this process, where there is a list of them."""
    folder = Path("/dev/fd")
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        with contextlib.suppress(OSError):  # it may have been closed since
            if stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                yield socket.socket(fileno=os.dup(int(path.name)))


def _abort(context: Any, error: ServiceError) -> NoReturn:
    context.set_trailing_metadata((("grpc-status-details-bin", error.to_status()),))
    context.abort(grpc.StatusCode[error.status], error.message)
    raise AssertionError  # pragma: no cover  # abort() has raised
