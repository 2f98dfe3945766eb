"""What runs in the workers of every engine, which import it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import google.generativeai as genai

from genai_config import get_config, is_configured
from genai_config._models import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(question: str) -> str:
    """One request to a base model."""
    text: str = genai.GenerativeModel(MODEL).generate_content(question).text
    return text


def ask_tuned(question: str) -> str:
    """One request that goes by OAuth."""
    text: str = genai.GenerativeModel("tunedModels/mine").generate_content(question).text
    return text


def ask_tuned_for(seconds: float) -> int:
    """Asks as long as that, one after the other: how often it was answered."""
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        ask_tuned("hi")
        count += 1
    return count


def ask_and_fail(question: str) -> str:
    """One request that is refused: the class of the error, or what was answered."""
    try:
        return ask(question)
    except Exception as error:
        raise RuntimeError(f"{question}: {error!r}") from error


def ask_or_die(question: str) -> str:
    """As `ask`, but the first worker that is told "die PATH" is killed right after it has asked."""
    text = ask(question)
    word, _, path = question.partition(" ")
    if word == "die":
        try:
            Path(path).touch(exist_ok=False)
        except FileExistsError:
            return text
        os.kill(os.getpid(), signal.SIGKILL)
    return text


def timeout(_: object) -> float | None:
    """A setting that is in force here, and that no default is like."""
    return get_config().timeout


def configured(_: object) -> bool:
    """Whether anything is configured in this worker, outside of a bound function."""
    return is_configured()


def length(text: str) -> int:
    """Takes a text along the wire."""
    return len(text)


def nothing() -> None:
    """A function whose time is that of calling it."""


def cost(bound: Callable[[], None], _: object) -> float:
    """Seconds of this thread that binding adds to a call after the first: the least of many."""
    bound()

    def series(function: Callable[[], None]) -> float:
        started = time.thread_time()
        for _ in range(1000):
            function()
        return (time.thread_time() - started) / 1000

    return min(series(bound) for _ in range(30)) - min(series(nothing) for _ in range(30))
