"""The local server in a process of its own.

It prints its addresses as a line of JSON, then answers each line of JSON on standard input with
one on standard output, and stops when standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from genai_config.testing import GeminiServer

if TYPE_CHECKING:
    from starlette.applications import Starlette


class DistantTokens:
    """The server's token endpoint, as far away as it is told to be.

    Attributes:
        delay: Seconds until a request arrives.
        asked: When each request came and was answered, by the monotonic clock.
    """

    def __init__(self, server: GeminiServer) -> None:
        self._application = server.tokens.application
        self.delay = 0.0
        self.asked: list[tuple[float, float]] = []
        server.tokens.application = self._distant  # type: ignore[method-assign] # before it starts

    def _distant(self) -> Starlette:
        application = self._application()
        application.add_middleware(self._middleware)
        return application

    def _middleware(self, app: Any) -> Any:
        async def wait(scope: Any, receive: Any, send: Any) -> None:
            start = time.monotonic()
            await asyncio.sleep(self.delay)
            await app(scope, receive, send)
            self.asked.append((start, time.monotonic()))

        return wait


def _answer(server: GeminiServer, tokens: DistantTokens, asked: dict[str, Any]) -> Any:
    """What becomes of one command.

    ``keys``: that many new API keys. ``lifetime``, ``delay``: those of tokens, in seconds, and the
    file of credentials that have never had one. ``chunks``: what a model answers in a stream.
    ``report``: what has come since the last report.
    """
    if "chunks" in asked:
        server.respond(asked["model"], asked["chunks"])
        return None
    if "keys" in asked:
        return [server.api_key() for _ in range(asked["keys"])]
    if "lifetime" in asked:
        server.tokens.lifetime, tokens.delay = asked["lifetime"], asked["delay"]
        return str(server.external_account_file())
    requests = server.requests
    report = {
        "statuses": Counter(request.status for request in requests),
        "connections": len({request.connection for request in requests}),
        "refreshes": tokens.asked,
    }
    server.clear()
    tokens.asked = []
    return report


def main() -> None:
    """Serves until standard input closes."""
    server = GeminiServer()
    tokens = DistantTokens(server)
    with server:
        addresses = {
            "grpc": server.grpc_endpoint,
            "rest": server.rest_endpoint,
            "ca": str(server.ca_file),
            "adc": str(server.service_account_file()),
        }
        print(json.dumps(addresses), flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(server, tokens, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
