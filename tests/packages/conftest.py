"""Published packages beside this library: a way to the local server that they know nothing of."""

from __future__ import annotations

import contextlib
import socket
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import safe_configure

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

COLUMNS = (
    "its own key kept",
    "ours kept",
    "two instances",
    "tuned by OAuth",
    "scope obeyed",
    "threads",
    "first used elsewhere",
)
RESULTS: dict[str, dict[str, str]] = {}


class Forwarder:
    """An HTTP proxy: whatever host a client asks for, it gets the local server.

    Packages replace the endpoint, as ``genai.configure(api_key=…)`` does. Google's host name stays,
    and the local server's certificate holds it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one end is gone: so is the other, then
            while piece := source.recv(65536):
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def reach(server: GeminiServer) -> Iterator[dict[str, Any]]:
    """The settings that lead Google's host name to the local server, over gRPC."""
    forwarder = Forwarder(int(server.grpc_endpoint.rpartition(":")[2]))
    yield {"proxy": forwarder.url, "ca_certs": server.ca_file}
    forwarder.close()


@pytest.fixture
def ours(server: GeminiServer, reach: dict[str, Any], adc: Path) -> None:
    """This program's own key, ADC for tuned models, and each package for itself."""
    del adc
    safe_configure(api_key=server.api_key("ours"), raw_configure="isolate", **reach)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the mark that says which column of the table a test fills."""
    config.addinivalue_line("markers", "column(name): what the test shows, in the table")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Notes in the table what each test has shown."""
    report: Any = yield
    column = item.get_closest_marker("column")
    callspec: Any = getattr(item, "callspec", None)
    if report.when == "call" and column is not None and callspec is not None:
        row = RESULTS.setdefault(callspec.params["package"].name, {})
        row[column.args[0]] = "yes" if report.passed else "NO"
        if report.passed and column.args[0] == "tuned by OAuth" and "llama" in item.name:
            row[column.args[0]] = "takes none"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the table."""
    if not RESULTS:
        return
    rows = [["package", "version", *COLUMNS]]
    for name, shown in sorted(RESULTS.items()):
        rows.append([name, version(name), *(shown.get(column, "-") for column in COLUMNS)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    terminalreporter.section("other packages")
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        terminalreporter.line("  ".join(cells).rstrip())
