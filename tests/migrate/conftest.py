"""The pairs of programs, and a local server that both SDKs ask."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import genai_config
from genai_config._compare.meaning import Meaning, meanings
from genai_config.testing import isolated, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer


class Pair(NamedTuple):
    """A program before and after it was moved."""

    name: str
    before: str
    after: str


def read_pairs() -> list[Pair]:
    """All pairs of pairs.txt."""
    text = Path(__file__).with_name("pairs.txt").read_text(encoding="utf-8")
    found = re.findall(
        r"^=== (.*?)\n(.*?)^--- becomes\n(.*?)(?=^=== |\Z)", text, re.DOTALL | re.MULTILINE
    )
    return [Pair(*one) for one in found]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each pair, where one is asked for."""
    if "pair" in metafunc.fixturenames:
        found = read_pairs()
        metafunc.parametrize("pair", found, ids=[one.name for one in found])


@pytest.fixture
def pairs() -> list[Pair]:
    """All pairs."""
    return read_pairs()


class Run(NamedTuple):
    """What a program printed, and what it said to the service."""

    printed: str
    said: list[Meaning]


@pytest.fixture(scope="module")
def gemini() -> Iterator[GeminiServer]:
    """A server for all programs of a module, and a configuration with a key of it."""
    import httplib2

    with isolated(), serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(httplib2, "CA_CERTS", str(server.ca_file))
        yield server


@pytest.fixture
def run(
    gemini: GeminiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Run]:
    """Runs a program in a folder with a file notes.txt."""
    (tmp_path / "notes.txt").write_text("abc", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    # The configuration of a test is its own; where the server is, is told anew.
    genai_config.safe_configure(
        api_key=gemini.api_key("mine"),
        ca_certs=gemini.ca_file,
        client_options={"api_endpoint": gemini.endpoint},
    )

    def running(code: str) -> Run:
        gemini.clear()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "program.py", "exec"), {"__name__": "program"})  # noqa: S102 -- ours
        return Run(printed.getvalue(), meanings(gemini.requests))

    return running
