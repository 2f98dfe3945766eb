"""What a compared program opens by itself: Google is the local server, others are refused."""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from genai_config._compare import guard
from genai_config._compare.relay import relay
from genai_config._compare.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPLOADING = """
import pathlib
import google.generativeai as genai

genai.configure(api_key="AIza" + "k" * 35)
print(genai.upload_file("notes.txt", mime_type="text/plain").name)
"""


def python(folder: Path, program: str) -> tuple[str, int, tuple[str, ...], list[str]]:
    """What a program printed, its exit code, the hosts refused, and the methods that it called."""
    (folder / "app.py").write_text(program, encoding="utf-8")
    done = run([sys.executable, "-W", "ignore", "app.py"], folder, 60)
    return done.output, done.code, done.refused, [one.method for one in done.said]


def test_an_upload_of_the_bare_sdk(tmp_path: Path) -> None:
    """httplib2 knows no proxy without PySocks, and the file must not go to Google."""
    (tmp_path / "notes.txt").write_text("abc", encoding="utf-8")
    output, code, refused, called = python(tmp_path, UPLOADING)
    assert code == 0, output
    assert "files/" in output
    assert called
    assert refused == ()


def test_other_hosts_are_refused_and_listed(tmp_path: Path) -> None:
    """However they are connected to; what listens on this machine is reached."""
    program = """
        import asyncio, socket
        with socket.create_server(("127.0.0.1", 0)) as here:
            socket.create_connection(here.getsockname()).close()

        def refused(function):
            try:
                function()
            except OSError as error:
                print("no", error)

        refused(lambda: socket.create_connection(("www.example.com", 80)))
        refused(lambda: socket.socket().connect_ex(("192.0.2.1", 80)))
        refused(lambda: asyncio.run(asyncio.open_connection("api.example.com", 443)))
    """.replace("\n        ", "\n")
    output, code, refused, _ = python(tmp_path, program)
    assert code == 0, output
    assert output.count("no genai-config compare refuses a connection to ") == 3
    assert refused == ("www.example.com", "192.0.2.1", "api.example.com")


def test_a_module_of_the_same_name_is_loaded_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program's own `sitecustomize` has its effect."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins; builtins.mine = 1\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(own))
    output, code, _, _ = python(tmp_path, "import builtins; print('mine', builtins.mine)\n")
    assert (code, output.strip()) == (0, "mine 1")


class TestInThisProcess:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        """Somebody who listens in place of Google."""
        for owner, name in (
            (socket, "getaddrinfo"), (socket.socket, "connect"), (socket.socket, "connect_ex"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, getattr(owner, name))
        monkeypatch.setattr(sys, "path", ["/the/folder", *sys.path])
        monkeypatch.setitem(sys.modules, "sitecustomize", sys)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield listening

    def test_where_connections_go(self, server: socket.socket) -> None:
        with relay(1) as proxy:
            ports = (server.getsockname()[1], int(proxy.url.rpartition(":")[2]))
            guard.start("/the/folder", *ports)
            assert "/the/folder" not in sys.path
            for name in ("generativelanguage.googleapis.com", b"oauth2.googleapis.com"):
                found = socket.getaddrinfo(name, 443, 0, socket.SOCK_STREAM)
                assert {one[4] for one in found} == {("127.0.0.1", ports[0])}
            with socket.socket() as asking:
                asking.connect(("generativelanguage.googleapis.com", 443))
                accepted, _ = server.accept()
                accepted.close()
            socket.create_connection(server.getsockname()).close()
            with socket.socket() as asking, pytest.raises(ConnectionRefusedError, match="198"):
                asking.connect_ex(("198.51.100.1", 443))
            assert proxy.refused == ["198.51.100.1"]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as telling_nobody:
                telling_nobody.connect(("127.0.0.1", 9))
        threads = [one.name for one in threading.enumerate() if "serve_forever" in one.name]
        assert threads == []

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has none")
    def test_a_unix_socket_is_of_this_machine(
        self, server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        guard.start("/the/folder", server.getsockname()[1], 1)
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
            one.bind("here")
            one.listen()
            other.connect("here")
            assert other.getpeername() == "here"
