"""The long run: no file, thread or connection is left over, and every process ends."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import google.generativeai as genai
import pytest

from genai_config import override, safe_configure
from genai_config._transport import channels

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"
FILES = Path("/proc/self/fd")

lists_files = pytest.mark.skipif(not FILES.is_dir(), reason="this system does not list open files")


class Held(NamedTuple):
    """What this process holds: open files and threads."""

    files: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        """After whatever nobody refers to is gone."""
        gc.collect()
        return cls(len(list(FILES.iterdir())), threading.active_count())

    def grown(self) -> Held:
        """How much more it is now."""
        now = Held.now()
        return Held(now.files - self.files, now.threads - self.threads)


def ask(model: str = BASE) -> None:
    """One request."""
    genai.GenerativeModel(model).generate_content("hi")


async def ask_async(model: str = BASE) -> None:
    """One request that is awaited."""
    await genai.GenerativeModel(model).generate_content_async("hi")


def point(server: GeminiServer, transport: Any) -> None:
    """Points every request at the server."""
    safe_configure(
        api_key=server.api_key(),
        credentials=server.external_account_file(),
        transport=transport,
        tuned_transport=transport,
        ca_certs=server.ca_file,
        client_options={
            "api_endpoint": server.rest_endpoint if transport == "rest" else server.grpc_endpoint
        },
    )


@lists_files
@pytest.mark.parametrize("transport", ["grpc", "rest"])
class TestNothingGrows:
    # gRPC's and the server's own threads come and go a few at a time.
    MARGIN = 12

    def test_over_scopes(self, server: GeminiServer, transport: Any, patience: int) -> None:
        """Thousands, entered and left, with a request in some."""
        point(server, transport)
        keys = [server.api_key() for _ in range(50)]
        held: Held | None = None
        for number in range(3_000 * patience):
            with override(api_key=keys[number % 50], default_metadata=[("x-n", str(number))]):
                if number % 50 == 0:
                    ask(TUNED if number % 100 else BASE)
            if number == 1_000:
                held = Held.now()
        assert held is not None
        assert max(held.grown()) <= self.MARGIN

    def test_over_tenants(self, server: GeminiServer, transport: Any, patience: int) -> None:
        """Hundreds, each with a key of its own."""
        point(server, transport)
        held: Held | None = None
        count = 300 * patience
        for number in range(count):
            with override(api_key=server.api_key()):
                ask()
            if number == 100:
                held = Held.now()
        assert held is not None
        assert max(held.grown()) <= self.MARGIN
        assert len({request.identity for request in server.requests}) == count

    def test_over_event_loops(self, server: GeminiServer, transport: Any, patience: int) -> None:
        """A hundred in a row."""
        point(server, transport)
        held: Held | None = None
        for number in range(100 * patience):
            asyncio.run(ask_async())
            if number == 30:
                held = Held.now()
        assert held is not None
        assert max(held.grown()) <= self.MARGIN
        assert len(channels._LOOPS) <= 1
