"""The proxy's side of a connection: uvicorn's, with bounds on what a client may leave undone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from asyncio import TimerHandle

HEAD_SECONDS = 10.0
"""Seconds for the headers of a request to arrive."""

CONNECTIONS = 1000
"""Most open connections; further ones are closed at once."""


class BoundedProtocol(H11Protocol):
    """The protocol of uvicorn's that hands a request's target on as it was sent."""

    _waiting: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Closes what is one too many; else waits for a request, for so long."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._wait_for_a_head()

    def data_received(self, data: bytes) -> None:
        """Takes a piece; one that leaves a head unfinished is given no more time."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        else:
            self._wait_for_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closes what a client has reset, too: Python 3.10 warns of it otherwise."""
        self._stop_waiting()
        transport = self.transport
        super().connection_lost(exc)
        transport.close()

    def _wait_for_a_head(self) -> None:
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
