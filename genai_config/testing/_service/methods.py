"""The methods of the service, read off the installed SDK packages: nothing is listed by hand.

gRPC: every stub of every gRPC transport is made on a channel that writes down what it is asked
for. REST: the URL templates are literals named ``http_options`` in the transports' source, in
every version (0.6.15: in ``rest_base.py``; before: in ``rest.py``), so the source is parsed.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.ai.generativelanguage_v1beta import services
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from genai_config._settings import forks
from genai_config.testing import _schemas
from genai_config.testing._service.rules import RESOURCE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPERATIONS = "google.longrunning.Operations"
# Versions up to 0.6.10 leave these to google.api_core, which has them in its code.
_OPERATION_URLS = {
    "GetOperation": "/v1beta/{name=**/operations/*}",
    "ListOperations": "/v1beta/{name=**}/operations",
}


@dataclass(frozen=True)
class Method:
    """One method of the service.

    Attributes:
        path: The gRPC path, "/package.Service/Method".
        request: The protobuf class of the request.
        response: The protobuf class of the response.
        streams: Whether the server streams.
        wrapper: The class of the request that users of the SDK know; None if it is protobuf's.
        resource_paths: Where the request names resources, as paths of fields.
    """

    path: str
    request: Any
    response: Any
    streams: bool = False
    wrapper: Any = None
    resource_paths: tuple[tuple[str, ...], ...] = ()

    @property
    def rpc(self) -> str:
        """The full name, "package.Service.Method"."""
        return self.path[1:].replace("/", ".")

    @functools.cached_property
    def name(self) -> str:
        """The short name, "Service.Method"."""
        return ".".join(self.rpc.split(".")[-2:])

    def resources(self, request: Any) -> list[str]:
        """The names of resources in a request, the most telling first."""
        return [name for path in self.resource_paths for name in _values(request, path) if name]


@dataclass(frozen=True)
class Binding:
    """One URL of a method: what it looks like and what goes into the body ("*": all)."""

    verb: str
    pattern: re.Pattern[str]
    variables: tuple[str, ...]
    body: str
    method: Method


@functools.cache
def methods() -> dict[str, Method]:
    """All methods, by gRPC path."""
    channel = _RecordingChannel()
    for name in _services():
        module = importlib.import_module(f"{services.__name__}.{name}.transports.grpc")
        _touch_stubs(_transport_class(module), channel)
    found = {}
    for path, request, response, streams in channel.calls:
        if not path.startswith(f"/{_OPERATIONS}/"):
            found[path] = _method(path, request, response, streams=streams)
    for operation in operations_pb2.DESCRIPTOR.services_by_name["Operations"].methods:
        path = f"/{_OPERATIONS}/{operation.name}"
        found[path] = _method(path, _message(operation.input_type), _message(operation.output_type))
    return found


def bindings() -> tuple[Binding, ...]:
    """All URLs of all methods; read once, as `ast.parse` fails in threads before Python 3.11.8."""
    with _READING:
        return _bindings()


_READING = threading.Lock()


@forks.in_children
def _renew_lock() -> None:
    global _READING  # noqa: PLW0603 -- a thread of the parent may have held it
    _READING = threading.Lock()


@functools.cache
def _bindings() -> tuple[Binding, ...]:
    by_name = {method.name: method for method in methods().values()}
    found: dict[tuple[str, str], Binding] = {}
    for rpc, uri in _OPERATION_URLS.items():
        option = {"method": "get", "uri": uri}
        found["get", uri] = _binding(by_name[f"Operations.{rpc}"], option)
    for name in _services():
        service = "".join(word.title() for word in name.split("_"))
        for rpc, options in _http_options(_rest_source(name)):
            method = by_name.get(f"{service}.{rpc}") or by_name[f"Operations.{rpc}"]
            for option in options:
                key = (option["method"], option["uri"])
                found.setdefault(key, _binding(method, option))
    return tuple(found.values())


def _services() -> list[str]:
    return [one.name for one in pkgutil.iter_modules(services.__path__) if one.ispkg]


class _RecordingChannel(grpc.Channel):  # type: ignore[misc]  # grpc ships no type information
    """A channel that connects to nothing and remembers which methods it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any, bool]] = []

    def _record(self, method: str, serializer: Any, deserializer: Any, *, streams: bool) -> None:
        # Both are bound methods of the message class; a plain protobuf request's is not, but
        # only the operations have those, and they are read from their descriptor.
        request = getattr(serializer, "__self__", None)
        self.calls.append((method, request, deserializer.__self__, streams))

    def unary_unary(
        self, method: str, request_serializer: Any, response_deserializer: Any, *_: Any, **__: Any
    ) -> None:
        self._record(method, request_serializer, response_deserializer, streams=False)

    def unary_stream(
        self, method: str, request_serializer: Any, response_deserializer: Any, *_: Any, **__: Any
    ) -> None:
        self._record(method, request_serializer, response_deserializer, streams=True)

    def stream_unary(self, *_: Any, **__: Any) -> None: ...
    def stream_stream(self, *_: Any, **__: Any) -> None: ...
    def subscribe(self, *_: Any, **__: Any) -> None: ...
    def unsubscribe(self, *_: Any, **__: Any) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...


