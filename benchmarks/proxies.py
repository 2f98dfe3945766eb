"""`genai-config proxy` under load, and beside the shortest pass-through of httpx and uvicorn.

200 streams at once, some of whose clients leave, and behind them a service that sometimes dies or
stalls; tokens live five seconds. Then single requests in turn: without a proxy, through the bare
pass-through, through ours.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.local import ROOT, local_server

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS, DURATION, LIFETIME, DELAY = 200, 60.0, 5, 0.2
PIECES, EVERY = 10, 0.5
# How long the proxy waits for a service that stalls.
PATIENCE = 3.0
REQUESTS, ROUNDS = 100, 15
KEY = "k" * 43
PLACE = "/v1/projects/my-project/locations/global/endpoints/openapi"
# Of twenty clients, so many do this; the others read to the end.
KINDS = ("leave", "leave", "leave", "leave early", "die", "stall")

HEAD = ("what", "measured", "bound", "kept")


def settings() -> dict[str, Any]:
    """What the page tells of it."""
    return {
        "streams": STREAMS, "duration": DURATION, "lifetime": LIFETIME, "delay": DELAY,
        "pieces": PIECES, "every": EVERY, "patience": PATIENCE, "requests": REQUESTS * ROUNDS,
    }  # fmt: skip


class Process:
    """A process of `between`.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[str], given: dict[str, Any]) -> None:
        self._process = process
        self.port = int(self._ask(given)["port"])

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def report(self) -> Any:
        """Tasks, open files, memory in bytes, seconds of the processor; and what it has counted."""
        return self._ask({})


