"""Programs that go through the proxy: what the page shows of each, run as it is there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tools.conftest import World

TOOL = os.environ.get("GENAI_CONFIG_TOOL", "")
# Where npm has installed its packages, or where the program of another environment is.
PLACE = Path(os.environ.get("GENAI_CONFIG_TOOL_PLACE", "."))
SECONDS = 240
HEADINGS = {"openai-node": "openai for Node", "vercel-ai": "Vercel's AI SDK"}

if TOOL not in {*HEADINGS, "aider", "curl"}:
    pytest.skip("`nox -s tools` runs it", allow_module_level=True)


@pytest.fixture
def run(proxied: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Runs a command with the variables that the proxy prints; its output."""

    def running(*command: str, cwd: Path = tmp_path, **more: str) -> str:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **proxied, **more}
        done = subprocess.run(  # noqa: S603 -- our page
            command, cwd=cwd, env=environ, capture_output=True, text=True, check=False,
            timeout=SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return running


only_node = pytest.mark.skipif(TOOL not in HEADINGS, reason="for Node")
only_aider = pytest.mark.skipif(TOOL != "aider", reason="for aider")
only_curl = pytest.mark.skipif(TOOL != "curl", reason="for curl")


@pytest.fixture
def node(run: Callable[..., str], snippet: Callable[[str], str]) -> Callable[[], dict[str, str]]:
    """Runs the page's program for Node; what it prints, by name."""

    def running() -> dict[str, str]:
        program = PLACE / "page.mjs"
        program.write_text(snippet(HEADINGS[TOOL]), encoding="utf-8")
        lines = run("node", program.name, cwd=PLACE).splitlines()
        return dict(line.split(": ", 1) for line in lines)

    return running


@only_node
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.column(column))
        for name, column in (("text", "text"), ("stream", "stream"), ("tool", "tool call"))
    ],
)
def test_node(node: Callable[[], dict[str, str]], world: World, name: str) -> None:
    """The program prints an answer, a stream and the answer after a tool call."""
    world.calls_a_tool(1)
    assert node()[name] == "It is sunny."
    assert len(world.server.requests) == 4
    world.check(tokens=1)


@only_node
@pytest.mark.column("three lifetimes")
def test_node_for_three_lifetimes(node: Callable[[], dict[str, str]], world: World) -> None:
    """A token's life ends with each answer, and no request fails."""
    world.calls_a_tool(3, ages=True)
    assert node()["tool"] == "It is sunny."
    world.check(tokens=6)


@pytest.fixture
def aider(run: Callable[..., str], proxied: dict[str, str]) -> Callable[..., str]:
    """Runs aider with a message, as on the page."""

    def asking(*options: str) -> str:
        quiet = ("--no-git", "--no-check-update", "--no-show-model-warnings", "--yes-always",
                 "--analytics-disable", "--no-pretty", "--map-tokens", "0")  # fmt: skip
        said = ("--model", "openai/gemini-3.6-flash", "--message", "Why is the sky blue?")
        program = str(PLACE / "aider")
        base = {"OPENAI_API_BASE": proxied["OPENAI_BASE_URL"]}
        return run(program, *quiet, *said, *options, **base)

    return asking


@only_aider
@pytest.mark.parametrize(
    "option",
    [
        pytest.param("--no-stream", marks=pytest.mark.column("text")),
        pytest.param("--stream", marks=pytest.mark.column("stream")),
    ],
)
def test_aider(aider: Callable[..., str], world: World, option: str) -> None:
    """It shows the answer."""
    world.server.respond("*", "Because of Rayleigh scattering.")
    assert "Because of Rayleigh scattering." in aider(option)
    world.check(tokens=1)


@only_aider
@pytest.mark.column("tool call")
def test_aider_calls_no_tools() -> None:
    """It reads changes out of the text."""
    pytest.skip("aider calls no tools")


@only_aider
@pytest.mark.column("three lifetimes")
def test_aider_for_three_lifetimes(aider: Callable[..., str], world: World) -> None:
    """Each answer that it cannot use makes it ask again; a token's life ends with each."""

    def answer(_: Any) -> str:
        world.clock.advance(3600)
        return "new.py\n```\nprint()\n```\n"

    world.server.respond("*", answer)
    aider("--test-cmd", "false", "--auto-test", "new.py")
    assert world.server.tokens.count == len(world.server.requests) >= 3
    world.check()


def asked(run: Callable[..., str], snippet: Callable[[str], str], **more: Any) -> str:
    """What curl prints, with the page's function; further fields of the question's JSON."""
    shown = [line.removeprefix("$ ") for line in snippet("curl").splitlines()]
    if not more:
        return run("bash", "-c", "\n".join(shown))
    body = json.dumps({"model": "gemini-3.6-flash", **more})
    return run("bash", "-c", "\n".join([*shown[:-1], 'ask "$BODY"']), BODY=body)


MESSAGES: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]


@only_curl
@pytest.mark.column("text")
def test_curl(run: Callable[..., str], snippet: Callable[[str], str], world: World) -> None:
    """The page's command prints an answer."""
    answer = json.loads(asked(run, snippet))
    assert answer["choices"][0]["message"]["content"].startswith("Hello from")
    world.check(tokens=1)


@only_curl
@pytest.mark.column("stream")
def test_curl_streams(run: Callable[..., str], snippet: Callable[[str], str]) -> None:
    """The pieces come as they are."""
    printed = asked(run, snippet, messages=MESSAGES, stream=True)
    assert printed.endswith("data: [DONE]\n\n")


@only_curl
@pytest.mark.parametrize(
    ("times", "ages"),
    [
        pytest.param(1, False, marks=pytest.mark.column("tool call")),
        pytest.param(3, True, marks=pytest.mark.column("three lifetimes")),
    ],
)
def test_curl_with_a_tool(
    run: Callable[..., str],
    snippet: Callable[[str], str],
    world: World,
    times: int,
    ages: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    """A conversation repeats the calls, without their signatures."""
    world.calls_a_tool(times, ages=ages)
    messages = [*MESSAGES]
    for _ in range(times):
        said = json.loads(asked(run, snippet, messages=messages, tools=TOOLS))
        (call,) = said["choices"][0]["message"]["tool_calls"]
        del call["extra_content"]
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
        ]
    done = json.loads(asked(run, snippet, messages=messages, tools=TOOLS))
    assert done["choices"][0]["message"]["content"] == "It is sunny."
    world.check(tokens=times + 1 if ages else 1)