def _transport_class(module: Any) -> Any:
    return next(
        value
        for name, value in vars(module).items()
        if name.endswith("GrpcTransport") and value.__module__ == module.__name__
    )


def _touch_stubs(transport_class: Any, channel: _RecordingChannel) -> None:
    # Made without __init__, which would put a logging interceptor before the channel; the
    # interceptor asks the channel for a method only when it is called.
    transport = transport_class.__new__(transport_class)
    vars(transport).update(_stubs={}, _grpc_channel=channel, _logged_channel=channel)
    for name in dir(transport_class):
        own = name in vars(transport_class)
        if own and not name.startswith("_") and name != "operations_client":
            getattr(transport, name)


def _message(descriptor: Any) -> Any:
    return getattr(empty_pb2 if descriptor.name == "Empty" else operations_pb2, descriptor.name)


def _method(path: str, request: Any, response: Any, *, streams: bool = False) -> Method:
    wrapped = hasattr(request, "pb")
    plain = _newest(request.pb() if wrapped else request)
    paths = tuple(path for path in RESOURCE_FIELDS if _exists(plain.DESCRIPTOR, path))
    return Method(
        path=path,
        request=plain,
        response=_newest(response.pb() if hasattr(response, "pb") else response),
        streams=streams,
        wrapper=request if wrapped else None,
        resource_paths=paths,
    )


def _newest(message: Any) -> Any:
    """The class of a message with the fields that the SDK does not know yet, if there is one."""
    return _schemas.find("gemini", message.DESCRIPTOR.name) or message


def _exists(descriptor: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if descriptor is None or name not in descriptor.fields_by_name:
            return False
        descriptor = descriptor.fields_by_name[name].message_type
    return descriptor is None


def _values(holder: Any, path: tuple[str, ...]) -> Iterator[str]:
    if not path:
        yield holder
    elif isinstance(holder, str) or not hasattr(holder, path[0]):
        for item in holder:
            yield from _values(item, path)
    else:
        yield from _values(getattr(holder, path[0]), path[1:])


def _rest_source(service: str) -> str:
    transports = Path(services.__path__[0], service, "transports")
    base = transports / "rest_base.py"
    return (base if base.exists() else transports / "rest.py").read_text(encoding="utf-8")


def _http_options(source: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The methods' names and their URL templates in the source of a REST transport."""
    for holder in ast.walk(ast.parse(source)):
        if not isinstance(holder, ast.ClassDef):
            continue
        for statement in holder.body:
            if isinstance(statement, ast.ClassDef):
                yield from _class_options(statement)
            elif isinstance(statement, ast.FunctionDef) and statement.name == "operations_client":
                # A dict by the full names of the methods.
                for options in _literals(statement):
                    for rpc, value in options.items():
                        yield rpc.rpartition(".")[2], value


def _class_options(holder: ast.ClassDef) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for options in _literals(holder):
        yield holder.name.removeprefix("_Base").removeprefix("_"), options


def _literals(holder: ast.AST) -> Iterator[Any]:
    for node in ast.walk(holder):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "http_options"
            and isinstance(node.value, ast.List | ast.Dict)
        ):
            yield ast.literal_eval(node.value)


def _binding(method: Method, option: dict[str, str]) -> Binding:
    variables: list[str] = []

    def group(match: re.Match[str]) -> str:
        variables.append(match["name"])
        return "(" + (match["shape"] or "*").replace("**", ".+").replace("*", "[^/:]+") + ")"

    pattern = re.sub(r"\{(?P<name>[\w.]+)(=(?P<shape>[^}]+))?\}", group, option["uri"])
    return Binding(
        verb=option["method"].upper(),
        pattern=re.compile(pattern),
        variables=tuple(variables),
        body=option.get("body", ""),
        method=method,
    )
