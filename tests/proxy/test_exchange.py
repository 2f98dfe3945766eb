"""One exchange by itself: what no test over sockets can time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from genai_config import get_config
from genai_config._clients.link import attached_to
from genai_config._clients.resolve import resolve
from genai_config._clients.signatures import Signatures
from genai_config._proxy.exchange import Exchange, Upstream
from genai_config._proxy.metrics import Metrics
from genai_config._proxy.rules import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MANY = 1000


@pytest.mark.usefixtures("oauth")
@pytest.mark.parametrize("steps", range(8))
async def test_a_client_that_leaves_just_as_it_is_given_a_piece(steps: int) -> None:
    """Whatever the event loop does first, the call of the service ends."""
    url = "http://localhost/v1/projects/my-project/locations/global/endpoints/openapi"
    config = get_config()
    target = resolve(config, base_url=url, backend="vertex")
    gone, given = asyncio.Event(), 0
    body = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0)

    async def receive() -> Any:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        nonlocal given
        given += 1
        assert given < MANY
        if given == 3:
            gone.set()
            for _ in range(steps):
                await asyncio.sleep(0)

    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=pieces()))
    async with httpx.AsyncClient(transport=answer) as client:
        attach = lambda: attached_to(config, target)  # noqa: E731 -- as the proxy's
        upstream = Upstream(target, attach, Limits(), Metrics(), Signatures(), client)
        asked = ("POST", httpx.URL(url), [("content-length", "2")])
        await Exchange(upstream, asked, receive, send).run()
    assert given >= 3
