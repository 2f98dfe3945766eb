"""Runs docs/examples/batch.py against a local server, and tells what the server saw of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

BATCH = Path(__file__).parents[3] / "docs" / "examples" / "batch.py"


class Run(NamedTuple):
    """One run of the program.

    Attributes:
        code: Its exit code; negative: the signal that ended it.
        seconds: How long it took.
        output: What it printed.
    """

    code: int
    seconds: float
    output: str


def prompts(folder: Path, count: int) -> Path:
    """A folder of so many prompts, half of them each tenant's."""
    place = folder / "prompts"
    place.mkdir()
    for tenant in ("lab", "work"):
        lines = (f"{tenant}: what is {number} squared?" for number in range(count // 2))
        (place / f"{tenant}.txt").write_text("\n".join(lines), encoding="utf-8")
    return place


def run(server: GeminiServer, asked: Path, answers: Path, kill_after: int | None = None) -> Run:
    """Runs it as a reader does.

    Args:
        server: The server; its quota and its tokens' lifetime are set.
        asked: The folder of prompts.
        answers: The folder of answers.
        kill_after: After how many requests it is killed, workers included; None: never.
    """
    environ = {
        **os.environ,
        **server.environ(adc="external_account"),
        "GEMINI_API_KEY": server.api_key("lab"),
        "GEMINI_GRPC_ENDPOINT": server.grpc_endpoint,
        "PYTHONWARNINGS": "ignore",
    }
    started = time.monotonic()
    with subprocess.Popen(  # noqa: S603 -- our own
        [sys.executable, str(BATCH), str(asked), str(answers)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as batch:
        if kill_after is not None:
            kill(server, batch, kill_after)
        output, _ = batch.communicate()
    return Run(batch.returncode, time.monotonic() - started, output)


def kill(server: GeminiServer, batch: subprocess.Popen[str], after: int) -> None:
    """Kills it and its workers, all at once, when the server has answered so many requests."""
    import signal
    import threading

    reached = threading.Event()

    def answer(_: object) -> str:
        if len(server.requests) >= after:
            reached.set()
        return "an answer"

    server.respond("*", answer)
    reached.wait(600)
    os.killpg(batch.pid, signal.SIGKILL)
    server.respond("*", "an answer")


def answered(server: GeminiServer) -> Counter[str]:
    """How often each prompt was answered."""
    return Counter(
        request.message.contents[0].parts[0].text
        for request in server.requests
        if request.status == "OK"
    )


def kept(answers: Path) -> list[str]:
    """The prompts whose answers are in the files."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in sorted(answers.glob("*.parquet"))]
    return [prompt for table in tables for prompt in table.column("prompt").to_pylist()]
