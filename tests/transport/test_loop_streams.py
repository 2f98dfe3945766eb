"""Streams that are read in the event loop in which they were asked for, or not at all."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest

from genai_config import safe_configure
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

CHUNKS = ["a ", "b ", "c ", "d ", "e "]


@pytest.fixture(params=["grpc", "rest"])
def served(request: pytest.FixtureRequest, server: GeminiServer) -> GeminiServer:
    """A server that answers in five pieces, and is asked over gRPC or REST."""
    rest = request.param == "rest"
    endpoint = server.rest_endpoint if rest else server.grpc_endpoint
    safe_configure(
        api_key=server.api_key(),
        ca_certs=server.ca_file,
        transport=request.param,
        client_options={"api_endpoint": endpoint},
    )
    server.respond("*", CHUNKS)
    return server


async def ask() -> Any:
    """A stream of which the first piece was read, as the SDK does."""
    return await genai.GenerativeModel("gemini-3.6-flash").generate_content_async("x", stream=True)


async def read(stream: Any) -> list[str]:
    """The pieces of a stream."""
    return [chunk.text async for chunk in stream]


@pytest.mark.usefixtures("served")
def test_in_a_second_loop() -> None:
    """An error, and not the first piece as if it were all."""

    def both() -> list[str]:
        stream = asyncio.run(ask())
        return asyncio.run(read(stream))

    with ThreadPoolExecutor(1) as pool, pytest.raises(ConfigurationError, match="event loop"):
        pool.submit(both).result()


@pytest.mark.usefixtures("served")
async def test_in_its_own_loop() -> None:
    """By another task as well."""
    stream = await ask()
    assert await asyncio.create_task(read(stream)) == CHUNKS


async def test_of_the_generated_client(served: GeminiServer) -> None:
    """Read to the end, or left in the middle."""
    client: Any = genai.GenerativeModel("gemini-3.6-flash")
    await client.generate_content_async("hi")
    request = {"model": "models/gemini-3.6-flash", "contents": [{"parts": [{"text": "x"}]}]}
    for count in (5, 1):
        stream = await client._async_client.stream_generate_content(request)
        items = aiter(stream)
        texts = [(await anext(items)).candidates[0].content.parts[0].text for _ in range(count)]
        assert texts == CHUNKS[:count]
        await items.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(items)
    assert len(served.requests) == 3
