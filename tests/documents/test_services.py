"""The proxy as a service: what the page writes for systemd and for a container is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

PAGE = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="services of Unix systems")


def block(language: str) -> str:
    """The page's block in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def unit_command() -> list[str]:
    """What the unit starts."""
    (line,) = re.findall(r"^ExecStart=(.*)$", block("ini"), re.MULTILINE)
    return shlex.split(line)


def container_command() -> list[str]:
    """What the container starts."""
    (line,) = re.findall(r"^CMD (.*)$", block("dockerfile"), re.MULTILINE)
    return list(json.loads(line))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")
def test_the_unit(tmp_path: Path) -> None:
    """Systemd has nothing to say against it."""
    program = unit_command()[0]
    path = tmp_path / "genai-config-proxy.service"
    path.write_text(block("ini").replace(program, sys.executable), encoding="utf-8")
    verified = subprocess.run(  # noqa: S603 -- the system's
        ["systemd-analyze", "verify", str(path)],  # noqa: S607 -- likewise
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    about = [line for line in verified.stderr.splitlines() if path.name in line]
    assert about == []


@pytest.mark.parametrize(
    ("command", "host"), [(unit_command(), "127.0.0.1"), (container_command(), "genai-proxy")]
)
def test_the_command(server: GeminiServer, tmp_path: Path, command: list[str], host: str) -> None:
    """It starts, is healthy under the name that clients use, keeps its key, and ends by SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    key_file = tmp_path / "proxy.key"
    replaced = {"8080": str(port), command[command.index("--key-file") + 1]: str(key_file)}
    arguments = [replaced.get(one, one) for one in command[1:]]
    environ = {**os.environ, **server.environ(adc="service_account")}
    with subprocess.Popen(  # noqa: S603 -- our own
        [sys.executable, "-W", "ignore", "-m", "genai_config", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
    ) as process:  # fmt: skip
        assert process.stdout
        while "# Forwards" not in (line := process.stdout.readline()):
            assert line
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert len(key_file.read_text(encoding="ascii").strip()) >= 32
