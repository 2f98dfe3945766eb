"""Streams that are awaited: each is read in the event loop in which it was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


class OfItsLoop:
    """Iterates over a stream, in its own event loop alone.

    A loop that ends closes the stream: in another, what is left of it would seem to be nothing.

    Args:
        items: The stream.
    """

    def __init__(self, items: AsyncGenerator[Any, None]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError(
                "The stream was asked for in another event loop, and ends with that.",
                "ask and read in one coroutine, under one asyncio.run().",
            )
        return await self._items.__anext__()

    async def aclose(self) -> None:
        """Ends the stream."""
        await self._items.aclose()
