from __future__ import annotations

import functools
import importlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import uvicorn

import genai_config.testing
from genai_config.testing import GeminiServer
from genai_config.testing._service import methods as testing_methods
from genai_config.testing._service.methods import _bindings, _http_options, bindings, methods
from genai_config.testing._service.stores import Store

if TYPE_CHECKING:
    from pathlib import Path


def assert_gone(before: set[threading.Thread]) -> None:
    """No thread but these is left; those of grpc end a moment after its stop()."""
    for thread in set(threading.enumerate()) - before:  # pragma: no cover  # a race
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_nothing_is_left() -> None:
    """A stopped server leaves no thread, no port and no file."""
    before = set(threading.enumerate())
    with GeminiServer() as server:
        server.service_account_file()
        ports = [
            int(one.rpartition(":")[2]) for one in (server.grpc_endpoint, server.rest_endpoint)
        ]
        folder = server.ca_file.parent
    assert_gone(before)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    assert not folder.exists()


def test_life_cycle() -> None:
    """A server starts once, stops as often as one likes, and has addresses in between."""
    server = GeminiServer()
    with pytest.raises(RuntimeError, match="is not running"):
        _ = server.grpc_endpoint
    server.stop()
    server.start()
    with pytest.raises(RuntimeError, match="once"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError):
        _ = server.token_uri


def test_clear(server: GeminiServer) -> None:
    """The record can be emptied."""
    with grpc.secure_channel(
        server.grpc_endpoint, grpc.ssl_channel_credentials(server.ca_file.read_bytes())
    ) as channel:
        path = "/google.ai.generativelanguage.v1beta.ModelService/ListModels"
        raw = channel.unary_unary(path)
        for _ in range(2):
            with pytest.raises(grpc.RpcError):
                raw(b"")
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            channel.unary_unary("/no/Method")(b"")
    assert len({request.connection for request in server.requests}) == 1
    assert [request.status for request in server.requests] == ["PERMISSION_DENIED"] * 2
    server.clear()
    assert server.requests == []


def test_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in the server's thread fails in start(), and nothing stays behind."""

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("no port")

    monkeypatch.setattr(uvicorn.Server, "startup", broken)
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no port"):
        GeminiServer().start()
    assert_gone(before)


def test_urls_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads ask first: Python 3.11.7 and before cannot parse in two at once."""
    read: list[str] = []
    barrier = threading.Barrier(4)

    def note(service: str) -> str:
        read.append(service)
        return ""

    def ask(_: int) -> tuple[Any, ...]:
        barrier.wait(10)
        return bindings()

    monkeypatch.setattr(testing_methods, "_rest_source", note)
    monkeypatch.setattr(testing_methods, "_bindings", functools.cache(_bindings.__wrapped__))
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(ask, range(4)))
    assert len(found) == 1
    assert len(read) == len(set(read)) > 0


def test_methods() -> None:
    """The methods are those of the installed packages, the operations included."""
    found = methods()
    path = "/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent"
    assert found[path].streams
    assert found[path].name == "GenerativeService.StreamGenerateContent"
    assert "/google.longrunning.Operations/GetOperation" in found
    assert {binding.method.name for binding in bindings()} <= {one.name for one in found.values()}


def test_older_transports() -> None:
    """Older packages have the URL templates inside the methods' classes."""
    source = """
class Transport:
    @property
    def operations_client(self):
        http_options: Dict[str, List] = {
            "google.longrunning.Operations.GetOperation": [
                {"method": "get", "uri": "/v1/{name=a/*}"}
            ]
        }
    class _CountTokens:
        def __call__(self):
            http_options: List[Dict[str, str]] = [{"method": "post", "uri": "/v1/x", "body": "*"}]
"""
    assert dict(_http_options(source)) == {
        "GetOperation": [{"method": "get", "uri": "/v1/{name=a/*}"}],
        "CountTokens": [{"method": "post", "uri": "/v1/x", "body": "*"}],
    }


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error says what to install."""

    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'trustme'", name="trustme")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'genai-config\[testing\]'"):
        _ = genai_config.testing.GeminiServer
    with pytest.raises(AttributeError):
        _ = genai_config.testing.nothing


def test_files_are_private(server: GeminiServer) -> None:
    """Files with keys are for their owner alone."""
    path: Path = server.service_account_file()
    assert path.stat().st_mode & 0o077 == 0


def test_unknown_resource() -> None:
    """A method on a resource that is not kept, or on none, is not the store's."""
    for name in ("ModelService.GetModel", "GenerativeService.GenerateContent"):
        method = next(one for one in methods().values() if one.name == name)
        assert Store(float).handler(method) is None
