"""The processes of a benchmark: the local server, and fresh ones in which a side is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
BASE, TUNED = "models/gemini-3.6-flash", "tunedModels/mine"


class Server:
    """The server in a process of its own.

    Attributes:
        info: Its addresses: ``grpc``, ``rest``, ``ca`` (its authority's file), ``adc`` (a service
            account).
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.info: dict[str, Any] = self._read()

    def ask(self, **command: Any) -> Any:
        """The answer to a command of serve.py."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def local_server() -> Iterator[Server]:
    """The server, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.serve"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            yield Server(process)
        finally:
            process.stdin.close()


def fresh(module: str, **given: Any) -> Any:
    """What a module measures in a fresh process, which has these arguments."""
    ran = subprocess.run(  # noqa: S603 -- our own
        [sys.executable, "-W", "ignore", "-m", module],
        input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return json.loads(ran.stdout)


def measured(measure: Callable[..., Any]) -> None:
    """The other end of `fresh`: prints what is measured with the arguments given."""
    print(json.dumps(measure(**json.load(sys.stdin))), flush=True)


def a_request(model: str) -> Any:
    """`generate_content` of one short text."""
    import google.ai.generativelanguage as glm

    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    return glm.GenerateContentRequest(model=model, contents=contents)
