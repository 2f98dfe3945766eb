"""Runs a program against a local server instead of Google, and records its requests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from genai_config._compare.meaning import Meaning, meanings
from genai_config._compare.relay import relay
from genai_config._masking import described

if TYPE_CHECKING:
    from collections.abc import Sequence

_SKIPPED = (".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox")


@dataclass(frozen=True)
class Run:
    """The result of a run.

    Attributes:
        said: The meanings of its requests, in order.
        code: Its exit code.
        output: What it wrote to stdout and stderr.
        refused: Hosts other than Google's that it tried to reach, which is refused.
        failures: Errors of the local server itself, each in one line.
    """

    said: list[Meaning]
    code: int
    output: str
    refused: tuple[str, ...]
    failures: tuple[str, ...] = ()


def run(command: Sequence[str], folder: Path, timeout: float) -> Run:
    """Runs a command in a folder. No request reaches Google, and every API key is accepted.

    Args:
        command: The command and its arguments.
        folder: The working directory.
        timeout: The limit in seconds.

    Raises:
        OSError: The command cannot be run.
        subprocess.TimeoutExpired: The command takes longer than `timeout`.
    """
    from genai_config.testing import GeminiServer

    with GeminiServer() as server, tempfile.TemporaryDirectory() as first:
        server.accept_any_key()
        port = _port(server.endpoint)
        with relay(port) as proxy:
            names = ("https_proxy", "http_proxy", "grpc_proxy", "all_proxy")
            own = dict.fromkeys([*names, *map(str.upper, names)], proxy.url)
            key = server.api_key("the key")
            guard = resources.files("genai_config._compare").joinpath("guard.py").read_text("utf-8")
            starting = f"\nstart({first!r}, {port}, {_port(proxy.url)})\n"
            Path(first, "sitecustomize.py").write_text(guard + starting, encoding="utf-8")
            paths = [first, *filter(None, [os.environ.get("PYTHONPATH")])]
            environ = {
                **os.environ,
                **server.environ(adc="service_account"),
                **own,
                "PYTHONPATH": os.pathsep.join(paths),
                "no_proxy": "localhost,127.0.0.1",
                "NO_PROXY": "localhost,127.0.0.1",
                "GEMINI_API_KEY": key,
                "GOOGLE_API_KEY": key,
                "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore"),
            }
            done = subprocess.run(  # noqa: S603 -- what the user asked for
                list(command), cwd=folder, env=environ, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=timeout, check=False,
            )  # fmt: skip
            said = meanings(server.requests)
            failures = tuple(map(described, server.errors))
            server.errors.clear()  # or the server would raise them, in place of the result
            refused = tuple(dict.fromkeys(proxy.refused))
            return Run(said, done.returncode, done.stdout, refused, failures)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def copied(folder: Path, target: Path) -> Path:
    """Copies a folder, without environments and version control; returns the copy."""
    return shutil.copytree(
        folder, target / "after", ignore=shutil.ignore_patterns(*_SKIPPED), symlinks=True
    )
