"""Functions that a user gives to be called later: refused where they are given, named in errors."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from genai_config.exceptions import ConfigurationError


def name_of(value: object) -> str:
    """What a function is called, or a thing's type, with the module; nothing of what it holds."""
    if isinstance(value, functools.partial):
        value = value.func
    named: Any = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def check(setting: str, value: object, *arguments: str) -> None:
    """Refuses what cannot be called with these arguments, or would have to be awaited.

    Raises:
        ConfigurationError: It is none of the functions wanted here.
    """
    name = name_of(value)
    call = f"{name}({', '.join(arguments)})"
    if not callable(value):
        raise ConfigurationError(
            f"{setting} must be a function, not {type(value).__name__}.",
            f"give {setting}=lambda{' '.join(('', *arguments))}: …, for example.",
        )
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
        raise ConfigurationError(
            f"{setting}={name} is a coroutine function.",
            "give a synchronous function: it is called off the event loop, and may block.",
        )
    try:
        inspect.signature(value).bind(*arguments)
    except ValueError:
        pass  # some that are written in C do not tell
    except TypeError as error:
        raise ConfigurationError(
            f"{setting}={name} cannot be called as {call}: {error}.",
            "give a function that can, or a functools.partial with the other arguments.",
        ) from None
