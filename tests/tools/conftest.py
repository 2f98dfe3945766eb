"""Other tools through this library, each in an environment of its own: `nox -s tools`."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from google.ai import generativelanguage_v1beta as glm

from genai_config import get_config, safe_configure
from genai_config._clients.account import account
from genai_config._clients.link import attached_to, http_options
from genai_config._proxy.server import Proxy
from genai_config.testing import FakeClock, GeminiServer
from genai_config.testing._service import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

PAGE = Path(__file__).parents[2] / "docs" / "with-other-tools.md"
LIFETIME = 3600.0
# The session says which tool is installed, and where results go.
TOOL = os.environ.get("GENAI_CONFIG_TOOL", "")
RESULTS = os.environ.get("GENAI_CONFIG_TOOL_RESULTS", os.devnull)


class World(NamedTuple):
    """The service that a tool meets.

    Attributes:
        server: The local server; each answer of its models can end the life of all tokens.
        clock: The time of the server, of tokens and of this library.
    """

    server: GeminiServer
    clock: FakeClock

    def calls_a_tool(self, times: int, *, ages: bool = False) -> None:
        """Has the models call the first function that they are given, then say that it is sunny.

        Args:
            times: How many calls there are in a row.
            ages: Whether a token's lifetime passes with each answer.
        """
        left = times

        def answer(request: Any) -> Any:
            nonlocal left
            if ages:
                self.clock.advance(LIFETIME)
            declared = [one for tool in request.tools for one in tool.function_declarations]
            if not declared or not left:
                return "It is sunny."
            left -= 1
            return glm.FunctionCall(name=declared[0].name, args={"city": "Paris"})

        self.server.respond("*", answer)

    def check(self, tokens: int | None = None) -> None:
        """Checks that the service has refused nothing, and how many tokens it has issued."""
        assert {request.status for request in self.server.requests} == {"OK"}
        assert {request.identity for request in self.server.requests} == {"user-1@example.com"}
        if tokens is not None:
            assert self.server.tokens.count == tokens


@pytest.fixture
def world() -> Iterator[World]:
    """The local server's Vertex AI, for a person who has logged in for it."""
    clock = FakeClock()
    with clock.installed(), GeminiServer(clock=clock) as server:
        safe_configure(
            credentials=server.user_credentials(
                [rules.CLOUD_PLATFORM], quota_project="billed-project"
            ),
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.rest_endpoint},
        )
        yield World(server, clock)


@pytest.fixture
def proxied(world: World) -> Iterator[dict[str, str]]:
    """The variables that a proxy to the server prints."""
    del world
    config, target = account({"project": "my-project", "location": "us-central1"})
    proxy = Proxy(target, lambda: attached_to(get_config(), target), http_options(config))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    yield {"OPENAI_API_KEY": proxy.key, "OPENAI_BASE_URL": proxy.url}
    proxy.stop()
    thread.join()


@pytest.fixture(scope="session")
def snippet() -> Callable[[str], str]:
    """The last block of code under a heading of the page."""

    def last_block(heading: str) -> str:
        page = PAGE.read_text(encoding="utf-8")
        section = re.split(r"^##+ ", page, flags=re.MULTILINE)
        (found,) = [one for one in section if one.startswith(f"{heading}\n")]
        return str(re.findall(r"```\w+\n(.*?)```", found, re.DOTALL)[-1])

    return last_block


def pytest_configure(config: pytest.Config) -> None:
    """Declares the mark that says which column of the table a test fills."""
    config.addinivalue_line("markers", "column(name): what the test shows, in the table")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Notes in the table what each test has shown; a column needs all of its tests."""
    report: Any = yield
    column = item.get_closest_marker("column")
    if report.when == "call" and column is not None:
        path = Path(RESULTS)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        row = json.loads(text or "{}")
        name = column.args[0]
        if report.skipped:
            row.setdefault(name, "has none")
        elif report.failed or row.get(name) != "NO":
            row[name] = "yes" if report.passed else "NO"
        path.write_text(json.dumps(row), encoding="utf-8")
    return report
