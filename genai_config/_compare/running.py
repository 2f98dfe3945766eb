"""Runs a program whose requests to Google a local server answers, and keeps what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genai_config._compare.meaning import Meaning, meanings
from genai_config._compare.relay import relay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SKIPPED = (".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox")


@dataclass(frozen=True)
class Run:
    """What came of a program.

    Attributes:
        said: What it said to the service, request by request.
        code: Its exit code.
        output: What it wrote, to both of its outputs.
        refused: Hosts that it wanted to reach and could not: the server stands for Google alone.
    """

    said: list[Meaning]
    code: int
    output: str
    refused: tuple[str, ...]


def run(command: Sequence[str], folder: Path, timeout: float) -> Run:
    """Runs a command in a folder; nothing of it reaches Google, and any API key is accepted.

    Args:
        command: The command.
        folder: Where it runs.
        timeout: Seconds that it may take.

    Raises:
        OSError: It cannot be run.
        subprocess.TimeoutExpired: It takes longer.
    """
    from genai_config.testing import GeminiServer

    with GeminiServer() as server:
        server.accept_any_key()
        ports = [
            int(one.rpartition(":")[2]) for one in (server.grpc_endpoint, server.rest_endpoint)
        ]
        with relay(*ports) as proxy:
            names = ("https_proxy", "http_proxy", "grpc_proxy", "all_proxy")
            own = dict.fromkeys([*names, *map(str.upper, names)], proxy.url)
            key = server.api_key("the key")
            environ = {
                **os.environ,
                **server.environ(adc="service_account"),
                **own,
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
            return Run(said, done.returncode, done.stdout, tuple(dict.fromkeys(proxy.refused)))


def copied(folder: Path, target: Path) -> Path:
    """Copies a folder without environments and version control; returns the copy."""
    return shutil.copytree(
        folder, target / "after", ignore=shutil.ignore_patterns(*_SKIPPED), symlinks=True
    )