@contextmanager
def started(role: str, **given: Any) -> Iterator[Process]:
    """A process in a role, until the block ends."""
    with subprocess.Popen(  # noqa: S603 -- our own
        [sys.executable, "-W", "ignore", "-m", "benchmarks.between", role],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            yield Process(process, given)
        finally:
            process.stdin.close()


class Load:
    """Clients that ask for streams, one after the other.

    Args:
        port: Where they ask.
        mixed: Whether some leave, die or stall.

    Attributes:
        delays: Seconds that each piece took from the service to a client.
        left: When each client left whose stream had not ended, by its stream's name.
        kinds: How many streams there were of each kind.
        cut: How many ended without their end, though neither client nor service wished it.
    """

    def __init__(self, port: int, *, mixed: bool) -> None:
        self._port = port
        self._mixed = mixed
        self._names = itertools.count()
        self.delays: list[float] = []
        self.left: dict[str, float] = {}
        self.kinds: dict[str, int] = {}
        self.cut = 0

    async def run(self, seconds: float) -> None:
        """All clients, for so long; those under way finish."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._client(i, end) for i in range(STREAMS)))

    async def _client(self, i: int, end: float) -> None:
        await asyncio.sleep(PIECES * EVERY * i / STREAMS)
        for turn in itertools.count():
            if time.monotonic() > end:
                return
            which = (i + 7 * turn) % 20
            kind = KINDS[which] if self._mixed and which < len(KINDS) else "stream"
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            await self._stream(kind)

    async def _stream(self, kind: str) -> None:
        name = f"{self._port}-{next(self._names)}"
        mode = kind if kind in ("die", "stall") else "stream"
        pieces = 2 if mode != "stream" else PIECES
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request({"mode": mode, "name": name, "pieces": pieces, "every": EVERY}))
        last, seen = b"", 0
        if kind != "leave early":
            while line := await reader.readline():
                last = line
                if line.startswith(b"data: "):
                    seen += 1
                    self.delays.append(time.monotonic() - float(line[6:]))
                    if kind == "leave" and seen == PIECES // 2:
                        break
                if line == b"0\r\n":
                    break
        else:
            await asyncio.sleep(EVERY / 10)
        self.cut += kind == "stream" and last != b"0\r\n"
        if kind.startswith("leave"):
            self.left[name] = time.monotonic()
        writer.transport.abort()


def request(asked: dict[str, Any]) -> bytes:
    """A request, for the proxy as for the service."""
    body = json.dumps({"model": "google/gemini-x", **asked}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def rows() -> Iterator[tuple[Any, ...]]:
    """The load, then the single requests."""
    with local_server() as server, ExitStack() as undo:
        file = server.ask(lifetime=LIFETIME, delay=DELAY)
        service = undo.enter_context(started("service", lifetime=LIFETIME + DELAY))
        url = f"http://127.0.0.1:{service.port}{PLACE}"
        proxy = undo.enter_context(
            started("proxy", url=url, key=KEY, file=file, ca=server.info["ca"], timeout=PATIENCE)
        )
        bare = undo.enter_context(started("bare", url=url))
        yield from asyncio.run(_loaded(service, proxy))
        yield from asyncio.run(_beside(proxy, bare))
        yield from asyncio.run(_alone(service, proxy, bare))


async def _loaded(service: Process, proxy: Process) -> list[tuple[Any, ...]]:
    """What stays of a minute of it."""
    await Load(proxy.port, mixed=False).run(0.1)  # connections and pools are there
    before = proxy.report()
    load, samples = Load(proxy.port, mixed=True), []
    running = asyncio.ensure_future(load.run(DURATION))
    while not running.done():
        await asyncio.wait({running}, timeout=2)
        samples.append(await asyncio.to_thread(proxy.report))
    await running
    # The proxy gives up on what stalls, and keeps idle connections for a few seconds.
    await asyncio.sleep(2 * PATIENCE + 3)
    after, seen = proxy.report(), service.report()
    third = len(samples) // 3
    middle, late = samples[third : 2 * third], samples[2 * third : 3 * third]

    def median(part: list[Any], what: str) -> float:
        return float(statistics.median(one[what] for one in part))

    def flat(what: str, name: str, unit: float, form: str, most: float) -> tuple[Any, ...]:
        shown = [median(part, what) / unit for part in (middle, late)]
        texts = [form.format(value) for value in (*shown, after[what] / unit)]
        told = f"{texts[0]}, then {texts[1]}; {texts[2]} afterwards"
        bound = f"second third to last: + {most:.0%} at most"
        return (name, told, bound, shown[1] <= shown[0] * (1 + most))

    lags = [seen["ended"][name] - left for name, left in load.left.items() if name in seen["ended"]]
    early = len(load.left) - len(lags)
    worst = max(lags)
    lag = f"{worst * 1e3:.0f} ms at most, of {len(lags):,}; {early} had not begun"
    streams = sum(load.kinds.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(load.kinds.items()))
    return [
        ("streams", f"{streams:,} ({kinds})", "none cut short", load.cut == 0),
        flat("bytes", "memory, MiB", 1 << 20, "{:.1f}", 0.03),
        flat("files", "open files", 1, "{:.0f}", 0.1),
        flat("tasks", "tasks", 1, "{:.0f}", 0.1),
        ("tasks before and after", f"{before['tasks']}, {after['tasks']}", "no more",
         after["tasks"] <= before["tasks"]),
        ("calls of the service afterwards", f"{seen['active']}", "0", seen["active"] == 0),
        ("a call's end after its client's", lag, "1 s", worst < 1),
        ("tokens", f"{seen['tokens']}", f"{seen['stale']} requests with an old one: none",
         seen["stale"] == 0),
    ]  # fmt: skip


async def _beside(proxy: Process, bare: Process) -> list[tuple[Any, ...]]:
    """The same streams through each, none of which is disturbed: pieces and processor time."""
    found = {}
    for name, process in (("ours", proxy), ("bare", bare)):
        load, before = Load(process.port, mixed=False), process.report()["seconds"]
        await load.run(8)
        spent = process.report()["seconds"] - before
        found[name] = (spent / len(load.delays), statistics.quantiles(load.delays, n=100)[98])
    (ours, ours_high), (bares, bares_high) = found["ours"], found["bare"]
    return [
        (f"processor, a piece of {STREAMS} streams",
         f"{ours * 1e6:.0f} µs; bare {bares * 1e6:.0f} µs; ratio {ours / bares:.2f}",
         "1.3", ours <= 1.3 * bares),
        (f"p99 of a piece's delay, {STREAMS} streams",
         f"{ours_high * 1e3:.1f} ms; bare {bares_high * 1e3:.1f} ms", "told", True),
    ]  # fmt: skip


async def _alone(service: Process, proxy: Process, bare: Process) -> list[tuple[Any, ...]]:
    """Single requests, in turn."""
    names = {"direct": service.port, "bare": bare.port, "ours": proxy.port}
    connections = {
        name: await asyncio.open_connection("127.0.0.1", port) for name, port in names.items()
    }
    times: dict[str, list[float]] = {name: [] for name in names}
    ratios = []
    for _ in range(ROUNDS):
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(REQUESTS):
            for name, (reader, writer) in connections.items():
                start = time.perf_counter()
                writer.write(request({"mode": "answer"}))
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(
                    head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0
                )
                if size:
                    await reader.readexactly(size)
                else:
                    await reader.readuntil(b"0\r\n\r\n")
                taken[name].append(time.perf_counter() - start)
        ratios.append(statistics.median(taken["ours"]) / statistics.median(taken["bare"]))
        for name, one in taken.items():
            times[name] += one
    for _, writer in connections.values():
        writer.close()
    base = statistics.median(times["direct"])
    added = {
        name: [value - base for value in statistics.quantiles(times[name], n=100)]
        for name in ("ours", "bare")
    }
    low, middle, high = statistics.quantiles(ratios, n=4)
    ours, bares = added["ours"], added["bare"]
    return [
        ("added to a request, p50", f"{ours[49] * 1e3:.2f} ms; bare {bares[49] * 1e3:.2f} ms",
         "told", True),
        ("added to a request, p99", f"{ours[98] * 1e3:.2f} ms; bare {bares[98] * 1e3:.2f} ms",
         "5 ms", ours[98] <= 5e-3),
        ("a request through it, beside bare", f"{middle:.2f} ({low:.2f} to {high:.2f})", "1.3",
         low <= 1.3),
    ]  # fmt: skip
