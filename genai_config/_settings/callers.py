"""Who called: the line and the package outside this library, for origins and warnings."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_OURS = ("genai_config.", "google.generativeai.", "google.ai.", "google.api_core.", "contextlib.")
_NOBODYS = ("asyncio.", "concurrent.", "functools.", "threading.")
"""Modules that call on others' behalf: they are no package that configures anything."""


def call_site() -> str:
    """Where the nearest caller outside this library and the SDK is: "file:line"."""
    frame = sys._getframe(1)  # noqa: SLF001 -- inspect.stack() reads source files
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def calling_package() -> str:
    """The top-level package of the nearest caller outside this library and the SDK; "": none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- inspect.stack() reads source files
    while frame is not None:
        module = f"{frame.f_globals.get('__name__')}."
        if not module.startswith((*_OURS, *_NOBODYS)):
            return module.partition(".")[0]
        frame = frame.f_back
    return ""


def warn(message: str, category: type[Warning], place: str) -> None:
    """Issues a warning that points at a call site."""
    file, _, line = place.rpartition(":")
    warnings.warn_explicit(message, category, file, int(line))
