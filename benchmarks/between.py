"""The processes of the proxy's benchmark: a service that streams, the proxy, a bare pass-through.

Each prints its port as a line of JSON, then answers each line on standard input with a report, and
stops when standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import resident

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
LAST = b"0\r\n\r\n"


class Service:
    """A service that does with each request what the request says.

    Attributes:
        active: Calls under way.
        ended: When each call ended, by the name that its request gives.
        tokens: When each token was first seen.
        stale: Requests with a token that was older than it may be.
    """

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self.active = 0
        self.ended: dict[str, float] = {}
        self.tokens: dict[str, float] = {}
        self.stale = 0

    def report(self) -> dict[str, Any]:
        """What has happened so far."""
        return {
            "active": self.active, "ended": self.ended, "tokens": len(self.tokens),
            "stale": self.stale,
        }  # fmt: skip

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection, request by request, until the other end hangs up."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                size = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                asked = json.loads(await reader.readexactly(size))
                self._look_at(head.partition("authorization: ")[2].partition("\r\n")[0])
                if asked["mode"] == "answer":
                    writer.write(ANSWER)
                elif not await self._stream(asked, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            """The other end has hung up."""
        finally:
            writer.close()

    def _look_at(self, token: str) -> None:
        now = time.monotonic()
        first = self.tokens.setdefault(token, now)
        self.stale += now - first > self._lifetime

    async def _stream(
        self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """A stream; whether the connection serves on."""
        self.active += 1
        streaming = asyncio.ensure_future(self._pieces(asked, writer))
        # Nothing comes while a stream is under way, but the end of the connection.
        watching = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({streaming, watching}, return_when=asyncio.FIRST_COMPLETED)
        is_whole = streaming.done() and asked["mode"] == "stream"
        for one in (streaming, watching):
            one.cancel()
        await asyncio.gather(streaming, watching, return_exceptions=True)
        self.active -= 1
        self.ended[asked["name"]] = time.monotonic()
        if asked["mode"] == "die":
            writer.transport.abort()
        return is_whole

    @staticmethod
    async def _pieces(asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for _ in range(asked["pieces"]):
            data = b"data: %.6f\n\n" % time.monotonic()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await asyncio.sleep(asked["every"])
        if asked["mode"] == "stall":
            await asyncio.Event().wait()
        if asked["mode"] == "stream":
            writer.write(LAST)


async def _service(given: dict[str, Any], ready: Callable[..., None]) -> None:
    service = Service(given["lifetime"])
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, backlog=1024)
    ready(server.sockets[0].getsockname()[1], service.report)
    await asyncio.Event().wait()


async def _bare(given: dict[str, Any], ready: Callable[..., None]) -> None:
    """As short as a pass-through can be: no key, no token, no bounds, nobody who leaves."""
    import socket

    import httpx
    import uvicorn

    client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))  # noqa: S113 -- bare
    dropped = (b"host", b"content-length", b"transfer-encoding")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = [one for one in scope["headers"] if one[0] not in dropped]
        url = given["url"] + scope["path"].removeprefix("/v1")
        async with client.stream(scope["method"], url, headers=headers, content=body) as answer:
            passed = [one for one in answer.headers.raw if one[0].lower() not in dropped[:1]]
            start = {"type": "http.response.start", "status": answer.status_code}
            await send({**start, "headers": passed})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    # The protocol is named, or asyncio leaves Nagle's algorithm on: 40 ms a request.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    config = uvicorn.Config(application, http="h11", lifespan="off", log_config=None)
    ready(listening.getsockname()[1], dict)
    await uvicorn.Server(config).serve(sockets=[listening])


async def _proxy(given: dict[str, Any], ready: Callable[..., None]) -> None:
    from genai_config import get_config, safe_configure
    from genai_config._clients.link import attached_to, http_options
    from genai_config._clients.resolve import resolve
    from genai_config._proxy.rules import Limits
    from genai_config._proxy.server import Proxy

    safe_configure(ca_certs=given["ca"], credentials=given["file"])
    config = get_config()
    target = resolve(config, base_url=given["url"])
    proxy = Proxy(
        target, lambda: attached_to(config, target), http_options(config), key=given["key"],
        limits=Limits(requests=1000, timeout=given["timeout"]),
    )  # fmt: skip
    ready(int(proxy.url.rpartition(":")[2].partition("/")[0]), dict)
    with proxy._listening:  # noqa: SLF001 -- in this event loop, whose tasks are counted
        await proxy._serve()  # noqa: SLF001 -- likewise


def main() -> None:
    """Serves in the first argument's role until standard input closes."""
    role: Any = {"service": _service, "bare": _bare, "proxy": _proxy}[sys.argv[1]]
    given = json.loads(sys.stdin.readline())

    async def run() -> None:
        loop = asyncio.get_running_loop()

        async def tasks() -> int:
            return len(asyncio.all_tasks()) - 1

        def reports(extra: Callable[[], dict[str, Any]]) -> None:
            for _ in sys.stdin:
                counted = asyncio.run_coroutine_threadsafe(tasks(), loop).result()
                report = {
                    "tasks": counted,
                    "files": len(list(Path("/proc/self/fd").iterdir())),
                    "bytes": resident(),
                    "seconds": time.process_time(),
                    **extra(),
                }
                print(json.dumps(report), flush=True)
            os._exit(0)

        def ready(port: int, extra: Callable[[], dict[str, Any]]) -> None:
            print(json.dumps({"port": port}), flush=True)
            threading.Thread(target=reports, args=[extra], daemon=True).start()

        await role(given, ready)

    asyncio.run(run())


if __name__ == "__main__":
    main()
