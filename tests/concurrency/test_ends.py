"""Programs that end while something is under way: in time, and without a word."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

PRELUDE = """
    import asyncio, contextlib, gc, json, sys, threading

    import google.generativeai as genai

    from genai_config import safe_configure

    BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"
    safe_configure(**json.loads(sys.argv[1]))

    def ask(name):
        genai.GenerativeModel(name).generate_content("hi")

    async def ask_async(name):
        await genai.GenerativeModel(name).generate_content_async("hi")

    def let_go():
        # Whoever started this program is told that it waits, and makes what hangs go on or not.
        print("waits", flush=True)
        assert sys.stdin.readline() == "go on\\n"
"""


def run(program: str, server: GeminiServer, transport: str = "grpc", *, release: bool) -> str:
    """What a program prints to stderr, that asks a token endpoint and a service which hang.

    Args:
        program: The program; it waits until it has been heard of there.
        server: The server it asks.
        transport: How it asks.
        release: Whether it waits once more, until nothing hangs any longer.
    """
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    settings = {
        "api_key": server.api_key(),
        "credentials": str(server.external_account_file()),
        "ca_certs": str(server.ca_file),
        "transport": transport,
        "tuned_transport": transport,
        "client_options": {"api_endpoint": endpoint},
    }
    heard, gate, answer = threading.Event(), threading.Event(), server.tokens._asked

    async def asked() -> Any:
        heard.set()
        return await answer()

    def hang(_: Any) -> str:
        heard.set()
        gate.wait(30)
        return "hello"

    server.tokens._asked = asked  # type: ignore[method-assign] # to hear of it
    server.tokens.hang()
    server.respond("*", hang)
    source = textwrap.dedent(PRELUDE) + textwrap.dedent(program)
    with subprocess.Popen(  # noqa: S603 -- the tests' own programs
        [sys.executable, "-W", "ignore", "-c", source, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # A program that does not end by itself is ended, and its code is not 0.
        ending = threading.Timer(20, process.kill)
        ending.start()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        assert heard.wait(10)
        if release:
            print("go on", file=process.stdin, flush=True)
            assert process.stdout.readline() == "waits\n"
            server.tokens.release()
            gate.set()
        _, errors = process.communicate("go on\n")
        ending.cancel()
    gate.set()
    assert process.returncode == 0, errors
    return errors


@pytest.mark.parametrize(("transport", "model"), [("grpc", "TUNED"), ("rest", "BASE")])
class TestTheEnd:
    def test_while_a_thread_waits(self, server: GeminiServer, transport: str, model: str) -> None:
        """A daemon thread waits for a token, or for the service; the program does not."""
        program = f"""
            threading.Thread(target=ask, args=({model},), daemon=True).start()
            let_go()
        """
        assert run(program, server, transport, release=False) == ""

    def test_after_a_task_was_cancelled(
        self, server: GeminiServer, transport: str, model: str
    ) -> None:
        """The task had waited for a token, or for the service."""
        program = f"""
            async def main():
                asked = asyncio.create_task(ask_async({model}))
                await asyncio.to_thread(let_go)
                asked.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asked

            asyncio.run(main())
        """
        assert run(program, server, transport, release=False) == ""

    def test_the_next_loop_works(self, server: GeminiServer, transport: str, model: str) -> None:
        """A loop that ended in the middle of a call leaves nothing that the next one trips over."""
        program = f"""
            async def main():
                asked = asyncio.create_task(ask_async({model}))
                await asyncio.to_thread(let_go)

            asyncio.run(main())
            let_go()
            asyncio.run(ask_async({model}))
            gc.collect()
        """
        assert run(program, server, transport, release=True) == ""
        assert server.requests[-1].status == "OK"
