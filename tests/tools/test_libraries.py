"""Libraries that take our clients: what the page shows of each, and what else it is used for."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from google.api_core.exceptions import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tools.conftest import World

TOOL = os.environ.get("GENAI_CONFIG_TOOL", "")

QUESTION = "How is the weather in Paris?"
MESSAGES = [{"role": "user", "content": QUESTION}]
SUNNY = "It is sunny."
SCHEMA = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}

asked: list[str] = []
"""The cities that a tool was asked about."""


def get_weather(city: str) -> str:
    """The weather in a city."""
    asked.append(city)
    return f"sunny in {city}"


class Library(Protocol):
    """How a library is used, from the names that its program on the page has defined."""

    heading: str

    def stream(self, names: dict[str, Any]) -> str:
        """The text of a stream."""

    def converse(self, names: dict[str, Any]) -> str:
        """The answer to a question for which the model calls `get_weather`, as often as it does."""


class LangChain:
    heading = "LangChain"

    def stream(self, names: dict[str, Any]) -> str:
        return "".join(piece.text for piece in names["llm"].stream(QUESTION))

    def converse(self, names: dict[str, Any]) -> str:
        from langchain_core.messages import HumanMessage, ToolMessage

        llm = names["llm"].bind_tools([get_weather])
        messages: list[Any] = [HumanMessage(QUESTION)]
        while True:
            messages.append(llm.invoke(messages))
            if not messages[-1].tool_calls:
                return str(messages[-1].text)
            messages += [
                ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"])
                for call in messages[-1].tool_calls
            ]


class Agents:
    heading = "OpenAI Agents SDK"

    def stream(self, names: dict[str, Any]) -> str:
        from agents import Runner

        async def read() -> str:
            run = Runner.run_streamed(names["agent"], QUESTION)
            return "".join(
                [
                    event.data.delta
                    async for event in run.stream_events()
                    if event.type == "raw_response_event"
                    and event.data.type == "response.output_text.delta"
                ]
            )

        return asyncio.run(read())

    def converse(self, names: dict[str, Any]) -> str:
        from agents import Runner, function_tool

        agent = names["agent"].clone(tools=[function_tool(get_weather)])
        return str(asyncio.run(Runner.run(agent, QUESTION)).final_output)


class PydanticAI:
    heading = "Pydantic AI"

    def stream(self, names: dict[str, Any]) -> str:
        async def read() -> str:
            async with names["agent"].run_stream(QUESTION) as run:
                return "".join([piece async for piece in run.stream_text(delta=True)])

        return asyncio.run(read())

    def converse(self, names: dict[str, Any]) -> str:
        from pydantic_ai import Agent

        return str(Agent(names["model"], tools=[get_weather]).run_sync(QUESTION).output)


class Instructor:
    """Each of its answers is a call of a tool that is the wanted class."""

    heading = "Instructor"

    def stream(self, names: dict[str, Any]) -> str:
        *_, last = names["client"].create_partial(**names["ask"], messages=MESSAGES)
        return SUNNY if last.city == "Paris" else last.city

    def converse(self, names: dict[str, Any]) -> str:
        for _ in range(4):
            get_weather(names["client"].create(**names["ask"], messages=MESSAGES).city)
        return SUNNY


class LiteLLM:
    heading = "LiteLLM"

    def stream(self, names: dict[str, Any]) -> str:
        chunks = names["litellm"].completion(**names["ask"], messages=MESSAGES, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    def converse(self, names: dict[str, Any]) -> str:
        messages: list[Any] = [*MESSAGES]
        while True:
            answer = names["litellm"].completion(**names["ask"], messages=messages, tools=[SCHEMA])
            said = answer.choices[0].message
            if not said.tool_calls:
                return str(said.content)
            # A field of its own, which Google refuses.
            messages.append(said.model_dump(exclude={"provider_specific_fields"}))
            for call in said.tool_calls:
                result = get_weather(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


class LlamaIndex:
    heading = "LlamaIndex"

    def stream(self, names: dict[str, Any]) -> str:
        return "".join(piece.delta for piece in names["llm"].stream_complete(QUESTION))

    def converse(self, names: dict[str, Any]) -> str:
        from llama_index.core.agent.workflow import FunctionAgent

        agent = FunctionAgent(tools=[get_weather], llm=names["llm"], streaming=False)

        async def run() -> str:
            return str(await agent.run(QUESTION))

        return asyncio.run(run())


LIBRARIES: dict[str, Library] = {
    "langchain": LangChain(),
    "openai-agents": Agents(),
    "pydantic-ai": PydanticAI(),
    "instructor": Instructor(),
    "litellm": LiteLLM(),
    "llama-index": LlamaIndex(),
}

if TOOL not in LIBRARIES:
    pytest.skip("`nox -s tools` runs it", allow_module_level=True)

# The libraries' own, in their imports and in what they leave open.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def library() -> Library:
    """The library that this environment is for."""
    return LIBRARIES[TOOL]


@pytest.fixture
def names(library: Library, snippet: Callable[[str], str], world: World) -> dict[str, Any]:
    """What its program on the page defines, once it has run."""
    asked.clear()
    found: dict[str, Any] = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(snippet(library.heading), "page", "exec"), found)  # noqa: S102 -- our page
    assert printed.getvalue().strip()
    assert world.server.requests
    world.check(tokens=1)
    return found


@pytest.mark.column("text")
def test_the_page(names: dict[str, Any]) -> None:
    """It prints an answer of the model, and nothing is refused."""
    assert names["openai"].__name__ == "genai_config.openai"


@pytest.mark.column("stream")
def test_a_stream(library: Library, names: dict[str, Any], world: World) -> None:
    """It comes as a whole."""
    world.calls_a_tool(1)
    assert library.stream(names) == SUNNY
    assert world.server.requests[-1].status == "OK"


@pytest.mark.column("tool call")
def test_a_tool_call(library: Library, names: dict[str, Any], world: World) -> None:
    """The call comes, and the conversation with its result is taken."""
    world.calls_a_tool(1 if library.heading != "Instructor" else 4)
    assert library.converse(names) == SUNNY
    assert asked[0] == "Paris"
    world.check(tokens=1)


@pytest.mark.column("three lifetimes")
def test_three_lifetimes(library: Library, names: dict[str, Any], world: World) -> None:
    """A token's life ends with each answer, and no request fails: calls, results, the end."""
    world.clock.advance(3600)
    world.calls_a_tool(3 if library.heading != "Instructor" else 4, ages=True)
    assert library.converse(names) == SUNNY
    assert asked[:3] == ["Paris"] * 3
    world.check(tokens=5)


@pytest.mark.skipif(TOOL != "pydantic-ai", reason="the page shows it for Pydantic AI")
@pytest.mark.column("text")
def test_a_fallback(names: dict[str, Any], world: World) -> None:
    """A model that is not found is a status for it: the next one is asked."""
    world.server.clear()
    world.server.respond("gemini-3.6-flash", NotFound("no such model"))
    assert "lite" in names["agent"].run_sync(QUESTION).output
    assert [request.status for request in world.server.requests] == ["NOT_FOUND", "OK"]
