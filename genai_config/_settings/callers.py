"""Who called: the line and the package outside this library, for origins and warnings."""

from __future__ import annotations

import functools
import sys
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_OURS = ("genai_config.", "google.generativeai.", "google.ai.", "google.api_core.", "contextlib.")
_MODELS = "google.generativeai.generative_models"

_LOOPS = frozenset({"asyncio", "curio", "eventlet", "gevent", "trio", "uvloop"})
"""Event loops: whoever stands beyond one has started the loop, and not made this call."""

_CARRIERS = frozenset(
    {
        "anyio", "attr", "backoff", "ddtrace", "joblib", "logfire", "None", "opentelemetry",
        "pydantic", "sentry_sdk", "starlette", "tenacity", "traceloop", "wrapt",
    }
)  # fmt: skip
"""Packages that call on others' behalf, as the standard library does: the next caller counts."""

_MADE_BY = "_genai_config_made_by"
"""The attribute of a model that names the package whose code has made it."""

ON_BEHALF_OF: ContextVar[str] = ContextVar("genai_config package", default="")
"""The package whose bound function runs here; "": none."""


@functools.lru_cache(maxsize=1024)
def _passed_over(module: object) -> bool:
    return f"{module}.".startswith(_OURS)


def call_site(ours: int = 0) -> str:
    """Where the nearest caller outside this library and the SDK is: "file:line".

    Args:
        ours: How many callers are known to be this library's, and need not be looked at.
    """
    frame = sys._getframe(ours + 1)  # noqa: SLF001 -- inspect.stack() reads source files
    while _passed_over(frame.f_globals.get("__name__")) and (outer := frame.f_back):
        frame = outer
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def calling_package() -> str:
    """The top-level package on whose behalf the SDK is called; "": nothing on the stack says it.

    A model belongs to the package that has made it, whoever calls it, as far as that is known.
    Else the nearest caller counts that is neither this library, nor the SDK, nor the standard
    library, nor one of those that call for others.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- inspect.stack() reads source files
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        package = module.partition(".")[0]
        if module == _MODELS:
            made_by = getattr(frame.f_locals.get("self"), _MADE_BY, "")
            if made_by:
                return str(made_by)
        if package in _LOOPS:
            break
        if not (
            f"{module}.".startswith(_OURS)
            or package in _CARRIERS
            or package in sys.stdlib_module_names
        ):
            return package
        frame = frame.f_back
    return ON_BEHALF_OF.get()


def noting_who_makes(make: Callable[..., None]) -> Callable[..., None]:
    """A model's ``__init__`` that notes the package whose code has made the model.

    Args:
        make: The SDK's own.
    """
    import functools

    @functools.wraps(make)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        vars(self)[_MADE_BY] = calling_package()
        make(self, *args, **kwargs)

    return init


def warn(message: str, category: type[Warning], place: str) -> None:
    """Issues a warning that points at a call site."""
    file, _, line = place.rpartition(":")
    warnings.warn_explicit(message, category, file, int(line))
