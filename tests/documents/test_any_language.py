"""The page on all clients: each program is run against a server of its own, and its output read."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from genai_config import reset, safe_configure

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "any-language.md").read_text(encoding="utf-8")
HEAVY = bool(os.environ.get("GENAI_CONFIG_HEAVY"))


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


START, SOURCED, CURL, OLD, MINE, NEW, CHAT, NODE = blocks("console")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader has the programs and the variables, while the server runs."""
    assert (START, SOURCED) == ("$ genai-config serve > server.env\n", "$ . ./server.env\n")
    where = tmp_path_factory.mktemp("reader")
    names = [*re.findall(r"`(\w+\.py)`", PAGE), "chat.mjs"]
    for name, program in zip(names, [*blocks("python"), *blocks("javascript")], strict=True):
        (where / name).write_text(program, encoding="utf-8")
    environ = {**os.environ, "XDG_CACHE_HOME": str(where / "cache")}
    command = [sys.executable, "-W", "ignore", "-m", "genai_config", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as server:  # noqa: S603 -- our own
        assert server.stdout is not None
        exports = itertools.takewhile(lambda line: not line.startswith("# Stop"), server.stdout)
        (where / "server.env").write_text("".join(exports), encoding="utf-8")
        yield where
        server.send_signal(signal.SIGTERM)
    assert server.returncode == 0
    assert shell(where, "test -s $SSL_CERT_FILE && echo there") == "there\n"
    assert not list((where / "cache").rglob("serve-*"))


def shell(where: Path, commands: str) -> str:
    """What a shell shows that has read the variables."""
    prelude = f'python() {{ "{sys.executable}" "$@"; }}; . ./server.env'
    done = subprocess.run(  # noqa: S603 -- our own
        ["bash", "-c", f"{prelude}\n{commands}"],  # noqa: S607 -- the reader's
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout or done.stderr


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="the page shows curl in a shell"
)
@pytest.mark.parametrize(
    ("transcript", "package"),
    [(CURL, ""), (OLD, ""), (MINE, ""), (NEW, "google.genai"), (CHAT, "openai")],
    ids=["curl", "google-generativeai", "genai-config", "google-genai", "openai"],
)
def test_each_client_does_a_text_a_stream_and_a_call(
    folder: Path, transcript: str, package: str
) -> None:
    """From the output of the server alone."""
    if package and not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed")  # pragma: no cover  # in the oldest environment
    check(folder, transcript)


def test_the_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It leads to the port that the page names."""
    (port,) = re.findall(r"serve --port (\d+)", PAGE)
    (tmp_path / "genai-config.toml").write_text("\n".join(blocks("toml")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = safe_configure(profile="local")
    reset()
    monkeypatch.setenv("GENAI_CONFIG_PROFILE", "local")
    assert safe_configure() == config
    assert config.client_options is not None
    assert config.client_options.api_endpoint == f"localhost:{port}"
    assert config.vertex_endpoint == f"https://localhost:{port}"


@pytest.mark.skipif(
    not (HEAVY and shutil.which("npm")), reason="GENAI_CONFIG_HEAVY is not set, or there is no npm"
)
def test_node(folder: Path) -> None:  # pragma: no cover  # not by day
    """Node's client too; the package is fetched, which takes its time."""
    fetched = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "openai"],  # noqa: S607 -- the reader's
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if fetched.returncode:
        pytest.skip("the registry of npm cannot be reached")
    check(folder, NODE)


def check(where: Path, transcript: str) -> None:
    """Runs the commands of a transcript, and compares what is seen."""
    lines = transcript.splitlines()
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    expected = [line for line in lines if not line.startswith("$ ")]
    assert shell(where, "\n".join(commands)).splitlines() == expected
